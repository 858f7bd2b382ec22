//! What looks to the server like a language model: an OpenAI-compatible endpoint on loopback that says prepared texts at a steady pace and
//! remembers when it wrote which piece.

mod request;
mod track;

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep_until};

use request::Request;
pub use request::marker;
pub use track::{Track, Tracks};

/// The model it calls itself.
pub const MODEL: &str = "loadtest";

/// Where in its own pace each of the streams begins, so that they aren't all due in one moment.
fn stagger(index: usize, of: usize, gap: Duration) -> Duration {
    let (index, of) =
        (u32::try_from(index).unwrap_or(u32::MAX), u32::try_from(of.max(1)).unwrap_or(u32::MAX));
    gap.mul_f64(f64::from(index) / f64::from(of))
}

/// The endpoint; dropped, it is gone.
pub struct Upstream {
    address: SocketAddr,
    tracks: Tracks,
    begin: watch::Sender<Option<Instant>>,
    listening: JoinHandle<()>,
}

impl Upstream {
    /// Listens; each track is said once, in pieces a `gap` apart. Has to run inside a `LocalSet`.
    pub async fn start(tracks: Vec<Track>, gap: Duration) -> io::Result<Upstream> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let tracks: Tracks = Rc::new(RefCell::new(tracks));
        let begin = watch::Sender::new(None);
        let (board, gate) = (Rc::clone(&tracks), begin.subscribe());
        let listening = spawn_local(async move {
            // Those it serves end with it.
            let mut serving = tokio::task::JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                // Whoever hangs up has no more to hear.
                serving.spawn_local(serve(stream, Rc::clone(&board), gate.clone(), gap));
                while serving.try_join_next().is_some() {}
            }
        });
        Ok(Upstream { address, tracks, begin, listening })
    }

    /// What an assistant takes for `base_url`.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// What is said, and when it was.
    pub fn tracks(&self) -> &Tracks {
        &self.tracks
    }

    /// How many were asked for.
    pub fn asked(&self) -> usize {
        self.tracks.borrow().iter().filter(|track| track.asked > 0).count()
    }

    /// Until now everybody is kept waiting; from now on all speak.
    pub fn begin(&self) {
        self.begin.send_replace(Some(Instant::now()));
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    tracks: Tracks,
    gate: watch::Receiver<Option<Instant>>,
    gap: Duration,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let request = Request::read(&mut stream).await?;
    let asked = request.stream().and_then(|index| {
        let mut tracks = tracks.borrow_mut();
        let track = tracks.get_mut(index)?;
        track.asked += 1;
        (track.asked == 1).then_some(index)
    });
    // What nobody prepared, or was said already, isn't said.
    let Some(index) = asked else {
        return stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .await;
    };
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n")
        .await?;
    say(&mut stream, &tracks, index, gate, gap).await?;
    stream.shutdown().await
}

async fn say(
    stream: &mut TcpStream,
    tracks: &Tracks,
    index: usize,
    mut gate: watch::Receiver<Option<Instant>>,
    gap: Duration,
) -> io::Result<()> {
    let begin = gate.wait_for(Option::is_some).await.ok().and_then(|begin| *begin);
    let (count, of) = {
        let tracks = tracks.borrow();
        (tracks.get(index).map_or(0, Track::pieces), tracks.len())
    };
    let mut due = begin.unwrap_or_else(Instant::now) + stagger(index, of, gap);
    for at in 0..count {
        sleep_until(due).await;
        due += gap;
        let chunk = {
            let mut tracks = tracks.borrow_mut();
            let Some(track) = tracks.get_mut(index) else { return Ok(()) };
            let chunk = chunked(&delta(track.piece(at)));
            track.wrote(Instant::now());
            chunk
        };
        stream.write_all(&chunk).await?;
    }
    let finish = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": count, "total_tokens": count + 10}});
    stream.write_all(&chunked(&format!("data: {finish}\n\ndata: {usage}\n\ndata: [DONE]\n\n"))).await?;
    stream.write_all(b"0\r\n\r\n").await
}

fn delta(text: &str) -> String {
    let delta = json!({"id": "load", "object": "chat.completion.chunk", "model": MODEL,
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]});
    format!("data: {delta}\n\n")
}

/// One chunk of a body whose length nobody knows.
fn chunked(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

#[cfg(test)]
mod tests {
    use tokio::task::LocalSet;

    use super::*;

    async fn ask(upstream: &Upstream, index: usize) -> (u16, String) {
        let question =
            json!({"model": MODEL, "stream": true, "messages": [{"role": "user", "content": marker(index)}]});
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("{}/chat/completions", upstream.url());
        let answer = client.post(url).json(&question).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// What the events of a stream say together.
    fn said(events: &str) -> String {
        let data = events.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
        let json = data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap());
        json.filter_map(|json: serde_json::Value| {
            Some(json["choices"][0]["delta"]["content"].as_str()?.to_owned())
        })
        .collect()
    }

    #[tokio::test]
    async fn each_text_is_said_once_in_pieces_with_their_times_and_an_end() {
        LocalSet::new()
            .run_until(async {
                let tracks = vec![Track::new(["a", "é", " 漢\n\"b"]), Track::new(["other"])];
                let upstream = Upstream::start(tracks, Duration::from_millis(20)).await.unwrap();
                upstream.begin();
                let began = Instant::now();
                let (status, events) = ask(&upstream, 0).await;
                assert_eq!((status, said(&events).as_str()), (200, "aé 漢\n\"b"), "{events}");
                assert!(events.ends_with("data: [DONE]\n\n") && events.contains(r#""finish_reason":"stop""#));
                assert!(began.elapsed() >= Duration::from_millis(40));
                assert_eq!(upstream.asked(), 1);
                assert_eq!(ask(&upstream, 0).await.0, 400, "said already");
                assert_eq!(ask(&upstream, 2).await.0, 400, "nobody prepared that");
                let tracks = upstream.tracks().borrow();
                assert_eq!((tracks[0].written_by(11).count(), tracks[1].written_by(5).count()), (3, 0));
                assert_eq!(tracks[0].asked, 2);
            })
            .await;
    }

    #[tokio::test]
    async fn all_wait_for_the_beginning() {
        LocalSet::new()
            .run_until(async {
                let upstream =
                    Upstream::start(vec![Track::new(["a"])], Duration::from_millis(1)).await.unwrap();
                let asking = ask(&upstream, 0);
                tokio::pin!(asking);
                tokio::select! {
                    answer = &mut asking => panic!("{answer:?} came before the beginning"),
                    () = async { while upstream.asked() == 0 { tokio::task::yield_now().await; } } => {}
                }
                upstream.begin();
                assert_eq!(said(&asking.await.1), "a");
            })
            .await;
    }

    #[test]
    fn streams_are_spread_over_their_gap() {
        let gap = Duration::from_millis(100);
        assert_eq!(stagger(0, 4, gap), Duration::ZERO);
        assert_eq!(stagger(1, 4, gap), Duration::from_millis(25));
        assert!(stagger(3, 4, gap) < gap && stagger(0, 0, gap) == Duration::ZERO);
    }
}

//! The exchange over real sockets, with an endpoint that does whatever endpoints do.

use super::super::chat::{FinishReason, Message};
use super::super::double::{Double, Seen, Step, head};
use super::*;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);
const PATIENT: Timeouts = Timeouts { connect: LONG, first_token: LONG, idle: LONG, total: LONG };
const SAID: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n";
const STOPPED: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const USED: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

fn request() -> Request {
    let messages = vec![Message::User("Hello?".to_owned())];
    Request { messages, max_tokens: 10, temperature: None, seed: Some(7), tools: Vec::new() }
}

fn endpoint(port: u16, key: &str) -> Endpoint {
    Endpoint::parse(&format!("http://127.0.0.1:{port}/v1/"), Secret::new(key), "tiny").expect("valid")
}

async fn ask(double: &Double, timeouts: Timeouts) -> Result<Answer, Failure> {
    Upstream::new(timeouts).expect("a client").ask(&endpoint(double.port, "sk-hidden"), &request()).await
}

/// The text, and how it ended.
async fn all(double: &Double, timeouts: Timeouts) -> (String, Vec<Piece>, Option<Failure>) {
    let mut answer = match ask(double, timeouts).await {
        Ok(answer) => answer,
        Err(failure) => return (String::new(), Vec::new(), Some(failure)),
    };
    let (mut text, mut pieces) = (String::new(), Vec::new());
    while let Some(piece) = answer.next().await {
        match piece {
            Ok(Piece::Text(piece)) => text.push_str(&piece),
            Ok(piece) => pieces.push(piece),
            Err(failure) => {
                assert_eq!(answer.next().await, None, "nothing after a failure");
                return (text, pieces, Some(failure));
            }
        }
    }
    (text, pieces, None)
}

fn send(text: &str) -> Step {
    Step::Send(text.as_bytes().to_vec())
}

fn events() -> Step {
    head("200 OK", "text/event-stream; charset=utf-8")
}

const FINISHED: Piece = Piece::Finished(FinishReason::Stop);
const USAGE: Piece = Piece::Usage(Usage { prompt: 3, completion: 1 });

#[tokio::test]
async fn an_answer_arrives_and_the_request_was_what_was_asked() {
    let mut double = Double::stream(&[SAID, ": comment\n\n", SAID, STOPPED, USED, DONE]).await;
    assert_eq!(all(&double, PATIENT).await, ("HiHi".to_owned(), vec![USAGE, FINISHED], None));
    let Seen::Request(request) = double.next().await else { panic!("no request") };
    assert!(request.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("authorization: Bearer sk-hidden\r\n"), "{request}");
    let body: serde_json::Value =
        serde_json::from_str(request.split_once("\r\n\r\n").expect("a body").1).expect("JSON");
    assert_eq!((&body["model"], &body["stream"], &body["seed"]), (&"tiny".into(), &true.into(), &7.into()));
}

#[tokio::test]
async fn without_a_key_none_is_sent() {
    let mut double = Double::stream(&[SAID, DONE]).await;
    let upstream = Upstream::new(PATIENT).expect("a client");
    assert!(upstream.ask(&endpoint(double.port, ""), &request()).await.is_ok());
    let Seen::Request(request) = double.next().await else { panic!("no request") };
    assert!(!request.to_lowercase().contains("authorization"), "{request}");
}

#[tokio::test]
async fn text_may_be_cut_anywhere() {
    let whole =
        format!(": hi\r\n\r\n{}{STOPPED}{DONE}", SAID.replace("Hi", "Grüße 你好 👋").replace('\n', "\r\n"));
    let bytes =
        whole.bytes().flat_map(|byte| [Step::Send(vec![byte]), Step::Wait(Duration::from_micros(50))]);
    let double = Double::start(std::iter::once(events()).chain(bytes).collect()).await;
    assert_eq!(all(&double, PATIENT).await, ("Grüße 你好 👋".to_owned(), vec![FINISHED], None));
}

#[tokio::test]
async fn the_end_may_be_told_in_many_ways() {
    for parts in
        [&[SAID, DONE][..], &[SAID, STOPPED], &[SAID, STOPPED, DONE], &[&[SAID, STOPPED, DONE].concat()]]
    {
        let double = Double::stream(parts).await;
        assert_eq!(all(&double, PATIENT).await, ("Hi".to_owned(), vec![FINISHED], None), "{parts:?}");
    }
    // Neither usage nor end come, and the connection stays: the answer is whole all the same.
    let double = Double::start(vec![events(), send(SAID), send(STOPPED), Step::Hang]).await;
    let hasty = Timeouts { idle: SHORT, ..PATIENT };
    assert_eq!(all(&double, hasty).await, ("Hi".to_owned(), vec![FINISHED], None));
}

/// A server that takes the connection and never speaks TLS.
///
/// Proves AI-10.
#[tokio::test]
async fn a_connection_takes_so_long_and_no_longer() {
    let double = Double::start(vec![Step::Deaf]).await;
    let url = format!("https://127.0.0.1:{}", double.port);
    let endpoint = Endpoint::parse(&url, Secret::new(""), "tiny").expect("valid");
    let upstream = Upstream::new(Timeouts { connect: SHORT, ..PATIENT }).expect("a client");
    assert_eq!(upstream.ask(&endpoint, &request()).await.err(), Some(Failure::Connect));
    let closed =
        { std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port() };
    let nobody =
        Endpoint::parse(&format!("http://127.0.0.1:{closed}"), Secret::new(""), "tiny").expect("valid");
    assert_eq!(upstream.ask(&nobody, &request()).await.err(), Some(Failure::Connect));
}

/// Proves AI-10.
#[tokio::test]
async fn the_first_token_has_to_come_in_time() {
    let empty = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n: ping\n\n";
    let pings = (0..60).flat_map(|_| [send(empty), Step::Wait(SHORT / 6)]);
    for steps in [
        vec![Step::Hang],
        vec![events(), Step::Hang],
        std::iter::once(events()).chain(pings).chain([send(SAID), send(DONE)]).collect(),
        vec![head("200 OK", "application/json"), send("{"), Step::Hang],
    ] {
        let double = Double::start(steps).await;
        let (text, _, failure) = all(&double, Timeouts { first_token: SHORT, ..PATIENT }).await;
        assert_eq!((text.as_str(), failure), ("", Some(Failure::FirstTokenTimeout)));
    }
}

/// Proves AI-10.
#[tokio::test]
async fn keep_alives_are_no_answer() {
    let pings = (0..60).flat_map(|_| [send(": ping\n\ndata: {\"choices\":[]}\n\n"), Step::Wait(SHORT / 6)]);
    let steps = [events(), send(SAID)].into_iter().chain(pings).chain([send(STOPPED), send(DONE)]);
    let double = Double::start(steps.collect()).await;
    let (text, _, failure) = all(&double, Timeouts { idle: SHORT, ..PATIENT }).await;
    assert_eq!((text.as_str(), failure), ("Hi", Some(Failure::IdleTimeout)));
}

/// Proves AI-10.
#[tokio::test]
async fn an_answer_without_end_has_one() {
    let talk = (0..600).flat_map(|_| [send(SAID), Step::Wait(SHORT / 30)]);
    let double = Double::start(std::iter::once(events()).chain(talk).collect()).await;
    let (text, _, failure) = all(&double, Timeouts { total: SHORT * 6, ..PATIENT }).await;
    assert!(text.starts_with("HiHi"));
    assert_eq!(failure, Some(Failure::TotalTimeout));
}

#[tokio::test]
async fn a_connection_that_breaks_is_told_from_an_end() {
    for steps in [
        vec![],
        vec![events()],
        vec![events(), send(SAID)],
        vec![events(), send(SAID), send("data: {\"choices\":[{\"del")],
        // More was promised than came.
        vec![
            send("HTTP/1.1 200 OK\r\ncontent-length: 999\r\ncontent-type: text/event-stream\r\n\r\n"),
            send(SAID),
        ],
        vec![
            send("HTTP/1.1 200 OK\r\ncontent-length: 999\r\ncontent-type: application/json\r\n\r\n"),
            send("{"),
        ],
    ] {
        let double = Double::start(steps.clone()).await;
        assert_eq!(all(&double, PATIENT).await.2, Some(Failure::Dropped), "{steps:?}");
    }
}

#[tokio::test]
async fn dropping_the_answer_closes_the_connection() {
    let mut double = Double::start(vec![events(), send(SAID), Step::Hang]).await;
    let mut answer = ask(&double, PATIENT).await.expect("begun");
    assert_eq!(answer.next().await, Some(Ok(Piece::Text("Hi".to_owned()))));
    assert!(matches!(double.next().await, Seen::Request(_)));
    drop(answer);
    assert_eq!(double.next().await, Seen::Closed);
}

#[tokio::test]
async fn giving_up_before_the_answer_closes_the_connection() {
    let mut double = Double::start(vec![Step::Hang]).await;
    let (upstream, endpoint) = (Upstream::new(PATIENT).expect("a client"), endpoint(double.port, ""));
    let asking = tokio::spawn(async move { upstream.ask(&endpoint, &request()).await.map(drop) });
    assert!(matches!(double.next().await, Seen::Request(_)));
    asking.abort();
    assert_eq!(double.next().await, Seen::Closed);
}

#[tokio::test]
async fn waiting_may_be_given_up_and_taken_up_again() {
    let double =
        Double::start(vec![events(), Step::Wait(SHORT), send(SAID), Step::Wait(SHORT), send(DONE)]).await;
    let mut answer = ask(&double, PATIENT).await.expect("begun");
    let mut pieces = Vec::new();
    loop {
        match tokio::time::timeout(Duration::from_millis(10), answer.next()).await {
            Ok(Some(piece)) => pieces.push(piece.expect("well")),
            Ok(None) => break,
            Err(_elapsed) => {}
        }
    }
    assert_eq!(pieces, [Piece::Text("Hi".to_owned()), FINISHED]);
}

#[tokio::test]
async fn an_error_in_the_stream_ends_it() {
    for (part, failure) in [
        ("data: {\"error\":{\"message\":\"boom\",\"type\":\"server_error\"}}\n\n", Failure::UpstreamError),
        (
            "event: error\ndata: {\"message\":\"boom\",\"code\":503}\n\n",
            Failure::Overloaded { retry_after: None },
        ),
        ("data: <html>\n\n", Failure::Malformed),
    ] {
        let double = Double::start(vec![events(), send(SAID), send(part), Step::Hang]).await;
        assert_eq!(all(&double, PATIENT).await, ("Hi".to_owned(), vec![], Some(failure)));
    }
}

#[tokio::test]
async fn an_engine_that_does_not_stream_is_understood() {
    let json = |body: &str| vec![head("200 OK", "application/json"), send(body)];
    let body = "{\"choices\":[{\"message\":{\"role\":\"assistant\",\"content\":\"Hi\"},\"finish_reason\":\"stop\"}],\
                \"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}";
    let double = Double::start(json(body)).await;
    assert_eq!(all(&double, PATIENT).await, ("Hi".to_owned(), vec![USAGE, FINISHED], None));
    for (body, failure) in [
        ("{\"error\":{\"message\":\"x\",\"code\":503}}", Failure::Overloaded { retry_after: None }),
        ("{\"detail\":\"x\"}", Failure::Malformed),
        ("<html>Sign in to the network</html>", Failure::Malformed),
    ] {
        let double = Double::start(json(body)).await;
        assert_eq!(all(&double, PATIENT).await.2, Some(failure), "{body}");
    }
}

#[tokio::test]
async fn a_refusal_says_why_and_shows_nothing() {
    for (status, body, failure) in [
        (
            "401 Unauthorized",
            "{\"error\":{\"message\":\"Incorrect API key sk-hidden\"}}",
            Failure::Unauthorized,
        ),
        ("404 Not Found", "{\"error\":\"model not found\"}", Failure::ModelNotFound),
        ("400 Bad Request", "{\"error\":{\"code\":\"context_length_exceeded\"}}", Failure::ContextTooLong),
        ("302 Found\r\nlocation: http://127.0.0.1:1/", "", Failure::Rejected),
        ("500 Internal Server Error", "oops", Failure::Overloaded { retry_after: None }),
        (
            "429 Too Many Requests\r\nretry-after: 7",
            "{}",
            Failure::RateLimited { retry_after: Some(Duration::from_secs(7)) },
        ),
        ("429 Too Many Requests", "{\"error\":{\"type\":\"insufficient_quota\"}}", Failure::QuotaExhausted),
    ] {
        let double = Double::start(vec![head(status, "application/json"), send(body)]).await;
        let told = all(&double, PATIENT).await.2.expect("a failure");
        assert!(!format!("{told:?} {told}").contains("sk-hidden"));
        assert_eq!(told, failure, "{status}");
    }
}

#[tokio::test]
async fn sizes_are_bounded() {
    let long = "x".repeat(BODY_BYTES + 1);
    for steps in [
        vec![events(), send(SAID), send("data: "), send(&long), Step::Hang],
        vec![head("200 OK", "application/json"), send(&long), Step::Hang],
    ] {
        let double = Double::start(steps).await;
        assert_eq!(all(&double, PATIENT).await.2, Some(Failure::Malformed));
    }
    let double = Double::start(vec![head("503 Busy", "text/html"), send(&long), Step::Hang]).await;
    assert_eq!(
        all(&double, PATIENT).await.2,
        Some(Failure::Overloaded { retry_after: None }),
        "and no waiting"
    );
}

#[test]
fn an_endpoint_is_checked_and_shows_no_key() {
    let parse = |url: &str, key: &str, model: &str| Endpoint::parse(url, Secret::new(key), model);
    for url in ["https://a.example/v1", " https://a.example/v1/ ", "https://a.example/v1/chat/completions"] {
        let endpoint = parse(url, "sk-hidden", " m ").expect("valid");
        assert_eq!(endpoint.identity(), ("https://a.example/v1/chat/completions".to_owned(), "m".to_owned()));
        assert!(!format!("{endpoint:?}").contains("hidden"));
    }
    for (url, key, model, wrong) in [
        ("a.example/v1", "", "m", BadEndpoint::Address),
        ("file:///v1", "", "m", BadEndpoint::Address),
        ("", "", "m", BadEndpoint::Address),
        ("https://u:p@a.example", "", "m", BadEndpoint::Extras),
        ("https://a.example/v1?key=x", "", "m", BadEndpoint::Extras),
        ("https://a.example", "x\r\nhost: b", "m", BadEndpoint::Key),
        ("https://a.example", "x ", "m", BadEndpoint::Key),
        ("https://a.example", "", " ", BadEndpoint::Model),
    ] {
        assert_eq!(parse(url, key, model), Err(wrong), "{url} {model}");
    }
}

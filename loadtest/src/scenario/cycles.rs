//! Sockets that come and go in every way there is: afterwards no registry holds anything and memory is where it was.

use std::io;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::crowd::{Crowd, during};
use super::registry::Scrape;
use super::{ScenarioError, Stage};
use crate::lean::{self, Door, Scanner, client_text};
use crate::report::Report;
use crate::server::Usage;
use crate::stats::float;

/// Everything has to be let go within: idle rooms take up to two minutes by default.
const SETTLED_WITHIN: Duration = Duration::from_secs(180);
/// One step of a socket's life, and the server's patience with a silent one.
const PATIENCE: Duration = Duration::from_secs(60);
/// Memory may grow by this much of the warmed start, in percent.
const MAY_GROW: f64 = 10.0;
/// One in so many cycles ends in silence: the server takes its time to notice.
const SILENT_EVERY: usize = 50;

#[derive(Debug, Clone)]
pub struct Cycles {
    pub cycles: usize,
    /// Cycles before the start is measured.
    pub warm: usize,
    pub at_once: usize,
}

/// How a cycle ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Goodbye,
    Reset,
    InTheHandshake,
    BehindTheHandshake,
    WhileSubscribing,
    Silence,
}

fn end_of(cycle: usize) -> End {
    match cycle % 5 {
        _ if cycle.is_multiple_of(SILENT_EVERY) => End::Silence,
        0 => End::Goodbye,
        1 => End::Reset,
        2 => End::InTheHandshake,
        3 => End::BehindTheHandshake,
        _ => End::WhileSubscribing,
    }
}

impl Cycles {
    /// The report, and whether everything was let go. Has to run inside a `LocalSet`.
    pub async fn run(&self, stage: &Stage) -> Result<(Report, bool), ScenarioError> {
        let Some(pid) = stage.pid else {
            return Err(ScenarioError::Refused(
                "cycles reads the server's memory: give --spawn or --pid".to_owned(),
            ));
        };
        let rss = || Usage::of(pid).map(|usage| usage.rss).map_err(during("reading the server's memory"));
        let rooms = stage.world.rooms(2).await?;
        // Silent sockets pile up until they are noticed, so that a user's limit has to leave room for them.
        let silent = self.cycles.max(self.warm).div_ceil(SILENT_EVERY);
        // So do those that were cut, for a moment.
        let crowd = Crowd { sockets: (self.at_once + silent) * 2, per_user: 5, at_once: self.at_once };
        let doors = crowd.doors(stage).await?;
        stage.progress.say(format_args!("warming with {} cycles", self.warm));
        self.turn(self.warm, &doors, &rooms).await?;
        let left = settle(stage).await?;
        let start = rss()?;
        stage.progress.say(format_args!("{} cycles", self.cycles));
        let began = Instant::now();
        self.turn(self.cycles, &doors, &rooms).await?;
        let took = began.elapsed();
        let left = [left, settle(stage).await?].concat();
        let end = rss()?;
        let grown = (float(end) / float(start.max(1)) - 1.0) * 100.0;
        for registry in &left {
            stage.progress.say(format_args!("not empty: {registry}"));
        }
        let mut report = Report::new("cycles", stage.seed);
        report.row("cycles", self.cycles, "").row("warmed with", self.warm, "");
        report.measured("wall", took.as_secs_f64(), "s");
        report.row("registries not empty", left.len(), "");
        report.measured("server memory, warmed", float(start) / 1_048_576.0, "MiB");
        report.measured("server memory, end", float(end) / 1_048_576.0, "MiB");
        report.measured("grown by", grown, "%");
        Ok((report, left.is_empty() && grown <= MAY_GROW))
    }

    async fn turn(&self, cycles: usize, doors: &[Door], rooms: &[u64]) -> Result<(), ScenarioError> {
        let (silent, loud): (Vec<usize>, Vec<usize>) =
            (0..cycles).partition(|cycle| matches!(end_of(*cycle), End::Silence));
        let all = |numbers: Vec<usize>, at_once: usize| {
            let lives = numbers.into_iter().map(move |cycle| live(cycle, doors, rooms));
            stream::iter(lives).buffer_unordered(at_once.max(1)).collect::<Vec<Result<(), ScenarioError>>>()
        };
        let waiting = silent.len();
        let (silent, loud) = tokio::join!(all(silent, waiting), all(loud, self.at_once));
        silent.into_iter().chain(loud).collect()
    }
}

/// Waits until every registry is empty; those that stay.
async fn settle(stage: &Stage) -> Result<Vec<String>, ScenarioError> {
    stage.progress.say("waiting for everything to be let go");
    let deadline = Instant::now() + SETTLED_WITHIN;
    loop {
        let left = Scrape::of(&stage.world.url).await?.occupied();
        if left.is_empty() || Instant::now() > deadline {
            return Ok(left);
        }
        sleep(Duration::from_millis(250)).await;
    }
}

async fn live(cycle: usize, doors: &[Door], rooms: &[u64]) -> Result<(), ScenarioError> {
    let Some(door) = doors.get(cycle % doors.len().max(1)) else { return Ok(()) };
    match timeout(PATIENCE, cycle_of(end_of(cycle), door, rooms)).await {
        Ok(ended) => ended.map_err(during("a cycle")),
        Err(_) => Err(ScenarioError::Late { what: format!("the end of cycle {cycle}, {:?}", end_of(cycle)) }),
    }
}

async fn cycle_of(end: End, door: &Door, rooms: &[u64]) -> io::Result<()> {
    if matches!(end, End::InTheHandshake | End::BehindTheHandshake) {
        let mut stream = TcpStream::connect(door.server).await?;
        let request = lean::request(door);
        let told = if matches!(end, End::InTheHandshake) { request.len() / 2 } else { request.len() };
        stream.write_all(request.as_bytes().get(..told).unwrap_or_default()).await?;
        return stream.set_zero_linger();
    }
    let (mut stream, early) = lean::connect(door, 0).await?;
    let mut scanner = Scanner::default();
    scanner.scan(&early, |_| {});
    let mut places: Vec<_> = rooms.iter().map(|room| json!({"room_id": room})).collect();
    if let Some(last) = places.last_mut().and_then(|place| place.as_object_mut()) {
        last.insert("level".to_owned(), json!("badge"));
    }
    let subscribe =
        json!({"type": "room.subscribe", "request_id": "s", "data": {"rooms": places}}).to_string();
    stream.write_all(&client_text(&subscribe)).await?;
    if matches!(end, End::WhileSubscribing) {
        return stream.set_zero_linger();
    }
    until(&mut stream, &mut scanner, |kind| kind == Some("reply")).await?;
    let typing = json!({"type": "typing.start", "data": {"room_id": rooms.first()}}).to_string();
    stream.write_all(&client_text(&typing)).await?;
    match end {
        End::Goodbye => {
            stream.write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8]).await?;
            until(&mut stream, &mut scanner, |kind| kind.is_none()).await
        }
        End::Silence => until(&mut stream, &mut scanner, |kind| kind.is_none()).await,
        _ => stream.set_zero_linger(),
    }
}

/// Reads until a reply, or a close frame (none), is what was waited for. A connection that was cut is closed, too.
async fn until(
    stream: &mut TcpStream,
    scanner: &mut Scanner,
    wanted: impl Fn(Option<&str>) -> bool,
) -> io::Result<()> {
    let mut buffer = vec![0; 8 * 1024];
    loop {
        let read = match stream.read(&mut buffer).await {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
            Err(error) => return Err(error),
        };
        if read == 0 {
            return if wanted(None) { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        let (mut found, mut closed) = (false, false);
        scanner.scan(buffer.get(..read).unwrap_or_default(), |frame| {
            closed |= frame.is_close();
            found |=
                if frame.is_close() { wanted(None) } else { frame.is_type("reply") && wanted(Some("reply")) };
        });
        if found {
            return Ok(());
        }
        if closed {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "closed by the server"));
        }
    }
}

//! The load generator's scenarios, small: each finds that nothing was lost, doubled or out of order, and reports what it says it does.

use crate::harness::{Ground, House, PASSWORD};
use loadtest::baseline::{self, Launcher, Mode};
use loadtest::progress::Progress;
use loadtest::report::Report;
use loadtest::scenario::Stage;
use loadtest::scenario::crowd::Crowd;
use loadtest::scenario::fanout::{Fanout, Load};
use loadtest::scenario::rooms::Rooms;
use loadtest::world::{Admin, World};
use serde_json::Value;
use std::time::Duration;
use tokio::task::LocalSet;

/// Not a test but the process that scenarios compare with; without options on standard input it does nothing.
#[test]
#[ignore = "started by the scenarios"]
fn broadcaster() {
    let input = std::io::BufReader::new(std::io::stdin());
    baseline::serve(input, &mut std::io::stdout()).expect("it serves");
}

async fn stage(house: &House) -> Stage {
    let admin = Admin { email: "ann@example.org".to_owned(), password: PASSWORD.to_owned() };
    let own = std::env::current_exe().expect("the path of the tests");
    let args = ["--exact", "loads::broadcaster", "--ignored", "--nocapture"];
    let command = std::iter::once(own.into()).chain(args.map(Into::into)).collect();
    Stage {
        world: World::open(&house.url(), &admin).await.expect("Ann signs in"),
        pid: house.server.pid(),
        progress: Progress::silent(),
        seed: 7,
        baseline: Launcher { command, core: None },
    }
}

fn crowd(sockets: usize) -> Crowd {
    Crowd { sockets, per_user: 10, at_once: 8 }
}

/// The values of a report by their JSON names.
fn result(report: &Report) -> Value {
    let mut line = Vec::new();
    report.write_json(&mut line).expect("a line");
    serde_json::from_slice::<Value>(&line).expect("JSON")["result"].clone()
}

#[tokio::test]
async fn fanout_delivers_every_message_to_everyone_however_they_come() {
    let house = House::open(Ground::Sqlite).await;
    LocalSet::new()
        .run_until(async {
            for (load, baseline) in [
                (Load::OneInFlight, Some(Mode::Plain)),
                (Load::Rate(200), None),
                (Load::Saturated(8), Some(Mode::Coalescing)),
            ] {
                let fanout =
                    Fanout { crowd: crowd(12), messages: 30, warm: 3, load, posters: 3, size: 60, baseline };
                let (report, kept) =
                    fanout.run(&stage(&house).await).await.unwrap_or_else(|error| panic!("{load}: {error}"));
                let result = result(&report);
                assert!(kept, "{load}: {result}");
                assert_eq!(result["deliveries"], 30 * 12, "{load}: {result}");
                assert_eq!(result["baseline"], baseline.map_or(Value::Null, |mode| mode.name().into()));
                assert!(result["event_bytes"].as_u64() > Some(200), "{result}");
            }
        })
        .await;
}

#[tokio::test]
async fn everyone_in_many_rooms_hears_everything_once() {
    let house = House::open(Ground::Sqlite).await;
    LocalSet::new()
        .run_until(async {
            let rooms = Rooms {
                rooms: 6,
                members: 4,
                per_user: 6,
                at_once: 8,
                warm: Duration::from_millis(100),
                time: Duration::from_millis(500),
                size: 60,
                baseline: Some(Mode::Plain),
            };
            let (report, kept) = rooms.run(&stage(&house).await).await.expect("a report");
            let result = result(&report);
            assert!(kept, "{result}");
            assert!(result["deliveries"].as_u64() > Some(0), "{result}");
            assert!(result["baseline_deliveries_per_second"].as_f64() > Some(0.0), "{result}");
        })
        .await;
}

//! The load generator's scenarios, small: each finds that nothing was lost, doubled or out of order, and reports what it says it does.

use crate::harness::{Ground, House, PASSWORD, on_both};
use loadtest::baseline::{self, Launcher, Mode};
use loadtest::progress::Progress;
use loadtest::report::Report;
use loadtest::scenario::Stage;
use loadtest::scenario::crowd::Crowd;
use loadtest::scenario::fanout::{Fanout, Load};
use loadtest::scenario::history::History;
use loadtest::scenario::idle::Idle;
use loadtest::scenario::mixed::{Habits, Mixed};
use loadtest::scenario::posts::Posts;
use loadtest::scenario::replay::Replay;
use loadtest::scenario::rooms::Rooms;
use loadtest::scenario::search::Search;
use loadtest::scenario::seed::Seed;
use loadtest::scenario::storm::{How, Storm};
use loadtest::scenario::stream::Stream;
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
                time: Duration::from_secs(2),
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

#[tokio::test]
async fn acked_posts_are_stored_once() {
    let house = House::open(Ground::Sqlite).await;
    LocalSet::new()
        .run_until(async {
            let posts = Posts {
                clients: 4,
                rooms: 2,
                warm: Duration::from_millis(100),
                time: Duration::from_secs(2),
                size: 60,
            };
            let (report, kept) = posts.run(&stage(&house).await).await.expect("a report");
            let result = result(&report);
            assert!(kept, "{result}");
            assert!(result["acked_posts"].as_u64() > Some(0), "{result}");
            assert!(result["commit_p99_ms"].as_f64() > Some(0.0), "{result}");
        })
        .await;
}

#[tokio::test]
async fn idle_connections_stay_and_are_measured() {
    let house = House::open(Ground::Sqlite).await;
    LocalSet::new()
        .run_until(async {
            let idle = Idle { crowd: crowd(20), rooms: 2, seconds: 1 };
            let (report, kept) = idle.run(&stage(&house).await).await.expect("a report");
            let result = result(&report);
            assert!(kept, "{result}");
            assert_eq!((&result["connections"], &result["lost_meanwhile"]), (&20.into(), &0.into()));
            assert!(result["server_memory_with_all_mib"].as_f64() > Some(0.0), "{result}");
        })
        .await;
}

#[tokio::test]
async fn who_drops_and_resumes_has_all_that_was_posted_meanwhile() {
    let house = House::open(Ground::Sqlite).await;
    LocalSet::new()
        .run_until(async {
            let storm = Storm {
                crowd: crowd(30),
                rooms: 3,
                how: How::Drop,
                messages: 40,
                back_within: Duration::from_secs(60),
            };
            let (report, kept) = storm.run(&stage(&house).await, None).await.expect("a report");
            let result = result(&report);
            assert!(kept, "{result}");
            assert_eq!((&result["back"], &result["have_all_that_was_posted"]), (&30.into(), &30.into()));
            assert_eq!(result["tries_that_failed"], serde_json::json!({"dropped": 30}));
        })
        .await;
}

#[tokio::test]
async fn a_replay_hands_every_missed_event_to_each_client() {
    let house = House::open(Ground::Sqlite).await;
    LocalSet::new()
        .run_until(async {
            let replay = Replay { crowd: crowd(8), events: 50, rounds: 2, size: 60 };
            let (report, kept) = replay.run(&stage(&house).await).await.expect("a report");
            let result = result(&report);
            assert!(kept, "{result}");
            assert_eq!((&result["events"], &result["gaps_instead"]), (&(8 * 50 * 2).into(), &0.into()));
        })
        .await;
}

on_both!(history_and_search_measure_what_was_seeded_once, async |ground| {
    let mut house = House::open(ground).await;
    LocalSet::new()
        .run_until(async {
            let kept_in = tempfile::tempdir().expect("a directory");
            let seed = Seed { messages: 3_000, rooms: 4 };
            let dir = Some(kept_in.path().to_owned());
            let history = History { seed, dir: dir.clone(), samples: 10 };
            let stage = stage(&house).await;
            let (report, kept) = history.run(&stage, Some(&mut house.server)).await.expect("a report");
            let pages = result(&report);
            assert!(kept, "{pages}");
            for kind in ["newest_page_big_room", "page_in_the_middle_before", "page_around_a_message"] {
                assert!(pages[format!("{kind}_p99_ms")].as_f64() > Some(0.0), "{kind}: {pages}");
            }
            assert!(pages["resume_cold_room_p99_ms"].as_f64() > Some(0.0), "{pages}");

            let before = house.metric("hearth_events_committed_total", "").await;
            let search = Search { seed, dir, samples: 10 };
            let (report, kept) = search.run(&stage).await.expect("a report");
            assert!(kept, "{}", result(&report));
            let after = house.metric("hearth_events_committed_total", "").await;
            assert!((after - before).abs() < 0.5, "nothing is seeded again");
        })
        .await;
});

on_both!(on_a_mixed_day_everyone_hears_every_acked_post, async |ground| {
    let house = House::open(ground).await;
    LocalSet::new()
        .run_until(async {
            let habits = Habits { posts: 10, reads: 3, pages: 2, searches: 1, drops: 2 };
            let mixed = Mixed { people: 12, rooms: 4, time: Duration::from_secs(4), habits };
            let (report, kept) = mixed.run(&stage(&house).await).await.expect("a report");
            let result = result(&report);
            assert!(kept, "{result}");
            for what in ["posts", "deliveries", "reconnects", "events_resumed"] {
                assert!(result[what].as_u64() > Some(0), "{what}: {result}");
            }
            assert_eq!(result["connections_ended_by_the_server"], 0, "{result}");
        })
        .await;
});

/// The server it loads is set as the tool sets one that it starts.
#[tokio::test]
async fn every_byte_of_many_answers_at_once_is_heard_once_and_stored() {
    let stream = Stream { streams: 6, rate: 60, time: Duration::from_secs(2), listeners: 2, posts: 50 };
    let settings = stream.settings();
    let args: Vec<&str> = settings.iter().flat_map(|set| ["--set", set.as_str()]).collect();
    let house = House::open_with(Ground::Sqlite, &args).await;
    LocalSet::new()
        .run_until(async {
            let (report, kept) = stream.run(&stage(&house).await).await.expect("a report");
            let result = result(&report);
            assert!(kept, "{result}");
            assert_eq!(result["pieces_heard"], 6 * 2 * 120, "{result}");
            for measured in ["relay_p50_ms", "relay_p99_ms", "post_p99_with_streams_ms", "with_by_without"] {
                assert!(result[measured].as_f64() > Some(0.0), "{measured}: {result}");
            }
            let done = house.metric("hearth_ai_runs_total", "state=\"done\"").await;
            assert!((done - 6.0).abs() < 0.5, "{done}");
        })
        .await;
}

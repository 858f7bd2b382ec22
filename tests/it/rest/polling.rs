//! `GET /events`: everything one may see, waited for.

use super::caller::Caller;
use crate::harness::{Ground, House, on_both};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The kinds of the events, and the rooms they were in.
fn kinds(answer: &Value) -> Vec<(&str, u64)> {
    let events = answer["events"].as_array().expect("a list");
    events
        .iter()
        .map(|event| (event["type"].as_str().expect("a type"), event["room_id"].as_u64().expect("a room")))
        .collect()
}

async fn head(caller: &Caller) -> u64 {
    caller.get("/events?limit=500").await.expect(200)["next"].as_u64().expect("an id")
}

fn polls(caller: &Caller, after: u64) -> tokio::task::JoinHandle<Value> {
    let caller = caller.clone();
    tokio::spawn(async move { caller.get(&format!("/events?after={after}&wait=25")).await.expect(200) })
}

on_both!(a_poll_waits_for_what_one_may_see, async |ground| {
    let house = House::open(ground).await;
    let (bob, eve) = (house.joined_by("Bob").await, house.joined_by("Eve").await);
    let (ann, eve_calls) = (Caller::of(&house.admin), Caller::of(&eve));
    let den = house.closed_room("Den", &[&bob]).await.id;
    let after = head(&eve_calls).await;
    let began = Instant::now();
    let poll = polls(&eve_calls, after);
    house.metric_becomes("hearth_polls_waiting", "", 1.0).await;
    // Not for Eve: this alone doesn't end her wait.
    ann.says(den, "among us").await;
    let hello = ann.says(house.lobby, "hello").await;
    let answer = poll.await.expect("polled");
    assert!(began.elapsed() < Duration::from_secs(20), "it woke up");
    assert_eq!(kinds(&answer), [("message.posted", house.lobby)]);
    assert_eq!((&answer["recovery"], answer["next"].as_u64()), (&json!("complete"), Some(hello)));

    // To be let in is heard in one's inbox, and from then on the room is, too.
    let poll = polls(&eve_calls, hello);
    house.metric_becomes("hearth_polls_waiting", "", 1.0).await;
    ann.put(&format!("/rooms/{den}/members/{}", eve.id), Value::Null).await.expect(204);
    let answer = poll.await.expect("polled");
    assert!(kinds(&answer).iter().any(|(kind, _)| *kind == "membership.granted"), "{answer}");
    let next = answer["next"].as_u64().expect("an id");
    let poll = polls(&eve_calls, next);
    ann.says(den, "welcome").await;
    assert_eq!(kinds(&poll.await.expect("polled")), [("message.posted", den)]);
    house.metric_becomes("hearth_polls_waiting", "", 0.0).await;
});

on_both!(a_poll_that_hears_nothing_ends_and_goes_on_behind_what_others_said, async |ground| {
    let house = House::open(ground).await;
    let eve = Caller::of(&house.joined_by("Eve").await);
    let den = house.closed_room("Den", &[]).await.id;
    let after = head(&eve).await;
    let secret = Caller::of(&house.admin).says(den, "among us").await;
    let answer = eve.get(&format!("/events?after={after}&wait=1")).await.expect(200);
    assert_eq!((&answer["events"], &answer["recovery"]), (&json!([]), &json!("complete")));
    assert_eq!(answer["next"].as_u64(), Some(secret), "what isn't for Eve needn't be looked through again");
    let at_once = Instant::now();
    eve.get(&format!("/events?after={secret}")).await.expect(200);
    assert!(at_once.elapsed() < Duration::from_secs(5), "without wait there is none");
});

on_both!(what_is_polled_in_small_bites_is_the_whole_log, async |ground| {
    let house = House::open(ground).await;
    let bob = house.joined_by("Bob").await;
    let (ann, bob_calls) = (Caller::of(&house.admin), Caller::of(&bob));
    let den = house.closed_room("Den", &[]).await.id;
    for n in 0..10 {
        ann.says(if n % 2 == 0 { house.lobby } else { den }, &n.to_string()).await;
    }
    for (caller, sees_den) in [(&ann, true), (&bob_calls, false)] {
        let whole = caller.get("/events?after=0&limit=500").await.expect(200);
        let (mut bites, mut after) = (Vec::new(), 0);
        loop {
            let bite = caller.get(&format!("/events?after={after}&limit=3")).await.expect(200);
            let events = bite["events"].as_array().expect("a list");
            if events.is_empty() {
                break;
            }
            assert!(events.len() <= 3);
            bites.extend(events.clone());
            after = bite["next"].as_u64().expect("an id");
        }
        assert_eq!(Value::Array(bites), whole["events"]);
        assert_eq!(kinds(&whole).iter().any(|(_, room)| *room == den), sees_den);
    }
});

on_both!(another_log_is_a_gap_and_not_silence, async |ground| {
    let house = House::open(ground).await;
    let ann = Caller::of(&house.admin);
    let now = ann.get("/events?limit=500").await.expect(200);
    let (epoch, next) = (now["epoch"].as_str().expect("an epoch"), now["next"].as_u64().expect("an id"));
    let fine = ann.get(&format!("/events?after={next}&epoch={epoch}")).await.expect(200);
    assert_eq!(fine["recovery"], "complete");
    let foreign = uuid::Uuid::new_v4();
    for (query, reason) in [
        (format!("after=1&epoch={foreign}&wait=25"), "epoch_changed"),
        (format!("after={}&epoch={epoch}&wait=25", next + 1), "ahead_of_head"),
        ("after=9007199254740991&wait=25".to_owned(), "ahead_of_head"),
    ] {
        let gap = ann.get(&format!("/events?{query}")).await.expect(200);
        assert_eq!((&gap["recovery"], &gap["reason"]), (&json!("gap"), &json!(reason)));
        assert_eq!(
            (&gap["events"], &gap["next"], gap["epoch"].as_str()),
            (&json!([]), &json!(next), Some(epoch))
        );
    }
    for (query, field) in [
        ("wait=26", "wait"),
        ("wait=-1", "wait"),
        ("wait=x", "wait"),
        ("epoch=x", "epoch"),
        ("after=-1", "after"),
        ("limit=501", "limit"),
        ("limit=0", "limit"),
    ] {
        ann.get(&format!("/events?{query}")).await.is_problem(422, "invalid_payload", Some(field));
    }
});

//! A room's history and its log, page by page, while others write.

use super::caller::Caller;
use crate::harness::{Ground, House, on_both};
use serde_json::{Value, json};
use std::collections::HashSet;

/// (id, body) of each message of a page.
fn messages(page: &Value) -> Vec<(u64, String)> {
    let list = page["messages"].as_array().expect("a list");
    list.iter()
        .map(|message| {
            (message["id"].as_u64().expect("an id"), message["body"].as_str().expect("text").to_owned())
        })
        .collect()
}

fn ids(page: &Value) -> Vec<u64> {
    messages(page).into_iter().map(|(id, _)| id).collect()
}

async fn say(caller: &Caller, room: u64, count: usize) -> Vec<u64> {
    let mut ids = Vec::new();
    for n in 0..count {
        ids.push(caller.says(room, &format!("message {n}")).await);
    }
    ids
}

/// Follows `next` to its end from `start`. Between the pages somebody posts and deletes what was and what wasn't seen.
async fn wander(caller: &Caller, room: u64, start: &str, posted: &[u64]) -> (Vec<u64>, HashSet<u64>) {
    let (mut seen, mut deleted, mut at) = (Vec::new(), HashSet::new(), start.to_owned());
    loop {
        let page = caller.get(&format!("/rooms/{room}/messages?limit=7&{at}")).await.expect(200);
        let found = ids(&page);
        assert!(found.is_sorted() && found.len() <= 7, "oldest first: {found:?}");
        // A page's edges go, where a cursor that counted would slip; and one that nobody saw yet.
        let unseen = posted.iter().find(|id| !seen.contains(*id) && !found.contains(id));
        let victims: HashSet<u64> =
            [found.first(), found.last(), unseen].into_iter().flatten().copied().collect();
        seen.extend(found);
        let Some(next) = page["next"].as_str() else { return (seen, deleted) };
        for victim in victims {
            if deleted.insert(victim) {
                caller.delete(&format!("/messages/{victim}")).await.expect(204);
            }
        }
        caller.says(room, "meanwhile").await;
        at = format!("cursor={next}");
    }
}

on_both!(history_is_paged_both_ways_while_it_changes, async |ground| {
    let house = House::open(ground).await;
    let ann = Caller::of(&house.admin);
    for is_backward in [true, false] {
        let name = if is_backward { "Back" } else { "Forth" };
        let room = house.admin.client.create_room("open", name, &[]).await.expect("made").id;
        let posted = say(&ann, room, 40).await;
        let (seen, deleted) = wander(&ann, room, if is_backward { "" } else { "after=0" }, &posted).await;
        let unique: HashSet<u64> = seen.iter().copied().collect();
        assert_eq!(unique.len(), seen.len(), "nothing comes twice");
        let missed: Vec<_> =
            posted.iter().filter(|id| !unique.contains(id) && !deleted.contains(id)).collect();
        assert!(missed.is_empty(), "{missed:?}");
        assert!(deleted.len() > 10, "{deleted:?}");
        if !is_backward {
            let left = ids(&ann.get(&format!("/rooms/{room}/messages?limit=100")).await.expect(200));
            assert!(left.iter().all(|id| unique.contains(id)), "forward one also meets what came meanwhile");
        }
    }
});

on_both!(a_page_begins_wherever_one_wants, async |ground| {
    let house = House::open(ground).await;
    let (ann, room) = (Caller::of(&house.admin), house.lobby);
    let posted = say(&ann, room, 20).await;
    let path = format!("/rooms/{room}/messages");
    let page = async |query: String| ann.get(&format!("{path}?{query}")).await.expect(200);
    let newest = page("limit=5".to_owned()).await;
    assert_eq!((ids(&newest), &newest["head"]), (posted[15..].to_vec(), &json!(21)));
    assert_eq!(ids(&page(format!("limit=5&before={}", posted[10])).await), posted[5..10]);
    assert_eq!(ids(&page(format!("limit=5&after={}", posted[10])).await), posted[11..16]);
    assert_eq!(ids(&page(format!("before={}", posted[0])).await), Vec::<u64>::new());
    let last = page(format!("after={}", posted[19])).await;
    assert_eq!((ids(&last), &last["next"]), (Vec::new(), &Value::Null));

    let around = page(format!("limit=5&around={}", posted[10])).await;
    assert_eq!(ids(&around).len(), 5);
    assert!(
        ids(&around).contains(&posted[10])
            && ids(&around).contains(&posted[9])
            && ids(&around).contains(&posted[11])
    );
    let cursor = around["next"].as_str().expect("older ones").to_owned();
    let older = ids(&page(format!("limit=5&cursor={cursor}")).await);
    assert_eq!(older.last().map(|id| id + 1), ids(&around).first().copied(), "goes on where it began");
    ann.delete(&format!("/messages/{}", posted[10])).await.expect(204);
    let around = ids(&page(format!("limit=5&around={}", posted[10])).await);
    assert!(around.contains(&posted[9]) && around.contains(&posted[11]) && !around.contains(&posted[10]));
    assert!(ids(&page(format!("limit=5&around={}", posted[0])).await).contains(&posted[0]));
    assert!(ids(&page(format!("limit=5&around={}", posted[19])).await).contains(&posted[19]));

    let other = house.admin.client.create_room("open", "Other", &[]).await.expect("made").id;
    let refused = async |path: String, field: &str| {
        ann.get(&path).await.is_problem(422, "invalid_payload", Some(field));
    };
    refused(format!("/rooms/{other}/messages?cursor={cursor}"), "cursor").await;
    refused(format!("/rooms/{room}/events?cursor={cursor}"), "cursor").await;
    refused(format!("/users?cursor={cursor}"), "cursor").await;
    refused(format!("/rooms/{room}/events?limit=501"), "limit").await;
    refused(format!("{path}?around=1&before=1"), "around").await;
    refused(format!("{path}?around=1&after=1"), "around").await;
    ann.get(&format!("/rooms/99/messages?cursor={cursor}")).await.is_problem(
        422,
        "invalid_payload",
        Some("cursor"),
    );
    ann.get("/rooms/99/messages").await.is_problem(404, "not_found", None);
});

on_both!(a_message_is_shown_as_it_stands, async |ground| {
    let house = House::open(ground).await;
    let (ann, room) = (Caller::of(&house.admin), house.lobby);
    let key = uuid::Uuid::new_v4();
    let body = json!({ "body": "first", "client_message_id": key });
    let path = format!("/rooms/{room}/messages");
    let posted = ann.post(&path, body.clone()).await;
    let message = posted.expect(201);
    let at = format!("/messages/{}", message["id"]);
    assert_eq!(posted.header("location"), Some(format!("/api/v1{at}").as_str()));
    assert_eq!(
        (&message["client_message_id"], &message["version"], &message["edited_at"]),
        (&json!(key), &json!(1), &Value::Null)
    );
    assert_eq!(ann.get(&at).await.expect(200), message, "the answer to a post is what is stored");
    let edited = ann.with("if-match", "1").patch(&at, json!({ "body": "second" })).await.expect(200);
    assert_eq!(
        (&edited["body"], &edited["version"], &edited["at"]),
        (&json!("second"), &json!(2), &message["at"])
    );
    assert!(edited["edited_at"].is_string());
    let page = ann.get(&path).await.expect(200);
    assert_eq!(page["messages"], json!([edited]));
    let mut repeated = edited.clone();
    repeated["duplicate"] = json!(true);
    assert_eq!(ann.post(&path, body).await.expect(200), repeated, "a repeat shows it as it stands");
    ann.delete(&at).await.expect(204);
    ann.delete(&at).await.expect(204);
    ann.get(&at).await.is_problem(404, "not_found", None);
    assert_eq!(ann.get(&path).await.expect(200)["messages"], json!([]));
});

on_both!(a_rooms_log_is_paged_and_is_what_the_socket_said, async |ground| {
    let house = House::open(ground).await;
    let (ann, room) = (Caller::of(&house.admin), house.lobby);
    let mut listener = house.admin.listens_to(room).await;
    let posted = say(&ann, room, 9).await;
    ann.with("if-match", "1")
        .patch(&format!("/messages/{}", posted[0]), json!({ "body": "new" }))
        .await
        .expect(200);
    ann.delete(&format!("/messages/{}", posted[1])).await.expect(204);
    let mut heard = Vec::new();
    for _ in 0..11 {
        heard.push(listener.hears().await.json);
    }
    let (mut read, mut at) = (Vec::new(), "after=1".to_owned());
    loop {
        let page = ann.get(&format!("/rooms/{room}/events?limit=4&{at}")).await.expect(200);
        read.extend(page["events"].as_array().expect("a list").clone());
        assert_eq!(page["head"], 12);
        match page["next"].as_str() {
            Some(next) => at = format!("cursor={next}"),
            None => break,
        }
    }
    assert_eq!(read, heard);
    let seqs: Vec<u64> = read.iter().map(|event| event["seq"].as_u64().expect("a seq")).collect();
    assert_eq!(seqs, (2..=12).collect::<Vec<_>>());
    let beyond = ann.get(&format!("/rooms/{room}/events?after=99")).await.expect(200);
    assert_eq!((&beyond["events"], &beyond["next"]), (&json!([]), &Value::Null));
});

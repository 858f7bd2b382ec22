//! What is deleted, deactivated or revoked is in no list, one check per list.

use super::caller::Caller;
use crate::harness::{Ground, House, on_both};
use serde_json::{Value, json};

/// The ids in a list.
fn ids(answer: &Value, list: &str) -> Vec<u64> {
    answer[list].as_array().expect("a list").iter().filter_map(|entry| entry["id"].as_u64()).collect()
}

on_both!(
    /// Proves DB-21.
    every_list_leaves_out_what_is_gone,
    async |ground| {
        let house = House::open(ground).await;
        let ann = Caller::of(&house.admin);
        let gone = ann.says(house.lobby, "walrus gone").await;
        let kept = ann.says(house.lobby, "walrus kept").await;
        ann.delete(&format!("/messages/{gone}")).await.expect(204);
        let den = house.closed_room("Den", &[]).await.id;
        let lost = ann.says(den, "walrus in a room that goes").await;
        let bench = ann.post("/rooms", json!({ "kind": "open", "name": "Bench" })).await.expect(201);
        let bench = bench["id"].as_u64().expect("an id");
        for room in [den, bench] {
            ann.delete(&format!("/rooms/{room}")).await.expect(204);
        }
        let bob = house.joined_by("Bob").await;
        let his = Caller::of(&bob);
        let again = loadtest::client::Client::new(&house.url()).expect("a client");
        again.sign_in("bob@example.org", crate::harness::PASSWORD).await.expect("signs in");
        let sessions = his.get("/sessions").await.expect(200);
        assert_eq!(ids(&sessions, "sessions").len(), 2);
        let other = sessions["sessions"].as_array().expect("a list").iter().find(|session| session["current"] == json!(false));
        let other = other.expect("the other")["id"].as_u64().expect("an id");
        his.delete(&format!("/sessions/{other}")).await.expect(204);

        assert!(!ids(&his.get("/sessions").await.expect(200), "sessions").contains(&other));
        assert_eq!(ids(&ann.get("/rooms").await.expect(200), "rooms"), [house.lobby]);
        for query in ["", "?before=9007199254740991", "?after=1", &format!("?around={gone}")] {
            let page = ann.get(&format!("/rooms/{}/messages{query}", house.lobby)).await.expect(200);
            assert_eq!(ids(&page, "messages"), [kept], "{query}");
        }
        assert_eq!(ids(&ann.get("/search?q=walrus").await.expect(200), "messages"), [kept]);
        for message in [gone, lost] {
            ann.get(&format!("/messages/{message}")).await.is_problem(404, "not_found", None);
        }
        for room in [den, bench] {
            for list in ["", "/messages", "/events"] {
                ann.get(&format!("/rooms/{room}{list}")).await.is_problem(404, "not_found", None);
            }
        }
        // The log keeps what was said, but not of rooms that are gone.
        let events = ann.get("/events?limit=500").await.expect(200);
        let rooms: Vec<&Value> = events["events"].as_array().expect("a list").iter().map(|event| &event["room_id"]).collect();
        assert!(rooms.contains(&&json!(house.lobby)) && !rooms.contains(&&json!(den)) && !rooms.contains(&&json!(bench)));
        let socket = house.admin.connects().await;
        let welcomed: Vec<u64> = socket.socket.welcome().rooms.iter().map(|room| room.room_id).collect();
        assert!(welcomed.contains(&house.lobby) && !welcomed.contains(&den) && !welcomed.contains(&bench));
        let unread = his.get(&format!("/rooms/{}", house.lobby)).await.expect(200)["unread"].as_u64();
        assert_eq!(unread, Some(0), "he joined after it was said");
    }
);

/// Nothing in the API deactivates anybody yet; the rows know how.
///
/// Proves DB-21.
#[tokio::test]
async fn who_is_deactivated_is_in_no_list() {
    use diesel::connection::SimpleConnection;
    use diesel::{Connection, PgConnection};
    let url = crate::postgres::database();
    let dir = tempfile::TempDir::new().expect("a directory");
    let mut options = loadtest::server::Options::new(crate::harness::binary(), dir.path().join("data"));
    options.database_url = Some(url.clone());
    let server = loadtest::server::Server::start(options).await.expect("starts");
    let house = House::furnished(server, dir).await;
    let ann = Caller::of(&house.admin);
    let bob = house.joined_by("Bob").await.id;
    let robot =
        ann.post("/bots", json!({ "name": "Robot" })).await.expect(201)["id"].as_u64().expect("an id");
    assert_eq!(ids(&ann.get("/users").await.expect(200), "users"), [house.admin.id, bob, robot]);
    let mut conn = PgConnection::establish(&url).expect("connects");
    conn.batch_execute("UPDATE users SET status = 'deactivated' WHERE role <> 'admin'").expect("deactivated");
    assert_eq!(ids(&ann.get("/users").await.expect(200), "users"), [house.admin.id]);
    assert_eq!(ids(&ann.get("/bots").await.expect(200), "bots"), [0; 0]);
}

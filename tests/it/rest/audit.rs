//! The audit trail as admins read it and take it away (AUD-03), and how long it is there (AUD-02).

use super::caller::Caller;
use super::place::Place;
use crate::harness::{Ground, House, PATIENCE, on_both};
use crate::raw::dial;
use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection, SqliteConnection};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A house whose database the test reaches, too.
struct Reached {
    house: House,
    ann: Caller,
    database: Option<String>,
    file: std::path::PathBuf,
}

impl Reached {
    async fn open(ground: Ground, args: &[&str]) -> Self {
        let place = Place::new(ground);
        let (database, file) = (place.database.clone(), place.data().join("hearth.db"));
        let server = place.serves(args).await;
        let house = House::furnished(server, place.dir).await;
        let ann = Caller::of(&house.admin);
        Self { house, ann, database, file }
    }

    fn sql(&self, sql: &str) {
        let done = match &self.database {
            Some(url) => PgConnection::establish(url).expect("connects").batch_execute(sql),
            None => {
                let mut conn = SqliteConnection::establish(&self.file.display().to_string()).expect("opens");
                conn.batch_execute("PRAGMA busy_timeout = 5000").expect("patient");
                conn.batch_execute(sql)
            }
        };
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Entries like those of a bot, a second apart, the first at `start` milliseconds.
    fn fill(&self, count: u32, start: i64) {
        let series = match &self.database {
            Some(_) => format!("WITH s (n) AS (SELECT generate_series(1, {count}))"),
            None => {
                format!("WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count})")
            }
        };
        self.sql(&format!(
            "INSERT INTO audit (at, actor_id, via, credential_id, action, target_kind, target_id, room_id, address)
             {series} SELECT {start} + n * 1000, 77, 'bot_key', 7, 'bot.acted', 'message', n, 3, '192.0.2.1' FROM s"
        ));
    }
}

fn ids(page: &Value) -> Vec<u64> {
    page["entries"]
        .as_array()
        .expect("entries")
        .iter()
        .map(|entry| entry["id"].as_u64().expect("an id"))
        .collect()
}

on_both!(
    /// By who, what, to what, and when; page by page.
    ///
    /// Proves AUD-03.
    an_admin_asks_what_happened,
    async |ground| {
        let house = House::open(ground).await;
        let (ann, bob) = (Caller::of(&house.admin), Caller::of(&house.joined_by("Bob").await));
        let mut rooms = Vec::new();
        for n in 0..5 {
            let room = bob.post("/rooms", json!({ "kind": "open", "name": format!("Room {n}") })).await.expect(201);
            let path = format!("/rooms/{}", room["id"]);
            bob.patch(&path, json!({ "name": format!("Chamber {n}") })).await.expect(200);
            ann.delete(&path).await.expect(204);
            rooms.push(room["id"].clone());
        }
        let bob_id = bob.get("/me").await.expect(200)["id"].clone();
        let all = ann.get("/audit?limit=100").await.expect(200);
        let entries = all["entries"].as_array().expect("entries").clone();
        assert_eq!(all["next"], Value::Null);
        assert!(ids(&all).is_sorted_by(|newer, older| newer > older));
        let kinds = |filter: &dyn Fn(&Value) -> bool| -> Vec<u64> {
            entries.iter().filter(|entry| filter(entry)).map(|entry| entry["id"].as_u64().expect("an id")).collect()
        };
        let middle = entries[5]["at"].as_str().expect("a time").to_owned();
        let plus = middle.replace('Z', "%2B00:00");
        let room = &rooms[2];
        for (query, filter) in [
            (format!("actor={bob_id}"), &(|e: &Value| e["actor"]["id"] == bob_id) as &dyn Fn(&Value) -> bool),
            ("action=room.renamed".to_owned(), &|e| e["action"] == "room.renamed"),
            ("target=room".to_owned(), &|e| e["target"]["kind"] == "room"),
            (format!("target=room:{room}"), &|e| e["target"] == json!({ "kind": "room", "id": room })),
            (format!("since={middle}"), &|e| e["at"].as_str() >= Some(&middle)),
            (format!("until={plus}"), &|e| e["at"].as_str() < Some(&middle)),
            (format!("actor={bob_id}&action=room.renamed&target=room:{room}&since=2020-01-01T00:00:00Z"), &|e| {
                e["actor"]["id"] == bob_id && e["action"] == "room.renamed" && e["target"]["id"] == *room
            }),
            ("actor=999999".to_owned(), &|_| false),
        ] {
            let expected = kinds(filter);
            let mut found = Vec::new();
            let mut cursor = String::new();
            loop {
                let page = ann.get(&format!("/audit?{query}&limit=3{cursor}")).await.expect(200);
                found.extend(ids(&page));
                let Some(next) = page["next"].as_str() else { break };
                cursor = format!("&cursor={next}");
            }
            // The exports below are in it, too.
            found.retain(|id| entries.iter().any(|entry| entry["id"] == json!(id)));
            assert_eq!(found, expected, "{query}");
            // The other way round as lines.
            let export = ann.get(&format!("/audit/export?{query}")).await;
            assert_eq!((export.status, export.header("content-type")), (200, Some("application/x-ndjson")));
            let lines: Vec<Value> =
                export.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
            let mut exported: Vec<u64> = lines
                .iter()
                .filter(|entry| entry["action"] != "audit.exported")
                .map(|entry| entry["id"].as_u64().expect("an id"))
                .collect();
            exported.reverse();
            assert_eq!(exported, expected, "{query}");
        }
        let renamed = entries.iter().find(|entry| entry["action"] == "room.renamed").expect("renamed");
        assert_eq!(renamed["actor"], json!({ "id": bob_id, "name": "Bob", "role": "member" }));
        assert_eq!(renamed["detail"], json!({ "from": "Room 4", "to": "Chamber 4" }));
    }
);

on_both!(
    /// Proves AUD-03.
    a_wrong_question_is_named_and_the_trail_is_for_admins_only,
    async |ground| {
        let house = House::open(ground).await;
        let (ann, bob) = (Caller::of(&house.admin), Caller::of(&house.joined_by("Bob").await));
        let robot = Caller::bot_of(&house, "Robot").await;
        let nobody = Caller::nobody(&house.url());
        for path in ["/audit", "/audit/export"] {
            for (query, field) in [
                ("actor=ann", "actor"),
                ("action=room.painted", "action"),
                ("target=cellar:1", "target"),
                ("target=room:x", "target"),
                ("since=yesterday", "since"),
                ("until=1", "until"),
                ("since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z", "until"),
            ] {
                ann.get(&format!("{path}?{query}")).await.is_problem(422, "invalid_payload", Some(field));
            }
            for caller in [&bob, &robot] {
                caller.get(path).await.is_problem(403, "forbidden", None);
            }
            nobody.get(path).await.is_problem(401, "unauthenticated", None);
        }
        for (query, field) in [("limit=101", "limit"), ("cursor=x", "cursor"), ("cursor=MS51LjE", "cursor")] {
            ann.get(&format!("/audit?{query}")).await.is_problem(422, "invalid_payload", Some(field));
        }
        let exports = ann.get("/audit?action=audit.exported").await.expect(200);
        assert_eq!(ids(&exports), [] as [u64; 0], "what is refused exports nothing");
    }
);

on_both!(
    /// Before its first byte; so it is the last line of an export of everything.
    ///
    /// Proves AUD-03.
    an_export_is_in_the_trail_itself,
    async |ground| {
        let house = House::open(ground).await;
        let ann = Caller::of(&house.admin);
        assert_eq!(ann.calls("HEAD", "/audit/export", None).await.status, 200);
        let none = ann.get("/audit?action=audit.exported").await.expect(200);
        assert_eq!(none["entries"], json!([]), "nothing is exported by looking");
        let export = ann.get("/audit/export").await;
        let last: Value = serde_json::from_str(export.text().lines().last().expect("a line")).expect("JSON");
        assert_eq!((&last["action"], &last["detail"]), (&json!("audit.exported"), &json!({})));
        assert_eq!(last["actor"]["id"], json!(house.admin.id));
        assert_eq!(export.header("content-disposition"), Some("attachment; filename=\"audit.ndjson\""));
        let narrow = format!("/audit/export?actor={}&target=room", house.admin.id);
        assert_eq!(ann.get(&narrow).await.status, 200);
        let listed = ann.get("/audit?action=audit.exported").await.expect(200);
        let actor = house.admin.id.to_string();
        assert_eq!(listed["entries"][0]["detail"], json!({ "actor": actor, "target": "room" }));
        assert_eq!(listed["entries"][1], last);
    }
);

on_both!(
    /// A receiver that takes nothing holds up the reading, not the memory: it is cut off, and can't take what it has for the whole. One that
    /// takes everything gets everything.
    ///
    /// Proves AUD-03.
    an_export_waits_for_its_receiver_and_not_for_ever,
    async |ground| {
        let reached = Reached::open(ground, &["--set", "audit.stall_ms=3000", "--set", "audit.exports=1"]).await;
        // Far more than fits between the server and a receiver that doesn't read.
        let count = 60_000;
        reached.fill(count, 1_700_000_000_000);
        let Reached { house, ann, .. } = &reached;
        let loadtest::wire::Credentials::Cookie(cookie) = house.admin.credentials() else { panic!("a cookie") };
        let mut tcp = dial(&house.url()).await;
        let host = house.url().replace("http://", "");
        let request = format!("GET /api/v1/audit/export?actor=77 HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n\r\n");
        tcp.write_all(request.as_bytes()).await.expect("sent");
        let mut begun = [0; 15];
        tcp.read_exact(&mut begun).await.expect("answered");
        assert_eq!(&begun, b"HTTP/1.1 200 OK");
        // Its place is taken until it is cut off, then it is free again.
        let whole = tokio::time::timeout(PATIENCE, async {
            loop {
                let export = ann.get("/audit/export?actor=77").await;
                if export.status == 200 {
                    return export;
                }
                export.is_problem(503, "overloaded", None);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let whole = whole.await.expect("the place is free again");
        assert_eq!(whole.text().lines().count(), usize::try_from(count).expect("a number"));
        let mut rest = Vec::new();
        let read = tokio::time::timeout(PATIENCE, tcp.read_to_end(&mut rest)).await.expect("it ends");
        assert!(read.is_err() || !rest.ends_with(b"\r\n0\r\n\r\n"), "it looks whole");
        assert!(rest.len() < whole.body.len() / 2, "{} of {} were sent", rest.len(), whole.body.len());
    }
);

on_both!(
    /// Who isn't admin any more takes nothing more away, whatever was begun before.
    an_export_ends_with_the_right_to_it,
    async |ground| {
        let reached = Reached::open(ground, &[]).await;
        let count = 60_000;
        reached.fill(count, 1_700_000_000_000);
        let Reached { house, ann, .. } = &reached;
        let bob = house.joined_by("Bob").await;
        let path = format!("/users/{}", bob.id);
        ann.patch(&path, json!({ "role": "admin" })).await.expect(200);
        let loadtest::wire::Credentials::Cookie(cookie) = bob.credentials() else { panic!("a cookie") };
        let mut tcp = dial(&house.url()).await;
        let host = house.url().replace("http://", "");
        let request = format!("GET /api/v1/audit/export?actor=77 HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n\r\n");
        tcp.write_all(request.as_bytes()).await.expect("sent");
        let mut begun = [0; 15];
        tcp.read_exact(&mut begun).await.expect("answered");
        assert_eq!(&begun, b"HTTP/1.1 200 OK");
        ann.patch(&path, json!({ "role": "member" })).await.expect(200);
        let mut rest = Vec::new();
        let read = tokio::time::timeout(PATIENCE, tcp.read_to_end(&mut rest)).await.expect("it ends");
        assert!(read.is_err() || !rest.ends_with(b"\r\n0\r\n\r\n"), "it looks whole");
        let lines = rest.split(|byte| *byte == b'\n').count();
        assert!(lines < usize::try_from(count).expect("a number") / 2, "{lines} of {count} were sent");
    }
);

on_both!(
    /// By the cleanup of the running server; what is younger stays.
    ///
    /// Proves AUD-02.
    what_is_too_old_goes_by_itself,
    async |ground| {
        let flags = ["--set", "cleanup.every_s=1", "--set", "cleanup.batch=50", "--set", "audit.keep_days=40"];
        let reached = Reached::open(ground, &flags).await;
        let day = 24 * 3600 * 1000;
        let now = chrono::Utc::now().timestamp_millis();
        reached.fill(120, now - 50 * day);
        reached.fill(7, now - 35 * day);
        let count = async || {
            let page = reached.ann.get("/audit?actor=77&limit=100").await.expect(200);
            page["entries"].as_array().expect("entries").len()
        };
        reached.house.metric_becomes("hearth_cleared_total", "kind=\"audit\"", 120.0).await;
        assert_eq!(count().await, 7);
    }
);

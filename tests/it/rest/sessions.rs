//! Where one is signed in: listed, told of, ended; and what a device that ends hears, or doesn't.

use super::caller::Caller;
use super::tokens::{is_not_let_in, refreshes, signs_in};
use crate::harness::{Ground, House, Listener, PASSWORD, PATIENCE, Person, on_both};
use crate::raw::dial;
use loadtest::socket::{Frame, Socket, SocketError};
use loadtest::wire::{Credentials, Event};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Another device of somebody: its calls, and what its socket shows.
struct Device {
    calls: Caller,
    credentials: Credentials,
    session: u64,
}

impl Device {
    async fn signs_in(house: &House, email: &str, name: &str, password: &str) -> Self {
        let nobody = Caller::nobody(&house.url());
        let sign_in = json!({ "email": email, "password": password });
        let answer = nobody.with("user-agent", name).post("/sessions", sign_in).await;
        let session = answer.expect(201)["session"]["id"].as_u64().expect("an id");
        let cookie = answer.cookie();
        Self { calls: nobody.with("cookie", &cookie), credentials: Credentials::Cookie(cookie), session }
    }

    async fn connects(&self, house: &House) -> Listener {
        Listener { socket: Socket::connect(&house.url(), &self.credentials).await.expect("connects") }
    }
}

/// The inbox of whoever listens.
fn inbox(listener: &Listener) -> u64 {
    let rooms = &listener.socket.welcome().rooms;
    rooms.iter().find(|room| room.kind == "inbox").expect("an inbox").room_id
}

/// What is heard when these words are.
async fn hears_to(listener: &mut Listener, body: &str) -> Event {
    loop {
        let event = listener.hears().await;
        if event.text("body") == Some(body) {
            return event;
        }
    }
}

async fn sessions(caller: &Caller) -> Vec<Value> {
    let listed = caller.get("/sessions").await.expect(200);
    assert_eq!(listed["next"], Value::Null);
    listed["sessions"].as_array().expect("a list").clone()
}

on_both!(
    /// Proves AUTH-07, AUTH-13.
    the_old_device_is_told_lists_the_new_one_and_sends_it_away,
    async |ground| {
        let house = House::open(ground).await;
        let bob = house.joined_by("Bob").await;
        let here = Caller::of(&bob);
        let mut desk = bob.connects().await;
        let inbox = inbox(&desk);
        desk.joins(inbox, None).await;
        let phone = Device::signs_in(&house, "bob@example.org", "Phone/1.0", PASSWORD).await;
        let begun = desk.hears().await;
        assert_eq!((begun.kind.as_str(), begun.room_id), ("session.begun", inbox));
        let told = &begun.json["data"]["session"];
        assert_eq!(
            (&told["id"], &told["device"], &told["begun_by"], told.as_object().map(serde_json::Map::len)),
            (&json!(phone.session), &json!("Phone/1.0"), &json!("password"), Some(4))
        );
        let tablet = Device::signs_in(&house, "bob@example.org", "Tablet/1.0", PASSWORD).await;
        assert_eq!(desk.hears().await.kind, "session.begun");

        let listed = sessions(&here).await;
        let of = |id: u64| listed.iter().find(|one| one["id"] == id).expect("is listed");
        assert_eq!(listed.len(), 3);
        assert_eq!(of(phone.session)["created_at"], told["created_at"]);
        for one in &listed {
            assert_eq!(one["address"], "127.0.0.1");
            assert!(one["expires_at"].as_str() > one["last_active_at"].as_str(), "{one}");
            assert_eq!(one["current"] == true, one["begun_by"] == "join", "this one is where Bob signed up");
        }

        let (mut pocket, mut couch) = (phone.connects(&house).await, tablet.connects(&house).await);
        for listener in [&mut pocket, &mut couch, &mut desk] {
            listener.joins(house.lobby, None).await;
        }
        // Nobody else's business.
        let path = format!("/sessions/{}", phone.session);
        Caller::of(&house.admin).delete(&path).await.is_problem(404, "not_found", None);
        here.delete("/sessions").await.expect(204);
        for (listener, device) in [(&mut pocket, &phone), (&mut couch, &tablet)] {
            assert_eq!(listener.is_closed().await, 4501);
            device.calls.get("/me").await.is_problem(401, "token_revoked", None);
        }
        let mut gone: Vec<u64> = Vec::new();
        for _ in 0..2 {
            let ended = desk.hears().await;
            assert_eq!((ended.kind.as_str(), ended.room_id), ("session.ended", inbox));
            gone.push(ended.number("session_id").expect("an id"));
        }
        gone.sort_unstable();
        assert_eq!(gone, [phone.session, tablet.session]);
        assert_eq!(sessions(&here).await.len(), 1);
        Caller::of(&house.admin).says(house.lobby, "only you").await;
        assert_eq!(desk.hears_message().await, "only you", "this one stays");
        // Again changes nothing; and a bot has none to end.
        here.delete("/sessions").await.expect(204);
        here.get("/me").await.expect(200);
        let robot = Caller::bot_of(&house, "Robot").await;
        robot.delete("/sessions").await.is_problem(403, "forbidden", None);
    }
);

on_both!(
    /// Proves AUTH-07.
    one_too_many_ends_the_one_that_was_not_used_for_longest,
    async |ground| {
        let args = ["--set", "auth.sessions_per_user=3", "--set", "auth.touch_s=0"];
        let house = House::open_with(ground, &args).await;
        let bob = house.joined_by("Bob").await;
        let sign_in = async |name| Device::signs_in(&house, "bob@example.org", name, PASSWORD).await;
        let (first, second) = (sign_in("1").await, sign_in("2").await);
        let mut socket = first.connects(&house).await;
        // Used since the first one was.
        for caller in [&second.calls, &Caller::of(&bob)] {
            caller.get("/me").await.expect(200);
        }
        let third = sign_in("3").await;
        assert_eq!(socket.is_closed().await, 4501);
        first.calls.get("/me").await.is_problem(401, "token_revoked", None);
        for caller in [&second.calls, &third.calls, &Caller::of(&bob)] {
            assert_eq!(sessions(caller).await.len(), 3);
        }
    }
);

on_both!(
    /// Proves AUTH-06.
    a_new_password_ends_all_other_sessions_with_their_sockets,
    async |ground| {
        let house = House::open(ground).await;
        let bob = house.joined_by("Bob").await;
        let here = Caller::of(&bob);
        let nobody = Caller::nobody(&house.url());
        let phone = Device::signs_in(&house, "bob@example.org", "Phone", PASSWORD).await;
        let script = signs_in(&nobody, "bob@example.org").await;
        let mut sockets = [
            phone.connects(&house).await,
            Listener { socket: Socket::connect(&house.url(), &script.credentials()).await.expect("connects") },
        ];
        let mut desk = bob.listens_to(house.lobby).await;
        let new = "another password";
        for (body, status, code, field) in [
            (json!({ "new_password": new }), 422, "invalid_payload", "current_password"),
            (json!({ "current_password": PASSWORD }), 422, "invalid_payload", "new_password"),
            (json!({ "current_password": PASSWORD, "new_password": "short" }), 422, "invalid_payload", "new_password"),
            (json!({ "current_password": new, "new_password": new }), 401, "unauthenticated", "current_password"),
        ] {
            here.put("/me/password", body).await.is_problem(status, code, Some(field));
        }
        phone.calls.get("/me").await.expect(200);
        here.put("/me/password", json!({ "current_password": PASSWORD, "new_password": new })).await.expect(204);
        for socket in &mut sockets {
            assert_eq!(socket.is_closed().await, 4501);
        }
        phone.calls.get("/me").await.is_problem(401, "token_revoked", None);
        nobody.bearing(&script.access).get("/me").await.is_problem(401, "token_revoked", None);
        refreshes(&nobody, &script.refresh).await.is_problem(401, "token_revoked", None);
        let old = json!({ "email": "bob@example.org", "password": PASSWORD });
        nobody.post("/sessions", old).await.is_problem(401, "unauthenticated", None);
        Device::signs_in(&house, "bob@example.org", "Phone", new).await;
        Caller::of(&house.admin).says(house.lobby, "hello").await;
        assert_eq!(desk.hears_message().await, "hello", "where it was changed one stays");
        let body = json!({ "current_password": "x", "new_password": new });
        Caller::bot_of(&house, "Robot").await.put("/me/password", body).await.is_problem(403, "forbidden", None);
    }
);

/// How a device is sent away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// From the desk.
    One,
    /// From the desk, with all others.
    Others,
    /// By itself.
    Current,
    Password,
    /// Its refresh token is shown twice.
    Reuse,
}

/// People who talk all the time, until they are told to stop.
struct Chatter {
    stop: Arc<AtomicBool>,
    talkers: Vec<tokio::task::JoinHandle<()>>,
}

impl Chatter {
    async fn of(people: &[&Person], rooms: &[u64]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut talkers = Vec::new();
        for person in people {
            let mut talker = person.connects().await;
            let (stop, rooms) = (Arc::clone(&stop), rooms.to_vec());
            talkers.push(tokio::spawn(async move {
                let mut said = 0;
                while !stop.load(Ordering::Relaxed) {
                    talker.posts(rooms[said % rooms.len()], &format!("word {said}")).await;
                    said += 1;
                }
            }));
        }
        Self { stop, talkers }
    }

    async fn ends(self) {
        self.stop.store(true, Ordering::Relaxed);
        for talker in self.talkers {
            talker.await.expect("talks to the end");
        }
    }
}

/// Sends a device away in the midst of it all, and looks at what it still heard.
async fn is_sent_away(
    house: &House,
    bob: &Person,
    rooms: &[u64],
    way: Way,
    seed: u64,
    password: &mut String,
) {
    let mut rng = StdRng::seed_from_u64(seed);
    let nobody = Caller::nobody(&house.url());
    let here = Caller::of(bob);
    let mut desk = bob.connects().await;
    let inbox = inbox(&desk);
    desk.joins(inbox, None).await;
    let (credentials, session, refresh, calls) = if way == Way::Reuse {
        let grant = json!({ "grant": "password", "email": "bob@example.org", "password": password.as_str() });
        let tokens = super::tokens::Tokens::of(&nobody.post("/tokens", grant).await);
        let calls = nobody.bearing(&tokens.access);
        (tokens.credentials(), tokens.session, Some(tokens.refresh), calls)
    } else {
        let device = Device::signs_in(house, "bob@example.org", "Phone", password).await;
        (device.credentials, device.session, None, device.calls)
    };
    let mut devices = Vec::new();
    for _ in 0..2 {
        let socket = Socket::connect(&house.url(), &credentials).await.expect("connects");
        let mut device = Listener { socket };
        for room in rooms.iter().chain([&inbox]) {
            device.joins(*room, None).await;
        }
        devices.push(device);
    }
    for _ in 0..rng.random_range(1..40) {
        devices[0].next().await;
    }
    match way {
        Way::One => here.delete(&format!("/sessions/{session}")).await.expect(204),
        Way::Others => here.delete("/sessions").await.expect(204),
        Way::Current => calls.delete("/sessions/current").await.expect(204),
        Way::Password => {
            let new = format!("password {seed}");
            let body = json!({ "current_password": password.as_str(), "new_password": new });
            *password = new;
            here.put("/me/password", body).await.expect(204)
        }
        Way::Reuse => {
            let refresh = refresh.expect("a refresh token");
            refreshes(&nobody, &refresh).await.expect(201);
            refreshes(&nobody, &refresh).await.is_problem(401, "token_revoked", None)
        }
    };
    // From here on it is over: it can't ask, and it can't come back.
    calls.get("/events").await.is_problem(401, "token_revoked", None);
    is_not_let_in(house, &credentials, "token_revoked").await;
    let end = loop {
        let event = desk.hears().await;
        if event.kind == "session.ended" && event.number("session_id") == Some(session) {
            break event.id;
        }
    };
    let deadline = tokio::time::Instant::now() + PATIENCE;
    for mut device in devices {
        let mut last = 0;
        let code = loop {
            assert!(tokio::time::Instant::now() < deadline, "{way:?}, seed {seed}: the socket stays open");
            let next = tokio::time::timeout_at(deadline, device.socket.next()).await;
            match next.expect("closes in time") {
                Ok(Frame::Event(event)) => last = event.id,
                Ok(_) => {}
                Err(SocketError::Closed { code, .. }) => break code,
                Err(error) => panic!("{way:?}, seed {seed}: {error}"),
            }
        };
        assert_eq!(code, 4501, "{way:?}, seed {seed}");
        assert!(last < end, "{way:?}, seed {seed}: heard {last} although it was over at {end}");
    }
}

on_both!(
    /// Proves AUTH-06, AUTH-15.
    in_the_midst_of_it_all_a_device_that_is_sent_away_hears_nothing_more,
    async |ground| {
        let args = ["--set", "auth.refresh_overlap_s=0", "--set", "limits.address_requests=0"];
        let house = House::open_with(ground, &args).await;
        let (bob, cleo, dan) =
            (house.joined_by("Bob").await, house.joined_by("Cleo").await, house.joined_by("Dan").await);
        let den = house.closed_room("Den", &[&bob, &cleo, &dan]).await.id;
        let rooms = [house.lobby, den];
        let chatter = Chatter::of(&[&house.admin, &cleo, &dan, &cleo], &rooms).await;
        let mut password = PASSWORD.to_owned();
        for seed in 0..4 {
            for way in [Way::One, Way::Others, Way::Current, Way::Password, Way::Reuse] {
                is_sent_away(&house, &bob, &rooms, way, seed, &mut password).await;
            }
        }
        chatter.ends().await;
    }
);

on_both!(
    /// Proves AUTH-14.
    a_new_device_knows_what_the_old_one_does,
    async |ground| {
        let house = House::open(ground).await;
        let (bob, ann) = (house.joined_by("Bob").await, Caller::of(&house.admin));
        let den = house.closed_room("Den", &[&bob]).await.id;
        let here = Caller::of(&bob);
        for (room, words) in [(house.lobby, 7), (den, 5)] {
            for n in 0..words {
                ann.says(room, &format!("word {n}")).await;
            }
        }
        let mut desk = bob.connects().await;
        let places: Vec<u64> = desk.socket.welcome().rooms.iter().map(|room| room.room_id).collect();
        assert_eq!(places.len(), 4, "lobby, den, inbox, commons");
        let mut known = Vec::new();
        for room in &places {
            known.push(desk.joins(*room, None).await);
        }
        let seq = known.iter().find(|room| room.room_id == house.lobby).expect("joined").head - 2;
        desk.asks("read.mark", json!({ "room_id": house.lobby, "seq": seq })).await;

        let phone = Device::signs_in(&house, "bob@example.org", "Phone", PASSWORD).await;
        let mut pocket = phone.connects(&house).await;
        let listed = here.get("/rooms").await.expect(200);
        let welcome = pocket.socket.welcome().clone();
        for room in listed["rooms"].as_array().expect("a list") {
            let seen = welcome.rooms.iter().find(|one| room["id"] == one.room_id).expect("is in the welcome");
            let standing = json!({ "head": seen.head, "read": seen.read, "unread": seen.unread });
            let wanted = json!({ "head": room["head"], "read": room["read"], "unread": room["unread"] });
            assert_eq!(standing, wanted, "{room}");
        }
        let of = |id: u64| welcome.rooms.iter().find(|room| room.room_id == id).expect("is in the welcome");
        assert_eq!((of(house.lobby).read, of(house.lobby).unread, of(den).unread), (seq, 2, 5));
        assert_eq!(welcome.epoch, desk.socket.welcome().epoch);
        // What it subscribes to from there is what the old one hears from now on, in the same order.
        for room in &places {
            let (new, old) = (pocket.joins(*room, None).await, desk.joins(*room, None).await);
            assert_eq!((new.head, new.head), (old.head, of(*room).head), "room {room}");
            for field in ["id", "kind", "name", "created_by", "created_at", "head"] {
                assert_eq!(new.room[field], old.room[field], "{field}");
            }
        }
        ann.says(den, "to both").await;
        let (there, here) = (pocket.hears().await, hears_to(&mut desk, "to both").await);
        assert_eq!(there, here);
        assert_eq!((there.seq, there.text("body")), (of(den).head + 1, Some("to both")));
        // The old one may go: nothing hangs on it.
        drop(desk);
        ann.says(den, "to one").await;
        assert_eq!(pocket.hears_message().await, "to one");
    }
);

on_both!(
    /// Proves AUTH-06.
    what_was_begun_before_the_end_is_not_finished_after_it,
    async |ground| {
        let house = House::open_with(ground, &["--set", "auth.touch_s=0"]).await;
        let bob = house.joined_by("Bob").await;
        let here = Caller::of(&bob);
        let phone = Device::signs_in(&house, "bob@example.org", "Phone", PASSWORD).await;
        let Credentials::Cookie(cookie) = &phone.credentials else { panic!("a cookie") };
        let used = async || {
            let listed = sessions(&here).await;
            let mine = listed.into_iter().find(|one| one["id"] == phone.session);
            mine.expect("is listed")["last_active_at"].clone()
        };
        let before = used().await;
        let (path, body) = (format!("/api/v1/rooms/{}/messages", house.lobby), r#"{"body":"too late"}"#);
        let host = house.url().trim_start_matches("http://").to_owned();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let (begin, rest) = body.split_at(5);
        let mut tcp = dial(&house.url()).await;
        tcp.write_all(format!("{head}{begin}").as_bytes()).await.expect("sent");
        // Who it is has been looked up once the session was touched.
        while used().await == before {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        here.delete("/sessions").await.expect(204);
        tcp.write_all(rest.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("token_revoked"), "{answer}");
        assert_eq!(bob.reads(house.lobby).await, [""; 0]);
    }
);

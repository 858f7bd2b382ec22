//! Two houses that are alike: what is done to the one by REST is done to the other by socket, and they stay alike.

mod corpus;

use super::caller::Caller;
use crate::harness::{Ground, House, Listener, Person, on_both};
use corpus::{Case, FINE, changes, members, no, posts, rooms};
use serde_json::{Value, json};
use std::collections::HashMap;

/// What is asked, of either door.
#[derive(Debug, Clone)]
enum Ask {
    Post { room: i64, key: Value, body: Value },
    Edit { message: i64, version: i64, body: Value },
    Delete { message: i64 },
    Create(Value),
    Add { room: i64, user: i64 },
    Remove { room: i64, user: i64 },
    Mark { room: i64, seq: Value },
}

/// An answer as far as both doors give it: a code and a field, or what it says of what was done.
#[derive(Debug, PartialEq)]
enum Told {
    Done { id: Value, seq: Value, duplicate: bool },
    Read(Value),
    Refused { code: String, field: Option<String>, version: Option<u64>, is_retryable: bool },
}

impl Ask {
    fn call(&self) -> (&'static str, String, Option<Value>) {
        match self {
            Self::Post { room, key, body } => {
                let body = filled(&[("client_message_id", key), ("body", body)]);
                ("POST", format!("/rooms/{room}/messages"), Some(body))
            }
            Self::Edit { message, body, .. } => {
                ("PATCH", format!("/messages/{message}"), Some(filled(&[("body", body)])))
            }
            Self::Delete { message } => ("DELETE", format!("/messages/{message}"), None),
            Self::Create(body) => ("POST", "/rooms".to_owned(), Some(body.clone())),
            Self::Add { room, user } => ("PUT", format!("/rooms/{room}/members/{user}"), None),
            Self::Remove { room, user } => ("DELETE", format!("/rooms/{room}/members/{user}"), None),
            Self::Mark { room, seq } => ("PUT", format!("/rooms/{room}/read"), Some(filled(&[("seq", seq)]))),
        }
    }

    /// The frame. A message's room, which only the socket wants to know, is `room`.
    fn frame(&self, room: i64) -> (&'static str, Value) {
        match self {
            Self::Post { room, key, body } => (
                "message.post",
                filled(&[("room_id", &json!(room)), ("client_message_id", key), ("body", body)]),
            ),
            Self::Edit { message, version, body } => (
                "message.edit",
                filled(&[
                    ("room_id", &json!(room)),
                    ("message_id", &json!(message)),
                    ("version", &json!(version)),
                    ("body", body),
                ]),
            ),
            Self::Delete { message } => ("message.delete", json!({ "room_id": room, "message_id": message })),
            Self::Create(body) => ("room.create", body.clone()),
            Self::Add { room, user } => ("member.add", json!({ "room_id": room, "user_id": user })),
            Self::Remove { room, user } => ("member.remove", json!({ "room_id": room, "user_id": user })),
            Self::Mark { room, seq } => ("read.mark", filled(&[("room_id", &json!(room)), ("seq", seq)])),
        }
    }

    async fn over_rest(&self, caller: &Caller) -> Told {
        let (method, path, body) = self.call();
        let caller = match self {
            Self::Edit { version, .. } => caller.with("if-match", &version.to_string()),
            _ => caller.clone(),
        };
        let answer = caller.calls(method, &path, body.as_ref()).await;
        let said = answer.json();
        if answer.status >= 400 {
            let code = said["code"].as_str().expect("a code");
            assert_eq!(answer.status, status_of(code), "{self:?}: {said}");
            answer.is_problem(status_of(code), code, said["field"].as_str());
            return refused(&said);
        }
        let created = matches!(self, Self::Post { .. } | Self::Create(_));
        let replayed = answer.header("idempotency-replayed") == Some("true");
        let duplicate = (created && answer.status == 200) || replayed;
        match self {
            Self::Mark { .. } => Told::Read(said),
            Self::Post { .. } => {
                assert_eq!(said.get("duplicate").is_some(), duplicate, "{said}");
                Told::Done { id: said["id"].clone(), seq: said["seq"].clone(), duplicate }
            }
            Self::Create(_) => Told::Done { id: said["id"].clone(), seq: Value::Null, duplicate },
            Self::Edit { .. } => {
                Told::Done { id: Value::Null, seq: Value::Null, duplicate: said["duplicate"] == true }
            }
            _ => Told::Done { id: Value::Null, seq: Value::Null, duplicate },
        }
    }

    async fn over_socket(&self, listener: &mut Listener, room: i64) -> Told {
        let (kind, data) = self.frame(room);
        let said = match listener.socket.request(kind, &data).await {
            Ok(said) => said,
            Err(error) => {
                let refusal = error.refusal().unwrap_or_else(|| panic!("{self:?}: {error}"));
                return Told::Refused {
                    code: refusal.code.clone(),
                    field: refusal.field.clone(),
                    version: refusal.version,
                    is_retryable: refusal.retryable,
                };
            }
        };
        let duplicate = said["duplicate"] == true;
        match self {
            Self::Mark { .. } => Told::Read(said),
            Self::Post { .. } => Told::Done { id: said["id"].clone(), seq: said["seq"].clone(), duplicate },
            Self::Create(_) => Told::Done { id: said["room"]["id"].clone(), seq: Value::Null, duplicate },
            Self::Edit { .. } => Told::Done { id: Value::Null, seq: Value::Null, duplicate },
            // REST says the same, 204, whether it was so before or not.
            _ => Told::Done { id: Value::Null, seq: Value::Null, duplicate: false },
        }
    }
}

/// An object of the fields that aren't null.
fn filled(fields: &[(&str, &Value)]) -> Value {
    let present = fields.iter().filter(|(_, value)| !value.is_null());
    Value::Object(present.map(|(name, value)| ((*name).to_owned(), (*value).clone())).collect())
}

fn refused(problem: &Value) -> Told {
    Told::Refused {
        code: problem["code"].as_str().expect("a code").to_owned(),
        field: problem["field"].as_str().map(str::to_owned),
        version: problem["version"].as_u64(),
        is_retryable: problem["retryable"] == true,
    }
}

/// The HTTP status of a code, as PROTOCOL.md section 5 has it; of two the one for fields.
fn status_of(code: &str) -> u16 {
    let document = include_str!("../../../PROTOCOL.md");
    let row =
        document.lines().find(|line| line.starts_with(&format!("| `{code}` | "))).expect("is documented");
    let cell = row.split(" | ").nth(1).expect("a status");
    let numbers = cell.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok());
    numbers.max().expect("a number")
}

/// A house with Ann the admin, Bob and Cleo in a closed room, Eve outside, and a bot.
struct World {
    house: House,
    people: HashMap<&'static str, Person>,
    robot: Caller,
    robot_key: String,
    den: i64,
    pair: i64,
    commons: i64,
}

impl World {
    async fn made(ground: Ground) -> Self {
        let house = House::open_with(ground, &["--set", "socket.invalid_frames=1000"]).await;
        let mut people = HashMap::new();
        for name in ["Bob", "Cleo", "Eve"] {
            people.insert(name, house.joined_by(name).await);
        }
        let den = house.closed_room("Den", &[&people["Bob"], &people["Cleo"]]).await.id as i64;
        let direct = json!({ "kind": "direct", "members": [people["Bob"].id] });
        let pair = Caller::of(&house.admin).post("/rooms", direct).await.expect(201)["id"].as_i64();
        let bot = house.admin.client.create_bot("Robot").await.expect("a bot");
        let robot = Caller::nobody(&house.url()).bearing(&bot.key);
        let socket = house.admin.connects().await;
        let welcome = socket.socket.welcome();
        let commons = welcome.rooms.iter().find(|room| room.kind == "commons").expect("a commons").room_id;
        let (pair, commons) = (pair.expect("an id"), commons as i64);
        Self { robot, robot_key: bot.key, den, pair, commons, people, house }
    }

    fn caller(&self, who: &str) -> Caller {
        match who {
            "Ann" => Caller::of(&self.house.admin),
            "Robot" => self.robot.clone(),
            other => Caller::of(&self.people[other]),
        }
    }

    async fn listener(&self, who: &str) -> Listener {
        match who {
            "Ann" => self.house.admin.connects().await,
            "Robot" => {
                let credentials = loadtest::wire::Credentials::Bearer(self.robot_key.clone());
                let url = self.house.url();
                let socket = loadtest::socket::Socket::connect(&url, &credentials).await.expect("connects");
                Listener { socket }
            }
            other => self.people[other].connects().await,
        }
    }

    /// Everything there is to see, without what differs between two houses that are alike.
    async fn seen(&self) -> Vec<Value> {
        let mut seen = Vec::new();
        for who in ["Ann", "Bob", "Cleo", "Eve", "Robot"] {
            let caller = self.caller(who);
            let mut log = caller.get("/events?after=0&limit=500").await.expect(200)["events"].clone();
            let mut rooms = caller.get("/rooms").await.expect(200)["rooms"].clone();
            forget_times(&mut log);
            forget_times(&mut rooms);
            seen.extend([log, rooms]);
        }
        seen
    }
}

fn forget_times(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| name != "at" && name != "created_at");
            fields.values_mut().for_each(forget_times);
        }
        Value::Array(values) => values.iter_mut().for_each(forget_times),
        _ => {}
    }
}

/// Runs the cases through both doors; what the first posts' ids came to.
async fn same(rest: &World, socket: &World, cases: &[Case]) -> Vec<i64> {
    let mut sockets: HashMap<&str, Listener> = HashMap::new();
    let mut ids = Vec::new();
    for (who, ask, expected) in cases {
        if !sockets.contains_key(who) {
            sockets.insert(who, socket.listener(who).await);
        }
        let by_rest = ask.over_rest(&rest.caller(who)).await;
        let by_socket = ask.over_socket(sockets.get_mut(who).expect("is there"), socket.den).await;
        assert_eq!(by_rest, by_socket, "{who}: {ask:?}");
        match (&by_rest, expected) {
            (Told::Done { id, .. }, None) => ids.extend(id.as_i64()),
            (Told::Read(_), None) => {}
            (Told::Refused { code, field, .. }, Some(expected)) => {
                assert_eq!((code.as_str(), field.as_deref()), *expected, "{who}: {ask:?}");
            }
            other => panic!("{who}: {ask:?}: {other:?}"),
        }
    }
    ids
}

on_both!(
    /// Proves PROJ-05.
    one_corpus_has_the_same_results_through_both_doors,
    async |ground| {
        let (rest, socket) = (World::made(ground).await, World::made(ground).await);
        let first = posts(&rest);
        let posted = same(&rest, &socket, &first).await;
        let [ann, bob, gone, ..] = posted[..] else { panic!("{posted:?}") };
        same(&rest, &socket, &[("Cleo", Ask::Delete { message: gone }, FINE)]).await;
        // Cleo's message is gone; that Bob may not touch it is no matter any more.
        let mut changed = changes(ann, bob, gone);
        for (who, ask, expected) in &mut changed {
            let is_gone = matches!(ask, Ask::Edit { message, .. } | Ask::Delete { message } if *message == gone);
            if is_gone {
                *who = "Cleo";
                assert!(expected.is_none() || *expected == no("not_found"));
            }
        }
        same(&rest, &socket, &changed).await;
        same(&rest, &socket, &rooms(&rest)).await;
        same(&rest, &socket, &members(&rest)).await;
        for (left, right) in rest.seen().await.into_iter().zip(socket.seen().await) {
            assert_eq!(left, right, "what was done is the same, to the number");
        }
    }
);

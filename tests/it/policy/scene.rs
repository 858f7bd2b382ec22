//! The house the table is about: who is in it, and what its `$names` stand for.

use crate::harness::{Ground, House, Listener, PASSWORD, Person};
use crate::rest::Caller;
use crate::rest::place::Place;
use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection, SqliteConnection};
use loadtest::socket::{Socket, SocketError};
use loadtest::wire::Credentials;
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

/// Somebody of the table's head, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    Anonymous,
    Guest,
    Member,
    Creator,
    Admin,
    Bot,
    Deactivated,
    Banned,
}

impl Who {
    pub(super) const ALL: [(Self, &'static str); 8] = [
        (Self::Anonymous, "anonymous"),
        (Self::Guest, "guest"),
        (Self::Member, "member"),
        (Self::Creator, "creator"),
        (Self::Admin, "admin"),
        (Self::Bot, "bot"),
        (Self::Deactivated, "deactivated"),
        (Self::Banned, "banned"),
    ];

    /// Whether they are let in.
    pub(super) const fn is_active(self) -> bool {
        !matches!(self, Self::Anonymous | Self::Deactivated | Self::Banned)
    }
}

pub(super) struct World {
    house: House,
    people: [Person; 5],
    bot: (u64, String),
    /// In the order of [`Who::ALL`].
    callers: Vec<Caller>,
    nobody: Caller,
    other: Cast,
    newcomer: u64,
    /// Another bot that is let in.
    third: Cast,
    /// Has a room of their own.
    stranger: Caller,
    commons: u64,
    direct: u64,
}

/// Somebody besides those of the table's head.
struct Cast {
    id: u64,
    caller: Caller,
}

impl World {
    pub(super) async fn made(ground: Ground) -> Self {
        let place = Place::new(ground);
        let (data, database) = (place.data(), place.database.clone());
        let server = place.serves(&["--set", "socket.invalid_frames=1000"]).await;
        let mut house = House::furnished(server, place.dir).await;
        let people = [
            house.joined_by("Gus").await,
            house.joined_by("Mia").await,
            house.joined_by("Cora").await,
            house.joined_by("Dee").await,
            house.joined_by("Ben").await,
        ];
        let (other, newcomer, stranger) =
            (house.joined_by("Olaf").await, house.joined_by("Nina").await, house.joined_by("Sam").await);
        let bot = house.admin.client.create_bot("Robot").await.expect("a bot");
        let third = house.admin.client.create_bot("Third").await.expect("a bot");
        let commons = {
            let socket = house.admin.connects().await;
            let rooms = &socket.socket.welcome().rooms;
            rooms.iter().find(|room| room.kind == "commons").expect("a commons").room_id
        };
        // What no route does yet, or what would take back their sessions: with the server down, as its memory may know better.
        house.server.kill().expect("down");
        let [guest, _, _, deactivated, banned] = &people;
        let rows = format!(
            "UPDATE users SET role = 'guest' WHERE id = {}; UPDATE users SET status = 'deactivated' WHERE id = {}; \
             UPDATE users SET status = 'banned' WHERE id = {}",
            guest.id, deactivated.id, banned.id
        );
        match database {
            Some(url) => {
                PgConnection::establish(&url).expect("connects").batch_execute(&rows).expect("changed");
            }
            None => {
                let file = data.join("hearth.db").display().to_string();
                SqliteConnection::establish(&file).expect("opens").batch_execute(&rows).expect("changed");
            }
        }
        house.server.restart().await.expect("up again");
        let nobody = Caller::nobody(&house.url());
        let mut world = Self {
            people,
            callers: Vec::new(),
            other: Cast { id: other.id, caller: Caller::of(&other) },
            newcomer: newcomer.id,
            stranger: Caller::of(&stranger),
            commons,
            direct: 0,
            bot: (bot.id, bot.key),
            third: Cast { id: third.id, caller: nobody.bearing(&third.key) },
            nobody,
            house,
        };
        world.callers = Who::ALL.map(|(who, _)| world.new_caller(who)).into();
        let body = json!({ "kind": "direct", "members": world.members() });
        world.direct = made_id(&world.caller(Who::Creator).post("/rooms", body).await.expect(201));
        world
    }

    /// Everybody who is let in, but the creator, and one more.
    fn members(&self) -> Vec<u64> {
        let [guest, member, ..] = &self.people;
        vec![guest.id, member.id, self.house.admin.id, self.bot.0, self.other.id, self.third.id]
    }

    fn person(&self, who: Who) -> Option<&Person> {
        let [guest, member, creator, deactivated, banned] = &self.people;
        match who {
            Who::Anonymous | Who::Bot => None,
            Who::Guest => Some(guest),
            Who::Member => Some(member),
            Who::Creator => Some(creator),
            Who::Admin => Some(&self.house.admin),
            Who::Deactivated => Some(deactivated),
            Who::Banned => Some(banned),
        }
    }

    /// Whoever it is, always by the same connections.
    pub(super) fn caller(&self, who: Who) -> &Caller {
        let at = Who::ALL.iter().position(|(known, _)| *known == who).expect("is in the head");
        &self.callers[at]
    }

    fn new_caller(&self, who: Who) -> Caller {
        match (self.person(who), who) {
            (Some(person), _) => Caller::of(person),
            (None, Who::Bot) => self.nobody.bearing(&self.bot.1),
            (None, _) => self.nobody.clone(),
        }
    }

    /// A socket of theirs, if they get one.
    pub(super) async fn socket(&self, who: Who) -> Result<Listener, SocketError> {
        let credentials = match (self.person(who), who) {
            (Some(person), _) => person.credentials(),
            (None, Who::Bot) => Credentials::Bearer(self.bot.1.clone()),
            (None, _) => Credentials::Anonymous,
        };
        Ok(Listener { socket: Socket::connect(&self.house.url(), &credentials).await? })
    }
}

fn made_id(made: &Value) -> u64 {
    made["id"].as_u64().expect("an id")
}

/// What one cell is about, made as it is named.
pub(super) struct Scene<'a> {
    world: &'a World,
    who: Who,
    closed: Option<u64>,
    foreign: Option<u64>,
    bot: Option<Value>,
    assistant: Option<u64>,
    action: Option<String>,
    /// A room to subscribe to before the request is made.
    pub(super) joined: Option<u64>,
}

impl<'a> Scene<'a> {
    pub(super) fn new(world: &'a World, who: Who) -> Self {
        Self {
            world,
            who,
            closed: None,
            foreign: None,
            bot: None,
            assistant: None,
            action: None,
            joined: None,
        }
    }

    /// The text with its `$names` replaced.
    pub(super) async fn filled(&mut self, text: &str) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            let end = after.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(after.len());
            let (name, after) = after.split_at(end);
            filled.push_str(before);
            filled.push_str(&self.named(name).await);
            rest = after;
        }
        filled + rest
    }

    async fn named(&mut self, name: &str) -> String {
        let world = self.world;
        match name {
            "closed" => self.closed().await.to_string(),
            "open" => self.room(json!({ "kind": "open", "name": "Open" })).await.to_string(),
            "direct" => world.direct.to_string(),
            "commons" => world.commons.to_string(),
            "foreign" => self.foreign().await.to_string(),
            "deleted" => {
                let room = self.closed().await;
                world.caller(Who::Creator).delete(&format!("/rooms/{room}")).await.expect(204);
                room.to_string()
            }
            "joined" => {
                let room = self.closed().await;
                self.joined = Some(room);
                room.to_string()
            }
            "own" => {
                let room = self.closed().await;
                let author = if self.who.is_active() { self.who } else { Who::Creator };
                world.caller(author).says(room, "mine").await.to_string()
            }
            "theirs" => {
                let room = self.closed().await;
                world.other.caller.says(room, "theirs").await.to_string()
            }
            "hidden" => {
                let room = self.foreign().await;
                world.stranger.says(room, "hidden").await.to_string()
            }
            "me" => match (world.person(self.who), self.who) {
                (Some(person), _) => person.id.to_string(),
                (None, Who::Bot) => world.bot.0.to_string(),
                (None, _) => world.other.id.to_string(),
            },
            "other" => world.other.id.to_string(),
            "newcomer" => world.newcomer.to_string(),
            "bot" => self.bot().await["id"].to_string(),
            "key" => self.bot().await["key_id"].to_string(),
            "assistant" => self.assistant().await.to_string(),
            "run" => self.run(self.who).await.to_string(),
            "their_run" => self.run(Who::Anonymous).await.to_string(),
            "action" => {
                let user = match (world.person(self.who), self.who.is_active()) {
                    (Some(person), true) => person.id,
                    _ => world.other.id,
                };
                let by = if self.who == Who::Bot { Who::Bot } else { Who::Admin };
                self.action(world.caller(by), user).await
            }
            "their_action" => self.action(&world.third.caller, world.other.id).await,
            "someone" => self.someone().await.to_string(),
            "outcast" => {
                let user = self.someone().await;
                world.caller(Who::Admin).put(&format!("/users/{user}/ban"), json!({})).await.expect(200);
                user.to_string()
            }
            "invite" => {
                let made = world.caller(Who::Admin).post("/invites", json!({})).await;
                made_id(&made.expect(201)).to_string()
            }
            // Nobody signs in as a bot: then it is somebody else's, and no matter.
            "session" => self.session(if self.who.is_active() { self.email() } else { None }).await,
            "their_session" => self.session(None).await,
            "email" => self.email().unwrap_or_else(|| "nobody@example.org".to_owned()),
            "password" => PASSWORD.to_owned(),
            "code" => self.code().await,
            // Short enough for a guest.
            "fresh" => format!("new{:016x}", Uuid::new_v4().as_u64_pair().0),
            "uuid" => Uuid::new_v4().to_string(),
            "file" => "main.js".to_owned(),
            other => panic!("nobody knows what ${other} stands for"),
        }
    }

    async fn room(&self, body: Value) -> u64 {
        made_id(&self.world.caller(Who::Creator).post("/rooms", body).await.expect(201))
    }

    async fn closed(&mut self) -> u64 {
        if self.closed.is_none() {
            let members = self.world.members();
            self.closed =
                Some(self.room(json!({ "kind": "closed", "name": "Den", "members": members })).await);
        }
        self.closed.expect("was made")
    }

    async fn foreign(&mut self) -> u64 {
        if self.foreign.is_none() {
            let body = json!({ "kind": "closed", "name": "Elsewhere" });
            self.foreign = Some(made_id(&self.world.stranger.post("/rooms", body).await.expect(201)));
        }
        self.foreign.expect("was made")
    }

    async fn code(&self) -> String {
        let account = self.world.caller(Who::Admin).get("/account").await.expect(200);
        account["join_code"].as_str().expect("a code").to_owned()
    }

    async fn bot(&mut self) -> Value {
        if self.bot.is_none() {
            let made = self.world.caller(Who::Admin).post("/bots", json!({ "name": "Another" })).await;
            self.bot = Some(made.expect(201));
        }
        self.bot.clone().expect("was made")
    }

    /// An assistant that is switched on, but can't be reached, in the closed room.
    async fn assistant(&mut self) -> u64 {
        if self.assistant.is_none() {
            let body = json!({ "name": "Ada", "base_url": "http://127.0.0.1:9/v1", "model": "tiny" });
            let made = self.world.caller(Who::Admin).post("/assistants", body).await;
            let (id, room) = (made_id(&made.expect(201)), self.closed().await);
            let member = format!("/rooms/{room}/members/{id}");
            self.world.caller(Who::Creator).put(&member, Value::Null).await.expect(204);
            self.assistant = Some(id);
        }
        self.assistant.expect("was made")
    }

    /// An answer in the closed room, asked for by them; by a bot of its own if nobody asks like that, for only so many wait.
    async fn run(&mut self, who: Who) -> u64 {
        let (room, assistant) = (self.closed().await, self.assistant().await);
        let mut asker = self.world.caller(who).clone();
        if !who.is_active() {
            let made =
                self.world.caller(Who::Admin).post("/bots", json!({ "name": "Curious" })).await.expect(201);
            let member = format!("/rooms/{room}/members/{}", made["id"]);
            self.world.caller(Who::Creator).put(&member, Value::Null).await.expect(204);
            asker = self.world.nobody.bearing(made["key"].as_str().expect("a key"));
        }
        let message = asker.says(room, "what?").await;
        let body = json!({ "message_id": message, "assistant_id": assistant });
        let run = made_id(&asker.post(&format!("/rooms/{room}/runs"), body).await.expect(201));
        // Nobody is there to answer it: it is over soon, and what is over can be stopped as what waits.
        let path = format!("/rooms/{room}/runs/{run}");
        while matches!(asker.get(&path).await.expect(200)["state"].as_str(), Some("queued" | "running")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        run
    }

    /// The same one, however often it is named.
    async fn action(&mut self, by: &Caller, user: u64) -> String {
        if self.action.is_none() {
            let room = self.closed().await;
            let body = json!({ "user_id": user, "kind": "dice.roll", "room_id": room });
            let made = by.post("/actions", body).await.expect(201);
            self.action = Some(made["id"].as_str().expect("an id").to_owned());
        }
        self.action.clone().expect("was made")
    }

    async fn someone(&self) -> u64 {
        let name = format!("new{}", Uuid::new_v4().simple());
        let email = format!("{name}@example.org");
        let door = format!("/join/{}", self.code().await);
        let body = json!({ "name": name, "email": email, "password": PASSWORD });
        made_id(&self.world.nobody.post(&door, body).await.expect(201)["user"])
    }

    fn email(&self) -> Option<String> {
        let name = match self.who {
            Who::Guest => "gus",
            Who::Member => "mia",
            Who::Creator => "cora",
            Who::Admin => "ann",
            Who::Deactivated => "dee",
            Who::Banned => "ben",
            Who::Anonymous | Who::Bot => return None,
        };
        Some(format!("{name}@example.org"))
    }

    async fn session(&self, email: Option<String>) -> String {
        let email = email.unwrap_or_else(|| "olaf@example.org".to_owned());
        let begun =
            self.world.nobody.post("/sessions", json!({ "email": email, "password": PASSWORD })).await;
        made_id(&begun.expect(201)["session"]).to_string()
    }
}

//! People who come in by a code or a password, from wherever they say they are.

use crate::harness::{House, Listener, PASSWORD, PATIENCE};
use crate::rest::caller::{Answer, Caller};
use loadtest::socket::{Frame, Socket, SocketError};
use loadtest::wire::Credentials;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Somebody who came in.
pub(super) struct Somebody {
    pub(super) id: u64,
    pub(super) calls: Caller,
    cookie: String,
    url: String,
}

impl Somebody {
    /// Who an answer with a cookie is for.
    pub(super) fn of(house: &House, answer: &Answer) -> Self {
        let id = answer.expect(201)["user"]["id"].as_u64().expect("an id");
        let (cookie, url) = (answer.cookie(), house.url());
        Self { id, calls: Caller::nobody(&url).with("cookie", &cookie), cookie, url }
    }

    /// Comes in by a code.
    pub(super) async fn joins(house: &House, code: &str, body: Value) -> Self {
        let answer = Caller::nobody(&house.url()).post(&format!("/join/{code}"), body).await;
        Self::of(house, &answer)
    }

    /// A guest with nothing but a name, added to these rooms.
    pub(super) async fn guest(house: &House, name: &str, rooms: &[u64]) -> Self {
        let invite = json!({ "role": "guest", "room_ids": rooms });
        let invite = Caller::of(&house.admin).post("/invites", invite).await.expect(201);
        Self::joins(house, invite["code"].as_str().expect("a code"), json!({ "name": name })).await
    }

    /// Signs in.
    pub(super) async fn signs_in(house: &House, by: &Caller, email: &str) -> Self {
        let answer = by.post("/sessions", json!({ "email": email, "password": PASSWORD })).await;
        Self::of(house, &answer)
    }

    pub(super) async fn connects(&self) -> Listener {
        self.tries_to_connect().await.expect("connects")
    }

    pub(super) async fn tries_to_connect(&self) -> Result<Listener, SocketError> {
        let socket = Socket::connect(&self.url, &Credentials::Cookie(self.cookie.clone())).await?;
        Ok(Listener { socket })
    }

    pub(super) async fn listens_to(&self, room: u64) -> Listener {
        let mut listener = self.connects().await;
        listener.joins(room, None).await;
        listener
    }

    /// The rooms that `welcome` lists, without inbox and commons.
    pub(super) async fn rooms(&self) -> Vec<u64> {
        let listed = self.calls.get("/rooms").await.expect(200);
        listed["rooms"]
            .as_array()
            .expect("rooms")
            .iter()
            .map(|room| room["id"].as_u64().expect("an id"))
            .collect()
    }
}

/// How a socket ends, and what durable it hears before.
pub(super) async fn ends(listener: &mut Listener) -> (u16, Vec<String>) {
    let mut heard = Vec::new();
    loop {
        match tokio::time::timeout(PATIENCE, listener.socket.next()).await.expect("in time") {
            Ok(Frame::Event(event)) => heard.push(event.json.to_string()),
            Ok(_) => {}
            Err(SocketError::Closed { code, .. }) => return (code, heard),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Asks again and again until an answer has the status.
pub(super) async fn settles(status: u16, ask: impl AsyncFn() -> Answer) -> Answer {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask().await;
        if answer.status == status {
            return answer;
        }
        assert!(Instant::now() < deadline, "{} and not {status}: {}", answer.status, answer.text());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

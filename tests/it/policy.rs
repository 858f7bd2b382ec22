//! The written table of who may what (`policy/table.md`), asked of the real server by REST and by socket.

mod scene;

use crate::harness::{Ground, Listener, on_both};
use futures_util::future::join_all;
use hearth::domain::Action;
use hearth::protocol::client_frame::Request;
use hearth::transport::http::{Access, Listed, listed};
use loadtest::socket::SocketError;
use scene::{Scene, Who, World};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// One row of either table.
struct Row {
    /// `GET /api/v1/me`, or the type of a frame.
    what: &'static str,
    body: &'static str,
    cells: Vec<&'static str>,
}

/// The rows below a heading.
fn rows(heading: &str) -> Vec<Row> {
    let document = include_str!("policy/table.md");
    let (_, section) = document.split_once(&format!("\n## {heading}\n")).expect("a section");
    let section = section.split("\n## ").next().expect("something");
    let mut lines = section.lines().filter(|line| line.starts_with("| "));
    let cells = |line: &'static str| -> Vec<&'static str> {
        let line = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')).expect("a row");
        line.split('|').map(|cell| cell.trim().trim_matches('`')).collect()
    };
    let head = cells(lines.next().expect("a head"));
    assert_eq!(head[2..], Who::ALL.map(|(_, name)| name));
    lines
        .skip(1)
        .map(|line| match cells(line).as_slice() {
            [what, body, cells @ ..] if cells.len() == Who::ALL.len() => {
                Row { what, body, cells: cells.to_vec() }
            }
            other => panic!("{other:?} is no row"),
        })
        .collect()
}

impl Row {
    fn method_and_path(&self) -> (&'static str, &'static str) {
        self.what.split_once(' ').expect("method and path")
    }

    /// Whether it is about that route.
    fn is_of(&self, route: &Listed) -> bool {
        let (method, path) = self.method_and_path();
        let path = path.split('?').next().unwrap_or(path);
        let (mut ours, mut theirs) = (path.split('/'), route.path.split('/'));
        // What holds for GET holds for HEAD.
        let same_method = method == route.method || (method, route.method) == ("GET", "HEAD");
        same_method
            && path.split('/').count() == route.path.split('/').count()
            && ours
                .by_ref()
                .zip(theirs.by_ref())
                .all(|(ours, theirs)| if ours.contains('$') { theirs.contains('{') } else { ours == theirs })
    }
}

/// Proves AUTH-16.
#[test]
fn every_route_has_its_row_and_every_row_its_route() {
    let (routes, rows) = (listed(), rows("Routes"));
    for route in &routes {
        assert!(
            rows.iter().any(|row| row.is_of(route)),
            "{} {} is not in tests/it/policy/table.md",
            route.method,
            route.path
        );
    }
    for row in &rows {
        let route = routes.iter().find(|route| row.is_of(route));
        let route = route.unwrap_or_else(|| panic!("{} is no route", row.what));
        let who_is_nobody = || Who::ALL.iter().zip(&row.cells).filter(|((who, _), _)| !who.is_active());
        match route.access {
            // A password may be wrong, but nobody is refused for who they are.
            Access::Anybody => assert!(row.cells.iter().all(|cell| *cell != "403"), "{}", row.what),
            Access::Allowed(_) => {
                assert!(who_is_nobody().all(|(_, cell)| *cell == "401"), "{} asks who one is", row.what);
            }
        }
    }
}

/// Proves AUTH-16.
#[test]
fn every_frame_has_its_row_and_every_row_its_frame() {
    let written: BTreeSet<&str> = rows("Frames").iter().map(|row| row.what).collect();
    assert_eq!(written, Request::TYPES.into_iter().collect());
}

/// The code that a refusal of the table stands for.
fn code(cell: &str, who: Who, access: Access) -> &'static str {
    match (cell, who, access) {
        // They are known by what they show; a password says nothing of who knows it.
        ("401", Who::Deactivated | Who::Banned, Access::Allowed(_)) => "token_revoked",
        ("401", ..) => "unauthenticated",
        ("403", ..) => "forbidden",
        ("404", ..) => "not_found",
        ("409", ..) => "already_set_up",
        ("422", ..) => "invalid_payload",
        other => panic!("which code is {other:?}?"),
    }
}

/// Makes the request of a cell; what is wrong with what came of it.
async fn asks(world: &World, row: &Row, who: Who, name: &str, cell: &str) -> Vec<String> {
    let (method, path) = row.method_and_path();
    let access = listed().iter().find(|route| row.is_of(route)).expect("a route").access;
    let mut scene = Scene::new(world, who);
    let path = scene.filled(path).await;
    let body = scene.filled(row.body).await;
    let caller = world.caller(who).with("if-match", "1");
    let mut wrong = Vec::new();
    let methods: &[&str] = if method == "GET" { &["GET", "HEAD"] } else { &[method] };
    for method in methods {
        let body = (!body.is_empty()).then(|| ("application/json", body.clone().into_bytes()));
        let answer = caller.sends(method, &path, body).await;
        let has_code = answer.status >= 400 && *method != "HEAD";
        if answer.status.to_string() != *cell
            || (has_code && answer.json()["code"] != code(cell, who, access))
        {
            let (status, text) = (answer.status, answer.text());
            wrong.push(format!("{method} {path} as {name}: {cell}, not {status} {text}"));
        }
    }
    wrong
}

on_both!(
    /// Proves AUTH-16, BOT-06.
    the_routes_are_for_whom_the_table_says,
    async |ground| {
        let world = World::made(ground).await;
        let mut wrong = Vec::new();
        for row in rows("Routes") {
            let cells = Who::ALL.into_iter().zip(&row.cells);
            let asked = cells.map(|((who, name), cell)| asks(&world, &row, who, name, cell));
            wrong.extend(join_all(asked).await.into_iter().flatten());
        }
        assert!(wrong.is_empty(), "{} cells\n{}", wrong.len(), wrong.join("\n"));
    }
);

/// What comes of a frame: `ok`, or the code of its refusal.
async fn sent(listener: &mut Listener, kind: &str, data: &str, joined: Option<u64>) -> String {
    if let Some(room) = joined {
        listener.asks("room.subscribe", json!({ "room_id": room })).await;
    }
    if matches!(kind, "ping" | "pong") {
        // Neither is answered by a reply; the socket goes on.
        listener.socket.send_text(json!({ "type": kind }).to_string()).await.expect("sent");
        return sent_and_answered(listener, "room.unsubscribe", &json!({ "room_id": 1 })).await;
    }
    let data = serde_json::from_str(data).unwrap_or_else(|error| panic!("{data}: {error}"));
    sent_and_answered(listener, kind, &data).await
}

async fn sent_and_answered(listener: &mut Listener, kind: &str, data: &Value) -> String {
    match listener.socket.request(kind, data).await {
        Ok(_) => "ok".to_owned(),
        Err(error @ SocketError::Refused(_)) => error.code().to_owned(),
        Err(error) => panic!("{kind}: {error}"),
    }
}

on_both!(
    /// Proves AUTH-16, BOT-06.
    the_frames_are_for_whom_the_table_says,
    async |ground| {
        let world = World::made(ground).await;
        let mut wrong = Vec::new();
        for (index, (who, name)) in Who::ALL.into_iter().enumerate() {
            let mut listener = match world.socket(who).await {
                Ok(listener) => Some(listener),
                Err(error) => {
                    let refusal = error.refusal().expect("an answer");
                    assert_eq!(refusal.status, 401, "{name}");
                    None
                }
            };
            for row in rows("Frames") {
                let cell = row.cells[index];
                let access = Access::Allowed(Action::Connect);
                let expected = if cell == "ok" { cell } else { code(cell, who, access) };
                let came = match &mut listener {
                    None => code("401", who, access).to_owned(),
                    Some(listener) => {
                        let mut scene = Scene::new(&world, who);
                        let data = scene.filled(row.body).await;
                        sent(listener, row.what, &data, scene.joined).await
                    }
                };
                if came != expected {
                    wrong.push(format!("{} {} as {name}: {expected}, not {came}", row.what, row.body));
                }
            }
        }
        assert!(wrong.is_empty(), "{} cells\n{}", wrong.len(), wrong.join("\n"));
    }
);

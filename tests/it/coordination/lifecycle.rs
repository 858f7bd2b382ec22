//! A socket's life: handshake, heartbeat, goodbye, and that nothing of it is left.

use crate::harness::{Ground, House, PATIENCE, on_both};
use crate::raw::Raw;
use loadtest::client::Client;
use loadtest::socket::{Socket, SocketError};
use loadtest::wire::Credentials;
use reqwest::Method;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{self};

/// Shakes hands with headers of one's own; the status and the protocol that was chosen.
async fn shake(url: &str, headers: &[(&'static str, &str)]) -> (u16, Option<String>) {
    let mut request = format!("{}/ws", url.replace("http", "ws")).into_client_request().expect("a request");
    for (name, value) in headers {
        request.headers_mut().append(*name, HeaderValue::from_str(value).expect("a value"));
    }
    match tokio_tungstenite::connect_async(request).await {
        Ok((_, response)) => {
            let chosen = response.headers().get("sec-websocket-protocol");
            (101, chosen.map(|value| value.to_str().expect("text").to_owned()))
        }
        Err(tungstenite::Error::Http(response)) => (response.status().as_u16(), None),
        Err(error) => panic!("{error}"),
    }
}

fn cookie(credentials: &Credentials) -> String {
    match credentials {
        Credentials::Cookie(cookie) => cookie.clone(),
        other => panic!("no cookie: {other:?}"),
    }
}

/// Proves CONN-12.
#[tokio::test]
async fn one_known_protocol_is_chosen_and_none_is_refused() {
    let house = House::open(Ground::Sqlite).await;
    let cookie = cookie(&house.admin.credentials());
    let offers =
        |offer: &'static str| [("cookie", cookie.clone()), ("sec-websocket-protocol", offer.to_owned())];
    for (offer, expected) in [
        ("hearth.v1.json", (101, Some("hearth.v1.json".to_owned()))),
        ("chat, hearth.v1.json", (101, Some("hearth.v1.json".to_owned()))),
        ("hearth.v2.json", (400, None)),
    ] {
        let headers = offers(offer);
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(shake(&house.url(), &headers).await, expected, "{offer}");
    }
    assert_eq!(shake(&house.url(), &[("cookie", &cookie)]).await.0, 400, "none offered");
}

/// Proves CONN-13.
#[tokio::test]
async fn missing_invalid_and_ended_credentials_have_one_result_each() {
    let house = House::open(Ground::Sqlite).await;
    let protocol = ("sec-websocket-protocol", "hearth.v1.json");
    assert_eq!(shake(&house.url(), &[protocol]).await.0, 401, "missing");
    assert_eq!(
        shake(&house.url(), &[protocol, ("cookie", "hearth_session=nonsense")]).await.0,
        401,
        "invalid"
    );
    assert_eq!(
        shake(&house.url(), &[protocol, ("authorization", "Bearer 1-nonsense")]).await.0,
        401,
        "invalid"
    );
    let cookie = cookie(&house.admin.credentials());
    assert_eq!(
        shake(&house.url(), &[protocol, ("cookie", &cookie), ("authorization", "Bearer 1-x")]).await.0,
        401,
        "a header that is wrong doesn't fall back to the cookie"
    );

    let bob = house.joined_by("Bob").await;
    let mut open = bob.listens_to(house.lobby).await;
    let out =
        bob.client.call::<()>(Method::DELETE, "/sessions/current", &[], None).await.expect("signed out");
    assert_eq!(out.0, 204);
    assert_eq!(open.is_closed().await, 4501, "ended while connected");
    assert!(matches!(bob.tries_to_connect().await, Err(SocketError::Refused(_))), "ended before");
}

/// Proves CONN-13.
#[tokio::test]
async fn a_session_that_runs_out_closes_its_socket() {
    let flags = ["--set", "auth.session_s=2", "--set", "heartbeat.interval_ms=500"];
    let house = House::open_with(Ground::Sqlite, &flags).await;
    let mut ann = house.admin.listens_to(house.lobby).await;
    ann.posts(house.lobby, "still in").await;
    assert_eq!(ann.is_closed().await, 4500);
}

/// Proves CONN-13.
#[tokio::test]
async fn a_session_that_ran_out_opens_no_socket() {
    let house = House::open_with(Ground::Sqlite, &["--set", "auth.session_s=1"]).await;
    let cookie = cookie(&house.admin.credentials());
    let headers = [("sec-websocket-protocol", "hearth.v1.json"), ("cookie", &*cookie)];
    let deadline = Instant::now() + PATIENCE;
    loop {
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        match shake(&house.url(), &headers).await.0 {
            401 => break,
            status => assert!(status == 101 && Instant::now() < deadline, "{status}"),
        }
    }
}

/// Proves AUTH-02.
#[tokio::test]
async fn a_page_of_another_origin_gets_no_socket() {
    let house = House::open(Ground::Sqlite).await;
    let cookie = cookie(&house.admin.credentials());
    let own = house.url();
    for (origin, expected) in [(own.as_str(), 101), ("https://evil.test", 403), ("null", 403)] {
        let headers = [("sec-websocket-protocol", "hearth.v1.json"), ("cookie", &cookie), ("origin", origin)];
        assert_eq!(shake(&house.url(), &headers).await.0, expected, "{origin}");
    }
}

/// A bot on the socket: by header, or as a second protocol where headers can't be set.
#[tokio::test]
async fn a_bot_key_opens_a_socket_in_both_ways() {
    let house = House::open(Ground::Sqlite).await;
    let bot = house.admin.client.create_bot("Robot").await.expect("a bot");
    let bearer = format!("Bearer {}", bot.key);
    let headers = [("sec-websocket-protocol", "hearth.v1.json"), ("authorization", &*bearer)];
    assert_eq!(shake(&house.url(), &headers).await.0, 101);
    let protocols = format!("hearth.v1.json, bearer.{}", bot.key);
    let (status, chosen) = shake(&house.url(), &[("sec-websocket-protocol", &protocols)]).await;
    assert_eq!((status, chosen.as_deref()), (101, Some("hearth.v1.json")), "the key isn't echoed");
}

/// Proves CONN-14, CONN-15.
#[tokio::test]
async fn every_frame_is_answered_and_traced() {
    let house = House::open(Ground::Sqlite).await;
    let mut ann = house.admin.connects().await;
    for (text, field) in [
        ("{", "frame"),
        ("[]", "frame"),
        (r#"{"type":"message.pots","request_id":"x"}"#, "type"),
        (r#"{"type":"message.post","request_id":"x","data":{"room_id":"one"}}"#, "room_id"),
        (
            r#"{"type":"message.post","request_id":"x","data":{"room_id":1,"client_message_id":"1","body":""}}"#,
            "client_message_id",
        ),
        (r#"{"type":"read.mark","request_id":"x","data":{"room_id":1,"seq":1.5}}"#, "seq"),
    ] {
        ann.socket.send_text(text.to_owned()).await.expect("sent");
        match ann.next().await {
            loadtest::socket::Frame::Error { request_id, refusal } => {
                assert_eq!(refusal.code, "invalid_payload");
                assert_eq!(refusal.field.as_deref(), Some(field), "{text}");
                assert_eq!(request_id.as_deref(), text.contains("request_id").then_some("x"));
                let trace = refusal.trace_id.expect("a trace");
                assert!(house.log().contains(&trace), "the log has the trace");
            }
            other => panic!("{other:?}"),
        }
    }
    let text = json!({ "type": "room.unsubscribe", "request_id": "r", "data": { "room_id": house.lobby } });
    ann.socket.send_text(text.to_string()).await.expect("sent");
    assert!(ann.next().await.answers("r"));
    // Twenty invalid frames are enough (six were sent).
    for _ in 0..14 {
        ann.socket.send_text("{}".to_owned()).await.expect("sent");
    }
    assert_eq!(ann.is_closed().await, 4504);
}

on_both!(
    /// Proves CONN-17.
    a_lost_heartbeat_leaves_nothing_behind,
    async |ground| {
        let flags = [
            "--set", "heartbeat.interval_ms=500", "--set", "heartbeat.dead_after_ms=4000",
            "--set", "presence.grace_ms=100", "--set", "rooms.idle_ms=200", "--set", "socket.linger_ms=100",
        ];
        let house = House::open_with(ground, &flags).await;
        let bob = house.joined_by("Bob").await;
        let mut ann = house.admin.listens_to(house.lobby).await;
        let mut mute = Raw::connect(&house.url(), &bob.credentials()).await;
        mute.says(&json!({ "type": "room.subscribe", "data": { "room_id": house.lobby } })).await;
        mute.says(&json!({ "type": "typing.start", "data": { "room_id": house.lobby } })).await;
        assert_eq!(ann.notices("typing").await["data"]["typing"], true);
        // Bob says nothing more, not even pong; Ann's client answers.
        assert_eq!(ann.notices("typing").await["data"]["typing"], false, "typing ended with the socket");
        assert_eq!(mute.close_code().await, Some(4000));
        house.metric_becomes("hearth_connections", "", 1.0).await;
        house.metric_becomes("hearth_subscriptions", "", 1.0).await;
        ann.socket.close().await.expect("closes");
        for gauge in ["hearth_connections", "hearth_subscriptions", "hearth_rooms"] {
            house.metric_becomes(gauge, "", 0.0).await;
        }
        assert!(house.metric("hearth_connections_closed_total", "heartbeat_lost").await >= 1.0);
    }
);

on_both!(
    /// Proves OPS-01.
    sigterm_sends_everybody_away_and_ends_in_time,
    async |ground| {
        let mut house = House::open(ground).await;
        let room = house.lobby;
        let mut ann = house.admin.listens_to(room).await;
        let client = Client::new(&house.url()).expect("a client");
        client.sign_in("ann@example.org", crate::harness::PASSWORD).await.expect("signs in");
        let last = ann.posts(room, "before the end").await;
        let poll = {
            tokio::spawn(async move { client.feed(last.id, Duration::from_secs(20), None).await })
        };
        house.metric_becomes("hearth_polls_waiting", "", 1.0).await;
        let ended = house.server.terminate(Duration::from_secs(15)).await.expect("ends in time");
        assert!(ended.success(), "{ended:?}");
        assert_eq!(ann.hears_message().await, "before the end");
        let goodbye = loop {
            match ann.socket.next().await {
                Err(SocketError::Closed { code, reason }) => break (code, reason),
                Ok(_) => {}
                Err(error) => panic!("no goodbye: {error}"),
            }
        };
        assert_eq!(goodbye.0, 1012);
        let delay = goodbye.1.strip_prefix("restart;delay_ms=").expect("a hint").parse::<u64>().expect("a number");
        assert!(delay <= 10_000);
        assert!(poll.await.expect("polled").expect("answered").events.is_empty(), "the poll was answered, not cut");
        house.server.restart().await.expect("comes back");
        assert_eq!(house.admin.reads(room).await, ["before the end"]);
    }
);

/// More sockets than one user may have are sent away; those there are stay.
#[tokio::test]
async fn the_twenty_first_socket_of_a_user_is_sent_away() {
    let house = House::open_with(Ground::Sqlite, &["--set", "socket.per_user=3"]).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(house.admin.listens_to(house.lobby).await);
    }
    let refused = Socket::connect(&house.url(), &house.admin.credentials()).await.err();
    assert!(matches!(refused, Some(SocketError::Closed { code: 4503, .. })), "{refused:?}");
    open[0].posts(house.lobby, "still here").await;
    for listener in &mut open {
        assert_eq!(listener.hears_message().await, "still here");
    }
}

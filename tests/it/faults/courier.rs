//! Webhooks of bots: told at least once whatever dies, answered once, given up in the end.

use super::Frail;
use super::receiver::{Deed, Receiver};
use crate::harness::{Ground, House, Listener, on_both};
use crate::rest::caller::Caller;
use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use serde_json::{Value, json};

/// Quick to try again, and to take a delivery for abandoned.
pub(super) const HASTY: [&str; 8] = [
    "--set",
    "outbox.backoff_ms=20",
    "--set",
    "outbox.timeout_ms=3000",
    "--set",
    "outbox.lease_s=6",
    "--set",
    "outbox.poll_ms=100",
];

/// A bot that is told at `url`; its id.
pub(super) async fn bot(house: &House, name: &str, url: &str) -> u64 {
    let made = Caller::of(&house.admin).post("/bots", json!({ "name": name, "webhook_url": url })).await;
    made.expect(201)["id"].as_u64().expect("an id")
}

/// The next message in the room: author's role and body.
async fn hears(listener: &mut Listener) -> (String, String) {
    let event = listener.hears().await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    assert_eq!(event.kind, "message.posted");
    (text(&event.json["data"]["author"]["role"]), text(&event.json["data"]["body"]))
}

fn pair(role: &str, body: &str) -> (String, String) {
    (role.to_owned(), body.to_owned())
}

on_both!(
    /// Proves DB-09.
    a_bot_is_told_what_concerns_it_and_its_answer_is_posted,
    async |ground| {
        let house = House::open_with(ground, &HASTY).await;
        let mut receiver = Receiver::that([Deed::says(" On it, @Robot! \n")]).await;
        let robot = bot(&house, "Robot", &receiver.url()).await;
        bot(&house, "Robot Two", "http://127.0.0.1:1/").await;
        let ann = Caller::of(&house.admin);
        let mut bob = house.joined_by("Bob").await.listens_to(house.lobby).await;
        let asked = ann.says(house.lobby, "Hey @rObOt, deploy <b>").await;
        let told = receiver.is_told().await;
        assert_eq!(told.path, "/hook?token=s3cret");
        assert_eq!(told.headers["content-type"], "application/json");
        assert_eq!(told.event_id(), asked);
        assert!(told.headers.contains_key("x-hearth-delivery"));
        assert_eq!(
            told.json,
            json!({
                "user": { "id": house.admin.id, "name": "Ann" },
                "room": { "id": house.lobby, "name": "General", "path": format!("/api/v1/rooms/{}/messages", house.lobby) },
                "message": {
                    "id": asked,
                    "body": { "html": "Hey @rObOt, deploy &lt;b&gt;", "plain": "Hey , deploy <b>" },
                    "path": format!("/api/v1/messages/{asked}"),
                },
            })
        );
        assert_eq!(hears(&mut bob).await, pair("admin", "Hey @rObOt, deploy <b>"));
        // Its own answer names it: no loop begins.
        assert_eq!(hears(&mut bob).await, pair("bot", "On it, @Robot!"));

        // None of these is for it: no mention, another's longer name, a room it isn't in, an edit.
        let quiet = ann.says(house.lobby, "robot, email@robot, @robots").await;
        ann.says(house.lobby, "@robot two").await;
        let den = house.closed_room("Den", &[]).await.id;
        ann.says(den, "@Robot in here?").await;
        let edited = ann.with("if-match", "1").patch(&format!("/messages/{quiet}"), json!({ "body": "@Robot" })).await;
        edited.expect(200);
        // In a closed room once it is in, and in a direct room without a mention.
        ann.put(&format!("/rooms/{den}/members/{robot}"), Value::Null).await.expect(204);
        ann.says(den, "@Robot!").await;
        let told = receiver.is_told().await;
        assert_eq!((&told.json["room"]["name"], told.plain()), (&json!("Den"), "!"));
        let direct = ann.post("/rooms", json!({ "kind": "direct", "members": [robot] })).await.expect(201);
        ann.says(direct["id"].as_u64().expect("an id"), "just us").await;
        let told = receiver.is_told().await;
        assert_eq!((&told.json["room"]["name"], told.plain()), (&Value::Null, "just us"));

        // Renamed, it is called by its new name; without a webhook it isn't called.
        let changed = ann.patch(&format!("/bots/{robot}"), json!({ "name": "Golem" })).await.expect(200);
        assert_eq!((&changed["name"], &changed["webhook_url"]), (&json!("Golem"), &json!(receiver.url())));
        ann.says(house.lobby, "@Robot").await;
        ann.says(house.lobby, "@Golem wake").await;
        assert_eq!(receiver.is_told().await.plain(), "wake");
        let changed = ann.patch(&format!("/bots/{robot}"), json!({ "webhook_url": null })).await.expect(200);
        assert_eq!(changed["webhook_url"], Value::Null);
        ann.says(house.lobby, "@Golem sleep").await;
        bot(&house, "Marker", &receiver.url()).await;
        ann.says(house.lobby, "@Marker marker").await;
        assert_eq!(receiver.is_told().await.plain(), "marker");
    }
);

on_both!(
    /// Proves DB-09, LIM-11.
    what_fails_for_now_is_tried_again_and_answered_once,
    async |ground| {
        let house = House::open_with(ground, &HASTY).await;
        let deeds = [
            Deed::status(500),
            Deed::Answers(429, "retry-after: 1\r\n", String::new()),
            Deed::HangsUp,
            Deed::IsSilent,
            Deed::says("at last"),
        ];
        let mut receiver = Receiver::that(deeds).await;
        bot(&house, "Robot", &receiver.url()).await;
        let mut ann = house.admin.listens_to(house.lobby).await;
        let asked = ann.posts(house.lobby, "@Robot").await;
        let mut deliveries = Vec::new();
        for _ in 0..5 {
            let told = receiver.is_told().await;
            assert_eq!(told.event_id(), asked.id);
            deliveries.push(told.headers["x-hearth-delivery"].clone());
        }
        deliveries.dedup();
        assert_eq!(deliveries.len(), 1, "one delivery, five attempts");
        assert_eq!(ann.hears_message().await, "@Robot");
        assert_eq!(ann.hears_message().await, "at last");
        house.metric_becomes("hearth_deliveries_total", "retried", 4.0).await;
        house.metric_becomes("hearth_deliveries_total", "done", 1.0).await;
        assert!(!house.log().contains("s3cret"), "the address is a secret");
    }
);

on_both!(
    /// Proves LIM-11.
    what_never_works_becomes_a_dead_letter,
    async |ground| {
        let more = ["--set", "outbox.attempts=3"];
        let house = House::open_with(ground, &[&HASTY[..], &more].concat()).await;
        let mut receiver = Receiver::that([Deed::status(404), Deed::status(302)]).await;
        bot(&house, "Robot", &receiver.url()).await;
        bot(&house, "Nobody", "http://127.0.0.1:1/s3cret").await;
        let ann = Caller::of(&house.admin);
        for body in ["@Robot one", "@Robot two", "@Robot three", "@Nobody"] {
            ann.says(house.lobby, body).await;
            if body.contains("Robot") {
                receiver.is_told().await;
            }
        }
        house.metric_becomes("hearth_outbox_dead", "", 3.0).await;
        house.metric_becomes("hearth_outbox_waiting", "", 0.0).await;
        house.metric_becomes("hearth_deliveries_total", "retried", 2.0).await;
        assert!(!house.log().contains("s3cret"), "the address is a secret");
    }
);

on_both!(
    /// Proves DB-09.
    a_delivery_survives_the_death_of_the_server,
    async |ground| {
        let mut house = House::open_with(ground, &HASTY).await;
        let mut receiver = Receiver::that([Deed::IsSilent, Deed::says("again")]).await;
        bot(&house, "Robot", &receiver.url()).await;
        let asked = house.admin.client.post_message(house.lobby, uuid::Uuid::new_v4(), "@Robot").await;
        let asked = asked.expect("posted").id;
        // It has the request and says nothing; whether it acted on it nobody knows.
        assert_eq!(receiver.is_told().await.event_id(), asked);
        house.server.kill().expect("killed");
        house.server.restart().await.expect("starts");
        assert_eq!(receiver.is_told().await.event_id(), asked);
        let mut ann = house.admin.connects().await;
        let joined = ann.joins(house.lobby, Some(1)).await;
        let answered = crate::harness::missed(&joined).iter().any(|event| event.json["data"]["body"] == "again");
        if !answered {
            while ann.hears_message().await != "again" {}
        }
        assert_eq!(house.admin.reads(house.lobby).await, ["@Robot", "again"]);
    }
);

/// Proves DB-09.
#[tokio::test]
async fn a_delivery_that_is_repeated_posts_no_second_answer() {
    let Frail { house, file, .. } = Frail::open(&HASTY).await;
    let mut receiver = Receiver::that([Deed::says("first"), Deed::says("second")]).await;
    let robot = bot(&house, "Robot", &receiver.url()).await;
    let mut ann = house.admin.listens_to(house.lobby).await;
    let asked = ann.posts(house.lobby, "@Robot").await.id;
    assert_eq!((ann.hears_message().await.as_str(), ann.hears_message().await.as_str()), ("@Robot", "first"));
    house.metric_becomes("hearth_deliveries_total", "done", 1.0).await;
    receiver.is_told().await;
    // As if the server had died before it noted that it was done.
    let mut conn = SqliteConnection::establish(&file.display().to_string()).expect("opens");
    let row = format!("({asked}, 'webhook', '{robot}', 0, 0)");
    conn.batch_execute(&format!(
        "PRAGMA busy_timeout = 5000;
         INSERT INTO outbox (event_id, topic, payload, next_attempt_at, created_at) VALUES {row};
         UPDATE outbox SET created_at = 32503680000000"
    ))
    .expect("inserted");
    assert_eq!(receiver.is_told().await.event_id(), asked);
    house.metric_becomes("hearth_deliveries_total", "done", 2.0).await;
    ann.posts(house.lobby, "marker").await;
    assert_eq!(ann.hears_message().await, "marker", "no second answer before it");
}

/// The certificate is for this test alone; its key is no secret.
#[tokio::test]
async fn a_receiver_behind_tls_is_told_if_it_is_who_it_says() {
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::crypto::aws_lc_rs;
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let certificate = CertificateDer::from_pem_slice(include_bytes!("receiver.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("receiver.key.pem")).expect("a key");
    let tls = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("they fit");
    let acceptor = TlsAcceptor::from(std::sync::Arc::new(tls));
    let mut receiver = Receiver::behind([Deed::says("in private")], move |stream| {
        let acceptor = acceptor.clone();
        async move { acceptor.accept(stream).await }
    })
    .await;
    let url = format!("https://{}/", receiver.address);

    // Nobody vouches for it: it isn't told, and it isn't given up at once.
    let house = House::open_with(Ground::Sqlite, &HASTY).await;
    bot(&house, "Robot", &url).await;
    let mut ann = house.admin.listens_to(house.lobby).await;
    ann.posts(house.lobby, "@Robot").await;
    house.metric_becomes("hearth_deliveries_total", "done", 0.0).await;
    while house.metric("hearth_deliveries_total", "retried").await < 1.0 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    drop(house);

    let dir = tempfile::TempDir::new().expect("a directory");
    let mut options = loadtest::server::Options::new(crate::harness::binary(), dir.path().join("data"));
    let vouching = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/faults/receiver.pem");
    options.env.push(("SSL_CERT_FILE".to_owned(), vouching.to_owned()));
    let server = loadtest::server::Server::start(options).await.expect("starts");
    let house = House::furnished(server, dir).await;
    bot(&house, "Robot", &url).await;
    let mut ann = house.admin.listens_to(house.lobby).await;
    ann.posts(house.lobby, "@Robot psst").await;
    assert_eq!(receiver.is_told().await.plain(), "psst");
    assert_eq!(
        (ann.hears_message().await.as_str(), ann.hears_message().await.as_str()),
        ("@Robot psst", "in private")
    );
}

/// Proves LIM-11.
#[tokio::test]
async fn a_full_outbox_refuses_no_message() {
    let full = ["--set", "outbox.rows_max=1", "--set", "outbox.workers=1"];
    let house = House::open_with(Ground::Sqlite, &full).await;
    let mut receiver = Receiver::that([Deed::IsSilent, Deed::IsSilent]).await;
    bot(&house, "Robot", &receiver.url()).await;
    let ann = Caller::of(&house.admin);
    ann.says(house.lobby, "@Robot one").await;
    receiver.is_told().await;
    ann.says(house.lobby, "@Robot two").await;
    ann.says(house.lobby, "@Robot three").await;
    house.metric_becomes("hearth_outbox_dead", "", 2.0).await;
    assert_eq!(house.admin.reads(house.lobby).await.len(), 3);
}

on_both!(what_is_wrong_with_a_webhook_is_named, async |ground| {
    let house = House::open(ground).await;
    let (ann, bob) = (Caller::of(&house.admin), Caller::of(&house.joined_by("Bob").await));
    let field = Some("webhook_url");
    for wrong in [
        json!(""),
        json!("ftp://x"),
        json!("http://"),
        json!("http://a b"),
        json!("http://".to_owned() + &"x".repeat(3000)),
    ] {
        let asked = json!({ "name": "Robot", "webhook_url": wrong });
        ann.post("/bots", asked).await.is_problem(422, "invalid_payload", field);
    }
    let robot = bot(&house, "Robot", "http://127.0.0.1:1/s3cret").await;
    let path = format!("/bots/{robot}");
    ann.patch(&path, json!({ "webhook_url": 1 })).await.is_problem(422, "invalid_payload", field);
    ann.patch(&path, json!({ "name": " " })).await.is_problem(422, "invalid_payload", Some("name"));
    bob.patch(&path, json!({ "name": "Mine" })).await.is_problem(403, "forbidden", None);
    for nobody in [0, 999_999, house.admin.id] {
        ann.patch(&format!("/bots/{nobody}"), json!({ "name": "X" })).await.is_problem(
            404,
            "not_found",
            None,
        );
    }
    let unchanged = ann.patch(&path, json!({})).await.expect(200);
    assert_eq!(
        (&unchanged["name"], &unchanged["webhook_url"]),
        (&json!("Robot"), &json!("http://127.0.0.1:1/s3cret"))
    );
    // Who isn't an admin sees it nowhere.
    for path in ["/users", "/events?limit=500", "/rooms"] {
        assert!(!bob.get(path).await.text().contains("s3cret"), "{path}");
    }
    assert!(!house.log().contains("s3cret"));
});

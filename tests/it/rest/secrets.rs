//! What must be in no log: passwords, addresses, cookies, keys, codes, and what people say.

use super::caller::Caller;
use super::place::Place;
use crate::harness::{Ground, PASSWORD, on_both};
use crate::raw::{Raw, dial, upgrade};
use loadtest::client::Client;
use loadtest::wire::Credentials;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

on_both!(
    /// Proves OBS-03, AUTH-03.
    no_secret_is_in_the_log_whatever_is_logged,
    async |ground| {
        let mut place = Place::new(ground);
        if let Some(url) = &mut place.database {
            // The test server trusts everybody, so the password is ours to choose.
            *url = url.replacen("hearth@", "hearth:postgres-hunter2@", 1);
        }
        let server = place.serves(&["--log-level", "trace", "--set", "auth.touch_s=0", "--set", "metrics.token=metrics-hunter2"]).await;
        let nobody = Caller::nobody(&server.url());
        let mut secrets = vec![
            PASSWORD.to_owned(), "postgres-hunter2".to_owned(), "metrics-hunter2".to_owned(), "example.org".to_owned(),
            "a new password".to_owned(), "wrong-password".to_owned(), "said in confidence".to_owned(),
        ];
        let person = |name: &str| json!({ "account_name": "House", "name": name, "email": format!("{name}@example.org"), "password": PASSWORD });

        let first = nobody.post("/setup", person("ann")).await;
        let room = first.expect(201)["room"]["id"].as_u64().expect("an id");
        nobody.post("/setup", person("eve")).await.is_problem(409, "already_set_up", None);
        let ann = nobody.with("cookie", &first.cookie());
        let code = ann.get("/account").await.expect(200)["join_code"].as_str().expect("a code").to_owned();
        let door = format!("/join/{code}");
        nobody.get(&door).await.expect(200);
        nobody.sends("GET", &door, None).await;
        let joined = nobody.post(&door, person("bob")).await;
        nobody.post(&door, person("bob")).await.is_problem(409, "email_taken", Some("email"));
        let wrong = json!({ "email": "bob@example.org", "password": "wrong-password" });
        nobody.post("/sessions", wrong).await.is_problem(401, "unauthenticated", None);
        let again = nobody.post("/sessions", person("bob")).await;
        let made = ann.post("/bots", json!({ "name": "Robot" })).await.expect(201);
        let key = made["key"].as_str().expect("a key").to_owned();
        let rotated = ann.post(&format!("/bots/{}/key", made["id"]), Value::Null).await.expect(201);
        let new_key = rotated["key"].as_str().expect("a key").to_owned();
        let robot = nobody.bearing(&new_key);
        nobody.bearing(&key).get("/me").await.is_problem(401, "token_revoked", None);
        nobody.bearing("1-wrongkey").get("/me").await.is_problem(401, "token_invalid", None);
        nobody.bearing("metrics-hunter2").sends("GET", "/metrics", None).await;
        let message = robot.says(room, "said in confidence").await;
        ann.get("/search?q=confidence").await.expect(200);
        robot.with("if-match", "9").patch(&format!("/messages/{message}"), json!({ "body": "said in confidence, too" })).await.is_problem(409, "version_conflict", None);
        let joined_token = joined.cookie();
        let token = joined_token.split_once('=').expect("a pair").1.to_owned();

        // In a URL they open nothing, and are as secret there.
        for query in [format!("token={token}"), format!("session={token}"), format!("access_token={new_key}"), format!("hearth_session={token}")] {
            nobody.get(&format!("/me?{query}")).await.is_problem(401, "unauthenticated", None);
            let mut tcp = dial(&server.url()).await;
            let head = upgrade(&server.url(), &Credentials::Anonymous).replacen("GET /ws", &format!("GET /ws?{query}"), 1);
            tcp.write_all(format!("{head}\r\n").as_bytes()).await.expect("sent");
            let mut status = [0; 12];
            tcp.read_exact(&mut status).await.expect("answered");
            assert_eq!(&status, b"HTTP/1.1 401", "{query}");
        }
        for credentials in [Credentials::Cookie(joined_token.clone()), Credentials::Bearer(new_key.clone())] {
            let mut socket = Raw::connect(&server.url(), &credentials).await;
            let post = json!({ "type": "message.post", "data": { "room_id": room, "client_message_id": uuid::Uuid::new_v4(), "body": "said in confidence" } });
            socket.says(&post).await;
            assert!(socket.frame().await.expect("reads").is_some());
            socket.says(&json!({ "type": "message.post", "data": { "body": "said in confidence" } })).await;
            assert!(socket.frame().await.expect("reads").is_some());
        }
        // The key as a second protocol, where headers can't be set.
        let mut tcp = dial(&server.url()).await;
        let head = upgrade(&server.url(), &Credentials::Anonymous).replacen("hearth.v1.json", &format!("hearth.v1.json, bearer.{new_key}"), 1);
        tcp.write_all(format!("{head}\r\n").as_bytes()).await.expect("sent");
        let mut status = [0; 12];
        tcp.read_exact(&mut status).await.expect("answered");
        assert_eq!(&status, b"HTTP/1.1 101");
        let client = Client::bot(&server.url(), &new_key).expect("a client");
        client.feed(0, std::time::Duration::ZERO, None).await.expect("polled");
        nobody.with("cookie", &again.cookie()).delete("/sessions/current").await.expect(204);

        for secret in [first.cookie(), joined.cookie(), again.cookie(), key, new_key] {
            secrets.push(secret.split(['=', '-']).nth(1).expect("two parts").to_owned());
        }
        secrets.push(code);
        let log_path = server.log_path().to_owned();
        drop(server);
        let log = std::fs::read_to_string(log_path).expect("a log");
        assert!(log.contains("request answered") && log.contains(" TRACE "), "the log is as talkative as can be");
        for secret in secrets {
            let lines: Vec<&str> = log.lines().filter(|line| line.contains(&secret)).collect();
            assert!(lines.is_empty(), "{secret}: {lines:#?}");
        }
    }
);

//! `POST /tokens`: API clients sign in, refresh, and lose what somebody else has, too.

use super::caller::{Answer, Caller};
use crate::harness::{Ground, House, Listener, PASSWORD, PATIENCE, missed, on_both};
use crate::raw::{is_turned_away, is_upgraded, upgrade};
use loadtest::socket::{Socket, SocketError};
use loadtest::wire::Credentials;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// What an API client holds.
#[derive(Debug, Clone)]
pub(super) struct Tokens {
    pub(super) access: String,
    pub(super) refresh: String,
    pub(super) session: u64,
}

impl Tokens {
    pub(super) fn of(answer: &Answer) -> Self {
        let body = answer.expect(201);
        let text = |field: &str| body[field].as_str().unwrap_or_else(|| panic!("{field}: {body}")).to_owned();
        Self {
            access: text("access_token"),
            refresh: text("refresh_token"),
            session: body["session_id"].as_u64().expect("an id"),
        }
    }

    pub(super) fn credentials(&self) -> Credentials {
        Credentials::Bearer(self.access.clone())
    }
}

pub(super) async fn signs_in(nobody: &Caller, email: &str) -> Tokens {
    let grant = json!({ "grant": "password", "email": email, "password": PASSWORD, "device": "Script" });
    Tokens::of(&nobody.post("/tokens", grant).await)
}

pub(super) async fn refreshes(nobody: &Caller, refresh: &str) -> Answer {
    nobody.post("/tokens", json!({ "grant": "refresh", "refresh_token": refresh })).await
}

/// The handshake is refused with this code.
pub(super) async fn is_not_let_in(house: &House, credentials: &Credentials, code: &str) {
    let problem = is_turned_away(&house.url(), credentials).await;
    let said = (&problem["status"], &problem["code"], &problem["retryable"]);
    assert_eq!(said, (&json!(401), &json!(code), &json!(false)), "{problem}");
}

on_both!(an_api_client_signs_in_by_tokens, async |ground| {
    let house = House::open_with(ground, &["--set", "auth.touch_s=0"]).await;
    let nobody = Caller::nobody(&house.url());
    let grant = json!({ "grant": "password", "email": " Ann@example.org", "password": PASSWORD });
    let answer = nobody.with("user-agent", "Script/1").post("/tokens", grant).await;
    let body = answer.expect(201);
    let me = Caller::of(&house.admin).get("/me").await.expect(200);
    assert_eq!(
        (&body["token_type"], &body["expires_in"], &body["refresh_expires_in"], &body["user"]),
        (&json!("Bearer"), &json!(900), &json!(2_592_000), &me)
    );
    assert_eq!(answer.header("set-cookie"), None);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let tokens = Tokens::of(&answer);
    let client = nobody.bearing(&tokens.access);
    assert_eq!(client.get("/me").await.expect(200), me);
    client.says(house.lobby, "by token").await;
    let listed = client.get("/sessions").await.expect(200);
    let mine = listed["sessions"].as_array().expect("a list").iter().find(|one| one["current"] == true);
    let mine = mine.expect("its own session is listed");
    assert_eq!(
        (&mine["id"], &mine["device"], &mine["begun_by"], &mine["address"]),
        (&json!(tokens.session), &json!("Script/1"), &json!("tokens"), &json!("127.0.0.1"))
    );
    // By header on the socket, and where headers can't be set as a second protocol; never in the address.
    let socket = Socket::connect(&house.url(), &tokens.credentials()).await.expect("connects");
    assert_eq!(socket.welcome().user["id"], me["id"]);
    let head = upgrade(&house.url(), &Credentials::Anonymous);
    let offer = format!("hearth.v1.json, bearer.{}", tokens.access);
    is_upgraded(&house.url(), &head.replacen("hearth.v1.json", &offer, 1)).await;
    nobody.get(&format!("/me?access_token={}", tokens.access)).await.is_problem(401, "unauthenticated", None);
    // Using a token is noted and keeps nothing alive; refreshing does.
    let times = async || {
        let listed = client.get("/sessions").await.expect(200);
        let mine = listed["sessions"].as_array().expect("a list").iter().find(|one| one["current"] == true);
        let text = |field: &str| mine.expect("is listed")[field].as_str().expect("a time").to_owned();
        (text("last_active_at"), text("expires_at"))
    };
    let before = times().await;
    // To the millisecond.
    sleep(Duration::from_millis(2)).await;
    let after = times().await;
    sleep(Duration::from_millis(2)).await;
    assert!(after.0 > before.0 && after.1 == before.1, "{before:?} {after:?}");
    // A refreshed pair is of the same session; the old access token holds as long as it said.
    let fresh = Tokens::of(&refreshes(&nobody, &tokens.refresh).await);
    assert_eq!(fresh.session, tokens.session);
    assert!(fresh.access != tokens.access && fresh.refresh != tokens.refresh);
    assert!(times().await.1 > after.1);
    for one in [&tokens, &fresh] {
        nobody.bearing(&one.access).get("/me").await.expect(200);
        nobody.bearing(&one.refresh).get("/me").await.is_problem(401, "token_invalid", None);
    }
    refreshes(&nobody, &fresh.access).await.is_problem(401, "token_invalid", None);
});

on_both!(what_is_asked_for_tokens_is_checked, async |ground| {
    let house = House::open(ground).await;
    let nobody = Caller::nobody(&house.url());
    for (body, field) in [
        (json!({}), "grant"),
        (json!({ "grant": "magic" }), "grant"),
        (json!({ "grant": "password", "password": PASSWORD }), "email"),
        (json!({ "grant": "password", "email": "ann@example.org" }), "password"),
        (json!({ "grant": "refresh" }), "refresh_token"),
        (json!({ "grant": "refresh", "refresh_token": 7 }), "refresh_token"),
    ] {
        nobody.post("/tokens", body).await.is_problem(422, "invalid_payload", Some(field));
    }
    // A wrong password is told as it is to whoever signs in with a cookie.
    let mut problems = Vec::new();
    for (email, password) in
        [("ann@example.org", "wrong password"), ("nobody@example.org", PASSWORD), ("", "")]
    {
        let sign_in = json!({ "email": email, "password": password, "grant": "password" });
        for path in ["/sessions", "/tokens"] {
            let answer = nobody.post(path, sign_in.clone()).await;
            let mut problem = answer.is_problem(401, "unauthenticated", None);
            problem.as_object_mut().expect("an object").remove("trace_id");
            problems.push((problem, answer.header_names()));
        }
    }
    problems.dedup();
    assert_eq!(problems.len(), 1, "{problems:?}");
});

on_both!(
    /// Proves AUTH-05.
    a_token_that_two_have_ends_the_session_of_both,
    async |ground| {
        let house = House::open_with(ground, &["--set", "auth.refresh_overlap_s=0"]).await;
        let bob = house.joined_by("Bob").await;
        let nobody = Caller::nobody(&house.url());
        let stolen = signs_in(&nobody, "bob@example.org").await;
        let other = signs_in(&nobody, "bob@example.org").await;
        let thief = Tokens::of(&refreshes(&nobody, &stolen.refresh).await);
        let mut sockets = Vec::new();
        for tokens in [&stolen, &thief] {
            let socket = Socket::connect(&house.url(), &tokens.credentials()).await.expect("connects");
            let mut listener = Listener { socket };
            listener.joins(house.lobby, None).await;
            sockets.push(listener);
        }
        let mut desk = bob.listens_to(house.lobby).await;
        // The owner refreshes what the thief has used.
        refreshes(&nobody, &stolen.refresh).await.is_problem(401, "token_revoked", None);
        for mut socket in sockets {
            assert_eq!(socket.is_closed().await, 4501);
        }
        for tokens in [&stolen, &thief] {
            nobody.bearing(&tokens.access).get("/me").await.is_problem(401, "token_revoked", None);
            refreshes(&nobody, &tokens.refresh).await.is_problem(401, "token_revoked", None);
            is_not_let_in(&house, &tokens.credentials(), "token_revoked").await;
        }
        // Other sessions of the same user go on.
        nobody.bearing(&other.access).get("/me").await.expect(200);
        Caller::of(&house.admin).says(house.lobby, "still there?").await;
        assert_eq!(desk.hears_message().await, "still there?");
    }
);

on_both!(
    /// Proves AUTH-09.
    two_tabs_that_refresh_at_once_both_stay_in,
    async |ground| {
        let house = House::open_with(ground, &["--set", "limits.address_requests=0"]).await;
        let nobody = Caller::nobody(&house.url());
        let mut tokens = signs_in(&nobody, "ann@example.org").await;
        let family = tokens.session;
        for round in 0..50 {
            let tabs = [0, 1].map(|_| {
                let (nobody, refresh) = (nobody.clone(), tokens.refresh.clone());
                tokio::spawn(async move { Tokens::of(&refreshes(&nobody, &refresh).await) })
            });
            let mut pairs = Vec::new();
            for tab in tabs {
                pairs.push(tab.await.expect("answered"));
            }
            let [one, two] = pairs.as_slice() else { panic!("two tabs") };
            assert_eq!((one.session, two.session), (family, family), "one family");
            assert_ne!(one.refresh, two.refresh);
            for pair in &pairs {
                nobody.bearing(&pair.access).get("/me").await.expect(200);
            }
            // Either goes on; what the other has stays good as well.
            tokens = pairs.swap_remove(round % 2);
        }
        let sessions = nobody.bearing(&tokens.access).get("/sessions").await.expect(200);
        let families = sessions["sessions"].as_array().expect("a list");
        assert_eq!(families.iter().filter(|one| one["begun_by"] == "tokens").count(), 1, "{sessions}");
    }
);

/// Asks until the answer is a refusal, which has to be this one.
async fn until_refused(caller: &Caller, code: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = caller.get("/me").await;
        if answer.status != 200 {
            answer.is_problem(401, code, None);
            return;
        }
        assert!(Instant::now() < deadline, "it still holds");
        sleep(Duration::from_millis(50)).await;
    }
}

on_both!(
    /// Proves AUTH-08.
    what_was_shown_and_does_not_hold_is_told_apart,
    async |ground| {
        let args = ["--set", "auth.access_token_s=6", "--set", "auth.session_s=6", "--set", "auth.touch_s=60"];
        let house = House::open_with(ground, &args).await;
        let bob = house.joined_by("Bob").await;
        // Kept past its time, which no browser does.
        let (kept, cookie) = (Caller::of(&bob), bob.credentials());
        let nobody = Caller::nobody(&house.url());
        nobody.get("/me").await.is_problem(401, "unauthenticated", None);
        let tokens = signs_in(&nobody, "bob@example.org").await;
        let (head, mac) = tokens.access.rsplit_once('.').expect("two dots");
        let forged = format!("{head}.{}", mac.chars().rev().collect::<String>());
        for wrong in ["hat.", "hat.x.y", "hat", &forged, "htl.x.y", "7-x", "x"] {
            nobody.bearing(wrong).get("/me").await.is_problem(401, "token_invalid", None);
            is_not_let_in(&house, &Credentials::Bearer(wrong.to_owned()), "token_invalid").await;
        }
        nobody.with("cookie", "hearth_session=abc").get("/me").await.is_problem(401, "token_invalid", None);
        let revoked = signs_in(&nobody, "bob@example.org").await;
        let revoked_cookie = {
            let sign_in = json!({ "email": "bob@example.org", "password": PASSWORD });
            let answer = nobody.post("/sessions", sign_in).await;
            nobody.with("cookie", &answer.cookie())
        };
        for caller in [&nobody.bearing(&revoked.access), &revoked_cookie] {
            caller.delete("/sessions/current").await.expect(204);
            caller.get("/me").await.is_problem(401, "token_revoked", None);
        }
        is_not_let_in(&house, &revoked.credentials(), "token_revoked").await;
        refreshes(&nobody, &revoked.refresh).await.is_problem(401, "token_revoked", None);
        // Time passes.
        until_refused(&nobody.bearing(&tokens.access), "token_expired").await;
        is_not_let_in(&house, &tokens.credentials(), "token_expired").await;
        until_refused(&kept, "token_expired").await;
        is_not_let_in(&house, &cookie, "token_expired").await;
    }
);

on_both!(
    /// Proves AUTH-08.
    a_socket_ends_with_its_access_token_and_the_next_one_misses_nothing,
    async |ground| {
        let house = House::open_with(ground, &["--set", "auth.access_token_s=5"]).await;
        let (room, ann) = (house.lobby, Caller::of(&house.admin));
        house.joined_by("Bob").await;
        let nobody = Caller::nobody(&house.url());
        let tokens = signs_in(&nobody, "bob@example.org").await;
        let socket = Socket::connect(&house.url(), &tokens.credentials()).await.expect("connects");
        let mut listener = Listener { socket };
        let head = listener.joins(room, None).await.head;
        ann.says(room, "before").await;
        assert_eq!(listener.hears_message().await, "before");
        // Used all the time, and ended all the same.
        let deadline = Instant::now() + PATIENCE;
        let ended = loop {
            assert!(Instant::now() < deadline, "the socket outlives its token");
            match listener.socket.request("read.mark", &json!({ "room_id": room, "seq": head })).await {
                Ok(_) => sleep(Duration::from_millis(20)).await,
                Err(error) => break error,
            }
        };
        match ended {
            SocketError::Closed { code, reason } => assert_eq!((code, &*reason), (4500, "token_expired")),
            other => panic!("{other:?}"),
        }
        ann.says(room, "meanwhile").await;
        is_not_let_in(&house, &tokens.credentials(), "token_expired").await;
        let tokens = Tokens::of(&refreshes(&nobody, &tokens.refresh).await);
        let socket = Socket::connect(&house.url(), &tokens.credentials()).await.expect("connects");
        let mut listener = Listener { socket };
        let joined = listener.joins(room, Some(head + 1)).await;
        let bodies: Vec<_> = missed(&joined).iter().map(|event| event.text("body")).collect();
        assert_eq!(bodies, [Some("meanwhile")]);
    }
);

#[tokio::test]
async fn a_token_of_another_server_is_nobodys() {
    let [here, there] = [House::open(Ground::Sqlite).await, House::open(Ground::Sqlite).await];
    let tokens = signs_in(&Caller::nobody(&here.url()), "ann@example.org").await;
    let caller = Caller::nobody(&there.url()).bearing(&tokens.access);
    caller.get("/me").await.is_problem(401, "token_invalid", None);
    let _: Value = Caller::nobody(&here.url()).bearing(&tokens.access).get("/me").await.expect(200);
}

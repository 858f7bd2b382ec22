//! Each action of the audit trail leaves its entry, with who did it, by what and from where (AUD-01).

use super::caller::Caller;
use crate::harness::{Ground, House, PASSWORD, binary, on_both};
use crate::overload::becomes;
use hearth::domain::AuditAction;
use serde_json::{Value, json};
use std::process::Command;

/// Who is there.
struct Stage {
    house: House,
    ann: Caller,
    nobody: Caller,
}

/// What a deed has to leave: these fields of the entry, as deep as they go.
struct Deed(Value);

impl Stage {
    async fn set(ground: Ground) -> Self {
        let house = House::open_with(ground, &["--set", "auth.refresh_overlap_s=0"]).await;
        let (ann, nobody) = (Caller::of(&house.admin), Caller::nobody(&house.url()));
        Self { house, ann, nobody }
    }

    /// Somebody new: their id and what they do.
    async fn joins(&self, name: &str) -> (u64, Caller) {
        let person = self.house.joined_by(name).await;
        (person.id, Caller::of(&person))
    }

    async fn makes(&self, path: &str, body: Value) -> Value {
        self.ann.post(path, body).await.expect(201)
    }

    async fn room(&self, name: &str) -> Value {
        self.makes("/rooms", json!({ "kind": "open", "name": name })).await["id"].clone()
    }

    async fn newest(&self, action: AuditAction) -> Option<Value> {
        let page = self.ann.get(&format!("/audit?action={}&limit=1", action.as_str())).await.expect(200);
        page["entries"].as_array().expect("entries").first().cloned()
    }

    /// The current session of somebody.
    async fn session(&self, of: &Caller) -> Value {
        let listed = of.get("/sessions").await.expect(200);
        let sessions = listed["sessions"].as_array().expect("sessions").clone();
        sessions.into_iter().find(|session| session["current"] == true).expect("a session")["id"].clone()
    }

    /// Does what is to be noted.
    async fn does(&self, action: AuditAction) -> Deed {
        use AuditAction::*;
        let (house, ann, lobby) = (&self.house, &self.ann, self.house.lobby);
        let me = json!({ "id": house.admin.id, "name": "Ann", "role": "admin" });
        let by_ann = |target: Value, detail: Value| {
            Deed(json!({ "actor": me, "via": "session", "target": target, "detail": detail }))
        };
        let named = format!("Who {}", action.as_str().replace(['.', '_'], " "));
        let nth = AuditAction::ALL.iter().position(|one| *one == action).expect("one of them");
        match action {
            AssistantCreated | AssistantChanged | AssistantDeactivated => {
                let body = json!({
                    "name": named, "base_url": "http://127.0.0.1:9/v1", "model": "tiny", "api_key": "sk-hidden",
                });
                let assistant = self.makes("/assistants", body).await["id"].clone();
                let path = format!("/assistants/{assistant}");
                let detail = match action {
                    AssistantCreated => json!({ "name": named, "model": "tiny" }),
                    AssistantChanged => {
                        let change = json!({ "name": "Eva", "model": "large", "api_key": "sk-other" });
                        ann.patch(&path, change).await.expect(200);
                        json!({ "name": "Eva", "model": "large", "fields": "api_key,model,name" })
                    }
                    _ => {
                        ann.delete(&path).await.expect(204);
                        json!({})
                    }
                };
                by_ann(json!({ "kind": "user", "id": assistant }), detail)
            }
            BudgetChanged => {
                let (bob, _) = self.joins("Thrifty").await;
                let body = json!({ "scope": "user", "scope_id": bob, "tokens_max": 1000 });
                ann.put("/ai/budgets", body).await.expect(200);
                let detail = json!({ "scope": "user", "tokens": "1000", "micros": "none" });
                by_ann(json!({ "kind": "user", "id": bob }), detail)
            }
            SessionBegun => {
                let (bob, _) = self.joins("Begun").await;
                let body = json!({ "email": "begun@example.org", "password": PASSWORD });
                let begun = self.nobody.post("/sessions", body).await.expect(201);
                Deed(json!({
                    "actor": { "id": bob },
                    "target": { "kind": "session", "id": begun["session"]["id"] },
                    "detail": { "begun_by": "password" },
                }))
            }
            SessionRefused => {
                let (bob, _) = self.joins("Refused").await;
                let body = json!({ "email": "refused@example.org", "password": "a wrong one" });
                self.nobody.post("/sessions", body).await.is_problem(401, "unauthenticated", None);
                Deed(json!({
                    "actor": null, "via": "nobody", "target": { "kind": "user", "id": bob },
                    "detail": { "reason": "wrong_password" },
                }))
            }
            SessionEnded => {
                let (bob, his) = self.joins("Ended").await;
                let session = self.session(&his).await;
                his.delete("/sessions/current").await.expect(204);
                let target = json!({ "kind": "session", "id": session });
                Deed(json!({
                    "actor": { "id": bob }, "via": "session", "credential_id": session, "target": target,
                }))
            }
            TokenReused => {
                let (bob, _) = self.joins("Reused").await;
                let grant =
                    json!({ "grant": "password", "email": "reused@example.org", "password": PASSWORD });
                let first = self.nobody.post("/tokens", grant).await.expect(201);
                let again = json!({ "grant": "refresh", "refresh_token": first["refresh_token"] });
                self.nobody.post("/tokens", again.clone()).await.expect(201);
                self.nobody.post("/tokens", again).await.is_problem(401, "token_revoked", None);
                let target = json!({ "kind": "session", "id": first["session_id"] });
                Deed(json!({ "actor": { "id": bob }, "target": target }))
            }
            PasswordChanged => {
                let (bob, his) = self.joins("Secret").await;
                let body = json!({ "current_password": PASSWORD, "new_password": "another password" });
                his.put("/me/password", body).await.expect(204);
                let target = json!({ "kind": "user", "id": bob });
                Deed(json!({ "actor": { "id": bob }, "via": "session", "target": target }))
            }
            TransferCreated => {
                self.makes("/transfers", Value::Null).await;
                by_ann(json!({ "kind": "transfer" }), json!({ "kind": "device" }))
            }
            TransferRedeemed => {
                let (bob, his) = self.joins("Mover").await;
                let link = his.post("/transfers", Value::Null).await.expect(201);
                let token = link["url"].as_str().expect("a link").split_once('#').expect("a token").1;
                self.nobody.post("/transfers/redeem", json!({ "token": token })).await.expect(201);
                Deed(json!({ "actor": { "id": bob }, "target": { "kind": "transfer" } }))
            }
            TransferRefused => {
                let (bob, his) = self.joins("Late").await;
                let link = his.post("/transfers", Value::Null).await.expect(201);
                let token = link["url"].as_str().expect("a link").split_once('#').expect("a token").1;
                self.nobody.post("/transfers/redeem", json!({ "token": token })).await.expect(201);
                self.nobody
                    .post("/transfers/redeem", json!({ "token": token }))
                    .await
                    .is_problem(410, "gone", None);
                Deed(json!({
                    "actor": null, "via": "nobody", "target": { "kind": "transfer" },
                    "detail": { "reason": "used", "for": bob.to_string() },
                }))
            }
            UserJoined => {
                let (bob, _) = self.joins("Newcomer").await;
                let target = json!({ "kind": "user", "id": bob });
                let detail = json!({ "role": "member" });
                Deed(json!({ "actor": { "id": bob }, "via": "nobody", "target": target, "detail": detail }))
            }
            UserRoleChanged => {
                let (bob, _) = self.joins("Riser").await;
                ann.patch(&format!("/users/{bob}"), json!({ "role": "admin" })).await.expect(200);
                by_ann(json!({ "kind": "user", "id": bob }), json!({ "from": "member", "to": "admin" }))
            }
            UserDeactivated | UserReactivated => {
                let (bob, _) = self.joins(&format!("Sleeper{nth}")).await;
                let path = format!("/users/{bob}");
                ann.patch(&path, json!({ "status": "deactivated" })).await.expect(200);
                if action == UserReactivated {
                    ann.patch(&path, json!({ "status": "active" })).await.expect(200);
                }
                by_ann(json!({ "kind": "user", "id": bob }), json!({}))
            }
            UserBanned | UserUnbanned => {
                let (bob, _) = self.joins(&format!("Troll{nth}")).await;
                let path = format!("/users/{bob}/ban");
                ann.put(&path, json!({ "reason": "spam" })).await.expect(200);
                if action == UserBanned {
                    return by_ann(json!({ "kind": "user", "id": bob }), json!({ "reason": "spam" }));
                }
                ann.delete(&path).await.expect(200);
                by_ann(json!({ "kind": "user", "id": bob }), json!({}))
            }
            InviteCreated | InviteRevoked => {
                let invite = self.makes("/invites", json!({ "role": "guest" })).await["id"].clone();
                if action == InviteRevoked {
                    ann.delete(&format!("/invites/{invite}")).await.expect(204);
                }
                by_ann(json!({ "kind": "invite", "id": invite }), json!({}))
            }
            JoinCodeRotated => {
                ann.post("/account/join-code", Value::Null).await.expect(200);
                by_ann(json!({ "kind": "account" }), json!({}))
            }
            BotCreated => {
                let bot = self.makes("/bots", json!({ "name": named })).await["id"].clone();
                by_ann(json!({ "kind": "user", "id": bot }), json!({ "name": named }))
            }
            BotChanged => {
                let bot = self.makes("/bots", json!({ "name": named })).await["id"].clone();
                let change = json!({ "name": "Golem", "webhook_url": "http://127.0.0.1:1/secret" });
                ann.patch(&format!("/bots/{bot}"), change).await.expect(200);
                by_ann(json!({ "kind": "user", "id": bot }), json!({ "name": "Golem", "webhook": "set" }))
            }
            BotDeactivated => {
                let bot = self.makes("/bots", json!({ "name": named })).await["id"].clone();
                ann.delete(&format!("/bots/{bot}")).await.expect(204);
                by_ann(json!({ "kind": "user", "id": bot }), json!({}))
            }
            BotKeyCreated => {
                let bot = self.makes("/bots", json!({ "name": named })).await["id"].clone();
                let next = self.makes(&format!("/bots/{bot}/key"), json!({ "expires_in_s": 60 })).await;
                let detail = json!({ "bot": bot.to_string(), "expires_at": next["expires_at"] });
                by_ann(json!({ "kind": "bot_key", "id": next["key_id"] }), detail)
            }
            BotKeyRevoked => {
                let bot = self.makes("/bots", json!({ "name": named })).await;
                let (id, key) = (&bot["id"], &bot["key_id"]);
                ann.delete(&format!("/bots/{id}/keys/{key}")).await.expect(204);
                by_ann(json!({ "kind": "bot_key", "id": key }), json!({ "bot": id.to_string() }))
            }
            BotActed => {
                let bot = self.makes("/bots", json!({ "name": named })).await;
                let robot = self.nobody.bearing(bot["key"].as_str().expect("a key"));
                let said = robot.says(lobby, "beep").await;
                Deed(json!({
                    "actor": { "id": bot["id"], "role": "bot" },
                    "via": "bot_key",
                    "credential_id": bot["key_id"],
                    "target": { "kind": "message", "id": said },
                    "room_id": lobby,
                    "detail": { "command": "message.post" },
                }))
            }
            MessageEdited | MessageDeleted => {
                let (bob, his) = self.joins(&format!("Author{nth}")).await;
                let path = format!("/messages/{}", his.says(lobby, "mine").await);
                let said = path.rsplit('/').next().expect("an id").parse::<u64>().expect("a number");
                if action == MessageEdited {
                    ann.with("if-match", "1").patch(&path, json!({ "body": "ours" })).await.expect(200);
                } else {
                    ann.delete(&path).await.expect(204);
                }
                Deed(json!({
                    "actor": me, "target": { "kind": "message", "id": said }, "room_id": lobby,
                    "detail": { "author": bob.to_string() },
                }))
            }
            RoomRenamed => {
                let room = self.room("Before").await;
                ann.patch(&format!("/rooms/{room}"), json!({ "name": "After" })).await.expect(200);
                by_ann(json!({ "kind": "room", "id": room }), json!({ "from": "Before", "to": "After" }))
            }
            RoomDeleted => {
                let room = self.room("Gone").await;
                ann.delete(&format!("/rooms/{room}")).await.expect(204);
                by_ann(json!({ "kind": "room", "id": room }), json!({ "name": "Gone" }))
            }
            MemberRemoved => {
                let person = house.joined_by("Removed").await;
                let room = house.closed_room("Den", &[&person]).await.id;
                ann.delete(&format!("/rooms/{room}/members/{}", person.id)).await.expect(204);
                Deed(json!({
                    "actor": me, "target": { "kind": "user", "id": person.id }, "room_id": room,
                }))
            }
            AccountChanged => {
                ann.patch("/account", json!({ "name": "Ours", "settings": { "a": 1 } })).await.expect(200);
                by_ann(
                    json!({ "kind": "account", "id": 1 }),
                    json!({ "name": "Ours", "settings": "replaced" }),
                )
            }
            AuditExported => {
                assert_eq!(ann.get("/audit/export?action=room.deleted").await.status, 200);
                by_ann(Value::Null, json!({ "action": "room.deleted" }))
            }
            SigningKeyRotated => {
                let before = self.newest(action).await.expect("the first key");
                assert_eq!(before["detail"]["from"], Value::Null);
                let data = house.server.log_path().with_file_name("data");
                let rotate = Command::new(binary()).args(["keys", "rotate", "--data-dir"]).arg(data).output();
                assert!(rotate.expect("runs").status.success());
                let is_noted = async || self.newest(action).await.expect("an entry")["id"] != before["id"];
                becomes("noted", is_noted).await;
                Deed(json!({
                    "actor": null, "via": "system", "credential_id": null, "target": null, "address": null,
                    "detail": { "from": before["detail"]["to"] },
                }))
            }
        }
    }
}

/// Whether `entry` has all that `wanted` has.
fn has(entry: &Value, wanted: &Value) -> bool {
    match wanted {
        Value::Object(fields) => fields.iter().all(|(name, wanted)| has(&entry[name], wanted)),
        wanted => entry == wanted,
    }
}

on_both!(
    /// An action without a deed here doesn't compile.
    ///
    /// Proves AUD-01, BOT-05.
    every_action_leaves_its_entry,
    async |ground| {
        let stage = Stage::set(ground).await;
        let session = stage.session(&stage.ann).await;
        // The last one takes away what newcomers come in by.
        let (last, others): (Vec<AuditAction>, Vec<_>) =
            AuditAction::ALL.iter().partition(|action| **action == AuditAction::JoinCodeRotated);
        for action in others.iter().chain(&last) {
            let before = stage.newest(*action).await.map(|entry| entry["id"].clone());
            let Deed(wanted) = stage.does(*action).await;
            let entry = stage.newest(*action).await.unwrap_or_else(|| panic!("{} left nothing", action.as_str()));
            assert_ne!(Some(&entry["id"]), before.as_ref(), "{} left nothing new", action.as_str());
            assert!(has(&entry, &wanted), "{}: {wanted:#} is not in {entry:#}", action.as_str());
            if wanted["via"] != "system" {
                assert_eq!(entry["address"], "127.0.0.1", "{entry}");
            }
            if wanted["actor"]["name"] == "Ann" {
                assert_eq!((&entry["via"], &entry["credential_id"]), (&json!("session"), &session), "{entry}");
            }
        }
    }
);

on_both!(
    /// Nor does what one does with one's own, or a repetition.
    ///
    /// Proves AUD-01.
    what_is_refused_or_ones_own_leaves_nothing,
    async |ground| {
        let Stage { house, ann, nobody } = Stage::set(ground).await;
        let bob = Caller::of(&house.joined_by("Bob").await);
        let bot = ann.post("/bots", json!({ "name": "Robot" })).await.expect(201);
        let robot = nobody.bearing(bot["key"].as_str().expect("a key"));
        let count = async || {
            let page = ann.get("/audit?limit=100").await.expect(200);
            page["entries"].as_array().expect("entries").len()
        };
        let room = house.lobby;
        let hers = ann.says(room, "hers").await;
        let before = count().await;
        let his = format!("/messages/{}", bob.says(room, "his").await);
        bob.with("if-match", "1").patch(&his, json!({ "body": "still his" })).await.expect(200);
        bob.delete(&his).await.expect(204);
        for caller in [&bob, &robot] {
            caller.delete(&format!("/messages/{hers}")).await.is_problem(403, "forbidden", None);
            caller.patch(&format!("/rooms/{room}"), json!({ "name": "Mine" })).await.is_problem(403, "forbidden", None);
            caller.get("/audit/export").await.is_problem(403, "forbidden", None);
        }
        ann.patch(&format!("/rooms/{room}"), json!({ "name": "General" })).await.expect(200);
        ann.patch("/account", json!({ "name": "House" })).await.expect(200);
        ann.patch(&format!("/bots/{}", bot["id"]), json!({ "name": "Robot" })).await.expect(200);
        assert_eq!(count().await, before);
        let id = "6f1c24b2-9f0a-4a3a-8f6e-2a3f7a6b8c11";
        let post = json!({ "body": "once", "client_message_id": id });
        let path = format!("/rooms/{room}/messages");
        robot.post(&path, post.clone()).await.expect(201);
        robot.post(&path, post).await.expect(200);
        assert_eq!(count().await, before + 1, "a repetition is no action");
    }
);

//! What was committed is answered as done, whatever becomes of the rows before the answer is written.

use super::caller::Caller;
use crate::harness::{Ground, House};
use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use serde_json::json;

/// Has the database do something within the transaction of the next write, as others might right after it.
fn meanwhile(house: &House, trigger: &str) {
    let file = house.server.log_path().with_file_name("data").join("hearth.db");
    let mut conn = SqliteConnection::establish(&file.display().to_string()).expect("connects");
    conn.batch_execute("PRAGMA busy_timeout = 5000").expect("waits");
    conn.batch_execute(trigger).expect("takes the trigger");
}

#[tokio::test]
async fn an_edit_is_no_refusal_because_its_editor_was_removed_since() {
    let house = House::open(Ground::Sqlite).await;
    let bob = house.joined_by("Bob").await;
    let den = house.closed_room("Den", &[&bob]).await.id;
    let his = Caller::of(&bob);
    let message = his.says(den, "first").await;
    meanwhile(
        &house,
        &format!(
            "CREATE TRIGGER removed AFTER UPDATE OF version ON messages
             BEGIN DELETE FROM memberships WHERE user_id = {}; END",
            bob.id
        ),
    );
    let editing = his.with("if-match", "1");
    let edited =
        editing.patch(&format!("/messages/{message}"), json!({ "body": "second" })).await.expect(200);
    assert_eq!((&edited["body"], &edited["version"]), (&json!("second"), &json!(2)));
    assert_eq!(
        edited["edited_at"],
        house.admin.client.room_log(den, 0).await.expect("the log").events[2].json["at"]
    );
    his.get(&format!("/messages/{message}")).await.is_problem(404, "not_found", None);
}

#[tokio::test]
async fn an_edit_is_no_refusal_because_its_message_was_deleted_since() {
    let house = House::open(Ground::Sqlite).await;
    let ann = Caller::of(&house.admin);
    let message = ann.says(house.lobby, "first").await;
    meanwhile(
        &house,
        "CREATE TRIGGER deleted AFTER UPDATE OF last_id ON log_head
         BEGIN UPDATE messages SET deleted_at = 1, deleted_by = 1 WHERE version = 2; END",
    );
    let editing = ann.with("if-match", "1");
    let edited =
        editing.patch(&format!("/messages/{message}"), json!({ "body": "second" })).await.expect(200);
    assert_eq!((&edited["body"], &edited["version"]), (&json!("second"), &json!(2)));
}

#[tokio::test]
async fn a_new_name_is_no_refusal_because_the_room_was_deleted_since() {
    let house = House::open(Ground::Sqlite).await;
    let ann = Caller::of(&house.admin);
    let room = house.closed_room("Den", &[]).await.id;
    meanwhile(
        &house,
        "CREATE TRIGGER deleted AFTER UPDATE OF name ON rooms
         BEGIN UPDATE rooms SET deleted_at = 1, deleted_by = 1 WHERE id = new.id; END",
    );
    let renamed = ann.patch(&format!("/rooms/{room}"), json!({ "name": "Cave" })).await.expect(200);
    assert_eq!((&renamed["name"], &renamed["head"]), (&json!("Cave"), &json!(2)));
}

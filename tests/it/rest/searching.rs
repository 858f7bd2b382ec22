//! Finding messages by their words.

use super::caller::Caller;
use crate::harness::{Ground, House, on_both};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use reqwest::Url;
use serde_json::json;

/// The bodies that are found, newest first.
async fn finds(caller: &Caller, words: &str) -> Vec<String> {
    let found = caller.get(&path(words)).await.expect(200);
    assert!(found["next"].is_null());
    let messages = found["messages"].as_array().expect("a list");
    messages.iter().map(|message| message["body"].as_str().expect("text").to_owned()).collect()
}

fn path(words: &str) -> String {
    let url = Url::parse_with_params("http://x/search", [("q", words)]).expect("a URL");
    format!("/search?{}", url.query().expect("a query"))
}

on_both!(what_was_said_is_found_as_it_stands, async |ground| {
    let house = House::open(ground).await;
    let eve = Caller::of(&house.joined_by("Eve").await);
    let (ann, lobby) = (Caller::of(&house.admin), house.lobby);
    let den = house.closed_room("Den", &[]).await.id;
    let walrus = ann.says(lobby, "the walrus and the carpenter").await;
    ann.says(lobby, "Walrus again, ünïcode too").await;
    ann.says(den, "a secret walrus").await;
    let all = ["a secret walrus", "Walrus again, ünïcode too", "the walrus and the carpenter"];
    assert_eq!(finds(&ann, "walrus").await, all);
    assert_eq!(finds(&eve, "WALRUS").await, all[1..]);
    assert_eq!(finds(&eve, "carpenter walrus").await, all[2..]);
    assert_eq!(finds(&eve, "ünïcode").await, all[1..2]);
    assert_eq!(finds(&eve, "secret").await, Vec::<String>::new());
    ann.with("if-match", "1")
        .patch(&format!("/messages/{walrus}"), json!({ "body": "the oyster" }))
        .await
        .expect(200);
    assert_eq!(finds(&ann, "carpenter").await, Vec::<String>::new(), "the old text is gone");
    assert_eq!(finds(&ann, "oyster").await, ["the oyster"]);
    ann.delete(&format!("/messages/{walrus}")).await.expect(204);
    assert_eq!(finds(&ann, "oyster").await, Vec::<String>::new());
    assert_eq!(
        ann.get("/search?q=walrus&limit=1").await.expect(200)["messages"].as_array().map(Vec::len),
        Some(1)
    );
    ann.get("/search").await.is_problem(422, "invalid_payload", Some("q"));
    ann.get("/search?q=x&limit=101").await.is_problem(422, "invalid_payload", Some("limit"));
    Caller::nobody(&house.url()).get("/search?q=walrus").await.is_problem(401, "unauthenticated", None);
});

/// Whatever is typed into the field is a question and never an error, in whichever query language.
fn any_words_are_a_question(ground: Ground) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (house, ann) = runtime.block_on(async {
        let house = House::open(ground).await;
        let ann = Caller::of(&house.admin);
        ann.says(house.lobby, "a message").await;
        (house, ann)
    });
    let pieces = [
        "\"", "'", "*", "(", ")", "^", "-", ":", "NEAR(", "NEAR/2", "AND", "OR", "NOT", "body:", "\0", "\\",
        "%", "|", "&", "!", "<->", ":*", "--", ";", "{", "}", "+", "~", "a", " ", "\u{202e}", "é", "👋🏽", "ß",
        "\n",
    ];
    let built =
        prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..8).prop_map(|parts| parts.concat());
    let words = prop_oneof![built, any::<String>(), Just("x".repeat(5000)), Just("a ".repeat(2000))];
    let config = Config { cases: 60, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&words, |words| {
        let answer = runtime.block_on(ann.get(&path(&words)));
        prop_assert_eq!(answer.status, 200, "{}", answer.text());
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    drop(house);
}

#[test]
fn any_words_are_a_question_on_sqlite() {
    any_words_are_a_question(Ground::Sqlite);
}

#[test]
fn any_words_are_a_question_on_postgres() {
    any_words_are_a_question(Ground::Postgres);
}

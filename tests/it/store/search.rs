//! Search: words, never syntax.

use super::bench::Bench;
use super::contracts;
use hearth::domain::{Command, MessageBody};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

contracts!(words_are_found_in_any_form, any_text_is_a_query, an_edit_is_found_by_its_new_words);

async fn words_are_found_in_any_form(bench: Bench) {
    let home = bench.home().await;
    let id = bench.posts(&home.admin, home.general, "The gardens were running over the Ångström").await.id;
    for query in ["garden", "RUN garden", "\"gardens\"", "ångström", "  running\t gardening "] {
        let found = bench.store.search(&home.admin, query, 10).await.unwrap();
        assert_eq!(found.len(), 1, "{query}");
        assert_eq!(found[0].id, id);
    }
    for query in ["", "  ", "carpenter", "garden carpenter", "*", "()"] {
        assert_eq!(bench.store.search(&home.admin, query, 10).await.unwrap(), [], "{query}");
    }
    bench.posts(&home.admin, home.general, "garden two").await;
    // With all the words, whatever else the query looks like.
    for query in [
        "garden -two",
        "garden !two",
        "garden NOT-two",
        "two OR garden OR carpenter",
        "-carpenter",
        "!carpenter",
    ] {
        let found = bench.store.search(&home.admin, query, 10).await.unwrap();
        let wrong = found.iter().find(|message| message.body != "garden two" || query.contains("carpenter"));
        assert_eq!(wrong, None, "{query}");
    }
    for query in ["garden -two", "garden two!", "-garden \"two", "two-garden"] {
        let found = bench.store.search(&home.admin, query, 10).await.unwrap();
        assert_eq!(found.len(), usize::from(query != "two-garden"), "{query}");
    }
    assert_eq!(bench.store.search(&home.admin, "garden", 1).await.unwrap()[0].body, "garden two");
}

async fn any_text_is_a_query(bench: Bench) {
    let home = bench.home().await;
    bench.posts(&home.admin, home.general, "some words").await;
    let mut queries: Vec<String> = [
        "\"",
        "'",
        "\"a",
        "a\"b",
        "a AND",
        "NOT",
        "NEAR(",
        "body:x",
        "^a",
        "a*",
        "-a",
        "a - b",
        "{a b}: c",
        "\\",
        "\0",
        "a\0b",
        "%",
        "_",
        "a:*",
        "a & !",
        "a | | b",
        "<->",
        "é\u{301}",
        "😀",
        "''; DROP TABLE messages",
    ]
    .map(str::to_owned)
    .into();
    queries.push("x ".repeat(10_000));
    queries.push("x".repeat(100_000));
    let mut runner = TestRunner::deterministic();
    for _ in 0..200 {
        queries.push(any::<String>().new_tree(&mut runner).unwrap().current());
    }
    for query in queries {
        let found = bench.store.search(&home.admin, &query, 10).await;
        assert!(found.is_ok(), "{query:?}: {found:?}");
    }
}

async fn an_edit_is_found_by_its_new_words(bench: Bench) {
    let home = bench.home().await;
    let room = home.general;
    let message = bench.posts(&home.admin, room, "walrus").await.id;
    let body = MessageBody::parse("carpenter").unwrap();
    bench.does(&home.admin, Command::EditMessage { room, message, version: 1, body }).await;
    assert_eq!(bench.store.search(&home.admin, "walrus", 10).await.unwrap(), []);
    assert_eq!(bench.store.search(&home.admin, "carpenter", 10).await.unwrap().len(), 1);
}

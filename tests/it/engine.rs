//! A real engine speaks the protocol that the scripted upstream speaks: what is proven with that one holds for those that people run.

use crate::harness::PATIENCE;
use crate::harness::engine::Engine;
use reqwest::Response;
use serde_json::{Value, json};

async fn ask(engine: &Engine, key: &str, more: Value) -> Response {
    let mut body = json!({ "model": Engine::MODEL, "seed": 7, "messages": [
        { "role": "system", "content": "Be brief." }, { "role": "user", "content": "Wie geht's, 🙂?" },
    ] });
    let fields = body.as_object_mut().expect("an object");
    fields.extend(more.as_object().expect("an object").clone());
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
    let asking = client.post(format!("{}/chat/completions", engine.url())).bearer_auth(key).json(&body);
    asking.send().await.unwrap_or_else(|error| panic!("{error}: {}", engine.log()))
}

/// The pieces in which a streamed answer comes, and the data of all its events.
async fn streamed(mut answer: Response) -> (usize, Vec<String>) {
    assert_eq!(answer.status(), 200);
    assert!(answer.headers()["content-type"].to_str().expect("text").starts_with("text/event-stream"));
    let (mut pieces, mut bytes) = (0, Vec::new());
    while let Some(piece) = answer.chunk().await.expect("it comes to its end") {
        pieces += 1;
        bytes.extend_from_slice(&piece);
    }
    let text = String::from_utf8(bytes).expect("UTF-8").replace("\r\n", "\n");
    let data = text.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).map(str::to_owned);
    (pieces, data.collect())
}

#[tokio::test]
async fn a_real_engine_speaks_the_protocol_of_the_scripted_upstream() {
    let engine = Engine::start().await;
    let cut = json!({ "stream": true, "stream_options": { "include_usage": true }, "max_tokens": 12, "temperature": 0.0 });
    let (pieces, events) = streamed(ask(&engine, Engine::KEY, cut.clone()).await).await;
    assert!(pieces > 1, "words come one by one");
    assert_eq!(events.last().expect("events"), "[DONE]");
    let chunks: Vec<Value> =
        events[..events.len() - 1].iter().map(|data| serde_json::from_str(data).expect("JSON")).collect();
    assert!(
        chunks
            .iter()
            .all(|chunk| chunk["object"] == "chat.completion.chunk" && chunk["model"] == Engine::MODEL)
    );
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    let words: Vec<&str> =
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(words.iter().filter(|word| word.starts_with(' ')).count(), 12, "a word is a token: {words:?}");
    let reason = |chunk: &Value| chunk["choices"][0]["finish_reason"].as_str().map(str::to_owned);
    assert_eq!(chunks.iter().filter_map(reason).collect::<Vec<_>>(), ["length"]);

    // At once it says the same, and what it cost; while it streams it keeps that to itself, as some engines do.
    let mut at_once = cut;
    at_once["stream"] = json!(false);
    let whole: Value = ask(&engine, Engine::KEY, at_once).await.json().await.expect("JSON");
    assert_eq!(whole["choices"][0]["message"]["content"], words.concat());
    assert_eq!(whole["usage"]["completion_tokens"], 12);
    assert!(whole["usage"]["prompt_tokens"].as_u64().expect("a number") > 20, "{whole}");
    assert!(chunks.iter().all(|chunk| chunk["usage"].is_null()));

    // Left alone, it comes to an end of its own.
    let (_, events) = streamed(ask(&engine, Engine::KEY, json!({ "stream": true })).await).await;
    assert!(events.iter().any(|data| data.contains(r#""finish_reason": "stop""#)), "{events:?}");
}

#[tokio::test]
async fn a_real_engine_refuses_in_its_own_words() {
    let engine = Engine::start().await;
    // A wrong key isn't worded as OpenAI would: the status says it.
    let refused = ask(&engine, "wrong", json!({ "stream": true })).await;
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.json::<Value>().await.expect("JSON"), json!({ "detail": "Invalid API key" }));
    let mut long = json!({ "messages": [{ "role": "user", "content": "word ".repeat(4000) }] });
    let refused = ask(&engine, Engine::KEY, long.clone()).await;
    assert_eq!(refused.status(), 400);
    assert_eq!(refused.json::<Value>().await.expect("JSON")["error"]["code"], "context_length_exceeded");
    // Streamed, what doesn't fit is an empty answer that looks well: no word, no reason, no end.
    long["stream"] = json!(true);
    assert_eq!(streamed(ask(&engine, Engine::KEY, long).await).await, (0, Vec::new()));
}

#[tokio::test]
async fn a_real_engine_stops_for_who_hangs_up() {
    let engine = Engine::start().await;
    // The likeliest word each time goes round in circles: this has no end.
    let endless = json!({ "stream": true, "temperature": 0.0 });
    let mut answer = ask(&engine, Engine::KEY, endless).await;
    for _ in 0..3 {
        assert!(answer.chunk().await.expect("comes").is_some());
    }
    drop(answer);
    // It answers one after another: this one is next only if that one was dropped.
    let next = ask(&engine, Engine::KEY, json!({ "max_tokens": 3 })).await;
    assert_eq!(next.json::<Value>().await.expect("JSON")["usage"]["completion_tokens"], 3);
}

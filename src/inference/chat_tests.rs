//! Tests of what is asked and of how an answer is put together.

use super::*;

fn hear(chunks: &[&str]) -> (String, Result<Vec<Piece>, Failure>) {
    let mut assembly = Assembly::default();
    let mut text = String::new();
    for chunk in chunks {
        match assembly.hear(chunk) {
            Ok(heard) => text.push_str(&heard.text),
            Err(failure) => return (text, Err(failure)),
        }
    }
    (text, assembly.end())
}

fn call(id: &str, name: &str, arguments: &str) -> ToolCall {
    ToolCall { id: id.to_owned(), name: name.to_owned(), arguments: arguments.to_owned() }
}

#[test]
fn a_request_is_what_endpoints_expect() {
    let request = Request {
        messages: vec![
            Message::System("be kind".to_owned()),
            Message::User("roll".to_owned()),
            Message::Assistant { text: String::new(), calls: vec![call("c1", "dice", "{\"sides\":6}")] },
            Message::Tool { call_id: "c1".to_owned(), text: "4".to_owned() },
            Message::Assistant { text: "Four.".to_owned(), calls: Vec::new() },
        ],
        max_tokens: 100,
        temperature: Some(0.5),
        seed: Some(u32::MAX),
        tools: vec![Tool {
            name: "dice".to_owned(),
            description: "Rolls".to_owned(),
            parameters: json!({"type": "object"}),
        }],
    };
    let body: Value = serde_json::from_slice(&request.encode("tiny")).expect("JSON");
    let function = json!({"name": "dice", "arguments": "{\"sides\":6}"});
    let expected = json!({
        "model": "tiny",
        "messages": [
            {"role": "system", "content": "be kind"},
            {"role": "user", "content": "roll"},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "type": "function", "function": function}]},
            {"role": "tool", "tool_call_id": "c1", "content": "4"},
            {"role": "assistant", "content": "Four."},
        ],
        "max_tokens": 100,
        "stream": true,
        "stream_options": {"include_usage": true},
        "temperature": 0.5,
        "seed": 4_294_967_295u32,
        "tools": [{"type": "function", "function": {
            "name": "dice", "description": "Rolls", "parameters": {"type": "object"}}}],
    });
    assert_eq!(body, expected);
    let bare =
        Request { messages: Vec::new(), max_tokens: 1, temperature: None, seed: None, tools: Vec::new() };
    let body: Value = serde_json::from_slice(&bare.encode("tiny")).expect("JSON");
    let keys: Vec<&String> = body.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["max_tokens", "messages", "model", "stream", "stream_options"]);
}

#[test]
fn an_absurd_usage_says_nothing() {
    let of = |prompt: u64, completion: u64| {
        usage(&json!({"prompt_tokens": prompt, "completion_tokens": completion}))
    };
    assert_eq!(of(TOKENS_MAX, 2), Some(Usage { prompt: TOKENS_MAX, completion: 2 }));
    assert_eq!(of(TOKENS_MAX + 1, 2), None);
    assert_eq!(of(2, u64::MAX), None);
}

#[test]
fn text_usage_and_end_come_out() {
    let (text, end) = hear(&[
        r#"{"id":"x","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"Hel"}}],"system_fingerprint":"y","new":{"field":[1]}}"#,
        r#"{"choices":[{"index":1,"delta":{"content":"not asked for"}},{"index":0,"delta":{"content":"lo"}}]}"#,
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}}"#,
        "[DONE]",
    ]);
    assert_eq!(text, "Hello");
    let usage = Usage { prompt: 7, completion: 2 };
    assert_eq!(end, Ok(vec![Piece::Usage(usage), Piece::Finished(FinishReason::Length)]));
}

#[test]
fn each_reason_to_stop_is_known_and_none_is_no_end() {
    for (name, reason) in [
        ("stop", FinishReason::Stop),
        ("length", FinishReason::Length),
        ("tool_calls", FinishReason::ToolCalls),
        ("content_filter", FinishReason::ContentFilter),
        ("something new", FinishReason::Stop),
    ] {
        let chunk = json!({"choices": [{"delta": {}, "finish_reason": name}]}).to_string();
        assert_eq!(hear(&[&chunk]).1, Ok(vec![Piece::Finished(reason)]), "{name}");
    }
    assert_eq!(hear(&["[DONE]"]).1, Ok(vec![Piece::Finished(FinishReason::Stop)]));
    assert_eq!(
        hear(&[r#"{"choices":[{"delta":{"content":"cut"}}]}"#]),
        ("cut".to_owned(), Err(Failure::Dropped))
    );
    assert_eq!(hear(&[]).1, Err(Failure::Dropped));
}

#[test]
fn calls_are_put_together_by_their_index() {
    let (text, end) = hear(&[
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"dice","arguments":""}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":1,"id":"b","function":{"name":"pick","arguments":"{\"of"}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}},{"index":1,"function":{"arguments":"\":1}"}}]}}]}"#,
        r#"{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}"#,
    ]);
    assert_eq!(text, "");
    let calls = [call("a", "dice", "{}"), call("b", "pick", "{\"of\":1}")].map(Piece::ToolCall);
    let end = end.expect("whole");
    assert_eq!(end[..2], calls);
    assert_eq!(end[2], Piece::Finished(FinishReason::ToolCalls));
}

#[test]
fn calls_of_engines_with_habits_of_their_own() {
    // Without an index, without an id, the arguments as an object.
    let (_, end) = hear(&[
        r#"{"choices":[{"delta":{"tool_calls":[{"function":{"name":"dice","arguments":{"sides":6}}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"id":"z","function":{"name":"pick","arguments":"{"}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"}"}}]}}]}"#,
        "[DONE]",
    ]);
    let calls = [call("call_0", "dice", "{\"sides\":6}"), call("z", "pick", "{}")].map(Piece::ToolCall);
    assert_eq!(end.expect("whole")[..2], calls);
    let nameless = r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}}]}"#;
    assert_eq!(hear(&[nameless, "[DONE]"]).1, Err(Failure::Malformed));
}

#[test]
fn calls_of_the_same_index_are_told_apart_by_their_ids() {
    let whole =
        |calls: &[&str]| format!(r#"{{"choices":[{{"delta":{{"tool_calls":[{}]}}}}]}}"#, calls.join(","));
    let a = r#"{"index":0,"id":"a","function":{"name":"dice","arguments":"{\"sides\":6}"}}"#;
    let b = r#"{"index":0,"id":"b","function":{"name":"dice","arguments":"{\"sides\":8}"}}"#;
    let (six, eight) = (call("a", "dice", "{\"sides\":6}"), call("b", "dice", "{\"sides\":8}"));
    let begun = r#"{"index":0,"id":"b","function":{"name":"dice"}}"#;
    let (nameless, named) = (
        r#"{"index":0,"function":{"arguments":"{\"sides\""}}"#,
        r#"{"index":0,"id":"b","function":{"arguments":":8}"}}"#,
    );
    let restless = r#"{"index":0,"id":"another","function":{"arguments":":8}"}}"#;
    let late = r#"{"index":0,"function":{"name":"dice"}}"#;
    let all = r#"{"index":0,"id":"b","function":{"arguments":"{\"sides\":8}"}}"#;
    let (bare, too) = (
        r#"{"function":{"name":"dice","arguments":"{}"}}"#,
        r#"{"function":{"name":"pick","arguments":{}}}"#,
    );
    let rows: [(&str, Vec<String>, Vec<ToolCall>); 8] = [
        ("in chunks of their own", vec![whole(&[a]), whole(&[b])], vec![six.clone(), eight.clone()]),
        ("in one chunk", vec![whole(&[a, b])], vec![six.clone(), eight.clone()]),
        (
            "in pieces",
            vec![whole(&[a, begun]), whole(&[nameless]), whole(&[named])],
            vec![six.clone(), eight.clone()],
        ),
        (
            "without an id to the latest",
            vec![whole(&[begun, a, nameless])],
            vec![call("b", "dice", ""), call("a", "dice", "{\"sides\":6}{\"sides\"")],
        ),
        ("an id that changes", vec![whole(&[begun, nameless]), whole(&[restless])], vec![eight.clone()]),
        ("an id that comes late", vec![whole(&[late]), whole(&[all])], vec![eight]),
        (
            "neither index nor id",
            vec![whole(&[bare, bare, too])],
            vec![call("call_0", "dice", "{}"), call("call_1", "dice", "{}"), call("call_2", "pick", "{}")],
        ),
        ("said twice", vec![whole(&[begun]), whole(&[begun])], vec![call("b", "dice", "")]),
    ];
    for (what, chunks, calls) in rows {
        let chunks: Vec<&str> = chunks.iter().map(String::as_str).chain(["[DONE]"]).collect();
        let end = hear(&chunks).1.expect("whole");
        let calls: Vec<Piece> = calls.into_iter().map(Piece::ToolCall).collect();
        assert_eq!(end[..end.len() - 1], calls, "{what}");
    }
    let many: Vec<String> = (0..17)
        .map(|n| whole(&[&format!(r#"{{"index":0,"id":"{n}","function":{{"name":"f"}}}}"#)]))
        .chain(["[DONE]".to_owned()])
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(hear(&many[1..]).1.is_ok());
    assert_eq!(hear(&many).1, Err(Failure::Malformed));
}

#[test]
fn calls_are_bounded() {
    let many: Vec<String> = (0..17)
        .map(|n| {
            json!({"choices":[{"delta":{"tool_calls":[{"index":n,"id":"i","function":{"name":"f"}}]}}]})
                .to_string()
        })
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(hear(&[&many[..16], &["[DONE]"]].concat()).1.is_ok());
    assert_eq!(hear(&many).1, Err(Failure::Malformed));
    let long = json!({"choices":[{"delta":{"tool_calls":[
        {"index":0,"id":"i","function":{"name":"f","arguments":"x".repeat(40_000)}}]}}]})
    .to_string();
    assert_eq!(hear(&[&long, &long]).1, Err(Failure::Malformed));
}

#[test]
fn an_error_in_the_stream_is_a_failure() {
    for (chunk, name) in [
        (r#"{"error":{"message":"boom sk-secret","type":"server_error","code":null}}"#, "upstream_error"),
        (r#"{"error":{"message":"x","code":503}}"#, "overloaded"),
        (r#"{"error":{"message":"x","code":"429"}}"#, "rate_limited"),
        (r#"{"error":{"message":"Overloaded","type":"overloaded_error"}}"#, "overloaded"),
        (r#"{"error":"the prompt exceeds the context window"}"#, "context_too_long"),
        (r#"{"object":"error","message":"bad","code":400}"#, "rejected"),
        ("<html>", "malformed"),
        ("{\"choices\":[", "malformed"),
        (r#"{"choices":[{"delta":{"content":7}}]}"#, "malformed"),
    ] {
        let failure = hear(&[chunk]).1.expect_err("failed");
        assert_eq!(failure.as_str(), name, "{chunk}");
        assert!(!format!("{failure} {failure:?}").contains("secret"));
    }
}

#[test]
fn only_what_is_said_is_a_sign_of_life() {
    let alive = |chunk: &str| Assembly::default().hear(chunk).expect("fine").is_alive;
    for silent in [
        "",
        "{}",
        r#"{"choices":[]}"#,
        r#"{"choices":null,"usage":null,"error":null}"#,
        r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#,
        r#"{"choices":[{"delta":{"content":null,"tool_calls":[]},"finish_reason":null}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":""}}]}}]}"#,
    ] {
        assert!(!alive(silent), "{silent}");
    }
    for said in [
        r#"{"choices":[{"delta":{"content":" "}}]}"#,
        r#"{"choices":[{"delta":{"reasoning_content":"hm"}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{"}}]}}]}"#,
        r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
    ] {
        assert!(alive(said), "{said}");
    }
}

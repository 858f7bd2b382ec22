//! The scripted upstream, asked by a plain client: it does what the script says, or no test that uses it proves anything.

use super::script::{
    Gate, Script, answers_whole, finds_it_too_long, is_broken, is_busy_for, is_silent, knows_no_such_model,
    refuses, refuses_the_key, says, says_at_once, writes,
};
use super::{Ended, Unconnectable, Upstream};
use crate::harness::PATIENCE;
use reqwest::Response;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_millis(200);

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client")
}

async fn ask(client: &reqwest::Client, upstream: &Upstream, prompt: &str) -> reqwest::Result<Response> {
    let body = json!({ "model": "parrot", "stream": true, "messages": [
        { "role": "system", "content": "Be brief." }, { "role": "user", "content": prompt },
    ] });
    client.post(format!("{}/chat/completions", upstream.url())).bearer_auth("s3cret").json(&body).send().await
}

/// The pieces in which the body comes, and whether it came to a good end.
async fn pieces(mut response: Response) -> (Vec<Vec<u8>>, bool) {
    let mut pieces = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(piece)) => pieces.push(piece.to_vec()),
            Ok(None) => return (pieces, true),
            Err(_) => return (pieces, false),
        }
    }
}

/// The data of the events in these bytes.
fn data(bytes: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(bytes).expect("UTF-8").replace("\r\n", "\n").replace('\r', "\n");
    text.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).map(str::to_owned).collect()
}

/// The chunks that are JSON.
fn chunks(bytes: &[u8]) -> Vec<Value> {
    data(bytes).iter().filter_map(|data| serde_json::from_str(data).ok()).collect()
}

fn text(bytes: &[u8]) -> String {
    let chunks = chunks(bytes);
    chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect()
}

/// What comes of one request that is answered so: the pieces, and whether it came to a good end.
async fn plays(script: Script) -> (Vec<Vec<u8>>, bool) {
    let upstream = Upstream::start().await;
    upstream.answers(script);
    pieces(ask(&client(), &upstream, "hi").await.expect("a response")).await
}

#[tokio::test]
async fn an_answer_is_streamed_and_what_was_asked_is_recorded() {
    let upstream = Upstream::start().await;
    upstream.answers(says(["Hel", "lo"]).then_usage(12, 2)).answers(says(["Bye"]));
    let (client, before) = (client(), Instant::now());
    let answer = ask(&client, &upstream, "one").await.expect("a response");
    assert_eq!(answer.headers()["content-type"], "text/event-stream; charset=utf-8");
    let (pieces_of_it, ended_well) = pieces(answer).await;
    assert!(ended_well);
    assert_eq!(pieces_of_it.len(), 6, "role, two pieces, finish, usage, done: an event each");
    let bytes = pieces_of_it.concat();
    assert_eq!((text(&bytes).as_str(), data(&bytes).last().expect("events").as_str()), ("Hello", "[DONE]"));
    let chunks = chunks(&bytes);
    assert_eq!(chunks[0]["choices"][0]["delta"], json!({ "role": "assistant", "content": "" }));
    assert_eq!(chunks[3]["choices"][0]["finish_reason"], "stop");
    assert_eq!((&chunks[4]["choices"], &chunks[4]["usage"]["total_tokens"]), (&json!([]), &json!(14)));
    assert!(chunks.iter().all(|chunk| chunk["id"] == "chatcmpl-1" && chunk["model"] == "parrot"));

    let asked = upstream.is_asked().await;
    assert_eq!((asked.number, asked.connection), (1, 1));
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/v1/chat/completions"));
    assert_eq!(asked.headers["authorization"], "Bearer s3cret");
    assert_eq!((asked.said_by("system"), asked.said_by("user")), (vec!["Be brief."], vec!["one"]));
    assert!(asked.at >= before && upstream.ended(1).await.1 >= asked.at);

    // The next in line, on the same connection; then what it says when nothing is in line.
    for expected in ["Bye", "Hello there.", "Hello there."] {
        let (pieces, _) = pieces(ask(&client, &upstream, expected).await.expect("a response")).await;
        assert_eq!(text(&pieces.concat()), expected);
        let asked = upstream.is_asked().await;
        assert_eq!((asked.said_by("user"), asked.connection), (vec![expected], 1));
        assert_eq!(upstream.ended(asked.number).await.0, Ended::Answered);
    }
    assert_eq!((upstream.requests().len(), upstream.total(), upstream.open()), (4, 1, 1));
    drop(client);
    upstream.open_becomes(0).await;
}

#[tokio::test]
async fn the_bytes_are_cut_as_the_script_says() {
    let script = says(["Grüße", " 🙂"]).then_an_empty_delta().then_comment("ping").then_usage(1, 2);
    let (together, _) = plays(script.clone().in_one_piece()).await;
    assert_eq!(together.len(), 1);
    assert!(String::from_utf8_lossy(&together[0]).contains("\n\n: ping\n\n"));
    assert!(chunks(&together[0]).iter().any(|chunk| chunk["choices"][0]["delta"] == json!({})));
    let (single, _) = plays(script.clone().in_pieces_of(1)).await;
    assert!(single.iter().all(|piece| piece.len() == 1));
    assert_eq!(single.concat(), together[0]);
    assert_eq!(text(&single.concat()), "Grüße 🙂");
    let (threes, _) = plays(script.clone().in_pieces_of(3)).await;
    assert!(threes.iter().any(|piece| std::str::from_utf8(piece).is_err()), "a character is cut");
    for line_end in ["\r\n", "\r"] {
        let (pieces, _) = plays(script.clone().with_line_ends(line_end)).await;
        let told = String::from_utf8(pieces.concat()).expect("UTF-8");
        assert_eq!(told.replace(line_end, "\n").as_bytes(), together[0]);
        assert!(!told.replace(line_end, "").contains(['\r', '\n']));
    }
}

#[tokio::test]
async fn it_refuses_with_the_errors_that_are_known() {
    let upstream = Upstream::start().await;
    let refusals = [
        (is_busy_for("2"), 429, "rate_limit_exceeded"),
        (refuses_the_key(), 401, "invalid_api_key"),
        (knows_no_such_model(), 404, "model_not_found"),
        (finds_it_too_long(), 400, "context_length_exceeded"),
        (is_broken(), 500, "internal_error"),
        (refuses(403, "not_here").with_header("x-why", "because"), 403, "not_here"),
    ];
    let client = client();
    for (script, status, code) in refusals {
        upstream.answers(script);
        let answer = ask(&client, &upstream, "hi").await.expect("a response");
        assert_eq!(answer.status(), status);
        assert_eq!(
            answer.headers().get("retry-after").map(|after| after.as_bytes()),
            (status == 429).then_some(&b"2"[..])
        );
        assert_eq!(answer.headers().contains_key("x-why"), status == 403);
        assert_eq!(answer.json::<Value>().await.expect("JSON")["error"]["code"], code);
    }
    upstream.answers(answers_whole(502, "text/html", "<h1>Bad gateway</h1>")).answers(says_at_once(
        "All of it",
        3,
        4,
    ));
    let page = ask(&client, &upstream, "hi").await.expect("a response");
    assert_eq!(
        (page.status().as_u16(), &page.headers()["content-type"]),
        (502, &"text/html".parse().expect("a value"))
    );
    let whole: Value = ask(&client, &upstream, "hi").await.expect("a response").json().await.expect("JSON");
    assert_eq!(
        (&whole["choices"][0]["message"]["content"], &whole["usage"]["total_tokens"]),
        (&json!("All of it"), &json!(7))
    );
    assert_eq!(upstream.total(), 1, "a refusal leaves the connection");
}

#[tokio::test]
async fn it_waits_where_the_script_says_until_the_test_says_go() {
    let (upstream, door, middle) = (Upstream::start().await, Gate::new(), Gate::new());
    upstream
        .always_answers(says(["Hel"]).then_waits_for(&middle).then_says(["lo"]).once(&door).in_one_piece());
    let client = client();
    let asking = tokio::spawn({
        let request = client.post(format!("{}/chat/completions", upstream.url())).json(&json!({}));
        async move { request.send().await.expect("a response") }
    });
    door.is_reached().await;
    assert!(!asking.is_finished());
    door.lets_one_pass();
    let mut answer = asking.await.expect("asked");
    middle.is_reached().await;
    let first = answer.chunk().await.expect("comes").expect("not the end");
    assert_eq!(text(&first), "Hel");
    assert!(tokio::time::timeout(SOON, answer.chunk()).await.is_err(), "nothing before the gate opens");
    middle.opens();
    assert_eq!(text(&pieces(answer).await.0.concat()), "lo");
    // The gate in the middle stays open; the door let one pass.
    door.opens();
    assert_eq!(
        text(&pieces(ask(&client, &upstream, "hi").await.expect("a response")).await.0.concat()),
        "Hello"
    );
}

#[tokio::test]
async fn it_takes_its_time() {
    let began = Instant::now();
    let script =
        says(["a"]).after(Duration::from_millis(100)).then_says_every(Duration::from_millis(60), ["b", "c"]);
    let (pieces, _) = plays(script.then_pauses(Duration::from_millis(30))).await;
    assert!(began.elapsed() >= Duration::from_millis(250));
    assert_eq!(text(&pieces.concat()), "abc");
}

#[tokio::test]
async fn it_stalls_at_every_stage_and_sees_who_hangs_up() {
    let stages = [
        is_silent(),
        writes("HTTP/1.1 200 OK\r\ncontent-ty").then_stalls(),
        says([]).then_stalls(),
        says(["Hel"]).then_stalls(),
        says(["Hel"]).then_usage(1, 1).then_stalls(),
        says(["Hel"]).then_only_comments(Duration::from_millis(5)),
    ];
    let (upstream, hasty) = (Upstream::start().await, client());
    for (stage, script) in stages.into_iter().enumerate() {
        upstream.answers(script);
        let asking = async { pieces(ask(&hasty, &upstream, "hi").await.expect("a response")).await };
        // Dropped before it has come, it would never have been asked.
        let soon = async {
            upstream.is_asked().await;
            tokio::time::sleep(SOON).await;
        };
        tokio::select! {
            ended = asking => panic!("stage {stage} comes to an end: {ended:?}"),
            () = soon => {}
        }
        let gone = Instant::now();
        assert!(upstream.closed(stage + 1).await >= upstream.asked(stage + 1).at);
        assert!(gone.elapsed() < PATIENCE);
    }
    upstream.open_becomes(0).await;
    assert_eq!((upstream.total(), upstream.most_open()), (6, 1));
}

#[tokio::test]
#[should_panic(expected = "request 1")]
async fn nobody_hung_up_on_an_answer_that_was_read() {
    let upstream = Upstream::start().await;
    pieces(ask(&client(), &upstream, "hi").await.expect("a response")).await;
    upstream.closed(1).await;
}

#[tokio::test]
async fn it_cuts_answers_off() {
    let upstream = Upstream::start().await;
    let cut = [
        (says(["Hel"]).then_hangs_up(), false),
        (says(["Hel"]).then_resets(), false),
        // Here nobody can tell.
        (says(["Hel"]).ending_with_the_connection().then_hangs_up(), true),
        (says(["Hel"]).ending_with_the_connection().then_resets(), false),
    ];
    for (number, (script, looks_well)) in (1..).zip(cut) {
        upstream.answers(script);
        let (pieces, ended_well) = pieces(ask(&client(), &upstream, "hi").await.expect("a response")).await;
        assert_eq!((text(&pieces.concat()).as_str(), ended_well), ("Hel", looks_well), "{number}");
        assert_eq!(upstream.ended(number).await.0, Ended::CutOff);
    }
    for script in [writes("").then_hangs_up(), writes("").then_resets(), writes("SSH-2.0-OpenSSH\r\n")] {
        upstream.answers(script);
        assert!(ask(&client(), &upstream, "hi").await.is_err());
    }
    upstream.open_becomes(0).await;
}

#[tokio::test]
async fn it_ends_in_every_way() {
    let ends = |events: &[String]| {
        let reasons = events.iter().filter_map(|data| serde_json::from_str::<Value>(data).ok());
        let reasons =
            reasons.filter_map(|chunk| chunk["choices"][0]["finish_reason"].as_str().map(str::to_owned));
        (reasons.collect::<Vec<_>>().join(","), events.iter().filter(|data| *data == "[DONE]").count())
    };
    for (script, reasons, done) in [
        (says(["a"]), "stop", 1),
        (says(["a"]).then_finishes("length"), "length", 1),
        (says(["a"]).then_finishes("length").then_usage(1, 1), "length", 1),
        (says(["a"]).without_done(), "stop", 0),
        (says(["a"]).without_an_end(), "", 0),
        (says(["a"]).then_fails("overloaded"), "", 0),
        (says(["a"]).then_done().then_says(["after the end"]), "", 1),
    ] {
        let (pieces, ended_well) = plays(script).await;
        let events = data(&pieces.concat());
        let (reasons_seen, done_seen) = ends(&events);
        assert_eq!((ended_well, reasons_seen.as_str(), done_seen), (true, reasons, done), "{events:?}");
    }
    let (failed, _) = plays(says(["a"]).then_fails("overloaded")).await;
    assert_eq!(chunks(&failed.concat()).last().expect("chunks")["error"]["code"], "overloaded");
    let (odd, _) = plays(
        says(["a"])
            .then_data("{\"choices\":[")
            .then_bytes("event: x\nid: 7\n\n")
            .then_chunk(json!({ "model": "own" })),
    )
    .await;
    assert!(data(&odd.concat()).contains(&"{\"choices\":[".to_owned()));
    assert!(String::from_utf8_lossy(&odd.concat()).contains("event: x\nid: 7\n\n"));
    assert!(chunks(&odd.concat()).iter().any(|chunk| chunk["model"] == "own"));
}

#[tokio::test]
async fn it_calls_tools_in_fragments() {
    let script = says([]).then_calls(0, ("call_1", "roll_dice"), ["{\"si", "des\":6}"]).then_calls(
        1,
        ("call_2", "ask"),
        ["{}"],
    );
    let chunks = chunks(&plays(script.then_usage(5, 5)).await.0.concat());
    let calls: Vec<&Value> = chunks
        .iter()
        .map(|chunk| &chunk["choices"][0]["delta"]["tool_calls"][0])
        .filter(|call| call.is_object())
        .collect();
    assert_eq!(
        calls[0],
        &json!({ "index": 0, "id": "call_1", "type": "function", "function": { "name": "roll_dice", "arguments": "" } })
    );
    let arguments = |index: u64| -> String {
        calls
            .iter()
            .filter(|call| call["index"] == index)
            .filter_map(|call| call["function"]["arguments"].as_str())
            .collect()
    };
    assert_eq!((arguments(0).as_str(), arguments(1).as_str()), ("{\"sides\":6}", "{}"));
    assert!(chunks.iter().any(|chunk| chunk["choices"][0]["finish_reason"] == "tool_calls"));
}

#[tokio::test]
async fn many_are_answered_at_once_each_by_what_it_asked() {
    let (upstream, gate) = (Upstream::start().await, Gate::new());
    let wait = gate.clone();
    upstream.always_answers_by(move |asked| {
        says(["You said "]).then_waits_for(&wait).then_says(asked.said_by("user"))
    });
    let client = client();
    let answers: Vec<_> = (0..20)
        .map(|number| {
            let (client, url) = (client.clone(), upstream.url());
            tokio::spawn(async move {
                let said = json!({ "messages": [{ "role": "user", "content": number.to_string() }] });
                let answer = client.post(format!("{url}/chat/completions")).json(&said).send().await;
                text(&pieces(answer.expect("a response")).await.0.concat())
            })
        })
        .collect();
    for _ in 0..20 {
        gate.is_reached().await;
    }
    assert_eq!((upstream.open(), upstream.most_open()), (20, 20));
    gate.opens();
    for (number, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.await.expect("answered"), format!("You said {number}"));
    }
}

#[tokio::test]
async fn it_dies_and_returns() {
    let mut upstream = Upstream::start().await;
    upstream.answers(says(["Hel"]).then_stalls());
    let mut answer = ask(&client(), &upstream, "hi").await.expect("a response");
    assert!(answer.chunk().await.is_ok());
    upstream.dies().await;
    assert!(!pieces(answer).await.1, "reset");
    assert_eq!(upstream.ended(1).await.0, Ended::CutOff);
    assert!(ask(&client(), &upstream, "hi").await.expect_err("refused").is_connect());
    upstream.returns().await;
    let (pieces, ended_well) = pieces(ask(&client(), &upstream, "hi").await.expect("a response")).await;
    assert_eq!((text(&pieces.concat()).as_str(), ended_well), ("Hello there.", true));
}

#[tokio::test]
async fn nobody_can_connect_to_what_takes_no_connection() {
    let nowhere = Unconnectable::start().await;
    let client = reqwest::Client::builder().no_proxy().connect_timeout(SOON).build().expect("a client");
    let failed = client.get(format!("{}/models", nowhere.url())).send().await.expect_err("no connection");
    assert!(failed.is_connect() && failed.is_timeout(), "{failed:?}");
}

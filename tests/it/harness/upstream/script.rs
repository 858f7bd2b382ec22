//! What the upstream does with one request, as sentences: `says(["Hel", "lo"]).then_usage(12, 2)`, `refuses(429, "rate_limit_exceeded")`.

use crate::harness::PATIENCE;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// A place in a script where the upstream waits for the test.
#[derive(Clone)]
pub(crate) struct Gate(Arc<(Semaphore, Semaphore)>);

impl Gate {
    /// Shut.
    pub(crate) fn new() -> Self {
        Self(Arc::new((Semaphore::new(0), Semaphore::new(0))))
    }

    /// Waits until an answer has come as far as this: all before it is on the wire. Each arrival is told once.
    pub(crate) async fn is_reached(&self) {
        let reached = tokio::time::timeout(PATIENCE, self.0.0.acquire()).await;
        reached.expect("an answer comes as far as the gate in time").expect("never closed").forget();
    }

    /// Lets one answer go on, the next to come if none is waiting.
    pub(crate) fn lets_one_pass(&self) {
        self.0.1.add_permits(1);
    }

    /// Lets all go on, now and later.
    pub(crate) fn opens(&self) {
        self.0.1.close();
    }

    pub(super) async fn is_passed(&self) {
        self.0.0.add_permits(1);
        if let Ok(pass) = self.0.1.acquire().await {
            pass.forget();
        }
    }
}

#[derive(Clone)]
pub(super) enum Step {
    /// An event whose data is a chunk of the answer; what is the same in all chunks is added.
    Chunk(Value),
    /// An event with this data.
    Data(String),
    Comment(String),
    /// These bytes as they are.
    Bytes(Vec<u8>),
    Pauses(Duration),
    /// A comment each time this has passed, for ever.
    Comments(Duration),
    Waits(Gate),
    Stalls,
    HangsUp,
    Resets,
}

/// Where the bytes of the answer are cut into HTTP chunks, which a client reads one by one.
#[derive(Clone, Copy)]
pub(super) enum Cut {
    /// Each event in a chunk of its own.
    Events,
    /// All that comes without a break between is one chunk.
    Breaks,
    /// So many bytes.
    Every(usize),
}

/// How the client learns where the answer ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Chunked,
    /// By the end of the connection.
    Closing,
    /// The body is a whole, of known length.
    Length,
    /// No head is written: the script's bytes are all there is.
    Raw,
}

/// What the upstream does with one request.
#[derive(Clone)]
pub(crate) struct Script {
    pub(super) latency: Duration,
    pub(super) gate: Option<Gate>,
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) framing: Framing,
    pub(super) cut: Cut,
    pub(super) line_end: &'static str,
    pub(super) steps: Vec<Step>,
    /// The finish reason that is said at the end of the steps.
    finish: Option<&'static str>,
    /// Whether `[DONE]` is said after it.
    done: bool,
}

/// Streams these pieces of text, then what belongs to a good end: a finish reason and `[DONE]`.
pub(crate) fn says<'a>(pieces: impl IntoIterator<Item = &'a str>) -> Script {
    let mut script = Script::of(200, "text/event-stream; charset=utf-8", Framing::Chunked);
    (script.finish, script.done) = (Some("stop"), true);
    script.then_chunk(choice(json!({ "role": "assistant", "content": "" }), Value::Null)).then_says(pieces)
}

/// Answers with an error as OpenAI words it. The status says what kind it is.
pub(crate) fn refuses(status: u16, code: &str) -> Script {
    let kind = match status {
        400 | 404 => "invalid_request_error",
        401 | 403 => "authentication_error",
        429 => "requests",
        _ => "server_error",
    };
    let error = json!({ "error": { "message": format!("Refused: {code}."), "type": kind, "param": null, "code": code } });
    answers_whole(status, "application/json", error.to_string())
}

/// 429, with a `Retry-After` of these words: seconds or a date.
pub(crate) fn is_busy_for(retry_after: &str) -> Script {
    refuses(429, "rate_limit_exceeded").with_header("retry-after", retry_after)
}

/// 401: the key is wrong.
pub(crate) fn refuses_the_key() -> Script {
    refuses(401, "invalid_api_key")
}

/// 404: there is no such model.
pub(crate) fn knows_no_such_model() -> Script {
    refuses(404, "model_not_found")
}

/// 400: the prompt doesn't fit.
pub(crate) fn finds_it_too_long() -> Script {
    refuses(400, "context_length_exceeded")
}

/// 500.
pub(crate) fn is_broken() -> Script {
    refuses(500, "internal_error")
}

/// Takes the request and says nothing, not even a status.
pub(crate) fn is_silent() -> Script {
    writes("").then_stalls()
}

/// The whole answer as one JSON object, as if no stream had been asked for.
pub(crate) fn says_at_once(text: &str, prompt: u64, completion: u64) -> Script {
    let message = json!({ "role": "assistant", "content": text });
    let answer = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1_700_000_000, "model": "scripted",
        "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }],
        "usage": usage(prompt, completion),
    });
    answers_whole(200, "application/json", answer.to_string())
}

/// Anything with a status, a type and a body: the error page of a proxy, say.
pub(crate) fn answers_whole(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Script {
    Script::of(status, content_type, Framing::Length).then_bytes(body)
}

/// These bytes instead of an answer, and whatever steps follow; at the end it hangs up. For what isn't HTTP.
pub(crate) fn writes(bytes: impl Into<Vec<u8>>) -> Script {
    Script::of(200, "", Framing::Raw).then_bytes(bytes)
}

impl Script {
    fn of(status: u16, content_type: &str, framing: Framing) -> Self {
        Self {
            latency: Duration::ZERO,
            gate: None,
            status,
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            framing,
            cut: Cut::Events,
            line_end: "\n",
            steps: Vec::new(),
            finish: None,
            done: false,
        }
    }

    /// Waits so long before it answers at all.
    pub(crate) fn after(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// Waits for the test before it answers at all.
    pub(crate) fn once(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }

    /// One more header, or another value.
    pub(crate) fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Lines of events end so: `\n` unless it is said, `\r\n`, `\r`.
    pub(crate) fn with_line_ends(mut self, line_end: &'static str) -> Self {
        self.line_end = line_end;
        self
    }

    /// All events that follow each other without a break come in one piece.
    pub(crate) fn in_one_piece(mut self) -> Self {
        self.cut = Cut::Breaks;
        self
    }

    /// The stream comes in pieces of so many bytes, wherever that cuts lines and characters.
    pub(crate) fn in_pieces_of(mut self, bytes: usize) -> Self {
        self.cut = Cut::Every(bytes);
        self
    }

    /// The body ends with the connection, which is then nobody's to use again; a cut-off can't be told from an end.
    pub(crate) fn ending_with_the_connection(mut self) -> Self {
        self.framing = Framing::Closing;
        self
    }

    /// Ends without `[DONE]`.
    pub(crate) fn without_done(mut self) -> Self {
        self.done = false;
        self
    }

    /// Ends after its steps, with neither a finish reason nor `[DONE]`.
    pub(crate) fn without_an_end(mut self) -> Self {
        self.finish = None;
        self.without_done()
    }

    /// More text.
    pub(crate) fn then_says<'a>(mut self, pieces: impl IntoIterator<Item = &'a str>) -> Self {
        let chunks =
            pieces.into_iter().map(|piece| Step::Chunk(choice(json!({ "content": piece }), Value::Null)));
        self.steps.extend(chunks);
        self
    }

    /// More text, with so long before each piece.
    pub(crate) fn then_says_every<'a>(
        self,
        pause: Duration,
        pieces: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        pieces.into_iter().fold(self, |script, piece| script.then_pauses(pause).then_says([piece]))
    }

    /// What the model thinks and doesn't say.
    pub(crate) fn then_thinks<'a>(mut self, pieces: impl IntoIterator<Item = &'a str>) -> Self {
        let chunks = pieces
            .into_iter()
            .map(|piece| Step::Chunk(choice(json!({ "reasoning_content": piece }), Value::Null)));
        self.steps.extend(chunks);
        self
    }

    /// A chunk that brings nothing.
    pub(crate) fn then_an_empty_delta(self) -> Self {
        self.then_chunk(choice(json!({}), Value::Null))
    }

    /// A call of a tool, its arguments in fragments; `index` tells several calls apart. The answer ends with `tool_calls`.
    pub(crate) fn then_calls<'a>(
        mut self,
        index: u64,
        (id, name): (&str, &str),
        arguments: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        self.finish = self.finish.map(|_| "tool_calls");
        let call = |call: Value| Step::Chunk(choice(json!({ "tool_calls": [call] }), Value::Null));
        let function = json!({ "name": name, "arguments": "" });
        self.steps.push(call(json!({ "index": index, "id": id, "type": "function", "function": function })));
        let fragments = arguments.into_iter();
        self.steps.extend(
            fragments.map(|fragment| call(json!({ "index": index, "function": { "arguments": fragment } }))),
        );
        self
    }

    /// The reason why it ends; what follows comes after it.
    pub(crate) fn then_finishes(mut self, reason: &str) -> Self {
        self.finish = None;
        self.then_chunk(choice(json!({}), json!(reason)))
    }

    /// Tokens of the prompt and the answer, in a chunk without choices, after the finish reason.
    pub(crate) fn then_usage(self, prompt: u64, completion: u64) -> Self {
        let script = match self.finish {
            Some(reason) => self.then_finishes(reason),
            None => self,
        };
        script.then_chunk(json!({ "choices": [], "usage": usage(prompt, completion) }))
    }

    /// `[DONE]`; what follows comes after it.
    pub(crate) fn then_done(self) -> Self {
        self.then_data("[DONE]").without_an_end()
    }

    /// A chunk of the test's own making; id, object, created and model are added where they are missing.
    pub(crate) fn then_chunk(mut self, chunk: Value) -> Self {
        self.steps.push(Step::Chunk(chunk));
        self
    }

    /// An event with any data: what isn't JSON, say.
    pub(crate) fn then_data(mut self, data: &str) -> Self {
        self.steps.push(Step::Data(data.to_owned()));
        self
    }

    /// An error object within the stream, as the last that is said.
    pub(crate) fn then_fails(self, code: &str) -> Self {
        let error = json!({ "error": { "message": format!("Failed: {code}."), "type": "server_error", "code": code } });
        self.then_data(&error.to_string()).without_an_end()
    }

    /// A comment, which says only that somebody is there.
    pub(crate) fn then_comment(mut self, comment: &str) -> Self {
        self.steps.push(Step::Comment(comment.to_owned()));
        self
    }

    /// Comments for ever, one each time this has passed.
    pub(crate) fn then_only_comments(mut self, every: Duration) -> Self {
        self.steps.push(Step::Comments(every));
        self
    }

    /// Bytes as they are, in a piece of their own.
    pub(crate) fn then_bytes(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.steps.push(Step::Bytes(bytes.into()));
        self
    }

    /// Nothing for so long.
    pub(crate) fn then_pauses(mut self, pause: Duration) -> Self {
        self.steps.push(Step::Pauses(pause));
        self
    }

    /// Nothing until the test opens the gate.
    pub(crate) fn then_waits_for(mut self, gate: &Gate) -> Self {
        self.steps.push(Step::Waits(gate.clone()));
        self
    }

    /// Nothing more, and the connection stays.
    pub(crate) fn then_stalls(mut self) -> Self {
        self.steps.push(Step::Stalls);
        self
    }

    /// Closes the connection in the middle of the answer (FIN).
    pub(crate) fn then_hangs_up(mut self) -> Self {
        self.steps.push(Step::HangsUp);
        self
    }

    /// Dies in the middle of the answer (RST).
    pub(crate) fn then_resets(mut self) -> Self {
        self.steps.push(Step::Resets);
        self
    }

    /// The steps with the end that belongs to them.
    pub(super) fn whole(self) -> Vec<Step> {
        let done = self.done;
        let script = match self.finish {
            Some(reason) => self.then_finishes(reason),
            None => self,
        };
        if done { script.then_data("[DONE]").steps } else { script.steps }
    }
}

fn choice(delta: Value, reason: Value) -> Value {
    json!({ "choices": [{ "index": 0, "delta": delta, "finish_reason": reason }] })
}

fn usage(prompt: u64, completion: u64) -> Value {
    json!({ "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt.saturating_add(completion) })
}

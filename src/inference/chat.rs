//! The language of `/chat/completions`, as OpenAI and those who speak it after them have it: what is asked, and what comes back.

use super::failure::{Failure, Report};
use super::tokens;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Calls in one answer (count); over it: malformed.
const CALLS_MAX: usize = 16;
/// Bytes of a call's name and arguments; over it: malformed.
const CALL_BYTES: usize = 64 * 1024;

/// Tokens that an engine may claim for the prompt or the answer of one request (count), far more than any window holds; over it: as if
/// it had said nothing.
const TOKENS_MAX: u64 = 1 << 30;

/// One request for an answer. `stream` and the rest that is always the same is added when it is encoded.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// In their order; the first is the system's.
    pub messages: Vec<Message>,
    /// The most tokens that the answer may have.
    pub max_tokens: u32,
    /// 0 to 2; none: the endpoint's own.
    pub temperature: Option<f32>,
    /// For an answer that can be had again; see [`super::stable_seed`].
    pub seed: Option<u32>,
    /// What the model may call; empty: nothing.
    pub tools: Vec<Tool>,
}

/// Who says what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    System(String),
    User(String),
    Assistant {
        text: String,
        calls: Vec<ToolCall>,
    },
    /// What came of the call of that id.
    Tool {
        call_id: String,
        text: String,
    },
}

/// A function that the model may call.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    pub name: String,
    pub description: String,
    /// A JSON Schema.
    pub parameters: Value,
}

/// A call that the model makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// The endpoint's, to be given back with the result. Never empty.
    pub id: String,
    pub name: String,
    /// JSON as the model wrote it: it may be anything at all.
    pub arguments: String,
}

/// What the endpoint says it took, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    pub prompt: u64,
    pub completion: u64,
}

/// Why the model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// It was done, or says nothing that is known.
    Stop,
    /// `max_tokens` or the context window was reached: the answer is cut.
    Length,
    /// It waits for the results of its calls.
    ToolCalls,
    /// The endpoint's own filter stopped it.
    ContentFilter,
}

impl FinishReason {
    fn parse(name: &str) -> Self {
        match name {
            "length" | "max_tokens" => Self::Length,
            "tool_calls" | "function_call" => Self::ToolCalls,
            "content_filter" => Self::ContentFilter,
            _ => Self::Stop,
        }
    }
}

/// A piece of an answer. Texts come first; calls, usage and the end come at the end, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Never empty.
    Text(String),
    ToolCall(ToolCall),
    Usage(Usage),
    /// The last one, once.
    Finished(FinishReason),
}

impl Message {
    fn encode(&self) -> Value {
        match self {
            Self::System(text) => json!({"role": "system", "content": text}),
            Self::User(text) => json!({"role": "user", "content": text}),
            Self::Assistant { text, calls } if calls.is_empty() => {
                json!({"role": "assistant", "content": text})
            }
            Self::Assistant { text, calls } => {
                let calls: Vec<Value> = calls
                    .iter()
                    .map(|call| {
                        let function = json!({"name": call.name, "arguments": call.arguments});
                        json!({"id": call.id, "type": "function", "function": function})
                    })
                    .collect();
                let content = Some(text).filter(|text| !text.is_empty());
                json!({"role": "assistant", "content": content, "tool_calls": calls})
            }
            Self::Tool { call_id, text } => json!({"role": "tool", "tool_call_id": call_id, "content": text}),
        }
    }
}

impl Request {
    /// The body to send.
    pub(super) fn encode(&self, model: &str) -> Vec<u8> {
        #[derive(Serialize)]
        struct Body<'a> {
            model: &'a str,
            messages: Vec<Value>,
            max_tokens: u32,
            stream: bool,
            stream_options: Value,
            #[serde(skip_serializing_if = "Option::is_none")]
            temperature: Option<f32>,
            #[serde(skip_serializing_if = "Option::is_none")]
            seed: Option<u32>,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            tools: Vec<Value>,
        }
        let tools = self.tools.iter().map(|tool| {
            let Tool { name, description, parameters } = tool;
            let function = json!({"name": name, "description": description, "parameters": parameters});
            json!({"type": "function", "function": function})
        });
        let body = Body {
            model,
            messages: self.messages.iter().map(Message::encode).collect(),
            max_tokens: self.max_tokens,
            stream: true,
            stream_options: json!({"include_usage": true}),
            temperature: self.temperature.filter(|temperature| temperature.is_finite()),
            seed: self.seed,
            tools: tools.collect(),
        };
        // Text, numbers and objects with text for keys are always JSON.
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

/// What is read of a chunk, or of a whole answer; everything else in it is ignored.
#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Option<Vec<Choice>>,
    #[serde(default)]
    usage: Value,
    #[serde(default)]
    error: Value,
    #[serde(default)]
    object: Value,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: Option<u64>,
    /// In a stream.
    #[serde(default)]
    delta: Option<Delta>,
    /// In a whole answer.
    #[serde(default)]
    message: Option<Delta>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize, Default)]
struct Delta {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
    /// What a model thinks to itself, under the two names it goes by. A sign of life, no part of the answer.
    #[serde(default)]
    reasoning_content: Option<String>,
    #[serde(default)]
    reasoning: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<Fragment>>,
}

#[derive(Deserialize)]
struct Fragment {
    #[serde(default)]
    index: Option<u64>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    function: Option<Function>,
}

#[derive(Deserialize, Default)]
struct Function {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    arguments: Option<Value>,
}

/// What an event's data brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// Text of the answer; may be empty.
    pub(super) text: String,
    /// Something was said at all: this counts against falling silent, a keep-alive doesn't.
    pub(super) is_alive: bool,
    /// That was the last of it.
    pub(super) is_over: bool,
}

/// Puts an answer together from what arrives.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    calls: Vec<(Option<u64>, ToolCall)>,
    usage: Option<Usage>,
    /// Tokens of what the model thought and didn't say, as we count them.
    thought: usize,
    finish: Option<FinishReason>,
    is_over: bool,
}

impl Assembly {
    /// The data of one event, or the body of an answer that isn't streamed.
    pub(super) fn hear(&mut self, data: &str) -> Result<Heard, Failure> {
        let data = data.trim();
        if data == "[DONE]" {
            self.is_over = true;
            return Ok(Heard { is_over: true, ..Heard::default() });
        }
        if data.is_empty() {
            return Ok(Heard::default());
        }
        let chunk: Chunk = serde_json::from_str(data).map_err(|_syntax| Failure::Malformed)?;
        if !chunk.error.is_null() || chunk.object == "error" {
            return Err(Failure::of_report(&report(data)));
        }
        let mut heard = Heard::default();
        if let Some(usage) = usage(&chunk.usage) {
            heard.is_alive = self.usage.replace(usage) != Some(usage);
        }
        // Only one answer is asked for.
        let first =
            chunk.choices.unwrap_or_default().into_iter().find(|choice| choice.index.unwrap_or(0) == 0);
        let Some(choice) = first else { return Ok(heard) };
        let delta = choice.delta.or(choice.message).unwrap_or_default();
        // Engines that give both give the same twice.
        let thought = delta.reasoning_content.or(delta.reasoning).unwrap_or_default();
        heard.is_alive |= !thought.is_empty();
        self.thought = self.thought.saturating_add(tokens::estimate(&thought));
        heard.text = [delta.content, delta.refusal].into_iter().flatten().collect();
        heard.is_alive |= !heard.text.is_empty();
        for fragment in delta.tool_calls.unwrap_or_default() {
            heard.is_alive |= self.add(fragment)?;
        }
        if let Some(reason) = choice.finish_reason.filter(|reason| !reason.is_empty()) {
            heard.is_alive = true;
            self.finish = Some(FinishReason::parse(&reason));
        }
        Ok(heard)
    }

    /// Whether the model has said why it stopped, or that all is over: nothing but the usage can come.
    pub(super) fn is_finished(&self) -> bool {
        self.is_over || self.finish.is_some()
    }

    /// What is left to tell: calls, usage and end. A failure when nothing says that the answer is whole.
    pub(super) fn end(&mut self) -> Result<Vec<Piece>, Failure> {
        let reason = match (self.finish, self.is_over) {
            (Some(reason), _) => reason,
            (None, true) if self.calls.is_empty() => FinishReason::Stop,
            (None, true) => FinishReason::ToolCalls,
            (None, false) => return Err(Failure::Dropped),
        };
        let calls = std::mem::take(&mut self.calls);
        let mut pieces: Vec<Piece> = Vec::with_capacity(calls.len() + 2);
        for (place, (_, mut call)) in calls.into_iter().enumerate() {
            if call.name.is_empty() {
                return Err(Failure::Malformed);
            }
            // Engines that call one thing at a time leave it out.
            if call.id.is_empty() {
                call.id = format!("call_{place}");
            }
            pieces.push(Piece::ToolCall(call));
        }
        pieces.extend(self.usage.map(Piece::Usage));
        pieces.push(Piece::Finished(reason));
        Ok(pieces)
    }

    /// What is known of the usage, for an answer that doesn't come to its end.
    pub(super) fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// Tokens of what the model thought, as we count them: written, and paid for, without being said.
    pub(super) fn thought(&self) -> usize {
        self.thought
    }

    /// Puts a piece of a call where it belongs: by its index; without one, to the last unless it begins another. Engines that give all
    /// calls of an answer the same index tell them apart by id.
    fn add(&mut self, fragment: Fragment) -> Result<bool, Failure> {
        let Function { name, arguments } = fragment.function.unwrap_or_default();
        let (id, name) = (fragment.id.unwrap_or_default(), name.unwrap_or_default());
        let arguments = match arguments {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text,
            // Engines that give the object itself.
            Some(other) => other.to_string(),
        };
        let place = match fragment.index {
            Some(_) => {
                let of_index = |(index, _): &(Option<u64>, ToolCall)| *index == fragment.index;
                let same = self.calls.iter().position(|call| of_index(call) && call.1.id == id);
                let last = self.calls.iter().rposition(of_index);
                let is_named = |at: &usize| self.calls.get(*at).is_some_and(|(_, call)| !call.id.is_empty());
                // An id alone begins nothing: some give each fragment a new one.
                let begins = !id.is_empty() && !name.is_empty() && last.as_ref().is_some_and(is_named);
                if id.is_empty() { last } else { same.or(last.filter(|_| !begins)) }
            }
            None if id.is_empty() && name.is_empty() => self.calls.len().checked_sub(1),
            None if id.is_empty() => None,
            None => self.calls.iter().position(|(_, call)| call.id == id),
        };
        let place = place.unwrap_or_else(|| {
            let call = ToolCall { id: String::new(), name: String::new(), arguments: String::new() };
            self.calls.push((fragment.index, call));
            self.calls.len() - 1
        });
        if place >= CALLS_MAX {
            return Err(Failure::Malformed);
        }
        let Some((_, call)) = self.calls.get_mut(place) else { return Err(Failure::Malformed) };
        let is_alive = !(id.is_empty() && name.is_empty() && arguments.is_empty());
        if call.id.is_empty() {
            call.id = id;
        }
        // Some repeat the name with every fragment.
        if call.name != name {
            call.name.push_str(&name);
        }
        call.arguments.push_str(&arguments);
        if call.id.len() + call.name.len() + call.arguments.len() > CALL_BYTES {
            return Err(Failure::Malformed);
        }
        Ok(is_alive)
    }
}

/// Half of it is none, for the other half would be free; and so is what can't be.
fn usage(value: &Value) -> Option<Usage> {
    let count = |key: &str| value.get(key).and_then(Value::as_u64).filter(|tokens| *tokens <= TOKENS_MAX);
    Some(Usage { prompt: count("prompt_tokens")?, completion: count("completion_tokens")? })
}

/// What an error object says: `{"error": {"message", "type", "code"}}`, the same without the wrapping, or `{"error": "text"}`.
pub(super) fn report(body: &str) -> Report {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let error = body.get("error").filter(|error| !error.is_null()).unwrap_or(&body);
    let word = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default();
    let message = error.as_str().unwrap_or_else(|| word("message"));
    let status = error.get("code").or_else(|| error.get("status")).and_then(|code| match code {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    });
    let status =
        status.and_then(|status| u16::try_from(status).ok()).filter(|status| (400..600).contains(status));
    Report::new(status, [word("code"), word("type"), message])
}

#[cfg(test)]
#[path = "chat_tests.rs"]
mod tests;

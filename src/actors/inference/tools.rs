//! What an assistant may call while it answers: requests to the client of whoever asked (CORR-01). What comes back is data, like all
//! that others say.

use super::{Active, Leaving, Shared};
use crate::domain::action::ACTION_BYTES;
use crate::domain::run::CALL_ROUNDS;
use crate::domain::{ActionKind, ActionState, NewAction, Principal, Role, Status, UserId};
use crate::inference::filter::{Side, Verdict};
use crate::inference::{Tool, ToolCall, prompt, tokens};
use crate::storage::Task;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// Calls that are carried out in a round (count); the model is told nothing of those beyond.
pub(super) const CALLS: usize = 2;
/// Tokens that one call and its result may take of the window, each half of it (count); what is longer is cut.
const RESULT_TOKENS: usize = 700;

/// How long an answer may wait for what it calls, all calls together: nobody else is served by its worker meanwhile.
const CALLS_TIME: Duration = Duration::from_secs(60);

/// What there is to call. The names are those of the kinds, without the dots that functions can't have.
fn known() -> [(&'static str, Tool); 2] {
    let tool = |name: &str, description: &str, parameters: Value| Tool {
        name: name.to_owned(),
        description: description.to_owned(),
        parameters,
    };
    [
        (
            "dice.roll",
            tool(
                "dice_roll",
                "Rolls dice before the eyes of whoever asked. Gives {\"rolls\": [...]}.",
                json!({
                    "type": "object", "required": ["count", "sides"], "additionalProperties": false,
                    "properties": {
                        "count": {"type": "integer", "minimum": 1, "maximum": 20},
                        "sides": {"type": "integer", "minimum": 2, "maximum": 1000},
                    },
                }),
            ),
        ),
        (
            "choose",
            tool(
                "choose",
                "Lets whoever asked choose one of several options. Gives {\"choice\": \"...\"}.",
                json!({
                    "type": "object", "required": ["question", "options"], "additionalProperties": false,
                    "properties": {
                        "question": {"type": "string"},
                        "options": {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 10},
                    },
                }),
            ),
        ),
    ]
}

/// What is offered for this run: what its assistant may call, if a person asked who has a client.
pub(super) fn offered(task: &Task) -> Vec<Tool> {
    if asker(task).is_none() {
        return Vec::new();
    }
    let may = |kind: &str| task.engine.tools.iter().any(|tool| tool == kind);
    known().into_iter().filter(|(kind, _)| may(kind)).map(|(_, tool)| tool).collect()
}

/// Tokens that are kept free for what is called, of `free` for prompt and results together: never more than a third.
pub(super) fn reserved(tools: &[Tool], free: usize) -> usize {
    if tools.is_empty() {
        return 0;
    }
    let calls = CALLS * usize::from(CALL_ROUNDS);
    tools.iter().map(tokens::of_tool).sum::<usize>() + (calls * RESULT_TOKENS).min(free / 3)
}

fn asker(task: &Task) -> Option<UserId> {
    match &task.asker {
        Some((person, Status::Active)) if !matches!(person.role, Role::Bot | Role::Assistant) => {
            Some(person.id)
        }
        _ => None,
    }
}

/// Tokens that a call, or what comes of it, may have of `free`.
fn share(free: usize) -> usize {
    RESULT_TOKENS.min(free / 3 / (CALLS * usize::from(CALL_ROUNDS))) / 2
}

/// A call as the model is told that it made it.
pub(super) fn retold(call: &ToolCall, free: usize) -> ToolCall {
    let name = if known().iter().any(|(_, tool)| tool.name == call.name) { &call.name } else { "unknown" };
    ToolCall {
        id: prompt::unmarked(&call.id),
        name: name.to_owned(),
        arguments: prompt::unmarked_json(&call.arguments, share(free)),
    }
}

/// Carries out a call: what the model is told of it, in any case. None when the run is to end.
pub(super) async fn call(
    shared: &Shared,
    task: &Task,
    active: &Active,
    call: &ToolCall,
    free: usize,
) -> Option<String> {
    let mut leaving = shared.leaving.subscribe();
    let began = Instant::now();
    let left = CALLS_TIME.saturating_sub(Duration::from_millis(active.waited_ms.load(Ordering::Relaxed)));
    let said = tokio::select! {
        said = answered(shared, task, call, left) => said,
        () = active.answer.stopped() => return None,
        _ = leaving.wait_for(|leaving| *leaving == Leaving::Now) => return None,
    };
    let waited = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    active.waited_ms.fetch_add(waited, Ordering::Relaxed);
    let passes = shared.filter.check(&said, Side::Input) == Verdict::Pass;
    let said = if passes { said } else { problem("a content filter keeps it back") };
    let told = prompt::untrusted(&said, share(free));
    Some(told.map_or_else(|| "<data>\"too long\"</data>".to_owned(), |(text, _)| text))
}

fn problem(why: &str) -> String {
    json!({ "error": why }).to_string()
}

async fn answered(shared: &Shared, task: &Task, call: &ToolCall, left: Duration) -> String {
    if left.is_zero() {
        return problem("there is no time left for calls");
    }
    if shared.filter.check(&call.arguments, Side::Output) == Verdict::Refuse {
        return problem("a content filter keeps it back");
    }
    let kind = known().into_iter().find(|(_, tool)| tool.name == call.name).map(|(kind, _)| kind);
    let kind = kind.filter(|kind| task.engine.tools.iter().any(|tool| tool == kind));
    let (Some(user), Some(kind)) = (asker(task), kind) else { return problem("there is no such tool") };
    let Ok(kind) = ActionKind::parse(kind) else { return problem("there is no such tool") };
    // Written anew: what the model wrote may be anything.
    let arguments = match serde_json::from_str::<Value>(&call.arguments) {
        Ok(arguments @ Value::Object(_)) => arguments.to_string(),
        _ => return problem("the arguments are no JSON object"),
    };
    if arguments.len() > ACTION_BYTES {
        return problem("the arguments are too long");
    }
    let new = NewAction {
        by: Principal::of_system(task.assistant.clone()),
        user,
        room: Some(task.room),
        run: Some(task.run),
        kind,
        arguments: arguments.into(),
        timeout: shared.config.actions.timeout.min(left),
    };
    match shared.bus.actions().request(new).await {
        Ok(outcome) if outcome.state == ActionState::Done => outcome.result.to_string(),
        Ok(outcome) => json!({ "error": "it could not be done", "detail": &*outcome.result }).to_string(),
        Err(rejection) => problem(rejection.code.as_str()),
    }
}

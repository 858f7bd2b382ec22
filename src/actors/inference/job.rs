//! One attempt at a run: what is asked, of whom, and what is said while the answer comes.

use super::{Active, Leaving, Shared, stretch, summaries, tools};
use crate::actors::clock;
use crate::config::Secret;
use crate::domain::run::{CALL_ROUNDS, EndReason, reason};
use crate::domain::{Action, MessageId, Person, RunEnd, RunKind, RunState, Status, Usage};
use crate::inference::breaker::Ended;
use crate::inference::filter::{Side, Verdict};
use crate::inference::prompt::{self, Brief, Line, Settings};
use crate::inference::{
    ContentFilter, Failure, FinishReason, Message, Piece, Request, Sieve, ToolCall, retry, stable_seed,
    tokens,
};
use crate::inference::{Endpoint, upstream};
use crate::storage::{HistoryPage, StoreError, Summary, Task};
use crate::telemetry::ai;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Nothing could be read: tried again soon.
const STORE_AGAIN: Duration = Duration::from_secs(2);

/// What an attempt came to.
pub(super) enum Outcome {
    End(RunEnd),
    /// Nothing was said: once more, after so long.
    Again(Duration),
    /// Nothing was said, and not for its sake, as when the process ends: somebody may try after so long, and it counts for nothing.
    PutBack(Duration),
    /// It isn't ours any more.
    Lost,
}

/// Puts a run down: with its text if there is any, else for another attempt.
pub(super) fn put_down(shared: &Shared, active: &Active, why: EndReason) -> Outcome {
    if active.answer.said() == 0 {
        let is_leaving = *shared.leaving.borrow() > Leaving::No;
        return if is_leaving {
            Outcome::PutBack(Duration::ZERO)
        } else {
            Outcome::Again(shared.config.ai.backoff)
        };
    }
    Outcome::End(ended(active, RunState::Interrupted, Some(why), false))
}

/// The end of a run, with all it said so far.
fn ended(active: &Active, state: RunState, why: Option<EndReason>, truncated: bool) -> RunEnd {
    let text: Arc<str> = active.answer.until(active.answer.said()).into();
    let first_token_at = active.first_token_at.get().copied();
    RunEnd { state, text, reason: why, truncated, usage: active.usage(), first_token_at }
}

fn count(tokens: usize) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}

/// Works at a run until something comes of it.
pub(super) async fn run(shared: &Shared, task: &Task, active: &Active) -> Outcome {
    let end = |state, why: EndReason| Outcome::End(ended(active, state, Some(why), false));
    let material = match gather(shared, task).await {
        Ok(Ok(material)) => material,
        Ok(Err(why)) => return end(RunState::Cancelled, why),
        Err(error) => {
            tracing::warn!(%error, run.id = %task.run, "what a run is about can't be read");
            // That the store isn't well says nothing of the run.
            let is_transient = error.is_transient();
            return if is_transient { Outcome::PutBack(STORE_AGAIN) } else { Outcome::Again(STORE_AGAIN) };
        }
    };
    let Some(material) = sifted(&*shared.filter, material) else {
        return end(RunState::Failed, Failure::ContentFilter.as_str());
    };
    let key = Secret::new(task.engine.api_key.as_ref().map_or("", |key| key.reveal()));
    let Ok(endpoint) = Endpoint::parse(task.engine.base_url.as_str(), key, &task.engine.model) else {
        return end(RunState::Failed, Failure::Rejected.as_str());
    };
    let (window, max_output) = (size(task.engine.context_tokens), size(task.engine.output_tokens));
    let tools = tools::offered(task);
    let free = window.saturating_sub(max_output);
    let reserved = tools::reserved(&tools, free);
    let brief = Brief {
        instructions: &task.engine.instructions,
        room: material.room.as_deref(),
        history: &material.history,
        summary: None,
        question: &material.question,
        settings: &material.settings,
        window,
        max_output,
        reserved,
    };
    let (brief, prompt) = summaries::recalled(brief, &material);
    let Ok(prompt) = prompt else {
        return end(RunState::Failed, Failure::ContextTooLong.as_str());
    };
    active.prompt_tokens.store(count(prompt.estimate), Ordering::Relaxed);
    let mut request = Request {
        messages: prompt.messages,
        max_tokens: u32::try_from(max_output).unwrap_or(u32::MAX),
        temperature: task.engine.temperature_milli.and_then(heat),
        seed: Some(stable_seed(seed_of(task))),
        tools,
    };
    let mut truncated = prompt.truncated;
    let mut made = 0;
    let mut was_shortened = false;
    let mut rounds = 0;
    // One for all requests: what is split between two is seen, too.
    let mut sieve = Sieve::new(Arc::clone(&shared.filter));
    loop {
        made += 1;
        let before = sieve.clone();
        let failure = match attempt(shared, task, active, &endpoint, &request, &mut sieve, truncated).await {
            Ok(Step::Over(outcome)) => return outcome,
            Ok(Step::Called { said, calls }) => {
                rounds += 1;
                if rounds > CALL_ROUNDS {
                    let state =
                        if active.answer.is_blank() { RunState::Failed } else { RunState::Interrupted };
                    return end(state, reason::TOO_MANY_CALLS);
                }
                if !carry_out(shared, task, active, &mut request, (said, calls), free).await {
                    return match active.answer.is_stopping() {
                        true => end(RunState::Cancelled, reason::CANCELLED),
                        false => put_down(shared, active, reason::SERVER_STOPPED),
                    };
                }
                made = 0;
                continue;
            }
            Err(failure) => failure,
        };
        if failure == Failure::ContextTooLong && !was_shortened && rounds == 0 {
            // The engine counts otherwise than we do: once more with half of it. Later it has calls in it, and what came of them.
            was_shortened = true;
            let reserved = tools::reserved(&request.tools, free / 2);
            let half = Brief { window: window / 2 + max_output / 2, reserved, ..brief };
            if let Ok(shorter) = prompt::build(&half) {
                active.prompt_tokens.store(count(shorter.estimate), Ordering::Relaxed);
                request.messages = shorter.messages;
                truncated = true;
                made -= 1;
                continue;
            }
        }
        let has_output = active.answer.said() > 0;
        let Some(wait) = retry::after(&shared.config.ai, &failure, made, has_output, rand::random()) else {
            let state = if active.answer.is_blank() { RunState::Failed } else { RunState::Interrupted };
            return end(state, failure.as_str());
        };
        ai::upstream_retried(failure.as_str());
        // Whoever read the prompt and said nothing of it is paid all the same.
        active.goes_on();
        sieve = before;
        let mut leaving = shared.leaving.subscribe();
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = active.answer.stopped() => return end(RunState::Cancelled, reason::CANCELLED),
            _ = leaving.wait_for(|leaving| *leaving == Leaving::Now) => {
                return put_down(shared, active, reason::SERVER_STOPPED);
            }
        }
    }
}

/// What may be told: nothing if the question or the asker's wishes may not, else without the lines that may not (AI-16).
fn sifted(filter: &dyn ContentFilter, mut material: Material) -> Option<Material> {
    let passes = |text: &str| filter.check(text, Side::Input) == Verdict::Pass;
    let Settings { language, instructions } = &material.settings;
    let asked = [Some(&material.question.text), language.as_ref(), instructions.as_ref()];
    if !asked.into_iter().flatten().all(|text| passes(text)) {
        return None;
    }
    material.history.retain(|line| passes(&line.text) && passes(&line.author));
    material.recalled = material.recalled.filter(|summary| passes(&summary.body));
    Some(material)
}

/// Carries out what the model calls, and puts what came of it into the next request; false when the run is to end.
async fn carry_out(
    shared: &Shared,
    task: &Task,
    active: &Active,
    request: &mut Request,
    (said, mut calls): (String, Vec<ToolCall>),
    free: usize,
) -> bool {
    calls.truncate(tools::CALLS);
    let told = calls.iter().map(|call| tools::retold(call, free)).collect();
    request.messages.push(Message::Assistant { text: prompt::unmarked(&said), calls: told });
    for call in calls {
        let Some(text) = tools::call(shared, task, active, &call, free).await else { return false };
        request.messages.push(Message::Tool { call_id: prompt::unmarked(&call.id), text });
    }
    active.prompt_tokens.store(count(tokens::of_messages(&request.messages)), Ordering::Relaxed);
    true
}

/// How far a request came.
enum Step {
    Over(Outcome),
    /// The model waits for what comes of its calls.
    Called {
        said: String,
        calls: Vec<ToolCall>,
    },
}

/// One request, as far as it goes. A failure is the engine's; all else is an outcome.
async fn attempt(
    shared: &Shared,
    task: &Task,
    active: &Active,
    endpoint: &Endpoint,
    request: &Request,
    sieve: &mut Sieve,
    truncated: bool,
) -> Result<Step, Failure> {
    let identity = endpoint.identity();
    let Ok(permit) = shared.breakers.admit(&identity) else {
        // What was said before stays; else nobody was asked.
        let state = if active.answer.said() > 0 { RunState::Interrupted } else { RunState::Failed };
        return Ok(Step::Over(Outcome::End(ended(active, state, Some(reason::BREAKER_OPEN), truncated))));
    };
    let mut health = Health { shared, task, identity, permit: Some(permit) };
    let mut speech = Speech::new(shared, active, sieve);
    let mut leaving = shared.leaving.subscribe();
    let cancelled = || {
        let end = ended(active, RunState::Cancelled, Some(reason::CANCELLED), truncated);
        Ok(Step::Over(Outcome::End(end)))
    };
    let (from, mut calls) = (active.answer.said(), Vec::new());
    active.asked.store(true, Ordering::Relaxed);
    if !active.dispatched.swap(true, Ordering::Relaxed) {
        let ours = clock::now().as_millis() - active.since.as_millis();
        ai::dispatched(Duration::from_millis(u64::try_from(ours).unwrap_or_default()));
    }
    let mut upstream = tokio::select! {
        answer = shared.upstream.ask(endpoint, request) => match answer {
            Ok(answer) => answer,
            Err(failure) => {
                // Who refuses, or was never reached, has read nothing.
                let was_read = matches!(failure, Failure::FirstTokenTimeout | Failure::TotalTimeout | Failure::Dropped);
                active.asked.store(was_read, Ordering::Relaxed);
                health.ended_by(&failure).await;
                return Err(failure);
            }
        },
        () = active.answer.stopped() => return cancelled(),
        _ = leaving.wait_for(|leaving| *leaving == Leaving::Now) => {
            return Ok(Step::Over(put_down(shared, active, reason::SERVER_STOPPED)));
        }
    };
    loop {
        let piece = tokio::select! {
            // What is due is told first, however fast pieces come.
            biased;
            () = speech.due() => {
                speech.tell();
                continue;
            }
            () = active.answer.stopped() => {
                speech.end();
                active.hears(&upstream);
                return cancelled();
            }
            _ = leaving.wait_for(|leaving| *leaving == Leaving::Now) => {
                speech.end();
                active.hears(&upstream);
                return Ok(Step::Over(put_down(shared, active, reason::SERVER_STOPPED)));
            }
            piece = upstream.next() => piece,
        };
        let finished = match piece {
            Some(Ok(Piece::Text(text))) => match speech.say(&text) {
                Ok(true) => continue,
                // As long as an answer may be.
                Ok(false) => FinishReason::Length,
                Err(failure) => {
                    speech.tell();
                    active.hears(&upstream);
                    health.settle(Ended::Well).await;
                    return Err(failure);
                }
            },
            Some(Ok(Piece::ToolCall(call))) => {
                calls.push(call);
                continue;
            }
            Some(Ok(Piece::Usage(_))) => continue,
            Some(Ok(Piece::Finished(finished))) => finished,
            Some(Err(failure)) => {
                speech.end();
                active.hears(&upstream);
                health.ended_by(&failure).await;
                return Err(failure);
            }
            None => FinishReason::Stop,
        };
        // What isn't offered isn't called, whatever the model says.
        let goes_on =
            finished != FinishReason::ContentFilter && !calls.is_empty() && !request.tools.is_empty();
        if goes_on {
            speech.tell();
        } else {
            speech.end();
        }
        active.hears(&upstream);
        health.settle(Ended::Well).await;
        if finished == FinishReason::ContentFilter {
            return Err(Failure::ContentFilter);
        }
        if goes_on {
            let said = active.answer.since(from).unwrap_or_default() + sieve.held();
            active.unsaid.fetch_add(count(calls.iter().map(cost).sum()), Ordering::Relaxed);
            active.goes_on();
            return Ok(Step::Called { said, calls });
        }
        if active.answer.is_blank() {
            // It came to its end, and there is nothing to read.
            return Err(Failure::Malformed);
        }
        let truncated = truncated || finished == FinishReason::Length;
        return Ok(Step::Over(Outcome::End(ended(active, RunState::Done, None, truncated))));
    }
}

/// Tokens of a call, as we count them.
fn cost(call: &ToolCall) -> usize {
    tokens::estimate(&call.name) + tokens::estimate(&call.arguments)
}

impl Active {
    /// Notes what an engine's answer used by now.
    fn hears(&self, upstream: &upstream::Answer) {
        self.unsaid.store(count(upstream.thought()), Ordering::Relaxed);
        let Some(usage) = upstream.usage() else { return };
        let count = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
        let used =
            Usage { prompt: count(usage.prompt), completion: count(usage.completion), estimated: false };
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Some(used);
    }
}

/// Tells the breaker how a request ended, once; one that is dropped says nothing.
struct Health<'a> {
    shared: &'a Shared,
    task: &'a Task,
    identity: (String, String),
    permit: Option<crate::inference::breaker::Permit>,
}

impl Health<'_> {
    async fn ended_by(&mut self, failure: &Failure) {
        ai::upstream_failed(failure.as_str());
        self.settle(if failure.counts_against_breaker() { Ended::Badly } else { Ended::Well }).await;
    }

    async fn settle(&mut self, ended: Ended) {
        let Some(permit) = self.permit.take() else { return };
        let Some(changed) = self.shared.breakers.settle(&self.identity, permit, ended) else { return };
        let states = self.shared.breakers.states();
        ai::breakers(states.iter().map(|breaker| breaker.state));
        // Other processes are told by the row: nobody is admitted in vain (AI-12, AI-13).
        let until = changed.err().map(|refused| clock::now().after(refused.retry_after));
        tracing::warn!(assistant.id = %self.task.assistant.id, is_open = until.is_some(), "the breaker of an engine changed");
        let (assistant, engine) = (self.task.assistant.id, &self.task.engine);
        let (base_url, model) = (engine.base_url.clone(), engine.model.clone());
        if let Err(error) = self.shared.store.pause_assistant(assistant, base_url, model, until).await {
            tracing::warn!(%error, "that an engine fails can't be noted");
        }
    }
}

impl Drop for Health<'_> {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            // Says nothing of the engine, so nothing changes but that a probe may go.
            self.shared.breakers.settle(&self.identity, permit, Ended::Unknown);
        }
    }
}

/// Brings the engine's words to the room: through the filter, several at a time, no more than an answer may have.
struct Speech<'a> {
    shared: &'a Shared,
    active: &'a Active,
    sieve: &'a mut Sieve,
    /// When what was said since the last time is told.
    due: Option<Instant>,
    /// When the first piece of that came.
    heard: Option<Instant>,
    told_at: Option<Instant>,
    /// Bytes at the last checkpoint that was asked for.
    asked: usize,
}

impl<'a> Speech<'a> {
    fn new(shared: &'a Shared, active: &'a Active, sieve: &'a mut Sieve) -> Self {
        Self { shared, active, sieve, due: None, heard: None, told_at: None, asked: 0 }
    }

    /// Takes a piece; false when the answer is as long as it may be.
    fn say(&mut self, piece: &str) -> Result<bool, Failure> {
        let now = Instant::now();
        // No message has it, and offsets count what is kept.
        let text = self.sieve.feed(&piece.replace('\0', ""))?;
        Ok(self.add(&text, now))
    }

    fn add(&mut self, text: &str, now: Instant) -> bool {
        if text.is_empty() {
            return true;
        }
        let answer = &self.active.answer;
        if self.active.first_token_at.set(clock::now()).is_ok() {
            ai::first_token(Duration::from_millis(
                u64::try_from(clock::now().as_millis() - self.active.since.as_millis()).unwrap_or_default(),
            ));
        }
        let free = self.shared.config.ai.answer_bytes.saturating_sub(answer.said());
        let fits = (0..=free.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        let said = answer.say(text.get(..fits).unwrap_or_default());
        self.heard.get_or_insert(now);
        // At once when it was quiet, else a little later together with what comes.
        let coalesce = self.shared.config.ai.coalesce;
        self.due.get_or_insert(self.told_at.map_or(now, |told| (told + coalesce).max(now)));
        // What is stored with the others' in time asks for nothing: each checkpoint is a commit that everybody's posts wait for.
        let stored = self.active.noted.lock().unwrap_or_else(PoisonError::into_inner).said;
        if said.saturating_sub(stored.max(self.asked)) >= self.shared.config.ai.checkpoint_bytes {
            self.asked = said;
            self.shared.full.notify_one();
        }
        fits == text.len()
    }

    /// Comes to its end when something is to be told.
    async fn due(&self) {
        match self.due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    fn tell(&mut self) {
        if self.due.take().is_none() {
            return;
        }
        let now = Instant::now();
        self.told_at = Some(now);
        if let Some(heard) = self.heard.take() {
            ai::relayed(now.saturating_duration_since(heard));
        }
        self.shared.bus.rooms().said(&self.active.answer);
    }

    /// Says what the filter held back, and tells all that isn't told.
    fn end(&mut self) {
        let rest = self.sieve.finish();
        self.add(&rest, Instant::now());
        self.tell();
    }
}

/// What a prompt is made of.
pub(super) struct Material {
    pub(super) room: Option<String>,
    pub(super) history: Vec<Line>,
    pub(super) question: Line,
    pub(super) settings: Settings,
    /// What came before, for what can't be told.
    pub(super) recalled: Option<Summary>,
    /// The history begins where the room does.
    pub(super) reaches_back: bool,
}

/// Reads what the asker may read, and nothing else (AI-16). The other way: why there is nothing to be answered any more.
async fn gather(shared: &Shared, task: &Task) -> Result<Result<Material, EndReason>, StoreError> {
    if task.kind == RunKind::Summary {
        return summaries::gather(shared, task).await;
    }
    let Some((asker, Status::Active)) = &task.asker else { return Ok(Err(reason::ASKER_GONE)) };
    let Some(room) = shared.store.load_room(task.room).await? else { return Ok(Err(reason::ASKER_GONE)) };
    let may = |who: &Person| room.allows(who, Action::ReadMessages).is_ok();
    if !may(asker) {
        return Ok(Err(reason::ASKER_GONE));
    }
    if !may(&task.assistant) {
        return Ok(Err(reason::ASSISTANT_GONE));
    }
    let Some(prompt) = shared.store.message(task.prompt).await? else { return Ok(Err(reason::DELETED)) };
    let limit = shared.config.ai.history_messages;
    let page = shared.store.history(task.room, HistoryPage::Before(task.prompt), limit).await?;
    let history =
        page.messages.iter().filter(|message| stretch::is_said(message)).map(stretch::line).collect();
    let recalled = shared.store.summary_until(task.room, task.prompt).await?;
    Ok(Ok(Material {
        room: room.name.as_deref().map(str::to_owned),
        history,
        question: stretch::line(&prompt),
        settings: settings(&task.settings),
        recalled,
        reaches_back: !page.more,
    }))
}

/// What the asker wants of answers: `ai.language` and `ai.instructions` of their settings.
pub(super) fn settings(text: &str) -> Settings {
    let all: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let wish = |name: &str| all.get("ai")?.get(name)?.as_str().map(str::to_owned);
    Settings { language: wish("language"), instructions: wish("instructions") }
}

/// The first answer to a message has its seed by the message, each further one by itself: it is to be another (AI-18).
fn seed_of(task: &Task) -> MessageId {
    if task.is_further { task.message.unwrap_or(task.prompt) } else { task.prompt }
}

fn size(tokens: i64) -> usize {
    usize::try_from(tokens).unwrap_or_default()
}

fn heat(milli: i64) -> Option<f32> {
    Some(f32::from(u16::try_from(milli).ok()?) / 1000.0)
}

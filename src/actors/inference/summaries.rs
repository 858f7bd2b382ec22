//! Summaries: what an assistant is told to make one, where a summary stands in for what an answer isn't told any more, and when one
//! begins by itself.

use super::job::Material;
use super::stretch::{self, Stretch};
use super::{Leaving, Shared};
use crate::domain::run::{EndReason, reason};
use crate::domain::{
    Ack, Action, Command, MessageId, Principal, RejectionCode, Room, RoomId, RoomKind, Status, UserId,
};
use crate::inference::prompt::{self, Brief, Line, Prompt, Settings, TooSmall};
use crate::protocol::TraceId;
use crate::storage::{AssistantView, HistoryPage, StoreError, Task};
use crate::telemetry::ai;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Messages that are looked through at a time for the rooms they are in.
const LOOK: usize = 10_000;
/// Rooms that are looked at again although nothing new is said there (count); those beyond it wait for the next message.
const OWED: usize = 10_000;
/// Messages of a stretch that are read at a time.
const PAGE: usize = 200;

/// What a summary is asked for with. It stands where a question of somebody's stands otherwise.
const TASK: &str = "Sum up the messages in room_data: what was talked about, what was decided and by whom, what is left open, and names, \
numbers and dates that somebody may ask for later. If room_data has a summary of what came before, yours replaces it: keep what matters of it. \
Write plain text in the language of the messages, without an introduction, as short as it can be.";

/// Reads what is to be summed up, as far as the asker may read it: members may read a room from its beginning, so whoever may read it
/// may read all of it. Of what begins by itself the assistant is the reader. The other way: why there is nothing to sum up any more.
pub(super) async fn gather(shared: &Shared, task: &Task) -> Result<Result<Material, EndReason>, StoreError> {
    let reader = match &task.asker {
        None => &task.assistant,
        Some((asker, Status::Active)) => asker,
        Some(_) => return Ok(Err(reason::ASKER_GONE)),
    };
    let Some(room) = shared.store.load_room(task.room).await? else { return Ok(Err(reason::ASKER_GONE)) };
    if room.allows(reader, Action::ReadMessages).is_err() {
        return Ok(Err(reason::ASKER_GONE));
    }
    if room.allows(&task.assistant, Action::ReadMessages).is_err() {
        return Ok(Err(reason::ASSISTANT_GONE));
    }
    // Its address may have changed since it began.
    if task.asker.is_none() && !goes_there(shared, &room, task.assistant.id).await? {
        return Ok(Err(reason::ASKER_GONE));
    }
    let start = task.start.unwrap_or(task.prompt);
    let mut history: Vec<Line> = Vec::new();
    let mut from = MessageId::new(start.get() - 1);
    while history.len() < shared.config.ai.summary_messages {
        let page = shared.store.history(task.room, HistoryPage::After(from), PAGE).await?;
        let within = page.messages.iter().take_while(|message| message.id <= task.prompt);
        history.extend(
            within
                .filter(|message| stretch::is_said(message) && !stretch::is_summary(message))
                .map(stretch::line),
        );
        match page.messages.last() {
            Some(last) if page.more && last.id < task.prompt => from = last.id,
            _ => break,
        }
    }
    if history.is_empty() {
        return Ok(Err(reason::DELETED));
    }
    let before = shared.store.summary_until(task.room, start).await?;
    let recalled = match before {
        Some(before) if !shared.store.is_said_between(task.room, before.end, start).await? => Some(before),
        _ => None,
    };
    let question = Line {
        id: task.prompt,
        author: reader.name.to_string(),
        role: reader.role,
        at: task.created_at,
        text: TASK.to_owned(),
    };
    let room = room.name.as_deref().map(str::to_owned);
    Ok(Ok(Material {
        room,
        history,
        question,
        // It is told to everybody: nobody's own wishes belong into it.
        settings: Settings::default(),
        recalled,
        reaches_back: false,
    }))
}

/// Whether an assistant may sum up a room by itself. Who sets its address doesn't read closed rooms, and isn't to have them read by
/// another engine: that hears of them once somebody there asked it.
async fn goes_there(shared: &Shared, room: &Room, assistant: UserId) -> Result<bool, StoreError> {
    Ok(room.kind == RoomKind::Open || shared.store.was_asked(room.id, assistant).await?)
}

/// The prompt, with the summary of what came before if not all of that is told.
pub(super) fn recalled<'a>(
    brief: Brief<'a>,
    material: &'a Material,
) -> (Brief<'a>, Result<Prompt, TooSmall>) {
    let prompt = prompt::build(&brief);
    let Some(summary) = &material.recalled else { return (brief, prompt) };
    let is_all_told = prompt.as_ref().is_ok_and(|prompt| prompt.told == brief.history.len());
    if material.reaches_back && is_all_told {
        return (brief, prompt);
    }
    let brief = Brief { summary: Some(&summary.body), ..brief };
    (brief, prompt::build(&brief))
}

/// Looks for rooms to sum up, until the process leaves (SUM-02).
pub(super) async fn run(shared: Arc<Shared>) {
    let mut leaving = shared.leaving.subscribe();
    let mut scout = Scout { shared: Arc::clone(&shared), seen: MessageId::default(), owed: BTreeSet::new() };
    loop {
        let round = async {
            tokio::select! {
                () = tokio::time::sleep(shared.config.ai.summary_every) => {}
                () = shared.summed.notified() => {}
            }
            if let Err(error) = scout.look().await {
                tracing::warn!(%error, "rooms to sum up can't be looked for");
            }
        };
        tokio::select! {
            () = round => {}
            _ = leaving.wait_for(|leaving| *leaving > Leaving::No) => return,
        }
    }
}

struct Scout {
    shared: Arc<Shared>,
    /// All before it was looked at.
    seen: MessageId,
    /// Rooms where something was left to do.
    owed: BTreeSet<RoomId>,
}

impl Scout {
    async fn look(&mut self) -> Result<(), StoreError> {
        let assistants = self.shared.store.assistants().await?;
        let able: Vec<AssistantView> =
            assistants.into_iter().filter(|one| one.terms.summarises && one.terms.enabled).collect();
        if able.is_empty() {
            // Whoever is switched on later begins with all there is.
            (self.seen, self.owed) = (MessageId::default(), BTreeSet::new());
            return Ok(());
        }
        let mut rooms: BTreeSet<RoomId> = self.owed.clone();
        loop {
            let talk = self.shared.store.talked_in(self.seen, LOOK).await?;
            rooms.extend(talk.rooms);
            for room in std::mem::take(&mut rooms) {
                if !self.sum_up(room, &able).await? {
                    self.owed.remove(&room);
                } else if self.owed.len() < OWED {
                    self.owed.insert(room);
                }
            }
            if talk.until == self.seen {
                return Ok(());
            }
            self.seen = talk.until;
        }
    }

    /// Whether there is more to do, or will be.
    async fn sum_up(&self, room: RoomId, able: &[AssistantView]) -> Result<bool, StoreError> {
        let store = &self.shared.store;
        let ai = &self.shared.config.ai;
        let Some(place) = store.load_room(room).await? else { return Ok(false) };
        let may = |one: &&AssistantView| place.allows(&one.person, Action::CreateSummary).is_ok();
        if place.kind.is_system() {
            return Ok(false);
        }
        // One of them is enough, and on each node the same.
        let Some(assistant) = able.iter().find(may) else { return Ok(false) };
        if !goes_there(&self.shared, &place, assistant.person.id).await? {
            return Ok(false);
        }
        let newest = store.history(room, HistoryPage::Newest, ai.summary_keep).await?;
        let before = if ai.summary_keep == 0 {
            MessageId::new(i64::MAX)
        } else {
            match newest.messages.first() {
                Some(first) if newest.more => first.id,
                _ => return Ok(false),
            }
        };
        let after = store.summed_up_until(room).await?;
        let terms = &assistant.terms;
        let Some(Stretch { start, end, most, is_full }) =
            stretch::first(store, ai, terms, room, after, before).await?
        else {
            return Ok(false);
        };
        let window = usize::try_from(terms.context_tokens).unwrap_or(usize::MAX);
        let percent = usize::try_from(ai.summary_percent).unwrap_or(usize::MAX);
        if !is_full && most.saturating_mul(100) < window.saturating_mul(percent) {
            return Ok(false);
        }
        let command = Command::Summarise { room, assistant: assistant.person.id, start, end };
        let by = Principal::of_system(assistant.person.clone());
        match self.shared.bus.submit(by, command, TraceId::random()).await {
            Ok(Ack::Summarising { run, duplicate }) => {
                ai::summary_begun(if duplicate { "known" } else { "begun" });
                tracing::debug!(run.id = %run, room.id = %room, duplicate, most, "a room is summed up");
            }
            Ok(_) => ai::summary_begun("rests"),
            Err(rejection) => {
                let code = rejection.code;
                ai::summary_begun(if code == RejectionCode::BudgetExceeded {
                    "over_budget"
                } else {
                    "refused"
                });
                tracing::debug!(room.id = %room, code = code.as_str(), "a room can't be summed up now");
            }
        }
        Ok(true)
    }
}

//! One batch, one transaction: facts from rows, the domain's rules on them, and only then the writes.
//!
//! A refused write has written nothing, so it needs no savepoint, and it gets no number, so the log has no holes.

mod acted;
mod assistants;
mod bans;
mod bots;
mod budgets;
mod bulk;
mod ending;
mod enrol;
mod facts;
mod hops;
mod invites;
mod members;
mod messages;
pub(super) mod once;
mod outbox;
mod people;
mod reading;
mod rooms;
mod runs;
mod sessions;
mod settings;
mod standing;
mod summaries;
mod summoning;
mod tokens;
mod transfers;
mod tx;

use super::EncodePayload;
use super::conn::Conn;
use super::error::StoreError;
use super::options::{KeyTerms, RunTerms, StorageOptions};
use crate::domain::command::Recorded;
use crate::domain::{
    Ack, Command, Enrolment, Origin, Person, Principal, Rejection, RejectionCode, SessionChange, Timestamp,
};
use tx::Tx;

/// Something to be written.
#[derive(Clone, PartialEq, Eq)]
pub enum Write {
    /// `by` is who asks; status and role are taken from the store, not from here.
    Command {
        by: Principal,
        command: Command,
    },
    Enrol {
        enrolment: Enrolment,
        origin: Origin,
    },
    Session {
        change: SessionChange,
        origin: Origin,
    },
}

/// What became of a write.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// It is committed. `events` are those it caused, in the order of the log, over all rooms.
    Accepted { ack: Ack, events: Vec<Recorded> },
    /// It is against the rules, and nothing was written.
    Refused(Rejection),
}

/// Why a write is not executed.
pub(super) enum Halt {
    /// An answer to a person.
    Refused(Rejection),
    /// An incident: the transaction is lost.
    Failed(StoreError),
}

impl From<Rejection> for Halt {
    fn from(rejection: Rejection) -> Self {
        Self::Refused(rejection)
    }
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

impl From<diesel::result::Error> for Halt {
    fn from(error: diesel::result::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// What an accepted write comes to.
type Done = Result<(Ack, Vec<Recorded>), Halt>;

/// What the options say about a commit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    keys: KeyTerms,
    /// Rows of the outbox that may wait.
    outbox_rows: usize,
    runs: RunTerms,
}

/// Who has something to do after the commit.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wakes {
    pub(super) outbox: bool,
    pub(super) runs: bool,
}

impl Terms {
    pub(super) const fn of(options: &StorageOptions) -> Self {
        Self { keys: options.keys, outbox_rows: options.outbox_rows, runs: options.runs }
    }
}

/// Executes `writes` in their order within the open transaction; gives the verdicts, and who is to be woken.
pub(super) fn run(
    conn: &mut Conn,
    encode: EncodePayload,
    terms: Terms,
    writes: &[Write],
    now: Timestamp,
) -> Result<(Vec<Verdict>, Wakes), StoreError> {
    let mut tx = Tx::begin(conn, encode, terms, now)?;
    tx.prefetch(writes)?;
    let mut verdicts = Vec::with_capacity(writes.len());
    for write in writes {
        let done = match write {
            Write::Command { by, command } => execute(&mut tx, by, command),
            Write::Enrol { enrolment, origin } => {
                tx.origin = *origin;
                enrol::enrol(&mut tx, enrolment)
            }
            Write::Session { change, origin } => {
                tx.origin = *origin;
                sessions::change(&mut tx, change)
            }
        };
        verdicts.push(match done {
            Ok((ack, events)) => Verdict::Accepted { ack, events },
            Err(Halt::Refused(rejection)) => Verdict::Refused(rejection),
            Err(Halt::Failed(error)) => return Err(error),
        });
    }
    let wakes = tx.finish()?;
    Ok((verdicts, wakes))
}

fn execute(tx: &mut Tx<'_>, by: &Principal, command: &Command) -> Done {
    tx.origin = by.origin;
    let Some(actor) = tx.active_person(by.person.id)? else {
        return Err(Rejection::new(RejectionCode::TokenRevoked, "this user is not active").into());
    };
    let request = once::request_of(&actor, command);
    let (ack, events) = tx.once(request.as_ref(), |tx| carry_out(tx, &actor, command))?;
    acted::note(tx, &actor, command, &ack, !events.is_empty())?;
    Ok((ack, events))
}

fn carry_out(tx: &mut Tx<'_>, actor: &Person, command: &Command) -> Done {
    match command {
        Command::PostMessage { room, client_message_id, body, settings } => {
            messages::post(tx, actor, command, (*room, *client_message_id), body, *settings)
        }
        Command::EditMessage { room, message, version, body } => {
            messages::edit(tx, actor, command, *room, *message, *version, body)
        }
        Command::DeleteMessage { room, message } => messages::delete(tx, actor, command, *room, *message),
        Command::CreateRoom { kind, name, members, .. } => {
            rooms::create(tx, actor, command, *kind, name.as_ref(), members)
        }
        Command::RenameRoom { room, .. } => rooms::rename(tx, actor, command, *room),
        Command::DeleteRoom { room } => rooms::delete(tx, actor, command, *room),
        Command::AddMember { room, user } => members::add(tx, actor, command, *room, *user),
        Command::RemoveMember { room, user } => members::remove(tx, actor, command, *room, *user),
        Command::AskAssistant { room, assistant, message, regenerates, settings } => {
            let ask = runs::Ask {
                assistant: *assistant,
                prompt: *message,
                start: None,
                regenerates: *regenerates,
                settings: *settings,
            };
            runs::ask(tx, actor, command, *room, &ask)
        }
        Command::Summarise { room, assistant, start, end } => {
            summaries::begin(tx, actor, command, *room, *assistant, (*start, *end))
        }
        Command::StopRun { room, run } => runs::stop(tx, actor, command, *room, *run),
        Command::EndRun { room, run, holder, end } => {
            runs::end(tx, actor, command, (*room, *run), *holder, end)
        }
        Command::MarkRead { room, seq } => reading::mark(tx, actor, command, *room, *seq),
        Command::SyncSettings { version, settings } => settings::sync(tx, actor, command, *version, settings),
        Command::UpdateProfile { name, bio } => {
            people::update_profile(tx, actor, command, name.as_ref(), bio.as_ref())
        }
        Command::UpdateUser { user, change } => standing::update(tx, actor, command, *user, *change),
        Command::BanUser { user, reason } => bans::ban(tx, actor, command, *user, reason),
        Command::LiftBan { user } => bans::lift(tx, actor, command, *user),
        Command::CreateInvite { code, terms, .. } => invites::create(tx, actor, command, code, terms),
        Command::RevokeInvite { invite } => invites::revoke(tx, actor, command, *invite),
        Command::RotateJoinCode { code } => invites::rotate(tx, actor, command, code),
        Command::UpdateAccount { name, settings } => {
            people::update_account(tx, actor, command, name.as_ref(), settings.as_deref())
        }
        Command::RemoveBot { bot } => bots::remove(tx, actor, command, *bot),
        Command::UpdateBot { bot, name, webhook } => {
            people::update_bot(tx, actor, command, *bot, name.as_ref(), webhook.as_ref())
        }
        Command::UpdateAssistant { assistant, name, change } => {
            assistants::update(tx, actor, command, *assistant, name.as_ref(), change)
        }
        Command::RemoveAssistant { assistant } => assistants::remove(tx, actor, command, *assistant),
        Command::SetBudget { scope, budget } => budgets::set(tx, actor, command, *scope, *budget),
        Command::CreateTransfer(new) => transfers::create(tx, actor, command, new),
    }
}

/// How a batch went, for the statistics.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) refused: usize,
    pub(super) failed: usize,
    pub(super) events: usize,
}

impl Tally {
    pub(super) fn of(outcome: &[Result<Verdict, StoreError>]) -> Self {
        outcome.iter().fold(Self::default(), |tally, result| match result {
            Ok(Verdict::Accepted { events, .. }) => Self { events: tally.events + events.len(), ..tally },
            Ok(Verdict::Refused(_)) => Self { refused: tally.refused + 1, ..tally },
            Err(_) => Self { failed: tally.failed + 1, ..tally },
        })
    }
}

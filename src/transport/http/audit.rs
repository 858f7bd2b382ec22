//! The audit trail, for admins: page by page, or as one file that is never in memory as a whole (AUD-03).

use super::call::{Call, ok};
use super::problem::{Answer, Problem};
use super::query::{Query, one_more};
use crate::auth::identity::refusal;
use crate::domain::{AuditAction, AuditNote, AuditTarget, Rejection, Timestamp, UserId};
use crate::protocol::cursor::Cursor;
use crate::storage::{AuditEntry, AuditFilter, AuditPlace};
use actix_web::http::{Method, header};
use actix_web::web::Bytes;
use actix_web::{HttpResponse, HttpResponseBuilder};
use chrono::DateTime;
use futures_util::stream;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::io;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::timeout;

/// Some lines of an export, or its end.
type Piece = io::Result<Option<Bytes>>;

/// Entries of a page.
const USUAL: u32 = 50;
const MOST: u32 = 100;
/// Entries of a piece of an export (count); two are in memory at a time.
const PIECE: usize = 250;

/// An entry as the wire shows it.
#[derive(Serialize)]
struct EntryView<'a> {
    id: i64,
    at: String,
    actor: Option<ActorView<'a>>,
    via: &'a str,
    credential_id: Option<i64>,
    action: &'a str,
    target: Option<TargetView<'a>>,
    room_id: Option<i64>,
    address: Option<&'a str>,
    detail: Box<RawValue>,
}

/// Whoever did it; without a name when they are no more.
#[derive(Serialize)]
struct ActorView<'a> {
    id: i64,
    name: Option<&'a str>,
    role: Option<&'static str>,
}

#[derive(Serialize)]
struct TargetView<'a> {
    kind: &'a str,
    id: i64,
}

impl<'a> From<&'a AuditEntry> for EntryView<'a> {
    fn from(entry: &'a AuditEntry) -> Self {
        let detail = RawValue::from_string(entry.detail.clone());
        Self {
            id: entry.place.id,
            at: entry.place.at.to_string(),
            actor: entry.actor.map(|actor| ActorView {
                id: actor.get(),
                name: entry.person.as_ref().map(|person| &*person.name),
                role: entry.person.as_ref().map(|person| person.role.as_str()),
            }),
            via: &entry.via,
            credential_id: entry.credential_id,
            action: &entry.action,
            target: entry.target.as_ref().map(|(kind, id)| TargetView { kind, id: *id }),
            room_id: entry.room.map(|room| room.get()),
            address: entry.address.as_deref(),
            detail: detail.unwrap_or_else(|_| RawValue::NULL.to_owned()),
        }
    }
}

/// `GET /audit`
pub(super) async fn list(call: Call) -> Answer {
    let query = call.query()?;
    let filter = filter(&query)?;
    let before = match query.text("cursor").map(Cursor::decode).transpose()? {
        None => None,
        Some(Cursor::Audit { at, id }) => Some(AuditPlace { at, id }),
        Some(_) => return Err(Cursor::foreign().into()),
    };
    let limit = query.limit(USUAL, MOST)?;
    let (entries, more) = one_more(limit, |limit| call.state.store.audit(filter, before, limit)).await?;
    let next = entries.last().filter(|_| more).map(|last| {
        let AuditPlace { at, id } = last.place;
        Cursor::Audit { at, id }.encode()
    });
    let entries: Vec<_> = entries.iter().map(EntryView::from).collect();
    ok(&json!({ "entries": entries, "next": next }))
}

/// `GET /audit/export`
pub(super) async fn export(call: Call) -> Answer {
    let query = call.query()?;
    let filter = filter(&query)?;
    if call.method() == Method::HEAD {
        // Nothing is exported by looking.
        return Ok(head().finish());
    }
    let permit = call.state.exports.clone().try_acquire_owned().map_err(|_full| Rejection::overloaded())?;
    let mut note = AuditNote::bare(AuditAction::AuditExported);
    for name in ["actor", "action", "target", "since", "until"] {
        if let Some(text) = query.text(name) {
            note = note.with(name, text);
        }
    }
    let noted = call.state.store.note(call.identity.principal(), note, super::now()).await;
    let last = noted.map_err(refusal)?;
    let (pieces, taken) = mpsc::channel(1);
    let mut response = head();
    actix_web::rt::spawn(Export { call, filter, last, pieces, _permit: permit }.run());
    Ok(response.streaming(stream::unfold(Some(taken), next)))
}

/// What goes out next. Only an end that was said is one: otherwise the answer breaks off, so that it can't be taken for whole.
async fn next(taken: Option<Receiver<Piece>>) -> Option<(io::Result<Bytes>, Option<Receiver<Piece>>)> {
    let mut taken = taken?;
    match taken.recv().await {
        Some(Ok(Some(lines))) => Some((Ok(lines), Some(taken))),
        Some(Ok(None)) => None,
        Some(Err(error)) => Some((Err(error), None)),
        None => Some((Err(io::Error::other("broken off")), None)),
    }
}

fn head() -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response
        .content_type("application/x-ndjson")
        .insert_header((header::CONTENT_DISPOSITION, "attachment; filename=\"audit.ndjson\""));
    response
}

/// An export under way. It reads as fast as it is taken.
struct Export {
    call: Call,
    filter: AuditFilter,
    /// The entry that tells of this export; what came after it isn't in it.
    last: i64,
    pieces: Sender<Piece>,
    _permit: OwnedSemaphorePermit,
}

impl Export {
    async fn run(self) {
        let mut after = None;
        loop {
            let piece = self.piece(&mut after).await.map_err(|Problem { rejection, .. }| {
                tracing::warn!(%rejection, "an export of the audit trail is broken off");
                io::Error::other(rejection.message)
            });
            let is_over = !matches!(piece, Ok(Some(_)));
            let sent = timeout(self.call.state.config.audit.stall, self.pieces.send(piece)).await;
            // Whoever asked is gone, or takes nothing.
            if is_over || !matches!(sent, Ok(Ok(()))) {
                return;
            }
        }
    }

    /// The next entries as lines; none when there are no more.
    async fn piece(&self, after: &mut Option<AuditPlace>) -> Result<Option<Bytes>, Problem> {
        let (bus, who, began) = (&self.call.state.bus, &self.call.identity, self.call.began);
        let is_over = bus.has_ended(who, began) || bus.may_have_ended(who, began);
        if bus.draining() || is_over || bus.changed_since(&who.person, began) {
            return Err(Rejection::unavailable().into());
        }
        let read = self.call.state.store.audit_up_to(self.filter.clone(), *after, self.last, PIECE).await;
        let entries = read.map_err(refusal)?;
        let Some(last) = entries.last() else { return Ok(None) };
        *after = Some(last.place);
        let mut lines = Vec::new();
        for entry in &entries {
            serde_json::to_writer(&mut lines, &EntryView::from(entry)).map_err(|error| {
                tracing::error!(%error, "an audit entry can't be written");
                Rejection::internal()
            })?;
            lines.push(b'\n');
        }
        Ok(Some(lines.into()))
    }
}

fn filter(query: &Query) -> Result<AuditFilter, Rejection> {
    let action = query.text("action").map(|name| {
        AuditAction::parse(name).ok_or_else(|| Rejection::invalid("action", "is no action that is audited"))
    });
    let (since, until) = (moment(query, "since")?, moment(query, "until")?);
    if until.is_some_and(|until| since.is_some_and(|since| until < since)) {
        return Err(Rejection::invalid("until", "is before since"));
    }
    Ok(AuditFilter {
        actor: query.number("actor")?.map(UserId::new),
        action: action.transpose()?,
        target: query.text("target").map(target).transpose()?,
        since,
        until,
    })
}

fn target(text: &str) -> Result<(&'static str, Option<i64>), Rejection> {
    let (kind, id) = text.split_once(':').map_or((text, None), |(kind, id)| (kind, Some(id)));
    let known = AuditTarget::KINDS.into_iter().find(|known| *known == kind);
    let kind = known.ok_or_else(|| Rejection::invalid("target", "has no kind that is audited"))?;
    let id = id.map(|id| id.parse::<i64>().ok().filter(|id| *id >= 0));
    match id {
        Some(None) => Err(Rejection::invalid("target", "is not kind:number")),
        id => Ok((kind, id.flatten())),
    }
}

fn moment(query: &Query, name: &'static str) -> Result<Option<Timestamp>, Rejection> {
    let parse = |text: &str| {
        let at = DateTime::parse_from_rfc3339(text);
        at.map(|at| at.to_utc().into())
            .map_err(|_no_time| Rejection::invalid(name, "is not a time like 2026-01-01T00:00:00Z"))
    };
    query.text(name).map(parse).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(query: &str) -> Option<String> {
        let refused = filter(&Query::parse(query).expect("a query")).err()?;
        refused.field.map(|field| field.into_owned())
    }

    #[test]
    fn a_wrong_filter_is_named() {
        for (query, wrong) in [
            ("actor=x", "actor"),
            ("actor=-1", "actor"),
            ("action=session", "action"),
            ("target=cellar", "target"),
            ("target=user:", "target"),
            ("target=user:x", "target"),
            ("target=user:-1", "target"),
            ("since=yesterday", "since"),
            ("until=2026-01-01", "until"),
            ("since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z", "until"),
        ] {
            assert_eq!(field(query).as_deref(), Some(wrong), "{query}");
        }
    }

    #[test]
    fn a_filter_is_read() {
        let text = "actor=7&action=room.deleted&target=room:3&since=2026-01-01T01:00:00%2B01:00&until=2026-01-01T00:00:00.007Z";
        let all = filter(&Query::parse(text).expect("a query")).expect("a filter");
        assert_eq!(all.actor, Some(UserId::new(7)));
        assert_eq!(all.action, Some(AuditAction::RoomDeleted));
        assert_eq!(all.target, Some(("room", Some(3))));
        assert_eq!(all.since, Some(Timestamp::from_millis(1_767_225_600_000)));
        assert_eq!(all.until, Some(Timestamp::from_millis(1_767_225_600_007)));
        let kind = filter(&Query::parse("target=room").expect("a query")).expect("a filter");
        assert_eq!(kind.target, Some(("room", None)));
    }
}

//! Action requests: one row each, and one statement that decides which result counts (CORR-01, CORR-09).

use super::people::{PersonRow, person};
use super::rooms::{ROOM_COLUMNS, RoomRow, room_from};
use super::{audit, limited};
use crate::domain::{
    ActionId, ActionRequest, ActionResult, ActionState, AuditAction, AuditNote, AuditTarget, NewAction,
    Person, Rejection, RejectionCode, Role, RoomId, RunId, Status, Timestamp, UserId,
};
use crate::storage::Store;
use crate::storage::commit::once::wait_in_line;
use crate::storage::conn::{Conn, on};
use crate::storage::error::StoreError;
use crate::storage::schema::{action_requests, memberships, rooms, users};
use diesel::prelude::*;
use std::sync::Arc;

const OPEN: [&str; 2] = [ActionState::Pending.as_str(), ActionState::Running.as_str()];

/// How many requests may be open: of one user, of all, by one requester, and by one requester of one user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActionBounds {
    pub per_user: usize,
    pub all: usize,
    pub per_requester: usize,
    pub per_pair: usize,
}

impl ActionBounds {
    /// What is open to requests of this kind: others leave a fifth to assistants, whose answers wait for theirs.
    fn open_to(bound: usize, new: &NewAction) -> i64 {
        limited(if new.run.is_some() { bound } else { bound - bound / 5 })
    }
}

/// What became of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// It is the one that counts, of a request made at that moment.
    Applied {
        since: Timestamp,
    },
    /// Another counted before.
    Duplicate(ActionState),
    /// The time was over.
    Expired,
    /// The request is another user's.
    Forbidden,
    Unknown,
}

type Row = (
    Vec<u8>,
    PersonRow,
    (i64, Option<i64>, Option<i64>),
    (String, String, String, Option<String>),
    (i64, i64, Option<i64>),
);

macro_rules! requests {
    () => {
        action_requests::table
            .inner_join(users::table.on(users::id.eq(action_requests::requester_id)))
            .select((
                action_requests::id,
                (users::id, users::name, users::role),
                (action_requests::user_id, action_requests::room_id, action_requests::run_id),
                (
                    action_requests::kind,
                    action_requests::arguments,
                    action_requests::state,
                    action_requests::result,
                ),
                (action_requests::created_at, action_requests::deadline, action_requests::ended_at),
            ))
    };
}

fn request(row: Row) -> Result<ActionRequest, StoreError> {
    let (id, requester, (user, room, run), (kind, arguments, state, result), (created, deadline, ended)) =
        row;
    Ok(ActionRequest {
        id: id_from(&id)?,
        requester: person(requester)?,
        user: UserId::new(user),
        room: room.map(RoomId::new),
        run: run.map(RunId::new),
        kind: kind.into(),
        arguments: arguments.into(),
        state: ActionState::parse(&state)
            .ok_or_else(|| StoreError::nonsense("action_requests.state", state))?,
        result: result.map(Arc::from),
        created_at: Timestamp::from_millis(created),
        deadline: Timestamp::from_millis(deadline),
        ended_at: ended.map(Timestamp::from_millis),
    })
}

fn id_from(bytes: &[u8]) -> Result<ActionId, StoreError> {
    ActionId::from_slice(bytes).map_err(|error| StoreError::nonsense("action_requests.id", error))
}

impl Store {
    /// Makes a request, if the requester may ask this user and not too many are open.
    pub async fn add_action(
        &self,
        id: ActionId,
        new: NewAction,
        bounds: ActionBounds,
        now: Timestamp,
    ) -> Result<Result<ActionRequest, Rejection>, StoreError> {
        self.write(move |conn| {
            // Two nodes would count each without the other's.
            wait_in_line(conn)?;
            add(conn, id, &new, bounds, now)
        })
        .await
    }

    /// Takes results in their order, each by one statement: the first that comes in time counts, whatever way it came.
    pub async fn answer_actions(
        &self,
        results: Vec<(ActionResult, Timestamp)>,
    ) -> Result<Vec<Answered>, StoreError> {
        self.write(move |conn| results.iter().map(|(result, at)| answer(conn, result, *at)).collect()).await
    }

    /// Ends up to `limit` requests whose time is over.
    pub async fn expire_actions(&self, now: Timestamp, limit: usize) -> Result<Vec<ActionId>, StoreError> {
        self.write(move |conn| {
            let query = action_requests::table
                .filter(action_requests::ended_at.is_null())
                .filter(action_requests::deadline.le(now.as_millis()))
                .order(action_requests::deadline)
                .limit(limited(limit))
                .select(action_requests::id);
            let ids: Vec<Vec<u8>> = on!(&mut *conn, |c| query.load(c))?;
            if ids.is_empty() {
                return Ok(Vec::new());
            }
            let over = action_requests::table
                .filter(action_requests::id.eq_any(ids))
                .filter(action_requests::ended_at.is_null());
            let query = diesel::update(over)
                .set((
                    action_requests::state.eq(ActionState::Expired.as_str()),
                    action_requests::ended_at.eq(Some(now.as_millis())),
                ))
                .returning(action_requests::id);
            let ended: Vec<Vec<u8>> = on!(&mut *conn, |c| query.get_results(c))?;
            ended.iter().map(|id| id_from(id)).collect()
        })
        .await
    }

    /// Ends a request for which nobody waits any more; whether it was open.
    pub async fn withdraw_action(&self, id: ActionId, now: Timestamp) -> Result<bool, StoreError> {
        self.write(move |conn| {
            let open = action_requests::table
                .filter(action_requests::id.eq(id.as_bytes().to_vec()))
                .filter(action_requests::ended_at.is_null());
            let query = diesel::update(open).set((
                action_requests::state.eq(ActionState::Expired.as_str()),
                action_requests::ended_at.eq(Some(now.as_millis())),
            ));
            Ok(on!(conn, |c| query.execute(c))? > 0)
        })
        .await
    }

    /// Those of these requests that have ended.
    pub async fn ended_actions(&self, ids: Vec<ActionId>) -> Result<Vec<ActionRequest>, StoreError> {
        let ids: Vec<Vec<u8>> = ids.iter().map(|id| id.as_bytes().to_vec()).collect();
        self.read(move |conn| {
            let query = requests!()
                .filter(action_requests::id.eq_any(ids))
                .filter(action_requests::ended_at.is_not_null());
            let rows: Vec<Row> = on!(conn, |c| query.load(c))?;
            rows.into_iter().map(request).collect()
        })
        .await
    }

    /// Notes of open requests whether a client has them.
    pub async fn mark_actions(&self, marks: Vec<(ActionId, bool)>) -> Result<(), StoreError> {
        self.write(move |conn| {
            for held in [true, false] {
                let of = marks.iter().filter(|(_, is_held)| *is_held == held);
                let ids: Vec<Vec<u8>> = of.map(|(id, _)| id.as_bytes().to_vec()).collect();
                if ids.is_empty() {
                    continue;
                }
                let state = if held { ActionState::Running } else { ActionState::Pending };
                let open = action_requests::table
                    .filter(action_requests::id.eq_any(ids))
                    .filter(action_requests::ended_at.is_null());
                let query = diesel::update(open).set(action_requests::state.eq(state.as_str()));
                on!(&mut *conn, |c| query.execute(c))?;
            }
            Ok(())
        })
        .await
    }

    /// One request.
    pub async fn action(&self, id: ActionId) -> Result<Option<ActionRequest>, StoreError> {
        self.read(move |conn| {
            let query = requests!().filter(action_requests::id.eq(id.as_bytes().to_vec()));
            let row: Option<Row> = on!(conn, |c| query.first(c)).optional()?;
            row.map(request).transpose()
        })
        .await
    }

    /// The requests that haven't ended, those whose time is over first.
    pub async fn open_actions(&self, limit: usize) -> Result<Vec<ActionRequest>, StoreError> {
        self.read(move |conn| {
            let query = requests!()
                .filter(action_requests::ended_at.is_null())
                .order((action_requests::deadline, action_requests::id))
                .limit(limited(limit));
            let rows: Vec<Row> = on!(conn, |c| query.load(c))?;
            rows.into_iter().map(request).collect()
        })
        .await
    }

    /// Takes away up to `batch` requests that ended before `before`; how many it was.
    pub async fn trim_actions(&self, before: Timestamp, batch: usize) -> Result<usize, StoreError> {
        let old: Vec<Vec<u8>> = self
            .read(move |conn| {
                let query = action_requests::table
                    .filter(action_requests::ended_at.lt(before.as_millis()))
                    .limit(limited(batch))
                    .select(action_requests::id);
                Ok(on!(conn, |c| query.load(c))?)
            })
            .await?;
        if old.is_empty() {
            return Ok(0);
        }
        self.write(move |conn| {
            let query = diesel::delete(action_requests::table.filter(action_requests::id.eq_any(old)));
            Ok(on!(conn, |c| query.execute(c))?)
        })
        .await
    }
}

/// Ends the open requests of these runs.
pub(in crate::storage) fn withdraw_of(
    conn: &mut Conn,
    runs: &[i64],
    now: Timestamp,
) -> Result<(), StoreError> {
    let open = action_requests::table
        .filter(action_requests::run_id.eq_any(runs.iter().copied().map(Some)))
        .filter(action_requests::ended_at.is_null());
    let query = diesel::update(open).set((
        action_requests::state.eq(ActionState::Expired.as_str()),
        action_requests::ended_at.eq(Some(now.as_millis())),
    ));
    on!(conn, |c| query.execute(c))?;
    Ok(())
}

fn add(
    conn: &mut Conn,
    id: ActionId,
    new: &NewAction,
    bounds: ActionBounds,
    now: Timestamp,
) -> Result<Result<ActionRequest, Rejection>, StoreError> {
    let Some(requester) = active(conn, new.by.person.id)? else {
        let gone = "this user is not active";
        return Ok(Err(Rejection::new(RejectionCode::TokenRevoked, gone)));
    };
    let user = active(conn, new.user)?.filter(|user| !matches!(user.role, Role::Bot | Role::Assistant));
    match (new.room, requester.role) {
        (Some(room), _) => {
            let Some(here) = in_room(conn, room, &[Some(&requester), user.as_ref()])? else {
                return Ok(Err(Rejection::not_found("room")));
            };
            match here.as_slice() {
                [true, true] => {}
                [true, false] => return Ok(Err(Rejection::not_found("user"))),
                _ => return Ok(Err(Rejection::not_found("room"))),
            }
        }
        (None, Role::Admin) => {}
        (None, _) => {
            return Ok(Err(Rejection::invalid("room_id", "is missing: only admins ask without a room")));
        }
    }
    if user.is_none() {
        return Ok(Err(Rejection::not_found("user")));
    }
    // What nobody noted yet to be over isn't waited for any more.
    let open = || {
        action_requests::table
            .filter(action_requests::ended_at.is_null())
            .filter(action_requests::deadline.gt(now.as_millis()))
            .count()
    };
    let query = open();
    let all: i64 = on!(&mut *conn, |c| query.get_result(c))?;
    let query = open().filter(action_requests::user_id.eq(new.user.get()));
    let theirs: i64 = on!(&mut *conn, |c| query.get_result(c))?;
    if all >= ActionBounds::open_to(bounds.all, new) || theirs >= ActionBounds::open_to(bounds.per_user, new)
    {
        return Ok(Err(Rejection::overloaded()));
    }
    let of_requester = || open().filter(action_requests::requester_id.eq(requester.id.get()));
    let query = of_requester();
    let made: i64 = on!(&mut *conn, |c| query.get_result(c))?;
    let query = of_requester().filter(action_requests::user_id.eq(new.user.get()));
    let made_of_user: i64 = on!(&mut *conn, |c| query.get_result(c))?;
    if made >= limited(bounds.per_requester) || made_of_user >= limited(bounds.per_pair) {
        let message = "too many of your requests are open, nothing was stored".into();
        return Ok(Err(Rejection { message, ..Rejection::overloaded() }));
    }
    let made = ActionRequest {
        id,
        user: new.user,
        room: new.room,
        run: new.run,
        kind: new.kind.as_str().into(),
        arguments: Arc::clone(&new.arguments),
        state: ActionState::Pending,
        result: None,
        created_at: now,
        deadline: now.after(new.timeout),
        ended_at: None,
        requester,
    };
    let query = diesel::insert_into(action_requests::table).values((
        action_requests::id.eq(id.as_bytes().to_vec()),
        action_requests::requester_id.eq(made.requester.id.get()),
        action_requests::user_id.eq(made.user.get()),
        action_requests::room_id.eq(made.room.map(RoomId::get)),
        action_requests::run_id.eq(made.run.map(RunId::get)),
        action_requests::kind.eq(&*made.kind),
        action_requests::arguments.eq(&*made.arguments),
        action_requests::state.eq(made.state.as_str()),
        action_requests::created_at.eq(made.created_at.as_millis()),
        action_requests::deadline.eq(made.deadline.as_millis()),
    ));
    on!(&mut *conn, |c| query.execute(c))?;
    if matches!(made.requester.role, Role::Bot | Role::Assistant) {
        let note = AuditNote::new(AuditAction::BotActed, AuditTarget::User(made.user));
        let note = note.with("command", "action.request");
        let note = match made.room {
            Some(room) => note.in_room(room),
            None => note,
        };
        audit::insert(conn, Some(made.requester.id), new.by.origin, &note, now)?;
    }
    Ok(Ok(made))
}

fn active(conn: &mut Conn, user: UserId) -> Result<Option<Person>, StoreError> {
    let query = users::table.find(user.get()).filter(users::status.eq(Status::Active.as_str())).select((
        users::id,
        users::name,
        users::role,
    ));
    let row: Option<PersonRow> = on!(conn, |c| query.first(c)).optional()?;
    row.map(person).transpose()
}

/// Whether each of them is a member; none when there is no such room, or it is the system's own.
fn in_room(
    conn: &mut Conn,
    room: RoomId,
    people: &[Option<&Person>],
) -> Result<Option<Vec<bool>>, StoreError> {
    let query = rooms::table.find(room.get()).filter(rooms::deleted_at.is_null()).select(ROOM_COLUMNS);
    let row: Option<RoomRow> = on!(&mut *conn, |c| query.first(c)).optional()?;
    let Some(mut room) = row.map(room_from).transpose()? else { return Ok(None) };
    if room.kind.is_system() {
        return Ok(None);
    }
    let ids: Vec<i64> = people.iter().flatten().map(|person| person.id.get()).collect();
    let query = memberships::table
        .filter(memberships::room_id.eq(room.id.get()))
        .filter(memberships::user_id.eq_any(ids))
        .select(memberships::user_id);
    let added: Vec<i64> = on!(conn, |c| query.load(c))?;
    room.members.0.extend(added.into_iter().map(UserId::new));
    Ok(Some(people.iter().map(|person| person.is_some_and(|person| room.is_member(person))).collect()))
}

fn answer(conn: &mut Conn, result: &ActionResult, at: Timestamp) -> Result<Answered, StoreError> {
    let id = result.id.as_bytes().to_vec();
    let waited_for = action_requests::table
        .filter(action_requests::id.eq(id.clone()))
        .filter(action_requests::user_id.eq(result.user.get()))
        .filter(action_requests::state.eq_any(OPEN))
        .filter(action_requests::deadline.gt(at.as_millis()));
    let query = diesel::update(waited_for)
        .set((
            action_requests::state.eq(result.state().as_str()),
            action_requests::result.eq(Some(&*result.result)),
            action_requests::ended_at.eq(Some(at.as_millis())),
        ))
        .returning(action_requests::created_at);
    let since: Vec<i64> = on!(&mut *conn, |c| query.get_results(c))?;
    if let Some(since) = since.first() {
        return Ok(Answered::Applied { since: Timestamp::from_millis(*since) });
    }
    let query = action_requests::table.find(id).select((action_requests::user_id, action_requests::state));
    let found: Option<(i64, String)> = on!(&mut *conn, |c| query.first(c)).optional()?;
    let Some((user, state)) = found else { return Ok(Answered::Unknown) };
    if user != result.user.get() {
        return Ok(Answered::Forbidden);
    }
    let state =
        ActionState::parse(&state).ok_or_else(|| StoreError::nonsense("action_requests.state", state))?;
    Ok(match state {
        ActionState::Done | ActionState::Failed => Answered::Duplicate(state),
        ActionState::Pending | ActionState::Running | ActionState::Expired => Answered::Expired,
    })
}

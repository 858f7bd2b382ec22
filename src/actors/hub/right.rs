//! The right of a socket to be open, looked up anew: when its time is over, or when it may have ended without anybody having heard of it.

use crate::actors::peer::Peer;
use crate::domain::{BotKeyId, Person, SessionId, Timestamp, Via};
use crate::protocol::CloseCode;
use crate::storage::{BotKeyState, SessionKey, SessionState, Status, Store, StoreError};
use std::rc::Rc;

/// What a socket's credentials are worth.
enum Right {
    /// They are good, and whose they are.
    Holds(Person),
    Ended(CloseCode),
}

/// Looks what became of it; if it doesn't hold, or its holder is somebody else by now, the socket is closed (CONN-13).
pub(super) async fn recheck(store: Store, peer: Rc<Peer>, now: Timestamp) {
    let right = match peer.identity.via {
        Via::Session(session) => of_session(&store, &peer, session, now).await,
        Via::BotKey(key) => of_key(&store, &peer, key, now).await,
        Via::Nobody | Via::Operator | Via::System => return,
    };
    match right {
        Ok(Right::Holds(person)) if person.role == peer.identity.person.role => {}
        Ok(Right::Holds(_)) => {
            peer.outbox.close(CloseCode::IdentityChanged, CloseCode::IdentityChanged.reason());
        }
        Ok(Right::Ended(code)) => peer.outbox.cut(code),
        Err(error) => {
            tracing::warn!(conn.id = %peer.id, %error, "the right to be connected can't be looked up");
            peer.expires_at.set(Some(now));
        }
    }
}

async fn of_session(
    store: &Store,
    peer: &Peer,
    session: SessionId,
    now: Timestamp,
) -> Result<Right, StoreError> {
    Ok(match store.session(SessionKey::Id(session), now).await? {
        SessionState::Living(session, person) => {
            peer.expires_at.set(Some(session.expires_at));
            Right::Holds(person)
        }
        SessionState::Revoked => Right::Ended(why(store, peer).await?),
        SessionState::Expired | SessionState::Unknown => Right::Ended(CloseCode::Unauthenticated),
    })
}

async fn of_key(store: &Store, peer: &Peer, key: BotKeyId, now: Timestamp) -> Result<Right, StoreError> {
    let found = store.bot_keys_of(peer.user(), now).await?;
    let found =
        found.and_then(|(person, keys)| Some((person, keys.iter().find(|one| one.id == key)?.clone())));
    let Some((person, key)) = found else { return Ok(Right::Ended(why(store, peer).await?)) };
    Ok(match key.state(now) {
        BotKeyState::Living => {
            peer.ends_at.set(key.expires_at);
            Right::Holds(person)
        }
        BotKeyState::Expired => Right::Ended(CloseCode::Unauthenticated),
        BotKeyState::Revoked => Right::Ended(why(store, peer).await?),
    })
}

/// Why something was taken back: who isn't let in any more hears that, and not that they may sign in again.
async fn why(store: &Store, peer: &Peer) -> Result<CloseCode, StoreError> {
    let user = store.person(peer.user()).await?;
    let is_active = user.is_some_and(|user| user.status == Status::Active);
    Ok(if is_active { CloseCode::SessionRevoked } else { CloseCode::Forbidden })
}

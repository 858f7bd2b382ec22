//! `PUT /me/password`

use super::call::{Call, nothing};
use super::problem::{Answer, Problem};
use super::proving;
use crate::auth::identity::{refusal, token_revoked, unauthenticated};
use crate::auth::password::Password;
use crate::domain::{BegunBy, PasswordProof, Rejection, Session, SessionChange};
use crate::storage::{SessionKey, SessionState};
use serde::Deserialize;

#[derive(Deserialize)]
struct NewPassword {
    current_password: Option<String>,
    new_password: String,
}

/// All other sessions end with the old password (AUTH-06).
pub(super) async fn change(mut call: Call) -> Answer {
    let NewPassword { current_password, new_password } = call.read().await?;
    let new_password = Password::parse(new_password).map_err(|rejection| Rejection {
        field: Some("new_password".into()),
        message: rejection.message.replacen("password", "new_password", 1).into(),
        ..rejection
    })?;
    let (state, user) = (&call.state, call.me().id);
    let proof = match current_password {
        None => {
            // The transaction has the last word; but what it will refuse has to cost no hashing, which others wait for.
            may_recover(&call).await?;
            PasswordProof::Recovery(state.config.auth.recovery)
        }
        Some(current) => {
            let stored = state.store.password_hash(user).await.map_err(refusal)?;
            if !proving::is_own(&call, current, stored.clone()).await? {
                return Err(wrong().into());
            }
            PasswordProof::Current(stored.ok_or_else(wrong)?)
        }
    };
    let password_hash = state.hasher.hash(new_password).await?;
    let keep = call.identity.session();
    let change = SessionChange::SetPassword { user, password_hash, proof, keep };
    let origin = call.identity.principal().origin;
    state.bus.change_sessions(change, origin, call.trace).await.map_err(Problem::counted)?;
    nothing()
}

/// Refuses, as the store would, whoever wasn't let back in lately.
async fn may_recover(call: &Call) -> Result<(), Rejection> {
    let (store, now) = (&call.state.store, super::now());
    if store.password_hash(call.me().id).await.map_err(refusal)?.is_none() {
        return Err(Rejection::forbidden("this account has no password"));
    }
    let missing = || Rejection::invalid("current_password", "is missing");
    let session = call.identity.session().ok_or_else(missing)?;
    match store.session(SessionKey::Id(session), now).await.map_err(refusal)? {
        SessionState::Living(Session { begun_by: BegunBy::Recovery, created_at, .. }, _)
            if created_at.after(call.state.config.auth.recovery) > now =>
        {
            Ok(())
        }
        SessionState::Revoked => Err(token_revoked()),
        _ => Err(missing()),
    }
}

fn wrong() -> Rejection {
    Rejection {
        field: Some("current_password".into()),
        message: "this is not the current password".into(),
        ..unauthenticated()
    }
}

//! Who may come in and as what: roles, deactivation and bans, and that somebody is always left who can change them.

use super::person::{Person, Role};
use super::rejection::{Rejection, RejectionCode};

/// Whether a user may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    Active,
    /// Left; what they wrote stays.
    Deactivated,
    /// Sent away.
    Banned,
}

impl Status {
    /// Every status, the closed set of the protocol.
    pub const ALL: [Self; 3] = [Self::Active, Self::Deactivated, Self::Banned];

    /// The name on the wire and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Deactivated => "deactivated",
            Self::Banned => "banned",
        }
    }

    /// The status of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

/// A user as an admin finds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub person: Person,
    pub status: Status,
    /// There is an active admin besides.
    pub has_peer: bool,
}

/// What is to be changed of somebody. Only a ban makes `Banned`, and only its end ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StandingChange {
    pub role: Option<Role>,
    pub status: Option<Status>,
}

/// What is different afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Turn {
    pub role: Option<Role>,
    pub status: Option<Status>,
}

impl Standing {
    fn is_active_admin(&self) -> bool {
        self.person.is_admin() && self.status == Status::Active
    }

    /// Refuses what would leave nobody who can let anybody in.
    fn must_not_be_last(&self) -> Result<(), Rejection> {
        if self.is_active_admin() && !self.has_peer {
            return Err(Rejection::new(RejectionCode::LastAdmin, "this is the last admin"));
        }
        Ok(())
    }

    /// What `change` comes to; nothing of it that is so already.
    pub fn change(&self, change: StandingChange) -> Result<Turn, Rejection> {
        let role = change.role.filter(|role| *role != self.person.role);
        let status = change.status.filter(|status| *status != self.status);
        if change.role.is_some_and(|role| !role.is_human()) {
            return Err(Rejection::invalid("role", "is not admin, member or guest"));
        }
        if role.is_some() && !self.person.role.is_human() {
            return Err(Rejection::forbidden("a bot stays a bot"));
        }
        if change.status == Some(Status::Banned) {
            return Err(Rejection::invalid("status", "is not active or deactivated"));
        }
        if status.is_some() && self.status == Status::Banned {
            return Err(Rejection::invalid("status", "is that of somebody banned: lift the ban"));
        }
        let stays_admin = role.is_none() && status != Some(Status::Deactivated);
        if !stays_admin {
            self.must_not_be_last()?;
        }
        Ok(Turn { role, status })
    }

    /// Whether they can be banned; false when they are already.
    pub fn ban(&self) -> Result<bool, Rejection> {
        if !self.person.role.is_human() {
            return Err(Rejection::forbidden("a bot isn't banned but removed"));
        }
        self.must_not_be_last()?;
        Ok(self.status != Status::Banned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::UserId;

    fn somebody(role: Role, status: Status, has_peer: bool) -> Standing {
        Standing { person: Person { id: UserId::new(1), name: "x".into(), role }, status, has_peer }
    }

    fn to(role: Option<Role>, status: Option<Status>) -> StandingChange {
        StandingChange { role, status }
    }

    /// Whatever is asked for in whichever state: an active admin is left unless there is another.
    #[test]
    fn the_last_admin_stays_one() {
        for role in [None, Some(Role::Admin), Some(Role::Member), Some(Role::Guest)] {
            for status in [None, Some(Status::Active), Some(Status::Deactivated)] {
                for has_peer in [false, true] {
                    let ann = somebody(Role::Admin, Status::Active, has_peer);
                    let loses =
                        role.is_some_and(|role| role != Role::Admin) || status == Some(Status::Deactivated);
                    let refused = ann.change(to(role, status)).err().map(|rejection| rejection.code);
                    let expected = (loses && !has_peer).then_some(RejectionCode::LastAdmin);
                    assert_eq!(refused, expected, "{role:?} {status:?} {has_peer}");
                }
            }
        }
        let last = somebody(Role::Admin, Status::Active, false);
        assert_eq!(last.ban().expect_err("refused").code, RejectionCode::LastAdmin);
        assert_eq!(somebody(Role::Admin, Status::Active, true).ban(), Ok(true));
        let gone = somebody(Role::Admin, Status::Deactivated, false);
        assert!(gone.change(to(Some(Role::Member), None)).is_ok(), "nobody depends on them");
    }

    #[test]
    fn bots_stay_bots_and_bans_have_a_way_of_their_own() {
        for program in [Role::Bot, Role::Assistant] {
            let bot = somebody(program, Status::Active, false);
            for role in Role::ALL.into_iter().filter(|role| *role != program) {
                assert!(bot.change(to(Some(role), None)).is_err(), "{role:?}");
            }
            assert!(bot.ban().is_err());
            let turn = bot.change(to(None, Some(Status::Deactivated)));
            assert_eq!(turn, Ok(Turn { role: None, status: Some(Status::Deactivated) }));
            let bob = somebody(Role::Member, Status::Active, true);
            assert_eq!(
                bob.change(to(Some(program), None)).expect_err("refused").field.as_deref(),
                Some("role")
            );
        }
        let banned = somebody(Role::Member, Status::Banned, true);
        assert_eq!(banned.ban(), Ok(false));
        for status in [Status::Active, Status::Deactivated, Status::Banned] {
            assert_eq!(
                banned.change(to(None, Some(status))).expect_err("refused").field.as_deref(),
                Some("status")
            );
        }
    }

    #[test]
    fn what_is_so_already_is_no_change() {
        let bob = somebody(Role::Member, Status::Active, false);
        assert_eq!(bob.change(to(Some(Role::Member), Some(Status::Active))), Ok(Turn::default()));
    }
}

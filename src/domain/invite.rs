//! Invitations: who may come in by a code, as what, how often and until when.

use super::ids::RoomId;
use super::person::Role;
use super::rejection::{Rejection, RejectionCode};
use super::time::Timestamp;
use std::fmt;
use std::time::Duration;

/// The code in an invitation link: a secret of those who invite.
#[derive(Clone, PartialEq, Eq)]
pub struct InviteCode(String);

impl InviteCode {
    /// Wraps a code that was made or shown.
    pub fn new(code: impl Into<String>) -> Self {
        Self(code.into())
    }

    /// The text, for the link.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for InviteCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What an invitation is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InviteTerms {
    /// Member or guest.
    pub role: Role,
    /// What whoever comes in is added to.
    pub rooms: Vec<RoomId>,
    /// How long it holds; for ever without.
    pub lifetime: Option<Duration>,
    /// How many may come in by it; any number without.
    pub max_uses: Option<u32>,
}

impl InviteTerms {
    /// Rooms of one invitation (count).
    pub const MAX_ROOMS: usize = 100;
    /// The longest lifetime.
    pub const MAX_LIFETIME: Duration = Duration::from_secs(366 * 24 * 60 * 60);
    /// The most uses (count).
    pub const MAX_USES: u32 = 100_000;

    /// Checks the terms, each error naming its field.
    pub fn checked(mut self) -> Result<Self, Rejection> {
        if !matches!(self.role, Role::Member | Role::Guest) {
            return Err(Rejection::invalid("role", "is not member or guest"));
        }
        self.rooms.sort_unstable();
        self.rooms.dedup();
        if self.rooms.len() > Self::MAX_ROOMS {
            return Err(Rejection::invalid("room_ids", "are more than 100"));
        }
        if self.lifetime.is_some_and(|span| span.is_zero() || span > Self::MAX_LIFETIME) {
            return Err(Rejection::invalid("expires_in_s", "is not between 1 and 31622400"));
        }
        if self.max_uses.is_some_and(|uses| !(1..=Self::MAX_USES).contains(&uses)) {
            return Err(Rejection::invalid("max_uses", "is not between 1 and 100000"));
        }
        Ok(self)
    }
}

/// How far an invitation is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InviteState {
    pub is_revoked: bool,
    pub expires_at: Option<Timestamp>,
    pub max_uses: Option<u32>,
    pub uses: u32,
}

impl InviteState {
    /// Refuses what doesn't hold any more at `now`.
    pub fn must_hold(&self, now: Timestamp) -> Result<(), Rejection> {
        let why = if self.is_revoked {
            "this invitation was taken back"
        } else if self.expires_at.is_some_and(|at| at <= now) {
            "this invitation has expired"
        } else if self.max_uses.is_some_and(|most| self.uses >= most) {
            "this invitation is used up"
        } else {
            return Ok(());
        };
        Err(Rejection::new(RejectionCode::Gone, why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms() -> InviteTerms {
        InviteTerms { role: Role::Guest, rooms: Vec::new(), lifetime: None, max_uses: None }
    }

    #[test]
    fn terms_are_bounded_and_each_error_names_its_field() {
        let field = |terms: InviteTerms| terms.checked().expect_err("refused").field.expect("a field");
        for role in [Role::Admin, Role::Bot, Role::Assistant] {
            assert_eq!(field(InviteTerms { role, ..terms() }), "role");
        }
        let rooms = |count: i64| (1..=count).map(RoomId::new).collect::<Vec<_>>();
        assert_eq!(field(InviteTerms { rooms: rooms(101), ..terms() }), "room_ids");
        let twice = [rooms(100), rooms(100)].concat();
        assert_eq!(InviteTerms { rooms: twice, ..terms() }.checked().expect("fine").rooms.len(), 100);
        for lifetime in [Duration::ZERO, InviteTerms::MAX_LIFETIME + Duration::from_secs(1)] {
            assert_eq!(field(InviteTerms { lifetime: Some(lifetime), ..terms() }), "expires_in_s");
        }
        for max_uses in [0, 100_001] {
            assert_eq!(field(InviteTerms { max_uses: Some(max_uses), ..terms() }), "max_uses");
        }
        let whole = InviteTerms {
            role: Role::Member,
            lifetime: Some(InviteTerms::MAX_LIFETIME),
            max_uses: Some(1),
            ..terms()
        };
        assert_eq!(whole.clone().checked(), Ok(whole));
    }

    #[test]
    fn what_is_over_is_gone_to_the_millisecond() {
        let at = Timestamp::from_millis;
        let fresh = InviteState { is_revoked: false, expires_at: Some(at(10)), max_uses: Some(2), uses: 1 };
        assert_eq!(fresh.must_hold(at(9)), Ok(()));
        let code = |state: InviteState, now| state.must_hold(at(now)).expect_err("gone").code;
        assert_eq!(code(fresh, 10), RejectionCode::Gone);
        assert_eq!(code(InviteState { uses: 2, ..fresh }, 9), RejectionCode::Gone);
        assert_eq!(code(InviteState { is_revoked: true, ..fresh }, 9), RejectionCode::Gone);
        let open = InviteState { is_revoked: false, expires_at: None, max_uses: None, uses: u32::MAX };
        assert_eq!(open.must_hold(at(i64::MAX)), Ok(()));
        assert_eq!(format!("{:?}", InviteCode::new("abcd")), "***");
    }
}

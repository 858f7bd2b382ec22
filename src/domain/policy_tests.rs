//! What holds of the policy whatever is asked.

use super::*;
use crate::domain::rejection::RejectionCode;
use proptest::prelude::*;

fn person(role: Role) -> Person {
    Person { id: UserId::new(1), name: "Somebody".into(), role }
}

fn roles() -> impl Strategy<Value = Role> {
    prop::sample::select(Role::ALL.to_vec())
}

fn actions() -> impl Strategy<Value = Action> {
    prop::sample::select(Action::ALL.to_vec())
}

fn users() -> impl Strategy<Value = UserId> {
    (1i64..3).prop_map(UserId::new)
}

fn places() -> impl Strategy<Value = Place> {
    let kinds = prop::sample::select(RoomKind::ALL.to_vec());
    (kinds, any::<bool>(), any::<bool>(), prop::option::of(users()))
        .prop_map(|(kind, deleted, is_member, created_by)| Place { kind, deleted, is_member, created_by })
}

fn targets() -> impl Strategy<Value = Target> {
    prop_oneof![
        Just(Target::Nothing),
        places().prop_map(Target::Room),
        (places(), users()).prop_map(|(place, author)| Target::Message { place, author }),
        (places(), users()).prop_map(|(place, user)| Target::Member { place, user }),
        (places(), prop::option::of(users())).prop_map(|(place, asker)| Target::Run { place, asker }),
        (users(), any::<bool>()).prop_map(|(user, is_near)| Target::User { user, is_near }),
    ]
}

fn verdict(role: Role, action: Action, target: Target) -> Option<RejectionCode> {
    may(&person(role), action, target).err().map(|rejection| rejection.code)
}

proptest! {
    /// Proves AUTH-16.
    #[test]
    fn more_rights_never_allow_less(action in actions(), target in targets()) {
        for (less, more) in [
            (Role::Guest, Role::Member),
            (Role::Member, Role::Admin),
            (Role::Bot, Role::Member),
        ] {
            // What programs do is not for members.
            if action == Action::RequestAction && less == Role::Bot {
                continue;
            }
            let (less, more) = (verdict(less, action, target), verdict(more, action, target));
            prop_assert!(more.is_none() || less.is_some(), "{less:?} {more:?}");
        }
        if action != Action::EndRun {
            prop_assert_eq!(verdict(Role::Assistant, action, target), verdict(Role::Bot, action, target));
        }
    }

    /// Proves AUTH-16.
    #[test]
    fn a_look_from_afar_refuses_nothing_that_a_closer_one_allows(
        role in roles(), action in actions(), target in targets(),
    ) {
        // A route is refused by its action alone, before its target is looked up: with the code that it would have come to.
        if let Some(early) = verdict(role, action, Target::Nothing) {
            prop_assert_eq!(verdict(role, action, target), Some(early));
        }
    }

    /// Proves AUTH-16.
    #[test]
    fn nobody_does_anything_where_they_are_not(
        role in roles(), action in actions(), place in places(), user in users(),
    ) {
        let targets = [Target::Room(place), Target::Message { place, author: user }, Target::Member { place, user }];
        for target in targets {
            if place.deleted || !place.is_member {
                let code = verdict(role, action, target);
                let from_afar = verdict(role, action, Target::Nothing);
                prop_assert_eq!(code, from_afar.or(Some(RejectionCode::NotFound)), "nor learns that there is something");
            }
        }
    }

    /// Proves AUTH-16.
    #[test]
    fn what_others_wrote_and_whom_others_added_is_for_those_who_run_the_room(
        role in roles(), place in places(), which in 0usize..3,
    ) {
        let others = UserId::new(2);
        let theirs = [
            (Action::EditMessage, Target::Message { place, author: others }),
            (Action::RemoveMember, Target::Member { place, user: others }),
            (Action::StopRun, Target::Run { place, asker: Some(others) }),
        ];
        let (action, target) = theirs[which];
        if verdict(role, action, target).is_none() {
            let made_it = place.created_by == Some(UserId::new(1));
            prop_assert!(role == Role::Admin || (role == Role::Member && made_it));
        }
    }
}

/// Proves BOT-06.
#[test]
fn bots_may_what_is_listed_and_nothing_else() {
    use Action::*;
    let listed = [
        Connect,
        Subscribe,
        Type,
        ReadMe,
        ReadAccount,
        ReadUsers,
        ReadUser,
        ReadRooms,
        ReadRoom,
        RemoveMember,
        ReadMessages,
        Search,
        PostMessage,
        EditMessage,
        DeleteMessage,
        ReadEvents,
        MarkRead,
        AskAssistant,
        CreateSummary,
        StopRun,
        ReadRuns,
        ReadSummaries,
        ReadAssistants,
        RequestAction,
        ReadAction,
    ];
    for action in Action::ALL {
        let expected = if listed.contains(&action) { None } else { Some(RejectionCode::Forbidden) };
        assert_eq!(verdict(Role::Bot, action, Target::Nothing), expected, "{action:?}");
    }
}

/// Proves AUTH-16.
#[test]
fn what_admins_do_nobody_else_does() {
    use Action::*;
    let theirs = [
        ReadJoinCode,
        ChangeAccount,
        RotateJoinCode,
        ReadFormerUsers,
        ChangeUser,
        BanUser,
        ReadBans,
        CreateRecovery,
        ReadInvites,
        CreateInvite,
        RevokeInvite,
        ReadBots,
        CreateBot,
        ChangeBot,
        RemoveBot,
        RotateBotKey,
        RevokeBotKey,
        CreateAssistant,
        ChangeAssistant,
        RemoveAssistant,
        RequestAction,
        ReadBudgets,
        ChangeBudget,
        ReadUsage,
        ReadOps,
        ReadAudit,
        ExportAudit,
    ];
    for action in Action::ALL {
        if action == EndRun {
            // The assistants' own.
            continue;
        }
        assert_eq!(verdict(Role::Admin, action, Target::Nothing), None, "{action:?}");
        let others = verdict(Role::Member, action, Target::Nothing).is_some();
        assert_eq!(others, theirs.contains(&action), "{action:?}");
    }
}

#[expect(clippy::as_conversions, reason = "the number of a variant")]
#[test]
fn every_action_is_listed_once() {
    for (index, action) in Action::ALL.iter().enumerate() {
        assert!(!Action::ALL[..index].contains(action), "{action:?} is listed twice");
    }
    // The last variant's discriminant: a new one that isn't listed makes the list too short.
    assert_eq!(Action::ALL.len(), Action::ExportAudit as usize + 1);
}

/// Proves AUTH-16.
#[test]
fn guests_know_those_they_share_a_room_with() {
    let far = Target::User { user: UserId::new(2), is_near: false };
    let near = Target::User { user: UserId::new(2), is_near: true };
    assert_eq!(verdict(Role::Guest, Action::ReadUser, far), Some(RejectionCode::NotFound));
    assert_eq!(verdict(Role::Guest, Action::ReadUser, near), None);
    assert_eq!(verdict(Role::Member, Action::ReadUser, far), None);
    let oneself = Target::User { user: UserId::new(1), is_near: true };
    assert_eq!(verdict(Role::Admin, Action::BanUser, oneself), Some(RejectionCode::Forbidden));
    assert_eq!(verdict(Role::Admin, Action::BanUser, near), None);
}

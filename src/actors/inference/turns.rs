//! Whose turn it is: whoever has the fewest hands at work for them, then the room that waits longest, then the order of asking (AI-04).

use crate::domain::{RoomId, UserId};
use crate::storage::Waiting;
use std::collections::HashMap;

/// Who is served; none is what began by itself.
pub(super) type Asker = Option<UserId>;

/// Hands that may be at work for one asker (count): a quarter of four or more stays free for others.
pub(super) const fn share(workers: usize) -> usize {
    workers - workers / 4
}

/// Those of `due` that are to be taken, at most `free`, and whether more of them may be as soon as hands are free. `serving` counts the
/// hands at work by asker.
pub(super) fn choose(
    mut due: Vec<Waiting>,
    free: usize,
    share: usize,
    mut serving: HashMap<Asker, usize>,
    turn: impl Fn(RoomId) -> u64,
) -> (Vec<Waiting>, bool) {
    due.sort_by_key(|waiting| (turn(waiting.room), waiting.run));
    let mut chosen = Vec::new();
    loop {
        let hands = |waiting: &Waiting| serving.get(&waiting.asker).copied().unwrap_or_default();
        let may = due.iter().enumerate().filter(|(_, waiting)| hands(waiting) < share);
        let Some((place, _)) = may.min_by_key(|(_, waiting)| hands(waiting)) else { return (chosen, false) };
        if chosen.len() == free {
            return (chosen, true);
        }
        let next = due.remove(place);
        *serving.entry(next.asker).or_default() += 1;
        chosen.push(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{RunId, Timestamp};

    fn waits(run: i64, room: i64, asker: i64) -> Waiting {
        let asker = (asker > 0).then(|| UserId::new(asker));
        let at = Timestamp::default();
        Waiting { run: RunId::new(run), room: RoomId::new(room), asker, due: at, created_at: at }
    }

    fn chosen(due: Vec<Waiting>, free: usize, workers: usize, serving: &[(i64, usize)]) -> (Vec<i64>, bool) {
        let serving = serving.iter().map(|(asker, hands)| (Some(UserId::new(*asker)), *hands)).collect();
        let (chosen, left) = choose(due, free, share(workers), serving, |room| room.get().unsigned_abs());
        (chosen.iter().map(|waiting| waiting.run.get()).collect(), left)
    }

    #[test]
    fn rooms_take_turns_and_within_one_asker_it_is_by_turn() {
        assert_eq!(chosen(vec![waits(1, 9, 1), waits(2, 3, 1)], 2, 2, &[]), (vec![2, 1], false));
        assert_eq!(chosen(vec![waits(1, 9, 1), waits(2, 3, 1)], 1, 2, &[]), (vec![2], true));
    }

    /// Proves AI-04.
    #[test]
    fn nobody_has_all_hands() {
        let many = || (1..=5).map(|run| waits(run, run, 1)).collect::<Vec<_>>();
        assert_eq!(chosen(many(), 4, 4, &[]), (vec![1, 2, 3], false), "one of four stays free");
        assert_eq!(chosen(many(), 1, 4, &[(1, 3)]), (vec![], false));
        let with_another = [many(), vec![waits(6, 6, 2)]].concat();
        assert_eq!(chosen(with_another.clone(), 1, 4, &[(1, 3)]), (vec![6], false));
        assert_eq!(chosen(with_another, 2, 4, &[(1, 1)]), (vec![6, 1], true), "who has less comes first");
        // What begins by itself is one asker, too.
        let alone: Vec<Waiting> = (1..=5).map(|run| waits(run, run, 0)).collect();
        assert_eq!(chosen(alone, 4, 4, &[]).0.len(), 3);
        assert_eq!(chosen(many(), 1, 1, &[]), (vec![1], false), "with one hand it is by turns");
    }
}

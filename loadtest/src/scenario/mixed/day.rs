//! What each person does on the day, drawn from the seed before it begins.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, RngExt};

/// Posts of a burst, on average.
const BURST: usize = 5;
/// Between the posts of a burst.
const BETWEEN: (u64, u64) = (300, 1_500);
/// Somebody types for so long before a post.
const TYPING: Duration = Duration::from_millis(250);
/// People come in the first part of the day and leave in the last, in hundredths of it.
const COME_UNTIL: f64 = 0.2;
const LEAVE_FROM: f64 = 0.85;

/// Rooms are known by their number, the biggest is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Come,
    Type(usize),
    Post(usize),
    /// Marks the room as read.
    Read(usize),
    /// Looks a page further up.
    Page(usize),
    Search,
    /// Loses the connection and comes back.
    Drop,
    Leave,
}

/// What a person does how often on the day.
#[derive(Debug, Clone, Copy)]
pub struct Habits {
    pub posts: usize,
    pub reads: usize,
    pub pages: usize,
    pub searches: usize,
    pub drops: usize,
}

#[derive(Debug, Clone)]
pub(super) struct Day {
    /// The rooms one is in.
    pub(super) rooms: Vec<usize>,
    /// In the order of time, from the beginning of the day.
    pub(super) acts: Vec<(Duration, Act)>,
}

impl Day {
    /// The nth biggest room has a share of 1/n of all people; the more are in a room, the less one says there.
    pub(super) fn draw(rooms: usize, whole: Duration, habits: Habits, rng: &mut SmallRng) -> Day {
        let mut mine: Vec<usize> = (0..rooms.max(1)).filter(|room| chance(rng, *room)).collect();
        if mine.len() == 1 && rooms > 1 {
            mine.push(rng.random_range(1..rooms));
        }
        let come = whole.mul_f64(COME_UNTIL * rng.random::<f64>());
        let leave = whole.mul_f64(LEAVE_FROM + (1.0 - LEAVE_FROM) * rng.random::<f64>());
        let mut acts = vec![(come, Act::Come), (leave, Act::Leave)];
        let moment = |rng: &mut SmallRng| come + (leave - come).mul_f64(rng.random::<f64>());
        let any = |rng: &mut SmallRng| mine.get(rng.random_range(0..mine.len())).copied().unwrap_or_default();
        for _ in 0..habits.posts.div_ceil(BURST) {
            let room = quiet(&mine, rng);
            let mut at = moment(rng);
            for _ in 0..rng.random_range(1..BURST * 2) {
                acts.push((at, Act::Type(room)));
                acts.push((at + TYPING, Act::Post(room)));
                at += Duration::from_millis(rng.random_range(BETWEEN.0..=BETWEEN.1));
            }
        }
        for _ in 0..habits.reads {
            acts.push((moment(rng), Act::Read(any(rng))));
        }
        for _ in 0..habits.pages {
            acts.push((moment(rng), Act::Page(any(rng))));
        }
        for _ in 0..habits.searches {
            acts.push((moment(rng), Act::Search));
        }
        for _ in 0..habits.drops {
            acts.push((moment(rng), Act::Drop));
        }
        // Stable: of two at one time the one drawn first comes first, and coming is the very first.
        acts.sort_by_key(|(at, _)| *at);
        acts.retain(|(at, act)| *at < leave || *act == Act::Leave);
        Day { rooms: mine, acts }
    }
}

fn chance(rng: &mut impl Rng, room: usize) -> bool {
    rng.random_range(0..=room) == 0
}

/// Draws a room with chances in inverse proportion to its size.
fn quiet(rooms: &[usize], rng: &mut SmallRng) -> usize {
    let all: usize = rooms.iter().map(|room| room + 1).sum();
    let mut at = rng.random_range(0..all.max(1));
    for room in rooms {
        if at <= *room {
            return *room;
        }
        at -= room + 1;
    }
    0
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const HABITS: Habits = Habits { posts: 40, reads: 20, pages: 10, searches: 3, drops: 3 };

    fn days(count: u64) -> Vec<Day> {
        (0..count)
            .map(|seed| Day::draw(50, Duration::from_secs(100), HABITS, &mut SmallRng::seed_from_u64(seed)))
            .collect()
    }

    #[test]
    fn a_day_begins_with_coming_and_ends_with_leaving() {
        for day in days(50) {
            assert_eq!(day.acts.first().unwrap().1, Act::Come);
            assert_eq!(day.acts.last().unwrap().1, Act::Leave);
            assert!(day.acts.is_sorted_by_key(|(at, _)| *at));
            assert!(day.rooms.len() > 1 && day.rooms.contains(&0));
            let here = |act: &Act| match act {
                Act::Type(room) | Act::Post(room) | Act::Read(room) | Act::Page(room) => {
                    day.rooms.contains(room)
                }
                _ => true,
            };
            assert!(day.acts.iter().all(|(_, act)| here(act)));
        }
    }

    #[test]
    fn rooms_have_the_sizes_of_zipf_and_most_is_said_in_small_ones() {
        let days = days(1_000);
        let size = |room: usize| days.iter().filter(|day| day.rooms.contains(&room)).count();
        assert_eq!(size(0), 1_000);
        assert!((430..570).contains(&size(1)), "{}", size(1));
        assert!((70..140).contains(&size(9)), "{}", size(9));
        let said =
            days.iter().flat_map(|day| &day.acts).filter(|(_, act)| matches!(act, Act::Post(_))).count();
        assert!((25_000..45_000).contains(&said), "{said}");
        let said_to_all =
            days.iter().flat_map(|day| &day.acts).filter(|(_, act)| *act == Act::Post(0)).count();
        assert!(said_to_all * 10 < said, "{said_to_all} of {said}");
    }
}

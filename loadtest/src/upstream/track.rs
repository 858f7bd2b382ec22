//! A text that is said piece by piece, and when each piece was.

use std::cell::RefCell;
use std::rc::Rc;

use rand::Rng;
use rand::RngExt;
use tokio::time::Instant;

use crate::words::{VOCABULARY, Zipf, word};

/// All texts of an endpoint; shared by those who say and those who compare.
pub type Tracks = Rc<RefCell<Vec<Track>>>;

/// Of so many pieces one has characters of several bytes, so that offsets are those of bytes.
const FOREIGN_EVERY: u32 = 8;
const FOREIGN: [&str; 4] = ["é", "ß", "漢字", "🦀"];

#[derive(Debug, Clone, Default)]
pub struct Track {
    text: String,
    /// Where each piece ends.
    ends: Vec<usize>,
    /// When each was written, as far as they were.
    written: Vec<Instant>,
    /// How often it was asked for.
    pub asked: u32,
}

impl Track {
    /// The text of these pieces.
    pub fn new<'a>(pieces: impl IntoIterator<Item = &'a str>) -> Track {
        let mut track = Track::default();
        for piece in pieces {
            track.text.push_str(piece);
            track.ends.push(track.text.len());
        }
        track
    }

    /// So many pieces, about a word each.
    pub fn drawn(pieces: usize, words: &Zipf, rng: &mut impl Rng) -> Track {
        let pieces: Vec<String> = (0..pieces)
            .map(|at| {
                let space = if at == 0 { "" } else { " " };
                if rng.random_range(0..FOREIGN_EVERY) == 0 {
                    let foreign = FOREIGN.get(rng.random_range(0..FOREIGN.len())).copied();
                    format!("{space}{}", foreign.unwrap_or_default())
                } else {
                    format!("{space}{}", word(words.draw(rng)))
                }
            })
            .collect();
        Track::new(pieces.iter().map(String::as_str))
    }

    /// How often each word comes in drawn texts.
    pub fn words() -> Zipf {
        Zipf::new(VOCABULARY)
    }

    /// All that is said in the end.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Pieces there are.
    pub fn pieces(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn piece(&self, at: usize) -> &str {
        let end = self.ends.get(at).copied().unwrap_or_default();
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or_default();
        self.text.get(start..end).unwrap_or_default()
    }

    /// The next piece goes out now.
    pub(super) fn wrote(&mut self, now: Instant) {
        self.written.push(now);
    }

    /// When the pieces that end at most at byte `end` were written, in their order.
    pub fn written_by(&self, end: usize) -> impl Iterator<Item = Instant> {
        let whole = self.ends.partition_point(|piece| *piece <= end);
        self.written.iter().take(whole).copied()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    #[test]
    fn pieces_make_the_text_and_have_their_times() {
        let mut track = Track::new(["a", "é", "bc"]);
        assert_eq!((track.text(), track.pieces()), ("aébc", 3));
        assert_eq!([0, 1, 2, 3].map(|at| track.piece(at)), ["a", "é", "bc", ""]);
        assert_eq!(track.written_by(5).count(), 0);
        track.wrote(Instant::now());
        track.wrote(Instant::now());
        assert_eq!([0, 1, 2, 3, 5].map(|end| track.written_by(end).count()), [0, 1, 1, 2, 2]);
    }

    #[test]
    fn drawn_texts_have_bytes_that_are_no_characters() {
        let draw = || Track::drawn(200, &Track::words(), &mut SmallRng::seed_from_u64(7));
        let track = draw();
        assert_eq!((track.pieces(), track.text()), (200, draw().text()));
        assert!(track.text().len() > track.text().chars().count());
        assert_eq!(track.text(), track.text().trim());
    }
}

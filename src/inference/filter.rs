//! What must not be said, on the way in and on the way out (AI-16): a hook, and the one that comes along.

use super::failure::Failure;
use std::sync::Arc;

/// Whose text it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What a person asks, and what they want of all answers.
    Input,
    /// What a model answers.
    Output,
}

/// Whether it may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    Refuse,
}

/// Decides what may be asked and answered. Asked once for a question and for each piece of an answer, so it has to be quick.
pub trait ContentFilter: Send + Sync {
    /// Whether `text` may pass.
    fn check(&self, text: &str, side: Side) -> Verdict;

    /// How many bytes at the end of `text`, which may pass, could be the beginning of something that may not. On the border of a
    /// character.
    fn undecided(&self, text: &str, side: Side) -> usize;
}

/// Refuses phrases wherever they stand, on both sides. Upper and lower case are alike, so are all kinds of white space and any amount
/// of it; characters that show nothing are looked through.
#[derive(Debug, Default)]
pub struct Phrases {
    /// Folded, none of them empty.
    phrases: Vec<Vec<char>>,
    /// Of the longest.
    longest: usize,
}

impl Phrases {
    /// Refuses these; an empty one refuses nothing.
    pub fn new<'a>(phrases: impl IntoIterator<Item = &'a str>) -> Self {
        let folded =
            phrases.into_iter().map(|phrase| fold(phrase.trim()).into_iter().map(|(char, _)| char).collect());
        let phrases: Vec<Vec<char>> = folded.filter(|phrase: &Vec<char>| !phrase.is_empty()).collect();
        let longest = phrases.iter().map(Vec::len).max().unwrap_or(0);
        Self { phrases, longest }
    }
}

impl ContentFilter for Phrases {
    fn check(&self, text: &str, _: Side) -> Verdict {
        if self.phrases.is_empty() {
            return Verdict::Pass;
        }
        let folded: Vec<char> = fold(text).into_iter().map(|(char, _)| char).collect();
        let is_there = |phrase: &Vec<char>| folded.windows(phrase.len()).any(|window| window == phrase);
        if self.phrases.iter().any(is_there) { Verdict::Refuse } else { Verdict::Pass }
    }

    fn undecided(&self, text: &str, _: Side) -> usize {
        if self.phrases.is_empty() {
            return 0;
        }
        let folded = fold(text);
        let from = folded.len().saturating_sub(self.longest.saturating_sub(1));
        let tails = (from..folded.len()).filter_map(|start| folded.get(start..));
        let mut beginnings = tails.filter(|tail| self.phrases.iter().any(|phrase| begins(phrase, tail)));
        let first = beginnings.next().and_then(|tail| tail.first());
        first.map_or(0, |(_, place)| text.len() - place)
    }
}

fn begins(phrase: &[char], tail: &[(char, usize)]) -> bool {
    tail.len() < phrase.len() && phrase.iter().zip(tail).all(|(one, (other, _))| one == other)
}

/// The characters as they are compared, each with the place of the one it comes of.
fn fold(text: &str) -> Vec<(char, usize)> {
    let mut folded: Vec<(char, usize)> = Vec::with_capacity(text.len());
    for (place, char) in text.char_indices() {
        if char.is_whitespace() {
            // The first of them stands for all.
            if folded.last().is_none_or(|(last, _)| *last != ' ') {
                folded.push((' ', place));
            }
        } else if !shows_nothing(char) {
            // By way of capitals, so that ß is ss, and the two small sigmas are one.
            let small = char.to_uppercase().flat_map(char::to_lowercase);
            folded.extend(small.map(|char| (char, place)));
        }
    }
    folded
}

fn shows_nothing(char: char) -> bool {
    matches!(
        char,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180e}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}'
    ) || (char.is_control() && !char.is_whitespace())
}

/// Bytes that are held back at most (count); over it: refused. Nothing but padding comes to so much, and padding is there to get a
/// phrase past somebody.
const HELD_BYTES: usize = 4096;

/// An answer on its way through the filter, piece by piece: what could be the beginning of something refused is held back until it
/// is known, so that nothing of it leaves.
#[derive(Clone)]
pub struct Sieve {
    filter: Arc<dyn ContentFilter>,
    held: String,
}

impl Sieve {
    /// Nothing has come yet.
    pub fn new(filter: Arc<dyn ContentFilter>) -> Self {
        Self { filter, held: String::new() }
    }

    /// Takes a piece, gives what may be told by now; may be empty. After [`Failure::ContentFilter`] nothing more may be told, not
    /// what is held back either.
    pub fn feed(&mut self, piece: &str) -> Result<String, Failure> {
        self.held.push_str(piece);
        if self.filter.check(&self.held, Side::Output) == Verdict::Refuse {
            self.held.clear();
            return Err(Failure::ContentFilter);
        }
        let undecided = self.filter.undecided(&self.held, Side::Output).min(self.held.len());
        if undecided > HELD_BYTES {
            self.held.clear();
            return Err(Failure::ContentFilter);
        }
        let tail = self.held.split_off(self.held.len() - undecided);
        Ok(std::mem::replace(&mut self.held, tail))
    }

    /// What is held back at present.
    pub fn held(&self) -> &str {
        &self.held
    }

    /// What was held back, when the answer ends before it became something refused.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sieve(phrases: &[&str]) -> Sieve {
        Sieve::new(Arc::new(Phrases::new(phrases.iter().copied())))
    }

    /// What leaves, and whether it went well.
    fn through(phrases: &[&str], pieces: &[&str]) -> (String, bool) {
        let mut sieve = sieve(phrases);
        let mut told = String::new();
        for piece in pieces {
            match sieve.feed(piece) {
                Ok(text) => told.push_str(&text),
                Err(failure) => {
                    assert_eq!(failure, Failure::ContentFilter);
                    return (told, false);
                }
            }
        }
        (told + &sieve.finish(), true)
    }

    #[test]
    fn a_phrase_is_found_however_it_is_written() {
        let filter = Phrases::new(["Secret Plan", "straße", "ΟΔΟΣ", " "]);
        for refused in [
            "the SECRET plan!",
            "secret \n\t plan",
            "se\u{200b}cr\u{ad}et\u{a0}plan",
            "STRASSE",
            "οδος",
            "οδοσ",
        ] {
            assert_eq!(filter.check(refused, Side::Input), Verdict::Refuse, "{refused:?}");
        }
        for fine in ["", "secretplan", "secret p lan", "strase", "plan secret"] {
            assert_eq!(filter.check(fine, Side::Input), Verdict::Pass, "{fine:?}");
        }
        assert_eq!(Phrases::new(["", " "]).check(" anything ", Side::Output), Verdict::Pass);
    }

    #[test]
    fn nothing_of_a_phrase_that_is_split_leaves() {
        assert_eq!(through(&["secret plan"], &["the sec", "ret p", "lan is"]), ("the ".to_owned(), false));
        assert_eq!(
            through(&["secret plan"], &["a S", "E", "\u{200b}CRET \n", " PLAN"]),
            ("a ".to_owned(), false)
        );
        assert_eq!(through(&["aab"], &["a", "a", "a", "b"]), ("a".to_owned(), false));
    }

    #[test]
    fn what_only_looked_like_it_leaves_in_the_end() {
        assert_eq!(
            through(&["secret plan"], &["the sec", "retary p", "lans"]),
            ("the secretary plans".to_owned(), true)
        );
        assert_eq!(through(&["secret plan"], &["it is secret"]), ("it is secret".to_owned(), true));
        let mut sieve = sieve(&["secret"]);
        assert_eq!(sieve.feed("a sec"), Ok("a ".to_owned()));
        assert_eq!(sieve.feed("t"), Ok("sect".to_owned()));
        assert_eq!(sieve.finish(), "");
    }

    #[test]
    fn without_phrases_nothing_is_held_back() {
        assert_eq!(sieve(&[]).feed("at once"), Ok("at once".to_owned()));
    }

    #[test]
    fn padding_is_no_way_through() {
        let padding = "\u{200b}".repeat(1000);
        let (told, is_well) = through(&["secret"], &["x sec", &padding, &padding, "ret"]);
        assert_eq!((told.as_str(), is_well), ("x ", false));
    }

    proptest! {
        /// Cut in whatever way, an answer passes unchanged or is stopped before the first phrase in it, and with no part of it told.
        #[test]
        fn cutting_changes_nothing(text in "[abAB \u{200b}]{0,30}", cuts in proptest::collection::vec(1usize..5, 1..9)) {
            let phrases = ["ab a", "bba"];
            let chars: Vec<char> = text.chars().collect();
            let mut pieces: Vec<String> = Vec::new();
            let mut rest = &chars[..];
            for cut in cuts.iter().cycle() {
                let (piece, tail) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece.iter().collect());
                rest = tail;
                if rest.is_empty() {
                    break;
                }
            }
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let (told, is_well) = through(&phrases, &pieces);
            let filter = Phrases::new(phrases);
            prop_assert_eq!(is_well, filter.check(&text, Side::Output) == Verdict::Pass);
            prop_assert!(text.starts_with(&told));
            prop_assert!(!is_well || told == text);
            prop_assert_eq!(filter.check(&told, Side::Output), Verdict::Pass);
        }
    }
}

//! What the load's messages say: words of a fixed vocabulary, few of them often and many of them seldom (Zipf's law).

use rand::{Rng, RngExt};

/// Words there are.
pub const VOCABULARY: usize = 20_000;

const SYLLABLES: [&str; 32] = [
    "ba", "do", "ke", "li", "mu", "na", "po", "ri", "su", "ta", "ve", "wo", "fi", "ga", "hu", "jo", "be",
    "da", "ko", "le", "mi", "nu", "pa", "re", "so", "ti", "va", "we", "fu", "gi", "ho", "ja",
];

/// Chooses from ranks 0, 1, 2 … with chances in proportion to 1, 1/2, 1/3 …
#[derive(Debug, Clone)]
pub struct Zipf {
    /// The sum of the chances up to each rank.
    sums: Vec<f64>,
}

impl Zipf {
    /// Of so many ranks, at least one.
    pub fn new(ranks: usize) -> Zipf {
        let mut sum = 0.0;
        let ranks = u32::try_from(ranks.max(1)).unwrap_or(u32::MAX);
        let sums = (1..=ranks).map(|rank| {
            sum += 1.0 / f64::from(rank);
            sum
        });
        Zipf { sums: sums.collect() }
    }

    pub fn draw(&self, rng: &mut impl Rng) -> usize {
        let all = self.sums.last().copied().unwrap_or_default();
        let at = rng.random::<f64>() * all;
        self.sums.partition_point(|sum| *sum <= at).min(self.sums.len().saturating_sub(1))
    }

    /// The share of a rank among all that is drawn.
    pub fn share(&self, rank: usize) -> f64 {
        let sum = |rank: usize| self.sums.get(rank).copied().unwrap_or_default();
        let below = if rank == 0 { 0.0 } else { sum(rank - 1) };
        (sum(rank) - below) / self.sums.last().copied().unwrap_or(1.0)
    }
}

/// The word of a rank; each has one of its own, of two syllables or more.
pub fn word(rank: usize) -> String {
    let mut word = String::new();
    let mut left = rank;
    while left > 0 || word.len() < 4 {
        word.push_str(SYLLABLES.get(left % SYLLABLES.len()).copied().unwrap_or_default());
        left /= SYLLABLES.len();
    }
    word
}

/// Writes bodies.
#[derive(Debug, Clone)]
pub struct Writer {
    words: Vec<String>,
    zipf: Zipf,
}

impl Default for Writer {
    fn default() -> Writer {
        Writer { words: (0..VOCABULARY).map(word).collect(), zipf: Zipf::new(VOCABULARY) }
    }
}

impl Writer {
    /// So many bytes of words and spaces, the last word cut where they end.
    pub fn body(&self, bytes: usize, rng: &mut impl Rng) -> String {
        let mut body = String::with_capacity(bytes + 16);
        while body.len() < bytes {
            if !body.is_empty() {
                body.push(' ');
            }
            body.push_str(self.words.get(self.zipf.draw(rng)).map_or("", String::as_str));
        }
        body.truncate(bytes);
        // A space at the end would be trimmed away.
        if body.ends_with(' ') {
            body.pop();
            body.push('a');
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn every_rank_has_a_word_of_its_own() {
        let words: HashSet<String> = (0..VOCABULARY).map(word).collect();
        assert_eq!(words.len(), VOCABULARY);
    }

    #[test]
    fn the_second_rank_is_drawn_half_as_often_as_the_first() {
        let zipf = Zipf::new(1_000);
        let mut rng = StdRng::seed_from_u64(1);
        let mut counts = vec![0_u32; 1_000];
        for _ in 0..200_000 {
            counts[zipf.draw(&mut rng)] += 1;
        }
        let ratio = f64::from(counts[0]) / f64::from(counts[1]);
        assert!((1.9..2.1).contains(&ratio), "{ratio}");
        let share = f64::from(counts[9]) / 200_000.0;
        assert!((share - zipf.share(9)).abs() < 0.002, "{share} of {}", zipf.share(9));
        assert_eq!(Zipf::new(0).draw(&mut rng), 0);
    }

    #[test]
    fn a_body_is_as_long_as_asked_for_and_the_same_for_the_same_seed() {
        let writer = Writer::default();
        for bytes in [1, 5, 100, 500] {
            let body = writer.body(bytes, &mut StdRng::seed_from_u64(3));
            assert_eq!((body.len(), body.trim()), (bytes, body.as_str()));
            assert_eq!(body, writer.body(bytes, &mut StdRng::seed_from_u64(3)));
        }
    }
}

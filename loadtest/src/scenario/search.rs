//! Searching a long history: for words that many messages have, few, or none.

use std::path::PathBuf;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::lookups::Kind;
use super::meter::Meter;
use super::seed::Seed;
use super::{ScenarioError, Stage};
use crate::client::MessagePage;
use crate::report::Report;
use crate::words::{VOCABULARY, word};

/// Hits asked for.
const LIMIT: &str = "20";
/// The words that count as common: the first of the vocabulary, in most messages.
const COMMON: usize = 10;
/// Those that count as rare: its last part.
const RARE: usize = VOCABULARY / 4;

#[derive(Debug, Clone)]
pub struct Search {
    pub seed: Seed,
    /// Where the seeded data is kept.
    pub dir: Option<PathBuf>,
    /// Requests of each kind.
    pub samples: usize,
}

impl Search {
    /// The report, and whether all answers were in order, and empty where nothing can be found. Has to run inside a `LocalSet`.
    pub async fn run(&self, stage: &Stage) -> Result<(Report, bool), ScenarioError> {
        let seeded = self.seed.plant(stage, self.dir.as_deref()).await?;
        stage.progress.say("searching");
        let meter = Meter::start(stage.pid);
        let reader = &stage.world.admin;
        let mut rng = SmallRng::seed_from_u64(stage.seed);
        let ask = |words: String| ("/search".to_owned(), vec![("q", words), ("limit", LIMIT.to_owned())]);
        let mut kinds = Vec::new();

        let mut common = Kind::new("search, a common word");
        let one = |rng: &mut SmallRng| word(rng.random_range(0..COMMON));
        common
            .ask(reader, self.samples, || ask(one(&mut rng)), |page| found(page) && newest_first(page))
            .await?;
        kinds.push(common);
        let mut both = Kind::new("search, two common words");
        let two = |rng: &mut SmallRng| format!("{} {}", one(rng), one(rng));
        both.ask(reader, self.samples, || ask(two(&mut rng)), |page| found(page) && newest_first(page))
            .await?;
        kinds.push(both);
        let mut rare = Kind::new("search, a rare word");
        let seldom = |rng: &mut SmallRng| word(VOCABULARY - 1 - rng.random_range(0..RARE));
        rare.ask(reader, self.samples, || ask(seldom(&mut rng)), newest_first).await?;
        kinds.push(rare);
        let mut mixed = Kind::new("search, a rare and a common word");
        let seldom = |rng: &mut SmallRng| format!("{} {}", seldom(rng), one(rng));
        mixed.ask(reader, self.samples, || ask(seldom(&mut rng)), newest_first).await?;
        kinds.push(mixed);
        let mut none = Kind::new("search, a word nobody wrote");
        let absent = |rng: &mut SmallRng| format!("zz{}qx", rng.random::<u32>());
        none.ask(reader, self.samples, || ask(absent(&mut rng)), |page| !found(page)).await?;
        kinds.push(none);
        let spent = meter.stop();

        let mut report = Report::new("search", stage.seed);
        report.row("messages", seeded.messages, "").row("requests of each kind", self.samples, "");
        for kind in &kinds {
            kind.rows(&mut report);
        }
        spent.used(&mut report);
        Ok((report, kinds.iter().all(|kind| kind.wrong() == 0)))
    }
}

fn found(page: &MessagePage) -> bool {
    !page.messages.is_empty()
}

fn newest_first(page: &MessagePage) -> bool {
    let ids = page.messages.iter().map(|message| message.id);
    ids.clone().zip(ids.skip(1)).all(|(one, next)| next < one)
}

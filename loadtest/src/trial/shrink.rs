//! Makes a failing plan smaller: leaves parts out as long as it still fails.

use super::plan::{Action, Plan};

/// How much trying a shrink may take.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Runs altogether.
    pub runs: usize,
    /// A candidate that doesn't fail is run so often before it counts as good: timing isn't drawn from the seed.
    pub each: usize,
}

/// Tries ever smaller parts, from whole devices down to single posts. `fails` runs a plan once. The smallest plan found
/// that failed, and how many runs it took.
pub async fn shrink(plan: &Plan, budget: Budget, mut fails: impl AsyncFnMut(&Plan) -> bool) -> (Plan, usize) {
    let mut best = plan.clone();
    let mut runs = 0;
    let mut portion = parts(&best).div_ceil(2);
    while portion > 0 {
        let mut start = 0;
        let mut smaller = false;
        while start < parts(&best) {
            let candidate = without(&best, start, portion);
            let mut failed = false;
            for _ in 0..budget.each.max(1) {
                if runs >= budget.runs {
                    return (best, runs);
                }
                runs += 1;
                failed = fails(&candidate).await;
                if failed {
                    break;
                }
            }
            if failed {
                best = candidate;
                smaller = true;
            } else {
                start += portion;
            }
        }
        if !smaller || portion > 1 {
            portion /= 2;
        }
    }
    (best, runs)
}

/// Faults, then steps device by device (so that a large portion is a whole device), posts of a burst one by one.
fn parts(plan: &Plan) -> usize {
    plan.faults.len() + plan.weight()
}

/// The plan without the parts from `start` on, `count` of them.
fn without(plan: &Plan, start: usize, count: usize) -> Plan {
    let mut smaller = plan.clone();
    let mut at = 0;
    let mut keep = || {
        at += 1;
        !(start + 1..=start + count).contains(&at)
    };
    smaller.faults.retain(|_| keep());
    for device in &mut smaller.devices {
        device.steps.retain_mut(|step| match &mut step.action {
            Action::Post(posts) => {
                posts.retain(|_| keep());
                !posts.is_empty()
            }
            _ => keep(),
        });
    }
    let (before, after) = (plan.weight().max(1), smaller.weight());
    for fault in &mut smaller.faults {
        // As far through as it was: one beyond the last step would never come.
        fault.at = fault.at * after / before;
    }
    smaller
}

#[cfg(test)]
mod tests {
    use super::super::{Fault, Options};
    use super::*;

    fn parts_of(plan: &Plan) -> (usize, usize) {
        (plan.faults.len(), plan.weight())
    }

    /// Two posts and a kill are what it takes to fail: nothing else may be left.
    #[tokio::test]
    async fn what_is_left_is_what_it_takes() {
        let options = Options { faults: 12, ..Options::default() };
        let plan = Plan::new(&options);
        let posts = |plan: &Plan| -> Vec<uuid::Uuid> {
            let steps = plan.devices.iter().flat_map(|device| &device.steps);
            let posts = steps.filter_map(|step| match &step.action {
                Action::Post(posts) => Some(posts),
                _ => None,
            });
            posts.flatten().map(|post| post.id).collect()
        };
        let all = posts(&plan);
        let guilty = [all[3], all[all.len() - 5]];
        let kills = |plan: &Plan| plan.faults.iter().any(|fault| fault.fault == Fault::Kill);
        assert!(kills(&plan));
        let fails = async |plan: &Plan| kills(plan) && guilty.iter().all(|id| posts(plan).contains(id));
        let (smallest, runs) = shrink(&plan, Budget { runs: 2_000, each: 1 }, fails).await;
        assert_eq!(parts_of(&smallest), (1, 2));
        assert!(runs < 2_000, "{runs}");
    }

    /// What fails only while the fault is met by work still to come is made smaller, too.
    #[tokio::test]
    async fn faults_stay_where_they_were_in_the_course_of_the_run() {
        let plan = Plan::new(&Options { faults: 12, ..Options::default() });
        let fails = async |plan: &Plan| plan.faults.iter().any(|fault| fault.at < plan.weight());
        let (smallest, _) = shrink(&plan, Budget { runs: 2_000, each: 1 }, fails).await;
        assert_eq!(parts_of(&smallest), (1, 1));
    }

    #[tokio::test]
    async fn trying_has_an_end() {
        let plan = Plan::new(&Options::default());
        let mut tried = 0;
        let (same, runs) = shrink(&plan, Budget { runs: 7, each: 3 }, async |_: &Plan| {
            tried += 1;
            false
        })
        .await;
        assert_eq!((same, runs, tried), (plan, 7, 7));
    }
}

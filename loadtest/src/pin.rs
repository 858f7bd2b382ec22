//! Which cores a process runs on: the server on one, the load on another, so that neither takes the other's time.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Where the two sides run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cores {
    /// The server's and the baseline's.
    pub server: usize,
    /// This process's.
    pub load: usize,
}

impl Cores {
    /// The first two that this process may use.
    pub fn first_two() -> io::Result<Cores> {
        let all = sched_getaffinity(None)?;
        let mut usable = (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core));
        match (usable.next(), usable.next()) {
            (Some(server), Some(load)) => Ok(Cores { server, load }),
            _ => Err(io::Error::new(io::ErrorKind::Unsupported, "--pin needs two cores")),
        }
    }
}

/// Keeps the calling thread, and the threads and processes it starts from then on, on one core.
pub fn to(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

/// Keeps the calling thread on one core until it is dropped: what it starts meanwhile stays there.
pub struct Held {
    before: CpuSet,
}

impl Held {
    pub fn on(core: usize) -> io::Result<Held> {
        let before = sched_getaffinity(None)?;
        to(core)?;
        Ok(Held { before })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // It worked a moment ago; a thread that stays where it is does no harm but to the numbers.
        sched_setaffinity(None, &self.before).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_stays_where_it_was_started_and_this_thread_comes_back() {
        let before = sched_getaffinity(None).unwrap();
        let core = (0..CpuSet::MAX_CPU).find(|core| before.is_set(*core)).unwrap();
        let held = Held::on(core).unwrap();
        let child = std::process::Command::new("cat").arg("/proc/self/status").output().unwrap();
        drop(held);
        let status = String::from_utf8(child.stdout).unwrap();
        assert!(status.contains(&format!("Cpus_allowed_list:\t{core}\n")), "{status}");
        assert_eq!(sched_getaffinity(None).unwrap().count(), before.count());
    }
}

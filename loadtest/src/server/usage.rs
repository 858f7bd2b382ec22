//! What a process has used so far, from /proc.

use std::fs;
use std::io;
use std::time::Duration;

/// Linux reports CPU time to userspace in this unit on every architecture we run on (`getconf CLK_TCK`).
const TICK: Duration = Duration::from_millis(10);

/// CPU time and memory of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// User and system time, all threads, ended ones too; 10 ms steps.
    pub cpu: Duration,
    /// Resident memory, bytes.
    pub rss: u64,
}

impl Usage {
    pub fn of(pid: u32) -> io::Result<Usage> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let shape = || io::Error::new(io::ErrorKind::InvalidData, "an unknown shape of /proc");
        Ok(Usage { cpu: cpu(&stat).ok_or_else(shape)?, rss: rss(&status).ok_or_else(shape)? })
    }

    /// CPU used since `earlier`.
    pub fn cpu_since(&self, earlier: &Usage) -> Duration {
        self.cpu.saturating_sub(earlier.cpu)
    }
}

/// Fields 14 and 15 of proc_pid_stat(5). The name (field 2) may hold spaces and parentheses.
fn cpu(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    TICK.checked_mul(user.checked_add(system)?)
}

fn rss(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_a_name_with_parentheses() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 4 0 100 1000 10";
        assert_eq!(cpu(stat), Some(Duration::from_secs(2)));
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        assert_eq!(rss("Name:\tx\nVmRSS:\t    2048 kB\nRssAnon:\t1 kB\n"), Some(2048 * 1024));
    }

    #[test]
    fn this_process_is_readable() {
        assert!(Usage::of(std::process::id()).unwrap().rss > 0);
    }
}

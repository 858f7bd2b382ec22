//! What a number was measured on, and what this process may open.

use std::fs;

use serde::Serialize;

#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    pub cores: usize,
    pub kernel: String,
    pub cpu: String,
}

impl Machine {
    pub fn here() -> Machine {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Machine {
            cores: cores(&read("/proc/cpuinfo")),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            cpu: cpu_model(&read("/proc/cpuinfo")).unwrap_or("unknown").to_owned(),
        }
    }
}

/// All of them, also when this process keeps to one.
fn cores(cpuinfo: &str) -> usize {
    cpuinfo.lines().filter(|line| line.starts_with("processor")).count()
}

fn cpu_model(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, model)| model.trim())
}

/// How many files this process may have open (the soft limit).
pub fn open_files_limit() -> Option<u64> {
    parse_limit(&fs::read_to_string("/proc/self/limits").ok()?)
}

fn parse_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// An explanation when `sockets` connections do not fit this process.
pub fn too_many_sockets(sockets: usize) -> Option<String> {
    let limit = open_files_limit()?;
    let needed = u64::try_from(sockets).unwrap_or(u64::MAX).saturating_add(100);
    (needed > limit).then(|| {
        format!("{sockets} sockets need {needed} open files and the limit is {limit}: raise it with `ulimit -n {needed}`, for the server too")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_the_soft_one() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 4096                 files\n";
        assert_eq!(parse_limit(limits), Some(1024));
    }

    #[test]
    fn the_model_is_the_first_processors() {
        assert_eq!(
            cpu_model("processor\t: 0\nmodel name\t: A CPU @ 2GHz\nmodel name\t: B\n"),
            Some("A CPU @ 2GHz")
        );
    }

    #[test]
    fn every_core_counts() {
        assert_eq!(cores("processor\t: 0\nmodel name\t: A\n\nprocessor\t: 1\n"), 2);
        assert!(Machine::here().cores > 0);
    }

    #[test]
    fn a_few_sockets_fit() {
        assert_eq!(too_many_sockets(1), None);
        assert!(too_many_sockets(usize::MAX).is_some());
    }
}

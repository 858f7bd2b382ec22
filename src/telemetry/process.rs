//! What the kernel says about this process (proc(5)).

use super::catalog::{METRICS, Metric, PROCESS_CPU, PROCESS_FDS, PROCESS_MEMORY};
use std::fmt::Write;
use std::fs;

/// The kernel counts processor time in hundredths of a second for everybody who reads `/proc`.
const TICKS_PER_SECOND: u64 = 100;

/// The process metrics as Prometheus text; what the system doesn't tell is left out.
pub(super) fn render() -> String {
    let mut text = String::new();
    for metric in METRICS {
        let value = match metric.name {
            PROCESS_CPU => cpu_seconds(),
            PROCESS_MEMORY => resident_bytes(),
            PROCESS_FDS => open_fds(),
            _ => None,
        };
        if let Some(value) = value {
            write_one(&mut text, metric, &value);
        }
    }
    text
}

fn write_one(text: &mut String, Metric { name, help, .. }: &Metric, value: &str) {
    let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
    // Writing to a String can't fail.
    let _infallible = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n\n");
}

fn cpu_seconds() -> Option<String> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name in brackets may hold anything, so fields are counted from its end: utime and stime are 12th and 13th.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let ticks = user.checked_add(system)?;
    Some(format!("{}.{:02}", ticks / TICKS_PER_SECOND, ticks % TICKS_PER_SECOND))
}

fn resident_bytes() -> Option<String> {
    Some(resident_memory()?.to_string())
}

/// Resident bytes of this process.
pub fn resident_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// What the machine has, or what the cgroup grants if that is less (cgroups(7), both versions).
pub fn memory_limit() -> Option<u64> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default().to_owned();
    let files = [
        format!("/sys/fs/cgroup{own}/memory.max"),
        "/sys/fs/cgroup/memory.max".to_owned(),
        "/sys/fs/cgroup/memory/memory.limit_in_bytes".to_owned(),
    ];
    // "max" is no number: that one grants everything.
    let granted = files.iter().filter_map(|path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok());
    granted.chain([kib.checked_mul(1024)?]).min()
}

fn open_fds() -> Option<String> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count().to_string())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn linux_tells_all_three() {
        let text = render();
        for name in [PROCESS_CPU, PROCESS_MEMORY, PROCESS_FDS] {
            assert!(text.contains(&format!("\n{name} ")), "{text}");
        }
    }
}

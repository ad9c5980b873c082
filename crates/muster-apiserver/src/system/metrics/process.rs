//! What the system says about this process, under the names that Prometheus' clients use.
//!
//! Refuses to know: what the process does.

use std::fs;

use super::exposition::{Exposed, Gauge, Metric};

/// Clock ticks per second in `/proc`, on every Linux.
const TICKS: f64 = 100.0;

/// Appends the process's metrics; what the system does not tell is left out.
pub(super) fn expose(out: &mut String) {
    let whole = |out: &mut String, name, help, value: Option<i64>| {
        if let Some(value) = value {
            let metric: Metric<Gauge> = Metric::new(name, help, &[]);
            metric.of(&[]).set(value);
            metric.expose(out);
        }
    };
    if let Some((cpu, start)) = times() {
        out.push_str(&format!(
            "# HELP process_cpu_seconds_total Total user and system CPU time spent in seconds.\n\
             # TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total {cpu}\n"
        ));
        out.push_str(&format!(
            "# HELP process_start_time_seconds Start time of the process since unix epoch in seconds.\n\
             # TYPE process_start_time_seconds gauge\nprocess_start_time_seconds {start}\n"
        ));
    }
    whole(
        out,
        "process_max_fds",
        "Maximum number of open file descriptors.",
        max_descriptors(),
    );
    whole(
        out,
        "process_open_fds",
        "Number of open file descriptors.",
        fs::read_dir("/proc/self/fd")
            .ok()
            .and_then(|entries| i64::try_from(entries.count()).ok()),
    );
    whole(
        out,
        "process_resident_memory_bytes",
        "Resident memory size in bytes.",
        kibibytes("VmRSS:"),
    );
    whole(
        out,
        "process_virtual_memory_bytes",
        "Virtual memory size in bytes.",
        kibibytes("VmSize:"),
    );
}

/// A size from `/proc/self/status`, in bytes.
fn kibibytes(field: &str) -> Option<i64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes: i64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kibibytes * 1024)
}

fn max_descriptors() -> Option<i64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Seconds of processor time, and when the process began, in seconds since 1970.
fn times() -> Option<(f64, f64)> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name, in brackets, may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |place: usize| fields.get(place)?.parse::<f64>().ok();
    let cpu = (ticks(11)? + ticks(12)?) / TICKS;
    let boot = fs::read_to_string("/proc/stat").ok()?;
    let boot = boot.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some((cpu, boot.trim().parse::<f64>().ok()? + ticks(19)? / TICKS))
}

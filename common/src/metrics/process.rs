//! Figures of this process, read from `/proc` at each scrape. Source: proc(5), and Prometheus' names for them.

use std::fs;
use std::sync::OnceLock;

use super::Exposition;

/// Ticks a second of the times in `/proc/*/stat`: the same on every architecture of Linux that matters.
const TICKS_PER_SECOND: f64 = 100.0;

/// The process's figures with the label `plane`.
pub fn process(plane: &str) -> String {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Fields are counted from behind the command's name, which may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or_else(Vec::new, |(_, rest)| rest.split_whitespace().collect());
    let number = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("");
        line.split_whitespace().next().and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0) * 1024.0
    };
    let boot = fs::read_to_string("/proc/stat").unwrap_or_default();
    let boot =
        boot.lines().find_map(|line| line.strip_prefix("btime ")).and_then(|text| text.trim().parse::<f64>().ok());
    let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let labels = [("plane", plane)];
    let mut out = Exposition::default();
    out.family("process_cpu_seconds_total", "counter", "Processor time in user and kernel mode.");
    out.sample("", &labels, (number(14) + number(15)) / TICKS_PER_SECOND);
    out.family("process_resident_memory_bytes", "gauge", "Memory that is in use and in RAM.");
    out.sample("", &labels, kib("VmRSS:"));
    out.family("process_virtual_memory_bytes", "gauge", "Memory that is mapped.");
    out.sample("", &labels, kib("VmSize:"));
    out.family("process_open_fds", "gauge", "Open file descriptors.");
    out.sample("", &labels, open);
    out.family("process_threads", "gauge", "Threads.");
    out.sample("", &labels, number(20));
    out.family("process_start_time_seconds", "gauge", "When the process started, in seconds since 1970.");
    out.sample("", &labels, boot.unwrap_or(0.0) + number(22) / TICKS_PER_SECOND);
    if let Some(lost) = LOST_LOG_LINES.get() {
        out.family(
            "vitrine_log_lines_lost_total",
            "counter",
            "Lines that the log lost, because it came to them too slowly.",
        );
        out.sample("", &labels, lost());
    }
    out.into_text()
}

static LOST_LOG_LINES: OnceLock<Box<dyn Fn() -> usize + Send + Sync>> = OnceLock::new();

/// Has the figures of this process tell how many lines its log lost, as `count` says. The first call counts.
pub fn count_lost_log_lines(count: impl Fn() -> usize + Send + Sync + 'static) {
    let _ = LOST_LOG_LINES.set(Box::new(count));
}

/// Processor time of the thread `id` of this process, in seconds; 0 where there is none.
pub fn thread_cpu_seconds(id: i64) -> f64 {
    let text = fs::read_to_string(format!("/proc/self/task/{id}/schedstat")).unwrap_or_default();
    let nanoseconds = text.split_whitespace().next().and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    nanoseconds / 1e9
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_has_figures() {
        super::count_lost_log_lines(|| 7);
        let text = super::process("test");
        let value = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(&format!("{name}{{"))).expect(name);
            line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).expect("a number")
        };
        assert!(value("process_resident_memory_bytes") > 100_000.0);
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("process_threads") >= 1.0);
        assert!(value("process_start_time_seconds") > 1.6e9);
        assert!(text.contains("vitrine_log_lines_lost_total{plane=\"test\"} 7\n"), "{text}");
    }
}

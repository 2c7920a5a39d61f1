//! What the kernel says of this process, in the names that Prometheus' own libraries use.

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, Opts};
use rustix::param::{clock_ticks_per_second, page_size};

/// Reads `/proc/self` whenever metrics are asked for.
pub(crate) struct ProcessCollector {
    cpu_seconds: Counter,
    resident_bytes: Gauge,
    open_fds: Gauge,
    start_time: Gauge,
}

/// Fields of `/proc/self/stat` behind the name of the command, counted from 0 (proc(5): the state is field 3).
const UTIME: usize = 11;
const STIME: usize = 12;
const START_TIME: usize = 19;
const RSS: usize = 21;

impl ProcessCollector {
    /// The collector, with the label `plane`.
    ///
    /// # Errors
    /// Only if a name were not one.
    pub(crate) fn new(plane: &str) -> prometheus::Result<Self> {
        let opts = |name: &str, help: &str| Opts::new(name, help).const_label("plane", plane);
        Ok(ProcessCollector {
            cpu_seconds: Counter::with_opts(opts("process_cpu_seconds_total", "User and system CPU time spent."))?,
            resident_bytes: Gauge::with_opts(opts("process_resident_memory_bytes", "Resident memory size."))?,
            open_fds: Gauge::with_opts(opts("process_open_fds", "Open file descriptors."))?,
            start_time: Gauge::with_opts(opts(
                "process_start_time_seconds",
                "Start time of the process since the Unix epoch.",
            ))?,
        })
    }

    fn refresh(&self) {
        if let Some(figures) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(Figures::parse) {
            // A counter can only grow, and so does the time.
            let grown = figures.cpu_seconds - self.cpu_seconds.get();
            self.cpu_seconds.inc_by(grown.max(0.0));
            self.resident_bytes.set(figures.resident_bytes);
            if let Some(boot) = boot_time() {
                self.start_time.set(boot + figures.started_after_boot_seconds);
            }
        }
        if let Ok(entries) = fs::read_dir("/proc/self/fd") {
            // The directory itself is open while it is counted.
            let count = entries.count().saturating_sub(1);
            self.open_fds.set(u32::try_from(count).map_or(f64::MAX, f64::from));
        }
    }

    fn metrics(&self) -> [&dyn Collector; 4] {
        [&self.cpu_seconds, &self.resident_bytes, &self.open_fds, &self.start_time]
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.metrics().into_iter().flat_map(|metric| metric.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.refresh();
        self.metrics().into_iter().flat_map(|metric| metric.collect()).collect()
    }
}

/// What `/proc/self/stat` says.
struct Figures {
    cpu_seconds: f64,
    resident_bytes: f64,
    started_after_boot_seconds: f64,
}

impl Figures {
    fn parse(stat: &str) -> Option<Figures> {
        // The name of the command stands in parentheses and may hold anything.
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<f64>().ok();
        let ticks = u32::try_from(clock_ticks_per_second()).ok().map(f64::from)?;
        let page = u32::try_from(page_size()).ok().map(f64::from)?;
        Some(Figures {
            cpu_seconds: (number(UTIME)? + number(STIME)?) / ticks,
            resident_bytes: number(RSS)? * page,
            started_after_boot_seconds: number(START_TIME)? / ticks,
        })
    }
}

/// Seconds since 1970 at which the machine started.
fn boot_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_with_odd_names_are_read() {
        let mut fields = vec!["S".to_owned()];
        fields.extend((1..30).map(|i| (i * 100).to_string()));
        let stat = format!("42 (a) b (c)) {}", fields.join(" "));
        let figures = Figures::parse(&stat).expect("figures");
        let ticks = f64::from(u32::try_from(clock_ticks_per_second()).expect("few"));
        assert!((figures.cpu_seconds - 2300.0 / ticks).abs() < 1e-9);
        assert!((figures.started_after_boot_seconds - 1900.0 / ticks).abs() < 1e-9);
    }

    #[test]
    fn this_process_has_figures() {
        let registry = prometheus::Registry::new();
        registry.register(Box::new(ProcessCollector::new("control").expect("names"))).expect("new");
        let text = common::metrics::encode(&registry);
        for name in [
            "process_cpu_seconds_total",
            "process_resident_memory_bytes",
            "process_open_fds",
            "process_start_time_seconds",
        ] {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {text}"));
            assert!(line.contains("plane=\"control\""), "{line}");
            let value: f64 = line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number");
            assert!(value >= 0.0 && (name == "process_cpu_seconds_total" || value > 0.0), "{line}");
        }
    }
}

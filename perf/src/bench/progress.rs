//! What is seen of a run while it goes on, on standard error.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::args::Progress;
use super::drive::View;
use super::latency::Latency;
use super::verdict::mib;

/// Distance of plain lines.
const PLAIN: Duration = Duration::from_secs(2);

/// Shows one run.
#[derive(Debug)]
pub(super) struct Display {
    bar: Option<ProgressBar>,
    plain: bool,
    last: Instant,
}

impl Display {
    pub(super) fn new(progress: Progress) -> Self {
        let terminal = progress == Progress::Auto && std::io::stderr().is_terminal();
        Self { bar: terminal.then(ProgressBar::new_spinner), plain: progress == Progress::Plain, last: Instant::now() }
    }

    /// A step of the preparation.
    pub(super) fn say(&mut self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_owned());
            bar.tick();
        } else if self.plain {
            eprintln!("vitrine bench: {text}");
        }
    }

    /// The beginning of a round.
    pub(super) fn begin(&mut self, name: &str, total: Duration) {
        if let Some(bar) = &self.bar {
            bar.set_length(u64::try_from(total.as_millis()).unwrap_or(u64::MAX));
            bar.set_position(0);
            // The template is a constant that is understood.
            if let Ok(style) = ProgressStyle::with_template("{prefix} [{bar:30}] {msg}") {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_prefix(name.to_owned());
        }
        self.last = Instant::now();
    }

    /// The run as it stands.
    pub(super) fn show(&mut self, view: &View<'_>, in_flight: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(Duration::from_secs_f64(view.elapsed).as_millis().try_into().unwrap_or(u64::MAX));
            bar.set_message(line(view, in_flight));
        } else if self.plain && self.last.elapsed() >= PLAIN {
            self.last = Instant::now();
            eprintln!("vitrine bench: {}", line(view, in_flight));
        }
    }

    /// The beginning of a phase that moves so many bytes; 0: it is not known.
    pub(super) fn begin_bytes(&mut self, name: &str, all: u64) {
        self.begin(name, Duration::ZERO);
        if let Some(bar) = &self.bar {
            bar.set_length(all.max(1));
        }
    }

    /// The phase as it stands.
    pub(super) fn show_bytes(&mut self, bytes: u64, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
            bar.set_message(text.to_owned());
        } else if self.plain && self.last.elapsed() >= PLAIN {
            self.last = Instant::now();
            eprintln!("vitrine bench: {text}");
        }
    }

    pub(super) fn end(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn line(view: &View<'_>, in_flight: u64) -> String {
    let time = format!("{:.0}/{:.0} s", view.elapsed, view.total);
    if view.ending {
        return format!("{time}, waiting for {in_flight} requests");
    }
    let Some(slice) = view.slice.filter(|slice| slice.seconds > 0.0) else {
        return format!("{time}, {}{in_flight} in flight", if view.warming { "warming up, " } else { "" });
    };
    let requests: u64 = slice.latency.values().map(Latency::count).sum();
    format!(
        "{time}, {:.0} MiB/s down, {:.0} up, {:.0} requests/s, {in_flight} in flight{}",
        mib(slice.down) / slice.seconds,
        mib(slice.up) / slice.seconds,
        requests as f64 / slice.seconds,
        if slice.bad > 0 { format!(", {} FAILED", slice.bad) } else { String::new() }
    )
}

//! When requests begin.
//!
//! In an open loop the clock decides, not the service: each arrival has its time, and its latency counts from that time
//! even if no connection was free for it then. A service that stalls is so charged with everybody whom it kept waiting
//! ("coordinated omission" is the name of the mistake of not doing that).

use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use super::random::Random;

/// How arrivals follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrival {
    /// At equal distances.
    Constant,
    /// Independently of each other: exponential distances, as of many users who know nothing of each other.
    Poisson,
}

/// The arrivals of one open loop, in order.
#[derive(Debug)]
pub struct Schedule {
    rate: f64,
    arrival: Arrival,
    random: Random,
    /// Arrivals so far.
    number: u64,
    /// Seconds from the start to the next arrival.
    next: f64,
    /// Seconds after which there are no more.
    end: f64,
    left: u64,
}

impl Schedule {
    /// `rate` arrivals a second (above 0) for `end`, `count` of them at most.
    #[must_use]
    pub fn new(rate: f64, arrival: Arrival, end: Duration, count: Option<u64>, seed: u64) -> Self {
        let mut schedule = Self {
            rate,
            arrival,
            random: Random::new(seed),
            number: 0,
            next: 0.0,
            end: end.as_secs_f64(),
            left: count.unwrap_or(u64::MAX),
        };
        if arrival == Arrival::Poisson {
            schedule.next = schedule.random.exponential() / rate;
        }
        schedule
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if self.next >= self.end || self.left == 0 {
            return None;
        }
        let at = self.next;
        self.number += 1;
        self.left -= 1;
        self.next = match self.arrival {
            // From the number, so that rounding does not add up.
            Arrival::Constant => self.number as f64 / self.rate,
            Arrival::Poisson => at + self.random.exponential() / self.rate,
        };
        Some(Duration::from_secs_f64(at))
    }
}

/// Reads a rate: arrivals a second, or with `/s`, `/m`, `/h` behind the number.
///
/// # Errors
/// Says what is accepted.
pub fn rate(text: &str) -> Result<f64, String> {
    let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
    let per = match unit {
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => f64::NAN,
    };
    match number.parse::<f64>() {
        Ok(number) if number > 0.0 && (number / per).is_finite() => Ok(number / per),
        _ => Err(format!("'{text}' is no rate: a number above 0, alone or with /s, /m or /h")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_arrivals_keep_their_distance() {
        let schedule = Schedule::new(1_000.0, Arrival::Constant, Duration::from_secs(2), None, 1);
        let times: Vec<Duration> = schedule.collect();
        assert_eq!(times.len(), 2_000);
        assert_eq!(times[0], Duration::ZERO);
        assert!((times[1_999].as_secs_f64() - 1.999).abs() < 1e-9);
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_spread_of_their_law() {
        let schedule = Schedule::new(1_000.0, Arrival::Poisson, Duration::from_secs(100), None, 1);
        let times: Vec<f64> = schedule.map(|at| at.as_secs_f64()).collect();
        // 100,000 expected, with a standard deviation of 316.
        assert!(times.len().abs_diff(100_000) < 1_300, "{}", times.len());
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.iter().all(|gap| *gap >= 0.0));
        // An exponential law: 1 - 1/e of the gaps are shorter than the mean.
        let short = gaps.iter().filter(|gap| **gap < 0.001).count() as f64 / gaps.len() as f64;
        assert!((short - 0.632).abs() < 0.01, "{short}");
    }

    #[test]
    fn a_seed_repeats_and_a_count_ends() {
        let times = |seed| -> Vec<Duration> {
            Schedule::new(10.0, Arrival::Poisson, Duration::from_secs(1_000), Some(7), seed).collect()
        };
        assert_eq!(times(1), times(1));
        assert_ne!(times(1), times(2));
        assert_eq!(times(1).len(), 7);
    }

    #[test]
    fn reads_rates() {
        assert_eq!(rate("100"), Ok(100.0));
        assert_eq!(rate("0.5/s"), Ok(0.5));
        assert_eq!(rate("120/m"), Ok(2.0));
        for text in ["", "0", "-1", "x", "1/d", "inf", "NaN"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }
}

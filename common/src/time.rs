//! Points in time as the catalog and the API write them. All UTC.

use std::fmt;

use jiff::civil;
use jiff::tz::{Offset, TimeZone};

/// A point in time, microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Now, by the system's clock.
    pub fn now() -> Self {
        Timestamp(jiff::Timestamp::now().as_microsecond())
    }

    /// From microseconds since 1970.
    pub fn from_micros(micros: i64) -> Self {
        Timestamp(micros)
    }

    /// Microseconds since 1970.
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970.
    pub fn as_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    fn civil(self) -> civil::DateTime {
        let instant = jiff::Timestamp::from_microsecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        Offset::UTC.to_datetime(instant)
    }

    /// As the API shows it: `2026-11-20T17:50:00Z`.
    pub fn to_api(self) -> String {
        self.civil().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// As HTTP's `Date` wants it: `Fri, 20 Nov 2026 17:50:00 GMT`.
    pub fn to_http(self) -> String {
        self.civil().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
    }

    /// As SQLite stores it, always with six digits of fraction: `2026-11-20 17:50:00.414332`.
    pub fn to_sql(self) -> String {
        let civil = self.civil();
        format!("{}.{:06}", civil.strftime("%Y-%m-%d %H:%M:%S"), civil.subsec_nanosecond() / 1000)
    }

    /// Reads what [`Timestamp::to_sql`] writes, and what other writers left: `T` instead of the space, no fraction.
    pub fn from_sql(text: &str) -> Option<Self> {
        Self::parse(text)
    }

    /// Reads an ISO 8601 date or date and time; without an offset it is UTC.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(instant) = text.parse::<jiff::Timestamp>() {
            return Some(Timestamp(instant.as_microsecond()));
        }
        let civil: civil::DateTime = text
            .parse::<civil::DateTime>()
            .or_else(|_| text.parse::<civil::Date>().map(|date| date.at(0, 0, 0, 0)))
            .ok()?;
        let instant = civil.to_zoned(TimeZone::UTC).ok()?;
        Some(Timestamp(instant.timestamp().as_microsecond()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_api())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_round_trip() {
        let at = Timestamp::from_sql("2026-11-20 17:50:00.414332").expect("sql form");
        assert_eq!(at.to_sql(), "2026-11-20 17:50:00.414332");
        assert_eq!(at.to_api(), "2026-11-20T17:50:00Z");
        assert_eq!(at.to_http(), "Fri, 20 Nov 2026 17:50:00 GMT");
        assert_eq!(Timestamp::from_sql("2026-11-20T17:50:00").expect("bare").to_sql(), "2026-11-20 17:50:00.000000");
    }

    #[test]
    fn offsets_dates_and_nonsense() {
        assert_eq!(Timestamp::parse("2026-11-20T19:50:00+02:00").expect("offset").to_api(), "2026-11-20T17:50:00Z");
        assert_eq!(Timestamp::parse("2026-11-20").expect("date").to_api(), "2026-11-20T00:00:00Z");
        assert_eq!(Timestamp::parse("yesterday"), None);
        assert_eq!(Timestamp::parse(""), None);
    }
}

//! Points in time as the catalog and the API write them. All UTC.

use std::fmt::{self, Write as _};

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
        let mut text = self.seconds(b'T');
        text.push('Z');
        text
    }

    /// As HTTP's `Date` wants it: `Fri, 20 Nov 2026 17:50:00 GMT`.
    pub fn to_http(self) -> String {
        self.civil().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
    }

    /// As SQLite stores it, always with six digits of fraction: `2026-11-20 17:50:00.414332`.
    pub fn to_sql(self) -> String {
        let mut text = self.seconds(b' ');
        let _ = write!(text, ".{:06}", self.0.rem_euclid(1_000_000));
        text
    }

    /// Date and time to the second with `between` them. By hand, because each image of a list has two.
    fn seconds(self, between: u8) -> String {
        let civil = self.civil();
        let mut text = *b"0000-00-00-00:00:00";
        text[10] = between;
        // From year 0 to 9999, which is what a column can hold.
        put(&mut text[..4], civil.year().unsigned_abs());
        let parts = [civil.month(), civil.day(), civil.hour(), civil.minute(), civil.second()];
        for (part, place) in parts.into_iter().zip([5, 8, 11, 14, 17]) {
            put(&mut text[place..place + 2], part.unsigned_abs().into());
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Reads what [`Timestamp::to_sql`] writes, and what other writers left: `T` instead of the space, no fraction.
    pub fn from_sql(text: &str) -> Option<Self> {
        Self::plain(text.as_bytes()).or_else(|| Self::parse(text))
    }

    /// Reads exactly what [`Timestamp::to_sql`] writes, quickly.
    fn plain(text: &[u8]) -> Option<Self> {
        let separators = [(4, b'-'), (7, b'-'), (10, b' '), (13, b':'), (16, b':'), (19, b'.')];
        if text.len() != 26 || separators.iter().any(|(place, byte)| text[*place] != *byte) {
            return None;
        }
        let part = |from: usize, to: usize| number(&text[from..to]);
        let small = |from: usize| part(from, from + 2).and_then(|value| i8::try_from(value).ok());
        let year = i16::try_from(part(0, 4)?).ok()?;
        let nanoseconds = i32::try_from(part(20, 26)?).ok()? * 1000;
        let civil =
            civil::DateTime::new(year, small(5)?, small(8)?, small(11)?, small(14)?, small(17)?, nanoseconds).ok()?;
        Offset::UTC.to_timestamp(civil).ok().map(|instant| Timestamp(instant.as_microsecond()))
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

/// Writes the last digits of `value`, as many as there is room for.
fn put(room: &mut [u8], mut value: u16) {
    for digit in room.iter_mut().rev() {
        *digit = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, digit| digit.is_ascii_digit().then(|| value * 10 + u32::from(digit - b'0')))
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
    fn the_quick_way_reads_what_the_long_one_does() {
        let texts = [
            "1969-12-31 23:59:59.999999",
            "2024-02-29 00:00:00.000001",
            "0001-01-01 00:00:00.000000",
            "9999-12-29 23:59:59.999999",
        ];
        for text in texts {
            let quick = Timestamp::plain(text.as_bytes()).expect(text);
            assert_eq!(Some(quick), Timestamp::parse(text), "{text}");
            assert_eq!(quick.to_sql(), text);
            assert_eq!(quick.to_api(), format!("{}Z", text[..19].replace(' ', "T")), "{text}");
        }
        let odd = [
            "2023-02-29 00:00:00.000000",
            "2024-13-01 00:00:00.000000",
            "2024-01-01 00:00:00.00000x",
            "2024-01-01 00:00:00",
            "",
        ];
        for text in odd {
            assert_eq!(Timestamp::plain(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn offsets_dates_and_nonsense() {
        assert_eq!(Timestamp::parse("2026-11-20T19:50:00+02:00").expect("offset").to_api(), "2026-11-20T17:50:00Z");
        assert_eq!(Timestamp::parse("2026-11-20").expect("date").to_api(), "2026-11-20T00:00:00Z");
        assert_eq!(Timestamp::parse("yesterday"), None);
        assert_eq!(Timestamp::parse(""), None);
    }
}

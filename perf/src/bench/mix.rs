//! What a load is made of: actions and their shares.

use super::ledger::Kind;

/// What a worker may do for an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Download.
    Pull,
    /// Create, upload, verify, delete.
    Push,
    /// Show an image.
    Show,
    /// List a page of images.
    List,
    /// Create an image without data.
    Create,
    /// Rename one of those.
    Patch,
    /// Delete one of those.
    Delete,
}

impl Action {
    const NAMES: [(&'static str, Self); 7] = [
        ("pull", Self::Pull),
        ("push", Self::Push),
        ("show", Self::Show),
        ("list", Self::List),
        ("create", Self::Create),
        ("patch", Self::Patch),
        ("delete", Self::Delete),
    ];

    /// The row of the table whose latency counts from the intended start.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Self::Pull => Kind::Pull,
            Self::Push => Kind::Push,
            Self::Show => Kind::Show,
            Self::List => Kind::List,
            Self::Create => Kind::Create,
            Self::Patch => Kind::Patch,
            Self::Delete => Kind::Delete,
        }
    }
}

/// Actions with their weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mix(Vec<(Action, u64)>);

/// What clients of a cloud mostly ask: many shows, some lists, few changes.
const METADATA: [(Action, u64); 5] =
    [(Action::Show, 60), (Action::List, 10), (Action::Create, 10), (Action::Patch, 10), (Action::Delete, 10)];

impl Mix {
    /// Nothing but this.
    #[must_use]
    pub fn only(action: Action) -> Self {
        Self(vec![(action, 1)])
    }

    /// Reads `NAME=WEIGHT,…`; `metadata` stands for its usual mix.
    ///
    /// # Errors
    /// Says what is accepted.
    pub fn parse(text: &str) -> Result<Self, String> {
        let refuse = || {
            format!(
                "'{text}' is no mix: NAME=WEIGHT,… with pull, push, metadata, show, list, create, patch, delete and whole \
                 weights up to 10000, one of them above 0"
            )
        };
        let mut mix = Self(Vec::new());
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').ok_or_else(refuse)?;
            let weight: u64 = weight.trim().parse().ok().filter(|weight| *weight <= 10_000).ok_or_else(refuse)?;
            let name = name.trim();
            if name == "metadata" {
                METADATA.iter().for_each(|(action, share)| mix.add(*action, weight * share));
            } else {
                let (_, action) = Action::NAMES.iter().find(|(known, _)| *known == name).ok_or_else(refuse)?;
                // In hundredths, as those of metadata.
                mix.add(*action, weight * 100);
            }
        }
        if mix.0.iter().all(|(_, weight)| *weight == 0) { Err(refuse()) } else { Ok(mix) }
    }

    fn add(&mut self, action: Action, weight: u64) {
        match self.0.iter_mut().find(|(known, _)| *known == action) {
            Some((_, sum)) => *sum += weight,
            None => self.0.push((action, weight)),
        }
    }

    /// The weights, in the order of [`Self::action`].
    pub fn weights(&self) -> impl Iterator<Item = u64> + Clone {
        self.0.iter().map(|(_, weight)| *weight)
    }

    /// The action of this number.
    #[must_use]
    pub fn action(&self, number: usize) -> Action {
        self.0.get(number).or(self.0.first()).map_or(Action::Show, |(action, _)| *action)
    }

    /// Whether an action ever happens.
    #[must_use]
    pub fn has(&self, action: Action) -> bool {
        self.0.iter().any(|(known, weight)| *known == action && *weight > 0)
    }

    /// The kinds of its actions, in the order of the table.
    #[must_use]
    pub fn kinds(&self) -> Vec<Kind> {
        let kinds = self.0.iter().filter(|(_, weight)| *weight > 0).map(|(action, _)| action.kind());
        let mut kinds: Vec<Kind> = kinds.collect();
        kinds.sort();
        kinds
    }
}

/// Reads sizes with optional weights: `1MiB,1GiB` or `1MiB=9,1GiB=1`.
///
/// # Errors
/// Says what is accepted.
pub fn sizes(text: &str) -> Result<Vec<(u64, u64)>, String> {
    let one = |part: &str| {
        let (size, weight) = part.split_once('=').unwrap_or((part, "1"));
        let weight = weight.trim().parse().ok().filter(|weight| (1..=10_000).contains(weight));
        let weight = weight.ok_or_else(|| format!("'{part}' has no weight from 1 to 10000 behind its ="))?;
        Ok((crate::size::parse(size.trim())?, weight))
    };
    text.split(',').map(one).collect()
}

/// Reads a duration: `10`, `10s`, `500ms`, `2m`, `1h`.
///
/// # Errors
/// Says what is accepted.
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
    let refuse = || format!("'{text}' is no duration: a number, alone or with ms, s, m or h, a day at most");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..digits].parse().map_err(|_| refuse())?;
    let unit = match &text[digits..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(refuse()),
    };
    let seconds = number * unit;
    if (0.0..=86_400.0).contains(&seconds) { Ok(std::time::Duration::from_secs_f64(seconds)) } else { Err(refuse()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn reads_mixes() {
        let mix = Mix::parse("pull=70,push=10,metadata=20").expect("a mix");
        let weights: Vec<u64> = mix.weights().collect();
        assert_eq!(weights.iter().sum::<u64>(), 10_000);
        assert_eq!(weights[..2], [7_000, 1_000]);
        assert!(mix.has(Action::Delete));
        assert_eq!(Mix::parse("pull=1, push=0").expect("a mix").kinds(), [Kind::Pull]);
        for text in ["", "pull", "pull=x", "pull=-1", "pul=1", "pull=0", "pull=1,", "pull=10001"] {
            assert!(Mix::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_sizes_and_durations() {
        assert_eq!(sizes("1MiB"), Ok(vec![(1 << 20, 1)]));
        assert_eq!(sizes("1MiB=9,2G=1"), Ok(vec![(1 << 20, 9), (2 << 30, 1)]));
        for text in ["", "1MB", "1MiB=", "1MiB=0", "1MiB,,2G", "=3"] {
            assert!(sizes(text).is_err(), "{text}");
        }
        assert_eq!(duration("1.5"), Ok(Duration::from_millis(1_500)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for text in ["", "s", "-1s", "1d", "1 s", "25h", "1..2", "inf"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}

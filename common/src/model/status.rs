//! The status machine of an image: one table.

use std::fmt;
use std::str::FromStr;

/// Where an image stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Known, without data.
    Queued,
    /// Data is arriving by `PUT …/file`.
    Saving,
    /// Data is arriving in the staging area.
    Uploading,
    /// Staged or remote data is on its way into the stores.
    Importing,
    /// Data is complete and may be downloaded.
    Active,
    /// Complete, but only administrators may download it.
    Deactivated,
    /// Left by releases that no longer exist.
    Killed,
    /// Deleted by its owner; the data waits for the scrubber.
    PendingDelete,
    /// Gone.
    Deleted,
}

use Status::{Active, Deactivated, Deleted, Importing, Killed, PendingDelete, Queued, Saving, Uploading};

/// Every legal change of status: from, to. What does not stand here is refused with 409.
const TRANSITIONS: &[(Status, &[Status])] = &[
    (Queued, &[Saving, Uploading, Importing, Active, Deleted]),
    (Saving, &[Active, Killed, Deleted, Queued]),
    (Uploading, &[Importing, Queued, Deleted]),
    (Importing, &[Active, Deleted, Queued]),
    (Active, &[PendingDelete, Deleted, Deactivated]),
    (Deactivated, &[Active, Deleted]),
    (PendingDelete, &[Deleted, Active]),
    (Killed, &[Deleted]),
    (Deleted, &[]),
];

impl Status {
    /// All nine, in the order in which Glance lists them.
    pub const ALL: [Status; 9] =
        [Queued, Saving, Active, Killed, Deleted, Uploading, Importing, PendingDelete, Deactivated];

    /// The name in the API and in the catalog.
    pub fn as_str(self) -> &'static str {
        match self {
            Queued => "queued",
            Saving => "saving",
            Uploading => "uploading",
            Importing => "importing",
            Active => "active",
            Deactivated => "deactivated",
            Killed => "killed",
            PendingDelete => "pending_delete",
            Deleted => "deleted",
        }
    }

    /// Whether the table allows the change from this status to `to`.
    pub fn may_become(self, to: Status) -> bool {
        TRANSITIONS.iter().any(|(from, targets)| *from == self && targets.contains(&to))
    }

    /// Every status from which `to` may be reached: what a conditional update tests for.
    pub fn predecessors(to: Status) -> impl Iterator<Item = Status> {
        TRANSITIONS.iter().filter(move |(_, targets)| targets.contains(&to)).map(|(from, _)| *from)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Status {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Status::ALL.into_iter().find(|status| status.as_str() == text).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for status in Status::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
        }
        assert!("Active".parse::<Status>().is_err());
    }

    #[test]
    fn an_active_image_never_takes_new_data() {
        for status in [Active, Deactivated, PendingDelete, Deleted] {
            for into in [Queued, Saving, Uploading, Importing] {
                assert!(!status.may_become(into), "{status} -> {into}");
            }
        }
    }

    #[test]
    fn predecessors_mirror_the_table() {
        let into_saving: Vec<_> = Status::predecessors(Saving).collect();
        assert_eq!(into_saving, [Queued]);
        assert!(Status::predecessors(Deleted).all(|from| from.may_become(Deleted)));
    }
}

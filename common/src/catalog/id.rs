//! Ids of new rows.

use uuid::{Builder, Uuid, Version};

use crate::time::Timestamp;

/// An id for a new image, task or job: 36 characters of lower case, which begin with the time of now (Unix, 48 bits of
/// milliseconds) and go on with 74 random bits.
///
/// Rows made one after the other so lie side by side in all that is sorted by id; with ids that are random from the first digit on, each
/// would lie in a page of its own of a dozen indexes, which a commit then writes. That is the layout of version 7 (RFC 9562, 5.7), but it
/// says version 4 as Glance's ids do: what stands around clouds and checks ids often knows versions 1 to 5 only.
#[must_use]
pub fn new_id() -> String {
    let random = Uuid::new_v4().into_bytes();
    // Bytes 6 and 8 hold version and variant, which are not random.
    let mut tail = [0; 10];
    tail[..6].copy_from_slice(&random[..6]);
    tail[6..].copy_from_slice(&random[9..13]);
    let millis = u64::try_from(Timestamp::now().as_micros() / 1000).unwrap_or_default();
    Builder::from_unix_timestamp_millis(millis, &tail).with_version(Version::Random).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn ids_are_of_version_4_sorted_by_time_and_never_alike() {
        let earlier = new_id();
        let parsed = Uuid::parse_str(&earlier).unwrap();
        assert_eq!((parsed.get_version_num(), parsed.get_variant()), (4, uuid::Variant::RFC4122));
        thread::sleep(Duration::from_millis(2));
        let later: HashSet<_> = (0..1000).map(|_| new_id()).collect();
        assert_eq!(later.len(), 1000);
        assert!(later.iter().all(|id| *id > earlier));
    }

    #[test]
    fn every_bit_after_the_time_is_drawn() {
        let fixed = Uuid::parse_str("00000000-0000-f000-c000-000000000000").unwrap().as_u128() | (u128::MAX << 80);
        let ids: Vec<_> = (0..200).map(|_| Uuid::parse_str(&new_id()).unwrap().as_u128()).collect();
        let (ones, zeros) = ids.iter().fold((0, 0), |(ones, zeros), id| (ones | id, zeros | !id));
        assert_eq!((ones | fixed, zeros | fixed), (u128::MAX, u128::MAX));
    }
}

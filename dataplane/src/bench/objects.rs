//! Objects: what is in them, and how they go.

use std::time::Duration;

use super::ledger::{Ledger, Object};
use crate::io::{BUFFER_BYTES, sleep};
use crate::shard::Shard;

/// Bytes of what all data is cut from.
const MASTER_BYTES: usize = 4 << 20;

/// Tries to remove an object, and the pause between them.
const REMOVE_TRIES: u32 = 3;
const REMOVE_PAUSE: Duration = Duration::from_millis(500);

/// Bytes of a piece that are compared: enough to tell a piece from any other.
const COMPARED_BYTES: usize = 32;

/// What is in objects: blocks of the size of a buffer, cut from one piece of random data, at another place for each.
#[derive(Debug)]
pub(super) struct Data {
    master: Vec<u8>,
}

impl Data {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut master = Vec::with_capacity(MASTER_BYTES);
        while master.len() < MASTER_BYTES {
            master.extend_from_slice(&random.next().to_le_bytes());
        }
        Data { master }
    }

    /// The block of object `number` that begins at `offset`, a multiple of a buffer's size.
    pub(super) fn block(&self, number: u64, offset: u64) -> &[u8] {
        let block = offset / BUFFER_BYTES as u64;
        let choice = Random::new(number.rotate_left(32) ^ block).next();
        let places = (MASTER_BYTES - BUFFER_BYTES) as u64;
        let at = usize::try_from(choice % places).unwrap_or(0);
        &self.master[at..at + BUFFER_BYTES]
    }

    /// Whether `piece` can be what lies at `offset` of object `number`. Its beginning is looked at.
    pub(super) fn fits(&self, number: u64, offset: u64, piece: &[u8]) -> bool {
        let within = usize::try_from(offset % BUFFER_BYTES as u64).unwrap_or(0);
        let expected = &self.block(number, offset - within as u64)[within..];
        let count = piece.len().min(expected.len()).min(COMPARED_BYTES);
        piece[..count] == expected[..count]
    }
}

/// Numbers that look random: SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Removes all objects of a record, and ends it: how many there were, and those that are left, with the reason.
pub(super) async fn remove_all(shard: &Shard, mut ledger: Ledger) -> (usize, Vec<String>) {
    let mut left = Vec::new();
    let objects = std::mem::take(&mut ledger.objects);
    let count = objects.len();
    for object in objects {
        if let Err(why) = remove(shard, &object).await {
            left.push(format!("{} in store {}: {why}", object.url, object.store));
            ledger.objects.push(object);
        }
    }
    ledger.close();
    (count - left.len(), left)
}

/// Removes an object, finished or not.
pub(super) async fn remove(shard: &Shard, object: &Object) -> Result<(), String> {
    let Some(store) = shard.shared.stores.by_id(&object.store) else {
        return Err("the store is not configured any more".to_owned());
    };
    let mut why = String::new();
    for attempt in 0..REMOVE_TRIES {
        if attempt > 0 {
            sleep(REMOVE_PAUSE).await;
        }
        // Both: an upload that came to its end has nothing unfinished.
        let unfinished = store.discard(shard, &object.url, &object.upload_id).await;
        match unfinished.and(store.remove(shard, &object.url, None).await) {
            Ok(()) => return Ok(()),
            Err(error) => why = error.to_string(),
        }
    }
    Err(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_known_by_its_place() {
        let data = Data::new(7);
        let block = data.block(3, 5 * BUFFER_BYTES as u64);
        assert!(data.fits(3, 5 * BUFFER_BYTES as u64, block));
        assert!(data.fits(3, 5 * BUFFER_BYTES as u64 + 4096, &block[4096..]));
        assert!(data.fits(3, 5 * BUFFER_BYTES as u64, &block[..7]), "less than is compared");
        assert!(!data.fits(3, 6 * BUFFER_BYTES as u64, block));
        assert!(!data.fits(4, 5 * BUFFER_BYTES as u64, block));
        assert!(data.fits(0, BUFFER_BYTES as u64 - 5, &data.block(0, 0)[BUFFER_BYTES - 5..]), "the end of a block");
    }
}

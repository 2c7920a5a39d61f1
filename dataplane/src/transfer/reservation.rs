//! What control has reserved of a quota for data of unknown length, and how more is asked for before it is written.

use std::time::{Duration, Instant};

use common::rpc::{GrowUpload, Grown, ToControl};
use common::{Error, Result};

use super::upload::{CONTROL_PATIENCE, CONTROL_PAUSE};
use crate::control_client::{ControlClient, is_away};
use crate::io::sleep;

/// How long an upload waits for room that others may give back, before it is refused. Its client waits as long.
const ROOM_PATIENCE: Duration = Duration::from_secs(30);

/// The pause between two tries.
const ROOM_PAUSE: Duration = Duration::from_millis(100);

/// The reservation of one upload.
pub(crate) struct Reservation<'a> {
    control: &'a ControlClient,
    upload_id: &'a str,
    /// Bytes that may be written.
    bytes: u64,
}

impl<'a> Reservation<'a> {
    /// What control has `reserved` for an upload so far; `None`: all that it may bring.
    pub(crate) fn new(control: &'a ControlClient, upload_id: &'a str, reserved: Option<u64>) -> Self {
        Reservation { control, upload_id, bytes: reserved.unwrap_or(u64::MAX) }
    }

    /// Waits until the upload may have `size` bytes, all in all.
    ///
    /// # Errors
    /// 413 when there is no room for them; 503 when control is away for too long.
    pub(crate) async fn cover(&mut self, size: u64) -> Result<()> {
        if size <= self.bytes {
            return Ok(());
        }
        let begun = Instant::now();
        loop {
            let last = begun.elapsed() >= ROOM_PATIENCE;
            let grow = GrowUpload { upload_id: self.upload_id.to_owned(), size, last };
            match self.control.call::<Grown>(ToControl::GrowUpload(grow)).await {
                Ok(Grown { reserved }) if reserved >= size => {
                    self.bytes = reserved;
                    return Ok(());
                }
                Ok(Grown { reserved }) if last => {
                    return Err(Error::internal(format!("control grants {reserved} of {size} bytes and no refusal")));
                }
                Ok(Grown { .. }) => sleep(ROOM_PAUSE).await,
                Err(error) if is_away(&error) && begun.elapsed() < CONTROL_PATIENCE => sleep(CONTROL_PAUSE).await,
                Err(error) => return Err(error),
            }
        }
    }
}

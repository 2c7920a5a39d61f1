//! What is found out about image data while it passes: two digests, and what it looks like.

use std::num::NonZeroUsize;

use common::config::Api;
use common::error::Kind;
use common::rpc::{Examination, Findings};
use common::{Error, Result};

use super::receive::Interrupted;
use crate::hash::{Algorithm, Pool, Stream};
use crate::inspect::{self, Inspector};
use crate::io::{Frozen, MailSender, Mailbox, mailbox};

/// One examination under way.
pub(crate) struct Examiner<'a> {
    wanted: &'a Examination,
    digests: Digests,
    /// None where the container decides what the bytes mean.
    inspector: Option<Inspector>,
}

impl<'a> Examiner<'a> {
    /// Begins one over data of which `depth` buffers are on their way at once.
    ///
    /// # Errors
    /// [`Interrupted::Broken`] when the machine lacks something, or knows no such digest.
    pub(crate) fn new(
        wanted: &'a Examination,
        hashes: &Pool<Frozen>,
        depth: NonZeroUsize,
    ) -> Result<Self, Interrupted> {
        let algorithm: Algorithm = wanted.hash_algo.parse().map_err(broken)?;
        let digests = Digests::new(hashes, algorithm, depth)?;
        let inspector = (wanted.container_format == "bare").then(Inspector::new);
        Ok(Examiner { wanted, digests, inspector })
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`Interrupted::Broken`] when nothing is hashed any more.
    pub(crate) fn feed(&mut self, bytes: &Frozen) -> Result<(), Interrupted> {
        if let Some(inspector) = &mut self.inspector {
            inspector.feed(bytes);
        }
        self.digests.submit(bytes)
    }

    /// What the `size` bytes came to.
    ///
    /// # Errors
    /// [`Interrupted::Refused`] with 415 when they are not what the image claims to be, or not safe.
    pub(crate) async fn finish(self, size: u64, api: &Api) -> Result<Findings, Interrupted> {
        let (checksum, hash_value) = self.digests.finish().await?;
        let virtual_size = self.inspector.map(|inspector| verdict(&inspector, size, self.wanted, api)).transpose();
        let virtual_size = virtual_size.map_err(Interrupted::Refused)?.flatten();
        Ok(Findings { virtual_size, checksum, hash_value })
    }
}

/// The virtual size, if the bytes are what the image claims to be.
fn verdict(inspector: &Inspector, size: u64, wanted: &Examination, api: &Api) -> Result<Option<u64>> {
    inspect::decide(
        &inspector.finish(size),
        &wanted.disk_format,
        &wanted.container_format,
        api.require_image_format_match,
        &api.gpt_safety_checks_nonfatal,
    )
    .map_err(|refusal| Error::new(Kind::UnsupportedMedia, refusal.to_string()))
}

/// The two digests of one image, each a stream of its own: with those of other images they fill lanes, alone they are a pair.
struct Digests {
    md5: Stream<Frozen>,
    other: Stream<Frozen>,
    sender: MailSender<(Which, String)>,
    home: Mailbox<(Which, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Md5,
    Other,
}

impl Digests {
    fn new(pool: &Pool<Frozen>, algorithm: Algorithm, depth: NonZeroUsize) -> std::io::Result<Self> {
        let (sender, seed) = mailbox(2)?;
        let home = seed.attach()?;
        Ok(Digests { md5: pool.open(Algorithm::Md5, depth), other: pool.open(algorithm, depth), sender, home })
    }

    fn submit(&mut self, bytes: &Frozen) -> Result<(), Interrupted> {
        self.md5.submit_both(&mut self.other, bytes).map_err(broken)
    }

    /// Both digests, once the last buffer is hashed.
    async fn finish(self) -> Result<(String, String), Interrupted> {
        for (which, stream) in [(Which::Md5, self.md5), (Which::Other, self.other)] {
            let sender = self.sender.clone();
            // Never full: it has room for both.
            stream.finish(move |digest| drop(sender.post((which, digest)))).map_err(broken)?;
        }
        let (first, second) = (self.home.recv().await, self.home.recv().await);
        Ok(if first.0 == Which::Md5 { (first.1, second.1) } else { (second.1, first.1) })
    }
}

fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Interrupted {
    Interrupted::Broken(std::io::Error::other(error))
}

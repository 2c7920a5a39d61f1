//! What is found out about image data while it passes: two digests, that of a signature, and what it looks like.

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
        let signed: Option<Algorithm> =
            wanted.signed_hash_algo.as_deref().map(str::parse).transpose().map_err(broken)?;
        let digests = Digests::new(hashes, algorithm, signed, depth)?;
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
        let [checksum, hash_value, signed_hash_value] = self.digests.finish().await?;
        let virtual_size = self.inspector.map(|inspector| verdict(&inspector, size, self.wanted, api)).transpose();
        let virtual_size = virtual_size.map_err(Interrupted::Refused)?.flatten();
        let (checksum, hash_value) = (checksum.unwrap_or_default(), hash_value.unwrap_or_default());
        Ok(Findings { virtual_size, checksum, hash_value, signed_hash_value })
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

/// The digests of one image, each a stream of its own: with those of other images they fill lanes, alone the first two are a pair or
/// go side by side.
struct Digests {
    md5: Stream<Frozen>,
    other: Stream<Frozen>,
    /// That of a signature, where none of the others is it.
    signed: Option<Stream<Frozen>>,
    /// Whether the other one is that of a signature too.
    is_signed: bool,
    sender: MailSender<(usize, String)>,
    home: Mailbox<(usize, String)>,
}

/// How many digests there are at most.
const DIGESTS_MAX: usize = 3;

impl Digests {
    fn new(
        pool: &Pool<Frozen>,
        algorithm: Algorithm,
        signed: Option<Algorithm>,
        depth: NonZeroUsize,
    ) -> std::io::Result<Self> {
        let (sender, seed) = mailbox(DIGESTS_MAX)?;
        let home = seed.attach()?;
        Ok(Digests {
            md5: pool.open(Algorithm::Md5, depth),
            other: pool.open(algorithm, depth),
            is_signed: signed == Some(algorithm),
            signed: signed.filter(|signed| *signed != algorithm).map(|signed| pool.open(signed, depth)),
            sender,
            home,
        })
    }

    fn submit(&mut self, bytes: &Frozen) -> Result<(), Interrupted> {
        self.md5.submit_both(&mut self.other, bytes).map_err(broken)?;
        match &mut self.signed {
            Some(stream) => stream.submit(bytes.clone()).map_err(broken),
            None => Ok(()),
        }
    }

    /// MD5, the other one and that of the signature, where there is one; once the last buffer is hashed.
    async fn finish(self) -> Result<[Option<String>; DIGESTS_MAX], Interrupted> {
        let mut found = [const { None }; DIGESTS_MAX];
        let mut count = 0;
        for (index, stream) in [Some(self.md5), Some(self.other), self.signed].into_iter().enumerate() {
            let Some(stream) = stream else { continue };
            let sender = self.sender.clone();
            // Never full: it has room for all.
            stream.finish(move |digest| drop(sender.post((index, digest)))).map_err(broken)?;
            count += 1;
        }
        for _ in 0..count {
            let (index, digest) = self.home.recv().await;
            found[index] = Some(digest);
        }
        if self.is_signed {
            found[2] = found[1].clone();
        }
        Ok(found)
    }
}

fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Interrupted {
    Interrupted::Broken(std::io::Error::other(error))
}

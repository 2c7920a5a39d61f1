//! Uploads: streams that send the same file from the page cache, without a copy, each to an image of its own.

use std::fs::File;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use rustix::fs::sendfile;
use rustix::io::Errno;

use super::{Done, pull, together};
use crate::error::{During, Error, Result};
use crate::http::{Connection, Head};
use crate::images::{self, Image, expect};
use crate::payload::Payload;

/// How much one call to `sendfile` may send; it ends early only when the socket fails.
const SLICE: u64 = 64 << 20;

/// Streams ready to upload.
#[derive(Debug)]
pub struct Push<'a> {
    address: SocketAddr,
    payload: &'a Payload,
    streams: Vec<Stream>,
    stagger: Duration,
}

#[derive(Debug)]
struct Stream {
    connection: Connection,
    /// Id of the image; none on a server without images.
    id: Option<String>,
    target: String,
}

impl<'a> Push<'a> {
    /// Registers an image for each of `streams` streams, each of which will begin `stagger` after the one before.
    ///
    /// # Errors
    /// The server does not answer, or does not create.
    pub fn prepare(address: SocketAddr, payload: &'a Payload, streams: usize, stagger: Duration) -> Result<Self> {
        let prepare = |number| {
            let mut connection = Connection::to(address);
            let image = images::create(&mut connection, &format!("perf-push-{number}"))?;
            let target = images::data_target(&image.id);
            Ok(Stream { connection, id: Some(image.id), target })
        };
        Ok(Self { address, payload, streams: (0..streams).map(prepare).collect::<Result<_>>()?, stagger })
    }

    /// One stream to a server that knows no images and takes any target.
    #[must_use]
    pub fn bare(address: SocketAddr, payload: &'a Payload) -> Self {
        let stream = Stream { connection: Connection::to(address), id: None, target: "/".to_owned() };
        Self { address, payload, streams: vec![stream], stagger: Duration::ZERO }
    }

    /// Uploads; done when the server has acknowledged every stream.
    ///
    /// # Errors
    /// An upload fails.
    pub fn run(&mut self) -> Result<Done> {
        self.run_with(|| Ok(()))
    }

    /// Uploads, after the thread of each stream has called `prepare`.
    ///
    /// # Errors
    /// An upload fails, or `prepare`.
    pub fn run_with(&mut self, prepare: impl Fn() -> Result<()> + Sync) -> Result<Done> {
        let (payload, stagger) = (self.payload, self.stagger);
        let (sent, wall) = together(self.streams.iter_mut().zip(0..), |(stream, number): (&mut Stream, u32)| {
            prepare()?;
            thread::sleep(stagger.saturating_mul(number));
            stream.send(payload)
        })?;
        let requests = sent.len() as u64;
        Ok(Done { bytes: payload.size.saturating_mul(requests), requests, wall })
    }

    /// Checks what the server says of each image, and deletes them.
    ///
    /// # Errors
    /// Size or digests are wrong, or an image cannot be deleted.
    pub fn verify_and_delete(self) -> Result<()> {
        for mut stream in self.streams {
            let image = stream.show()?;
            images::verify(&image, self.payload.size, &self.payload.digests)?;
            images::delete(&mut stream.connection, &image.id)?;
        }
        Ok(())
    }

    /// Downloads each image and compares every byte, as for a server that does not compute digests, and deletes them.
    ///
    /// # Errors
    /// A byte is wrong, or an image cannot be deleted.
    pub fn compare_and_delete(self) -> Result<()> {
        for mut stream in self.streams {
            let image = stream.show()?;
            pull::verify(self.address, &stream.target, self.payload)?;
            images::delete(&mut stream.connection, &image.id)?;
        }
        Ok(())
    }

    /// Checks what the server says of the one image and keeps it. Returns its id.
    ///
    /// # Errors
    /// Size or digests are wrong, or there is not exactly one stream.
    pub fn verify_and_keep(mut self) -> Result<String> {
        let [stream] = self.streams.as_mut_slice() else {
            return Err(Error::Setup("only a single upload can be kept".into()));
        };
        let image = stream.show()?;
        images::verify(&image, self.payload.size, &self.payload.digests)?;
        Ok(image.id)
    }
}

impl Stream {
    fn show(&mut self) -> Result<Image> {
        let id = self.id.as_ref().ok_or_else(|| Error::Setup("a server without images".into()))?;
        images::show(&mut self.connection, id)
    }

    fn send(&mut self, payload: &Payload) -> Result<()> {
        let target = &self.target;
        let head = format!(
            "PUT {target} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n\r\n",
            self.connection.host(),
            payload.size
        );
        self.connection.write(head.as_bytes())?;
        let answer = match send_all(&payload.file, payload.size, &mut self.connection) {
            Ok(()) => self.connection.read_head()?,
            // A server that refuses early says why before it closes.
            Err(error) => self.connection.read_head().ok().filter(Head::is_refusal).ok_or(error)?,
        };
        expect(&mut self.connection, &answer, 204, "upload").map(drop)
    }
}

fn send_all(file: &File, size: u64, connection: &mut Connection) -> Result<()> {
    let socket = connection.socket()?;
    let mut offset = 0;
    while offset < size {
        let slice = usize::try_from((size - offset).min(SLICE)).unwrap_or(usize::MAX);
        match sendfile(socket, file, Some(&mut offset), slice) {
            Ok(0) => return Err(Error::Setup("the payload shrank while it was sent".into())),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).during(|| format!("sending byte {offset} of a body")),
        }
    }
    Ok(())
}

//! The other runtime of the card. It has no way to send from a file descriptor and none to wait for a foreign one, so bytes are
//! read into a buffer and written from it.

use std::rc::Rc;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::io::BufferedFile;
use glommio::net::{TcpListener, TcpStream};
use glommio::{LocalExecutorBuilder, Placement};
use runtimes::{Arguments, HEAD_BYTES, head, is_complete};

/// Bytes per read: where its figures level off.
const PIECE_BYTES: usize = 256 * 1024;

fn main() {
    let arguments = Arguments::read();
    let executor = LocalExecutorBuilder::new(Placement::Fixed(arguments.cpu))
        .spawn(|| async move {
            let (_, length) = arguments.file();
            let file = Rc::new(BufferedFile::open(&arguments.path).await.expect("a file"));
            let listener = TcpListener::bind(arguments.address).expect("the port is free");
            loop {
                let stream = listener.accept().await.expect("a connection");
                let file = Rc::clone(&file);
                glommio::spawn_local(async move { serve(stream, &file, length).await }).detach();
            }
        })
        .expect("an executor");
    executor.join().expect("the executor runs");
}

async fn serve(mut stream: TcpStream, file: &BufferedFile, length: u64) -> Option<()> {
    let mut received = Vec::new();
    while !is_complete(&received) {
        let mut piece = [0; HEAD_BYTES];
        match stream.read(&mut piece).await.ok()? {
            0 => return None,
            count => received.extend_from_slice(&piece[..count]),
        }
    }
    stream.write_all(head(length).as_bytes()).await.ok()?;
    let mut offset = 0;
    while offset < length {
        let piece = file.read_at(offset, PIECE_BYTES).await.ok()?;
        stream.write_all(&piece).await.ok()?;
        offset += piece.len() as u64;
    }
    Some(())
}

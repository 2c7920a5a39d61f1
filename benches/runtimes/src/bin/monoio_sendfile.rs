//! The product's own path: its io room, compiled alone, as a download uses it, with a fixed send buffer.
//! `EPOLL=1` takes the fallback driver.

use std::rc::Rc;

#[allow(dead_code, unreachable_pub, unused_imports)]
#[path = "../../../../dataplane/src/io/mod.rs"]
mod io;

use io::{Conn, CoreConfig, Driver, File, Listener, Offload, OffloadConfig, Progress, run_core, spawn};
use runtimes::{Arguments, HEAD_BYTES, SEND_BUFFER, head, is_complete};

fn main() {
    let arguments = Arguments::read();
    let listener = arguments.listener();
    let driver = if std::env::var_os("EPOLL").is_some() { Driver::Epoll } else { Driver::Uring };
    let offload = Offload::new(OffloadConfig::default()).expect("threads");
    let core = CoreConfig { driver, cpu: Some(arguments.cpu), entries: 1024, offload };
    run_core(core, async move {
        let listener = Listener::new(listener).expect("a listener");
        let file = Rc::new(File::open(arguments.path).await.expect("a file"));
        loop {
            let conn = listener.accept().await.expect("a connection");
            let file = Rc::clone(&file);
            drop(spawn(async move { serve(conn, &file).await }));
        }
    })
    .expect("the core runs")
}

async fn serve(conn: Conn, file: &File) -> Option<()> {
    let mut received = Vec::with_capacity(HEAD_BYTES);
    while !is_complete(&received) {
        let result;
        (result, received) = conn.recv(received).await;
        if result.ok()? == 0 {
            return None;
        }
    }
    let length = file.len().ok()?;
    conn.set_send_buffer(SEND_BUFFER).ok()?;
    conn.send_with_more_to_come(head(length).as_bytes()).await.ok()?;
    conn.send_file(file, 0..length, &Progress::new()).await.ok()
}

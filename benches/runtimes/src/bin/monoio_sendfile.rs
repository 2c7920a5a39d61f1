//! The product's own path: its io room as a download uses it, with a fixed send buffer.
//! `EPOLL=1` takes the fallback driver.

use dataplane::io::{
    BufferLimits, Conn, CoreConfig, Driver, File, Listener, Offload, OffloadConfig, Progress, SendOptions, SendPath,
    run_core, send_file, spawn,
};
use runtimes::{Arguments, HEAD_BYTES, SEND_BUFFER, head, is_complete};

fn main() {
    let arguments = Arguments::read();
    let listener = arguments.listener();
    let driver = if std::env::var_os("EPOLL").is_some() { Driver::Epoll } else { Driver::Uring };
    let offload = Offload::new(OffloadConfig::default()).expect("threads");
    let core = CoreConfig {
        driver,
        cpu: Some(arguments.cpu),
        entries: 1024,
        offload,
        buffers: BufferLimits::default(),
        pipes: 16,
    };
    run_core(core, async move {
        let listener = Listener::new(listener).expect("a listener");
        loop {
            let conn = listener.accept().await.expect("a connection");
            let file = File::open(&arguments.path).await.expect("a file");
            drop(spawn(async move { serve(conn, file).await }));
        }
    })
    .expect("the core runs")
}

async fn serve(conn: Conn, file: File) -> Option<()> {
    let mut received = Vec::with_capacity(HEAD_BYTES);
    while !is_complete(&received) {
        let result;
        (result, received) = conn.recv(received).await;
        if result.ok()? == 0 {
            return None;
        }
    }
    let length = file.opened_len();
    conn.set_send_buffer(SEND_BUFFER).ok()?;
    conn.send_with_more_to_come(head(length).as_bytes()).await.ok()?;
    let options = SendOptions { path: SendPath::Splice, depth: 1, zero_copy: false };
    send_file(&conn, file, 0..length, options, &Progress::new()).await.ok()
}

//! nginx at its best for one large file in the page cache: `sendfile`, one pinned worker per core with a listening
//! socket of its own, no logs. Whether `tcp_nopush` (full packets only) helps depends on the machine: both are measured.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Kind, Server, free_address};
use crate::error::{During, Result};

/// Path under which the file is served.
pub const TARGET: &str = "/image";

/// Starts the binary `program` in the new directory `directory`, serving a hard link to `file` at [`TARGET`];
/// with `tcp_nopush` if `kind` is [`Kind::NginxNopush`].
///
/// # Errors
/// It does not start.
pub fn start(program: &Path, directory: &Path, file: &Path, kind: Kind) -> Result<Server> {
    let files = directory.join("files");
    fs::create_dir_all(&files).during(|| files.display().to_string())?;
    let link = files.join(&TARGET[1..]);
    fs::hard_link(file, &link).during(|| link.display().to_string())?;
    let address = free_address()?;
    let root = rustix::process::geteuid().is_root();
    let settings = settings(directory, &address.to_string(), root, kind == Kind::NginxNopush);
    let path = directory.join("nginx.conf");
    fs::write(&path, settings).during(|| path.display().to_string())?;
    let mut command = Command::new(program);
    command.arg("-c").arg(&path).arg("-p").arg(directory).args(["-e", "stderr"]);
    Server::start(kind, command, address, files, directory.join("log"), "/")
}

fn settings(directory: &Path, address: &str, root: bool, nopush: bool) -> String {
    let directory = directory.display();
    // Workers of root would become another user, who may not look into this directory.
    let user = if root { "user root;\n" } else { "" };
    let nopush = if nopush { "on" } else { "off" };
    format!(
        "{user}daemon off;
pid {directory}/pid;
error_log stderr warn;
worker_processes auto;
worker_cpu_affinity auto;
events {{
    worker_connections 1024;
}}
http {{
    access_log off;
    sendfile on;
    sendfile_max_chunk 2m;
    tcp_nopush {nopush};
    keepalive_requests 1000000;
    open_file_cache max=16 inactive=1h;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen {address} reuseport;
        root {directory}/files;
    }}
}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_name_the_place_and_the_user() {
        let text = settings(Path::new("/d"), "127.0.0.1:81", true, true);
        assert!(text.starts_with("user root;\n") && text.contains("tcp_nopush on;"));
        assert!(text.contains("listen 127.0.0.1:81 reuseport;") && text.contains("root /d/files;"));
        let text = settings(Path::new("/d"), "127.0.0.1:81", false, false);
        assert!(text.contains("tcp_nopush off;") && !text.contains("user"));
    }
}

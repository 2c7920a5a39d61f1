//! nginx at its best for one large file in the page cache: `sendfile`, one pinned worker per core with a listening
//! socket of its own, no logs. Which chunk is best, and whether `tcp_nopush` (full packets only) helps, depends on the
//! machine: several settings are measured, and the best of them counts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Server, free_address};
use crate::error::{During, Result};

/// Path under which the file is served.
pub const TARGET: &str = "/image";

/// What differs between the nginxes that are compared.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What it is called in reports: `nginx` and what is special.
    pub name: &'static str,
    /// `sendfile_max_chunk`.
    pub chunk: &'static str,
    /// `tcp_nopush`.
    pub nopush: bool,
    /// Certificate and key, for TLS. Without kernel TLS, which nginx only uses where it is told to.
    pub tls: Option<(PathBuf, PathBuf)>,
}

impl Settings {
    /// The settings that are tried for plain HTTP.
    pub const PLAIN: [Self; 4] = [
        Self { name: "nginx 2m", chunk: "2m", nopush: false, tls: None },
        Self { name: "nginx 2m nopush", chunk: "2m", nopush: true, tls: None },
        Self { name: "nginx 512k", chunk: "512k", nopush: false, tls: None },
        Self { name: "nginx 512k nopush", chunk: "512k", nopush: true, tls: None },
    ];
}

/// Starts the binary `program` in the new directory `directory`, serving a hard link to `file` at [`TARGET`].
///
/// # Errors
/// It does not start.
pub fn start(program: &Path, directory: &Path, file: &Path, settings: &Settings) -> Result<Server> {
    let files = directory.join("files");
    fs::create_dir_all(&files).during(|| files.display().to_string())?;
    let link = files.join(&TARGET[1..]);
    fs::hard_link(file, &link).during(|| link.display().to_string())?;
    let address = free_address()?;
    let root = rustix::process::geteuid().is_root();
    let text = text(directory, &address.to_string(), root, settings);
    let path = directory.join("nginx.conf");
    fs::write(&path, text).during(|| path.display().to_string())?;
    let mut command = Command::new(program);
    command.arg("-c").arg(&path).arg("-p").arg(directory).args(["-e", "stderr"]);
    Server::start(settings.name, command, address, files, directory.join("log"), settings.tls.is_none().then_some("/"))
}

fn text(directory: &Path, address: &str, root: bool, settings: &Settings) -> String {
    let directory = directory.display();
    // Workers of root would become another user, who may not look into this directory.
    let user = if root { "user root;\n" } else { "" };
    let nopush = if settings.nopush { "on" } else { "off" };
    let chunk = settings.chunk;
    let (ssl, tls) = match &settings.tls {
        None => ("", String::new()),
        Some((certificate, key)) => (
            " ssl",
            format!(
                "        ssl_certificate {};
        ssl_certificate_key {};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_cache off;
        output_buffers 2 512k;
",
                certificate.display(),
                key.display()
            ),
        ),
    };
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
    sendfile_max_chunk {chunk};
    tcp_nopush {nopush};
    keepalive_requests 1000000;
    open_file_cache max=16 inactive=1h;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen {address} reuseport{ssl};
{tls}        root {directory}/files;
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
        let mut settings = Settings::PLAIN[1].clone();
        let plain = text(Path::new("/d"), "127.0.0.1:81", true, &settings);
        assert!(plain.starts_with("user root;\n") && plain.contains("tcp_nopush on;"));
        assert!(plain.contains("listen 127.0.0.1:81 reuseport;") && plain.contains("root /d/files;"));
        assert!(plain.contains("sendfile_max_chunk 2m;") && !plain.contains("ssl"));
        settings.nopush = false;
        settings.tls = Some(("/c".into(), "/k".into()));
        let tls = text(Path::new("/d"), "127.0.0.1:81", false, &settings);
        assert!(tls.contains("tcp_nopush off;") && !tls.contains("user"));
        assert!(
            tls.contains("reuseport ssl;")
                && tls.contains("ssl_certificate /c;")
                && tls.contains("ssl_certificate_key /k;")
        );
    }
}

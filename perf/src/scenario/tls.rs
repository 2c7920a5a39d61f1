//! Downloads over TLS, beside nginx without kernel TLS.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Scenario;
use crate::compare::context::{Contender, Context};
use crate::error::{During, Error, Result};
use crate::load::pull_tls::PullTls;
use crate::servers::nginx::Settings;
use crate::servers::vitrine::Variant;

const ROWS: [(&str, usize); 2] = [("tls download x1", 1), ("tls download x8", 8)];

/// TLS.
pub(super) const SCENARIO: Scenario = Scenario { name: "tls", rows: &[ROWS[0].0, ROWS[1].0], run };

fn run(context: &mut Context<'_>) -> Result<()> {
    let directory = context.place("certificate");
    let (certificate, key) = certificate(&directory)?;
    let settings =
        format!("[dataplane]\ntls_cert_file = {}\ntls_key_file = {}\n", certificate.display(), key.display());
    let variant = Variant { name: "vitrine tls", settings: settings.into(), cores: "" };
    let Some(vitrine) = context.variant(&variant)? else { return Ok(()) };
    let nginx = Settings { name: "nginx tls", chunk: "2m", nopush: true, tls: Some((certificate.clone(), key)) };
    let mut contenders: Vec<std::rc::Rc<Contender>> = vec![vitrine];
    contenders.extend(context.nginx_with(&nginx)?);
    let image = context.image()?;
    let size = context.plan.size;
    let pulls = contenders
        .iter()
        .map(|contender| PullTls::new(contender.server.address, &contender.data, size, &certificate))
        .collect::<Result<Vec<_>>>()?;
    for (pull, contender) in pulls.iter().zip(&contenders) {
        pull.verify(&image).map_err(|error| contender.server.explain(&error))?;
    }
    for _ in 0..context.plan.rounds {
        for (row, connections) in ROWS {
            if !context.wants(row) {
                continue;
            }
            // Ciphers make this several times as dear as plain downloads: half of the bytes are enough.
            let passes = context.plan.passes(2 * connections);
            for (pull, contender) in pulls.iter().zip(&contenders) {
                let (done, used) = context.measure(&contender.server, || pull.run(connections, passes))?;
                context.keep_bulk(row, contender.name(), &done, &used);
            }
        }
    }
    Ok(())
}

/// Makes a certificate for the loopback, and its key.
fn certificate(directory: &Path) -> Result<(PathBuf, PathBuf)> {
    std::fs::create_dir(directory).during(|| directory.display().to_string())?;
    let (certificate, key) = (directory.join("certificate.pem"), directory.join("key.pem"));
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
    command.args(["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]);
    command.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    command.arg("-out").arg(&certificate).arg("-keyout").arg(&key);
    let output = command.output().during(|| "openssl req")?;
    if output.status.success() {
        return Ok((certificate, key));
    }
    Err(Error::Setup(format!("openssl req: {}", String::from_utf8_lossy(&output.stderr))))
}

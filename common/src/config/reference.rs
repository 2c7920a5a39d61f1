//! Writes `docs/configuration.md` from the table of options.

use std::fmt::Write;

use super::options::{self, Row, STORE_GROUP, State};
use super::value::Kind;

const HEAD: &str = "\
# Configuration

Vitrine reads the files of Glance: `vitrine serve --config /etc/glance/glance-api.conf`. `--config` may be repeated;
the later file wins. Above the files stand environment variables `OS_<GROUP>__<OPTION>` (such as
`OS_DATABASE__CONNECTION`), and above those the command line. Without a file the defaults below apply: SQLite and
images under the data directory, no authentication, 127.0.0.1 only.

An option that nobody knows is a warning with its file and line. A value that is not accepted is an error that names
the option, the value, the place and what is accepted; all errors are shown at once.

Where the defaults differ from Glance's: the service listens on 127.0.0.1 unless `bind_host` or `--listen` says
otherwise; images, staged data and the catalog are kept under the data directory unless `filesystem_store_datadir`,
`node_staging_uri` or `connection` is set (Glance has `/var/lib/glance/images`, `/tmp/staging` and none).
An empty value of a number, a boolean or a choice counts as not set.

The options of a store stand in the group of its id when `enabled_backends` is set, with what all stores share in
`[backend_defaults]`; else in `[glance_store]`. Stores of the kinds `file`, `http` and `rbd` are
there yet. The groups
`[dataplane]` and `[control]` are Vitrine's own.

This file is written from the table of options in `common/src/config/options`: change it there, then run
`UPDATE_GOLDEN=1 cargo test -p common config::reference`.
";

/// The whole reference in Markdown.
pub fn markdown() -> String {
    let mut text = HEAD.to_owned();
    let mut groups: Vec<&str> = Vec::new();
    for row in options::rows() {
        if !groups.contains(&row.group) {
            groups.push(row.group);
        }
    }
    for group in groups {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n## {}\n\n| option | type | default | meaning |\n|---|---|---|---|\n", title(group));
        for row in options::rows().filter(|row| row.group == group) {
            text.push_str(&line(row));
        }
    }
    text.push_str("\n## Options of Glance without effect\n\nEach of them is a warning when it is set.\n\n");
    text.push_str("| group | options | why |\n|---|---|---|\n");
    for ignored in options::ignored() {
        let names: Vec<String> = ignored.names.iter().map(|name| format!("`{name}`")).collect();
        let _ = writeln!(text, "| {} | {} | {} |", title(ignored.group), names.join(", "), ignored.reason);
    }
    text
}

fn title(group: &str) -> String {
    if group == STORE_GROUP { "A store".to_owned() } else { format!("[{group}]") }
}

fn line(row: &Row) -> String {
    let default = row.default.filter(|text| !text.is_empty()).map(|text| format!("`{text}`")).unwrap_or_default();
    let kind = match row.kind {
        Kind::Choice(_) | Kind::Int(..) | Kind::ByteSize => row.kind.accepted(),
        _ => row.kind.name().to_owned(),
    };
    let mut doc = row.doc.to_owned();
    match row.state {
        State::Honoured => {}
        State::NoEffectYet(reason) => drop(write!(doc, ". **No effect yet**: {reason}")),
        State::Refused(reason) => drop(write!(doc, ". **Not supported yet**: {reason}")),
    }
    for (group, name) in row.aliases {
        let _ = write!(doc, " (older: `[{group}] {name}`)");
    }
    format!("| `{}` | {kind} | {default} | {doc} |\n", row.name)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn the_document_is_what_the_table_says() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
        let expected = super::markdown();
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &expected).unwrap();
        }
        let actual = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(actual == expected, "docs/configuration.md is stale: run with UPDATE_GOLDEN=1");
    }
}

//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use common::config::Overrides;

/// An OpenStack Image service: a drop-in replacement for Glance.
///
/// Without a command, `vitrine` is `vitrine serve`.
#[derive(Debug, Parser)]
#[command(name = "vitrine", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) options: Options,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start both planes and keep them running
    Serve(Options),
    /// Run the control plane alone (for systemd or containers)
    Control(Options),
    /// Run the data plane alone (for systemd or containers)
    Dataplane(Options),
    /// Load an Image service, measure it, and compare
    Bench(Box<perf::bench::Bench>),
}

/// What every command takes.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Options {
    /// Configuration file in the format of glance-api.conf; may be repeated, the later wins
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Vec<PathBuf>,
    /// Directory of the sockets and, unless configured elsewhere, of the catalog and the images [default: ./vitrine-data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Address of the Image API [default: 127.0.0.1:9292]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Address of metrics and health checks [default: 127.0.0.1:9293]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) admin_listen: Option<SocketAddr>,
    /// Started by `vitrine serve`: tell it on standard output when ready, and stop when standard input ends
    #[arg(long, hide = true)]
    pub(crate) supervised: bool,
}

impl Options {
    /// The part that overrides the configuration files.
    pub(crate) fn overrides(&self) -> Overrides {
        Overrides { data_dir: self.data_dir.clone(), listen: self.listen, admin_listen: self.admin_listen }
    }

    /// The same options as arguments, for a plane's own process.
    pub(crate) fn to_args(&self) -> Vec<std::ffi::OsString> {
        let mut args = Vec::new();
        for file in &self.config {
            args.extend(["--config".into(), file.into()]);
        }
        if let Some(dir) = &self.data_dir {
            args.extend(["--data-dir".into(), dir.into()]);
        }
        if let Some(listen) = self.listen {
            args.extend(["--listen".into(), listen.to_string().into()]);
        }
        if let Some(listen) = self.admin_listen {
            args.extend(["--admin-listen".into(), listen.to_string().into()]);
        }
        args
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_command_is_serve() {
        let cli = Cli::try_parse_from(["vitrine", "--data-dir", "d", "--listen", "127.0.0.1:0"]).expect("parses");
        assert!(cli.command.is_none());
        assert_eq!(cli.options.data_dir.as_deref(), Some(std::path::Path::new("d")));
        let cli = Cli::try_parse_from(["vitrine", "serve", "--config", "a", "--config", "b"]).expect("parses");
        assert!(matches!(cli.command, Some(Command::Serve(options)) if options.config.len() == 2));
    }

    #[test]
    fn a_plane_gets_the_same_options() {
        let args = [
            "vitrine",
            "control",
            "--config",
            "a",
            "--data-dir",
            "d",
            "--listen",
            "[::1]:1",
            "--admin-listen",
            "127.0.0.1:2",
        ];
        let Some(Command::Control(options)) = Cli::try_parse_from(args).expect("parses").command else {
            panic!("another command")
        };
        let again: Vec<_> = options.to_args();
        assert_eq!(again, args[2..].iter().map(std::ffi::OsString::from).collect::<Vec<_>>());
    }
}

//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};
use common::config::Overrides;
use common::model::{Status, Visibility};

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
    /// Show the policy in force, and what it decides
    #[command(subcommand)]
    Policy(Policy),
    /// Load metadata definitions from files, write them to files, or remove them
    #[command(subcommand)]
    Metadefs(Metadefs),
    /// Load an Image service, measure it, and compare
    Bench(Box<perf::bench::Bench>),
    /// Become another program, within limits; for the data plane
    #[command(hide = true)]
    Confine(Confine),
}

/// A program and what it may take.
#[derive(Debug, Args)]
pub(crate) struct Confine {
    /// The process that asks for it: the program ends with it
    #[arg(long)]
    pub(crate) parent: i32,
    /// Bytes of its address space
    #[arg(long)]
    pub(crate) memory_bytes: u64,
    /// Processor time
    #[arg(long)]
    pub(crate) cpu_seconds: u64,
    /// Bytes of the largest file that it may write
    #[arg(long)]
    pub(crate) file_bytes: u64,
    /// File that it may read; may be repeated
    #[arg(long)]
    pub(crate) read: Vec<PathBuf>,
    /// File that it may read and write; may be repeated
    #[arg(long)]
    pub(crate) write: Vec<PathBuf>,
    /// The program by its path, and its arguments
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<std::ffi::OsString>,
}

/// Commands about the policy. They read the configuration and the policy files, and nothing else.
#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Print every rule with where it comes from; the output is a policy file
    List(ConfigFiles),
    /// Say whether a rule allows a caller: exit code 0 if so, 1 if not
    Check(Box<Check>),
}

/// Commands about metadata definitions. They work on the catalog itself, whether or not the service runs.
#[derive(Debug, Subcommand)]
pub(crate) enum Metadefs {
    /// Load every *.json of a directory, or one file: all of them, or nothing
    ///
    /// A namespace that is there already stays as it is, unless --merge says otherwise.
    Load(Load),
    /// Remove all metadata definitions, protected ones too
    Unload(CatalogOptions),
    /// Write each namespace to a file of a directory, which `load` reads back
    Export(Export),
}

/// What is loaded, and what becomes of namespaces that are there already.
#[derive(Debug, Args)]
pub(crate) struct Load {
    /// Directory or file [default: [DEFAULT] metadata_source_path]
    pub(crate) path: Option<PathBuf>,
    /// Add to namespaces what they lack
    #[arg(long)]
    pub(crate) merge: bool,
    /// With --merge: what a namespace has becomes as the file says
    #[arg(long, requires = "merge", conflicts_with = "overwrite", alias = "prefer_new")]
    pub(crate) prefer_new: bool,
    /// With --merge: remove the namespace with everything of it first
    #[arg(long, requires = "merge")]
    pub(crate) overwrite: bool,
    #[command(flatten)]
    pub(crate) catalog: CatalogOptions,
}

/// Where namespaces are written to.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Directory; it is made, and files of the same names in it are replaced
    pub(crate) directory: PathBuf,
    #[command(flatten)]
    pub(crate) catalog: CatalogOptions,
}

/// Which catalog.
#[derive(Debug, Args)]
pub(crate) struct CatalogOptions {
    #[command(flatten)]
    pub(crate) files: ConfigFiles,
    /// Directory of the catalog, unless configured elsewhere [default: ./vitrine-data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// The configuration alone.
#[derive(Debug, Args)]
pub(crate) struct ConfigFiles {
    /// Configuration file in the format of glance-api.conf; may be repeated, the later wins
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Vec<PathBuf>,
}

/// A question to the policy.
///
/// The answer is the rule's alone: the API also hides images that the caller cannot see, and asks for ownership where
/// [oslo_policy] enforce_new_defaults is false.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Name of the rule, for example get_image
    pub(crate) rule: String,
    /// Role of the caller; may be repeated
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: Vec<String>,
    /// Project of the caller
    #[arg(long, value_name = "PROJECT")]
    pub(crate) project: String,
    /// The caller
    #[arg(long, value_name = "USER", default_value = "user")]
    pub(crate) user: String,
    /// Role of the service that passes the request on; may be repeated
    #[arg(long, value_name = "ROLE")]
    pub(crate) service_role: Vec<String>,
    /// Project that owns the image [default: the caller's]
    #[arg(long, value_name = "PROJECT")]
    pub(crate) owner: Option<String>,
    /// Visibility of the image
    #[arg(long, value_name = "VISIBILITY", default_value = "private", value_parser = PossibleValuesParser::new(Visibility::ALL.map(Visibility::as_str)))]
    pub(crate) visibility: String,
    /// Status of the image
    #[arg(long, value_name = "STATUS", default_value = "active", value_parser = PossibleValuesParser::new(Status::ALL.map(Status::as_str)))]
    pub(crate) status: String,
    /// The image is shared with the caller's project
    #[arg(long)]
    pub(crate) member: bool,
    /// Field or property of the image for rules that refer to it; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub(crate) target: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) files: ConfigFiles,
}

/// What every command of the service takes.
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

fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
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
    fn ways_to_load_need_each_other() {
        let parses =
            |options: &[&str]| Cli::try_parse_from(["vitrine", "metadefs", "load"].iter().chain(options)).is_ok();
        assert!(parses(&["dir", "--merge", "--prefer-new"]) && parses(&["--merge", "--prefer_new"]));
        assert!(parses(&["--merge", "--overwrite"]) && parses(&["--merge"]) && parses(&[]));
        assert!(!parses(&["--prefer-new"]) && !parses(&["--overwrite"]));
        assert!(!parses(&["--merge", "--overwrite", "--prefer-new"]));
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

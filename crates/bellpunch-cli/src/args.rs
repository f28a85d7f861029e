//! What can be said on the command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Checks, takes and records in one motion: quotas, rate limits, one-time tickets, uploads.
#[derive(Debug, Parser)]
#[command(name = "bellpunch", version, arg_required_else_help = true)]
pub(crate) struct Args {
    /// Results as JSON, with stable fields
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The form of results.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl Args {
    /// The form of results.
    pub(crate) const fn form(&self) -> Form {
        if self.json { Form::Json } else { Form::Text }
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the doors until SIGTERM or Ctrl-C
    Serve(ServeArgs),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// How to serve. Settings come from defaults, then the file, then BELLPUNCH_* variables (with __
/// between levels), then flags.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ServeArgs {
    /// The configuration file [default: bellpunch.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The store, memory: or disk:PATH (setting store.url)
    #[arg(long, value_name = "URL")]
    pub(crate) store: Option<String>,
    /// Address and port of the HTTP door (setting http.listen)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
    /// Any setting, for example http.timeout=5s
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Test configuration and store, and exit
    #[arg(long)]
    pub(crate) check: bool,
    /// Show each setting and where it comes from, and exit
    #[arg(long, conflicts_with = "check")]
    pub(crate) print_config: bool,
}

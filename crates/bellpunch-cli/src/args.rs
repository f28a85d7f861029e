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
    /// No progress on stderr
    #[arg(long, global = true)]
    quiet: bool,
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

/// Whether progress is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Noise {
    /// No.
    Quiet,
    /// Yes, if stderr is a terminal.
    Progress,
}

impl Args {
    /// Whether progress is shown.
    pub(crate) const fn noise(&self) -> Noise {
        if self.quiet { Noise::Quiet } else { Noise::Progress }
    }

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
    /// Show what is in a store; reads only
    Inspect(InspectArgs),
    /// Recompute from stored records what limits, tickets, uploads and books promise; exit code 1 if
    /// anything differs
    Verify(VerifyArgs),
    /// Write all records as lines of JSON; payloads are files and are copied as such
    Export(ExportArgs),
    /// Read an export into an unused store, and compare what was written with the file; exit code 1
    /// if anything differs
    Import(ImportArgs),
    /// Print counts and a digest of all records, the same for equal content in any store
    Digest(DigestArgs),
    /// Make or bring up to date the tables of a PostgreSQL store; the others need none
    Migrate(MigrateArgs),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// Which store, and how it is reached. Settings come from defaults, then the file, then BELLPUNCH_*
/// variables (with __ between levels), then flags.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct StoreArgs {
    /// The configuration file [default: bellpunch.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The store (setting store.url): disk:PATH, postgres://…, redis://…, rediss://…,
    /// redis+sentinel://…, redis+cluster://…; and memory:, which ends with its process
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) store: Option<String>,
    /// Any setting, for example store.timeout=5s
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

/// How to serve.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) layers: StoreArgs,
    /// Address and port of the HTTP door (setting http.listen)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
    /// Test configuration and store, and exit
    #[arg(long)]
    pub(crate) check: bool,
    /// Show each setting and where it comes from, and exit
    #[arg(long, conflicts_with = "check")]
    pub(crate) print_config: bool,
}

/// Which store, and what of it.
#[derive(Debug, clap::Args)]
pub(crate) struct InspectArgs {
    #[command(flatten)]
    pub(crate) layers: StoreArgs,
    #[command(subcommand)]
    pub(crate) what: Inspect,
}

/// What to show.
#[derive(Debug, Subcommand)]
pub(crate) enum Inspect {
    /// The partitions
    Partitions,
    /// The records of a partition, with their versions
    Records {
        /// Which partition
        partition: String,
        /// Only those of this kind, for example quotas
        kind: Option<String>,
        /// Only those whose id begins so
        #[arg(long, default_value = "")]
        prefix: String,
    },
    /// One record as it is stored
    Record {
        /// Which partition
        partition: String,
        /// Its kind, for example quotas
        kind: String,
        /// Its id; of a counter its policy and its key
        #[arg(required = true)]
        id: Vec<String>,
    },
    /// What is stored of an idempotency key
    Outcome {
        /// Which partition
        partition: String,
        /// The key
        key: String,
    },
    /// The folder: its backend and its sizes
    Folder,
}

/// Which store to verify.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(crate) layers: StoreArgs,
    /// The folder of the payloads (setting uploads.blobs) [default: beside the store]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) blobs: Option<String>,
    /// Judge what clients saw, instead of a store: exit code 0 PASS, 1 FAIL, 3 INCONCLUSIVE
    #[arg(long, value_name = "FILE", conflicts_with_all = ["store", "blobs"])]
    pub(crate) history: Option<PathBuf>,
}

/// Which store to export.
#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) layers: StoreArgs,
    /// The file to make [default: stdout]
    pub(crate) file: Option<PathBuf>,
}

/// Where to import.
#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    #[command(flatten)]
    pub(crate) layers: StoreArgs,
    /// The export; the partitions that it names must be empty in the store
    pub(crate) file: PathBuf,
}

/// Which store to sum up.
#[derive(Debug, clap::Args)]
pub(crate) struct DigestArgs {
    #[command(flatten)]
    pub(crate) layers: StoreArgs,
}

/// Which store to bring up to date.
#[derive(Debug, clap::Args)]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    pub(crate) layers: StoreArgs,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) check: bool,
}

//! `bellpunch migrate`: the tables of a PostgreSQL store.

use std::process::ExitCode;

use crate::args::MigrateArgs;
use crate::config::Settings;
use crate::failure::Failure;
use crate::stores::{self, NOTHING, Place, Work};

pub(crate) fn run(args: &MigrateArgs) -> Result<ExitCode, Failure> {
    let settings = Settings::of_store(&args.layers)?.store;
    let work = if args.check { Work::Tell } else { Work::Do };
    let told = match stores::place(&settings)? {
        Place::Memory | Place::Folder(_) => NOTHING.to_owned(),
        Place::Server(engine) => {
            crate::serve::runtime()?.block_on(stores::migrate(engine, &settings, work))?
        }
    };
    crate::print(&format!("{told}\n"))?;
    Ok(ExitCode::SUCCESS)
}

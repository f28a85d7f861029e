//! `bellpunch serve`.

use std::process::ExitCode;
use std::sync::Arc;

use bellpunch::store::BlobStore;
use bellpunch::{Engine, SystemClock};
use bellpunch_server::{Components, LogLevel, ServeError};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::args::{Form, ServeArgs};
use crate::config::Settings;
use crate::failure::Failure;
use crate::stores::{self, Opened};

/// How long threads may take to end.
const SHUTDOWN: std::time::Duration = std::time::Duration::from_millis(500);

/// A runtime over all cores.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|cause| Failure::could_not_run(format!("threads cannot be started: {cause}")))
}

pub(crate) fn run(args: &ServeArgs, form: Form) -> Result<ExitCode, Failure> {
    let settings = Settings::read(args)?;
    if args.print_config {
        match form {
            Form::Text => crate::print(&settings.shown())?,
            Form::Json => crate::print(&format!("{}\n", settings.shown_json()))?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    let engine_config = settings.engine_config()?;
    let webhooks = settings.webhooks()?;
    let runtime = runtime()?;
    let (opened, blobs) = runtime.block_on(open(&settings))?;
    if args.check {
        runtime.block_on(opened.hang_up());
        opened.close();
        crate::print("configuration and store are in order\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    if settings.server.http.listen == "off" {
        return Err(Failure::usage("http.listen = \"off\" closes the only door there is"));
    }
    let served = runtime.block_on(async {
        let engine =
            Engine::start(Arc::clone(&opened.store), Arc::new(SystemClock::new()), engine_config);
        let listen = &settings.server.http.listen;
        let listener = TcpListener::bind(listen)
            .await
            .map_err(|cause| Failure::could_not_run(format!("http.listen = {listen}: {cause}")))?;
        let stop = stopped()?;
        outlive_full_files();
        let components = Components { engine, blobs, listener, webhooks };
        match bellpunch_server::serve(settings.server.clone(), components, stop).await {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(error @ ServeError::Webhooks(_)) => Err(Failure::usage(error.to_string())),
            Err(error @ ServeError::Unsafe(_)) => Err(Failure::unsafe_to_run(error.to_string())),
            Err(error) => Err(Failure::could_not_run(error.to_string())),
        }
    });
    runtime.block_on(opened.hang_up());
    // What was accepted is answered, or its time is over: nothing is waited for any more.
    runtime.shutdown_timeout(SHUTDOWN);
    opened.close();
    served
}

/// Opens the store, looks whether it is what it says, and opens the payloads.
async fn open(settings: &Settings) -> Result<(Opened, Arc<dyn BlobStore>), Failure> {
    let opened = stores::open(&settings.store).await?;
    stores::probe(&opened).await?;
    let blobs = opened.open_blobs(&settings.server.uploads.blobs)?;
    if opened.is_remote() && settings.server.uploads.blobs.is_empty() {
        bellpunch_server::log(&settings.server.log, LogLevel::Warn, stores::NO_BLOBS);
    }
    Ok((opened, blobs))
}

/// SIGXFSZ: 25 wherever Bellpunch is built, except on MIPS.
#[cfg(all(unix, not(any(target_arch = "mips", target_arch = "mips64"))))]
const FILE_TOO_LARGE: i32 = 25;

/// A write beyond the greatest size of a file (`RLIMIT_FSIZE`) is an error to be told; unless the
/// signal that comes with it is handled, it ends the process.
#[cfg(all(unix, not(any(target_arch = "mips", target_arch = "mips64"))))]
fn outlive_full_files() {
    use tokio::signal::unix::{SignalKind, signal};
    // Its handler stays when the listener goes. Without it, such a write is a crash: nothing lost.
    let _ = signal(SignalKind::from_raw(FILE_TOO_LARGE));
}

#[cfg(not(all(unix, not(any(target_arch = "mips", target_arch = "mips64")))))]
const fn outlive_full_files() {}

/// SIGTERM or Ctrl-C.
#[cfg(unix)]
fn stopped() -> Result<impl Future<Output = ()> + Send, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| {
        signal(kind).map_err(|cause| {
            Failure::could_not_run(format!("signals cannot be listened for: {cause}"))
        })
    };
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn stopped() -> Result<impl Future<Output = ()> + Send, Failure> {
    Ok(async {
        // Without a signal handler the process is ended from outside.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

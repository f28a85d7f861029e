//! The sweep of blobs: garbage at once, orphans when no publish of them can commit any more.
//!
//! Invariant: a blob is removed only when the rules' own `uploads::garbage` says so, on the upload
//! as it was read afterwards. To keep garbage for a while costs space; to remove bytes that
//! somebody was promised is the mistake that must not happen.

use std::sync::Arc;
use std::time::Duration;

use bellpunch::store::{Failure, StoredBlob};
use bellpunch::uploads::{self, OrphanAge, Upload};
use bellpunch::{Record as _, RecordId};
use serde::Deserialize;

use crate::app::App;
use crate::config::LogLevel;

/// How often.
const EVERY: Duration = Duration::from_secs(60);
/// Blobs of one page.
const PAGE: usize = 256;

/// A stored record, as far as the sweep reads it.
#[derive(Deserialize)]
struct Envelope {
    format: u32,
    record: Upload,
}

/// Sweeps for as long as the server runs.
pub(crate) async fn run(app: &App) {
    loop {
        tokio::time::sleep(EVERY).await;
        match once(app).await {
            Ok(0) => {}
            Ok(removed) => {
                let fields = [("removed", removed.to_string())];
                app.log.event(LogLevel::Info, "swept blobs", &fields);
            }
            Err(failure) => {
                let fields = [("error", failure.to_string())];
                app.log.event(LogLevel::Error, "blobs were not swept", &fields);
            }
        }
    }
}

/// Looks at every blob once; tells how many were removed.
pub(crate) async fn once(app: &App) -> Result<u64, Failure> {
    let (mut after, mut removed) = (None, 0_u64);
    loop {
        let (blobs, from) = (Arc::clone(&app.blobs), after.take());
        let page = blocking(move || blobs.list(from.as_ref(), PAGE)).await?;
        let Some(last) = page.last() else { return Ok(removed) };
        after = Some(last.name.clone());
        for stored in page {
            if is_garbage(app, &stored).await? {
                let blobs = Arc::clone(&app.blobs);
                blocking(move || blobs.remove(&stored.name)).await?;
                removed = removed.saturating_add(1);
            }
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| {
        Err(Failure::new(bellpunch::store::FailureKind::Unavailable, "a blob store panicked"))
    })
}

async fn is_garbage(app: &App, stored: &StoredBlob) -> Result<bool, Failure> {
    // What has another kind of name was not made by a door, and is left alone.
    let Some((partition, id)) = stored.name.owner() else { return Ok(false) };
    let mut age = OrphanAge::default();
    let window = app.config.uploads.publish_window.get().as_nanos();
    if let Some(window) = bellpunch::Duration::checked(window) {
        age.publish_window = window;
    }
    // The record is read after `now`, so no publish that it does not show can commit any more.
    let now = app.engine.now();
    let key = Upload::key(&RecordId::from(&id));
    let read = app.engine.store().read(&partition, &[key]).await?;
    let stored_record = read.into_iter().next().and_then(|record| record.value);
    let upload = match &stored_record {
        None => None,
        Some(bytes) => match serde_json::from_slice::<Envelope>(bytes) {
            Ok(envelope) if envelope.format <= Upload::FORMAT => Some(envelope.record),
            // Newer or damaged: what it refers to is not known, so nothing of it is garbage.
            Ok(_) | Err(_) => return Ok(false),
        },
    };
    Ok(uploads::garbage(stored, upload.as_ref(), age, now))
}

#[cfg(test)]
mod tests;

//! The sweeper: removes records that say nothing any more.
//!
//! Invariant: no answer depends on whether it has run. It only names candidates; each is looked at
//! again by a rule, in a command that waits its turn like any other, so it blocks nobody. Unless it
//! removes what is due in numbers, the store rests between its questions.

use std::collections::BTreeMap;
use std::time::Duration;

use bellpunch_core::{Partition, RecordId, sweep};
use bellpunch_store::{Kind, Scan};

use crate::engine::Sweeping;
use crate::runtime::{Instant, sleep, spawn};
use crate::{AnyOutcome, CallOptions, EngineConfig, Error};

/// Records removed by one command.
const SWEEP_MAX: usize = 64;
/// Partitions listed at a time.
const PARTITIONS_MAX: usize = 100;
/// How long the store is left alone after a page in which little was due, in multiples of the time
/// that the page took: a store without an index of what is due looks at all that it has, and on one
/// that works in turn everybody else waits for that.
const REST: u32 = 19;
/// But no longer than this: a page can take long because this node was stopped.
const REST_MAX: Duration = Duration::from_secs(60);

/// Starts the sweeper's task; it ends with the engine.
pub(crate) fn start(config: &EngineConfig, sweeping: Sweeping) {
    let (every, skew) = (config.sweep_every, config.clock_skew_max);
    spawn(async move {
        while sweeping.engine().is_some() {
            sleep(every).await;
            // What fails now is found again by the next round.
            let _ = round(&sweeping, skew).await;
        }
    });
}

async fn round(sweeping: &Sweeping, skew: bellpunch_core::Duration) -> Result<(), Error> {
    let mut after: Option<Partition> = None;
    while let Some(engine) = sweeping.engine() {
        let page = engine.partitions(after.as_ref(), PARTITIONS_MAX).await?;
        drop(engine);
        for partition in &page.partitions {
            sweep_partition(sweeping, partition, skew).await?;
        }
        after = page.partitions.last().filter(|_| page.more).cloned();
        if after.is_none() {
            break;
        }
    }
    Ok(())
}

/// Fails if the store does. A sweep that fails keeps the sweeper from no other partition.
async fn sweep_partition(
    sweeping: &Sweeping,
    partition: &Partition,
    skew: bellpunch_core::Duration,
) -> Result<(), Error> {
    let mut scan = Scan { kind: None, ..Scan::of(Kind::named(""), SWEEP_MAX) };
    // The engine is not held while the store rests: it may end meanwhile.
    while let Some(engine) = sweeping.engine() {
        scan.due_by = scan.due_by.or_else(|| Some(engine.now().minus_or_epoch(skew)));
        let begun = Instant::now();
        let page = engine.scan(partition, &scan).await?;
        let rest = begun.elapsed().saturating_mul(REST).min(REST_MAX);
        let (is_full, mut is_swept) = (page.records.len() == SWEEP_MAX, false);
        let mut kinds: BTreeMap<Kind, Vec<RecordId>> = BTreeMap::new();
        for (key, _) in page.records {
            kinds.entry(key.kind).or_default().push(key.id);
        }
        for (kind, ids) in kinds {
            if let Some(command) = sweep(kind.name(), ids) {
                // What fails is found again by the next round; what was kept while a risk was accepted
                // stays until it is again.
                let told = engine.send(partition, vec![command], CallOptions::default()).await;
                is_swept |= matches!(told, Ok(AnyOutcome::Accepted(_)));
            }
        }
        drop(engine);
        if !(is_full && is_swept) {
            sleep(rest).await;
        }
        match page.resume {
            Some(resume) => scan.after = Some(resume),
            None => break,
        }
    }
    Ok(())
}

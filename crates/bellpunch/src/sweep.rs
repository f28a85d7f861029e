//! The sweeper: removes records that say nothing any more.
//!
//! Invariant: no answer depends on whether it has run. It only names candidates; each is looked at
//! again by a rule, in a command that waits its turn like any other, so it blocks nobody.

use std::collections::BTreeMap;

use bellpunch_core::{Partition, RecordId, sweep};
use bellpunch_store::{Kind, Scan};

use crate::engine::Sweeping;
use crate::runtime::{sleep, spawn};
use crate::{CallOptions, Engine, EngineConfig, Error, ErrorKind};

/// Records removed by one command.
const SWEEP_MAX: usize = 64;
/// Partitions listed at a time.
const PARTITIONS_MAX: usize = 100;

/// Starts the sweeper's task; it ends with the engine.
pub(crate) fn start(config: &EngineConfig, sweeping: Sweeping) {
    let (every, skew) = (config.sweep_every, config.clock_skew_max);
    spawn(async move {
        loop {
            sleep(every).await;
            let Some(engine) = sweeping.engine() else { return };
            // What fails now is found again by the next round.
            let _ = round(&engine, skew).await;
        }
    });
}

async fn round(engine: &Engine, skew: bellpunch_core::Duration) -> Result<(), Error> {
    let mut after: Option<Partition> = None;
    loop {
        let page = engine.partitions(after.as_ref(), PARTITIONS_MAX).await?;
        for partition in &page.partitions {
            sweep_partition(engine, partition, skew).await?;
        }
        after = page.partitions.last().cloned();
        if !page.more || after.is_none() {
            return Ok(());
        }
    }
}

async fn sweep_partition(
    engine: &Engine,
    partition: &Partition,
    skew: bellpunch_core::Duration,
) -> Result<(), Error> {
    let due_by = Some(engine.now().minus_or_epoch(skew));
    let mut scan = Scan { kind: None, due_by, ..Scan::of(Kind::named(""), SWEEP_MAX) };
    loop {
        let page = engine.scan(partition, &scan).await?;
        let mut kinds: BTreeMap<Kind, Vec<RecordId>> = BTreeMap::new();
        for (key, _) in page.records {
            kinds.entry(key.kind).or_default().push(key.id);
        }
        for (kind, ids) in kinds {
            if let Some(command) = sweep(kind.name(), ids) {
                match engine.send(partition, vec![command], CallOptions::default()).await {
                    // What was kept while the risk was accepted stays until it is again.
                    Err(error) if error.kind() == ErrorKind::RiskNotAccepted => {}
                    told => drop(told?),
                }
            }
        }
        match page.resume {
            Some(resume) => scan.after = Some(resume),
            None => return Ok(()),
        }
    }
}

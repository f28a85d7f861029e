//! Records that are gone, as a store tells of them.

use std::collections::BTreeMap;

use bellpunch::{Floor, Kind, Loaded, RecordKey, View};

/// What a store tells of records that are gone: tombstones, and the floors of purges.
#[derive(Clone, Debug, Default)]
pub(super) struct Gone {
    tombstones: BTreeMap<RecordKey, Floor>,
    floors: BTreeMap<Kind, Floor>,
}

impl Gone {
    /// Takes note of what is about to be settled.
    pub(super) fn note(&mut self, view: &View, writes: &[RecordKey]) {
        for key in writes {
            let Some(pending) = view.pending(key) else { continue };
            let end = Floor { version: pending.version, at: pending.at };
            match &pending.value {
                Some(_) => {
                    self.tombstones.remove(key);
                }
                None if pending.purge => {
                    self.tombstones.remove(key);
                    self.floors.entry(key.kind.clone()).or_default().raise(end);
                }
                None => {
                    self.tombstones.insert(key.clone(), end);
                }
            }
        }
    }

    /// A record that is not there.
    pub(super) fn loaded(&self, key: &RecordKey) -> Loaded {
        let mut end = self.floors.get(&key.kind).copied().unwrap_or_default();
        if let Some(tombstone) = self.tombstones.get(key) {
            end.raise(*tombstone);
        }
        Loaded { version: end.version, at: end.at, value: None }
    }
}

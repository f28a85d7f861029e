//! The rules on records in memory, one command at a time.

#![expect(clippy::unwrap_used, reason = "it runs in tests, and stops them where it is wrong")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bellpunch::{
    AnyCommand, Decision, Due, Duration, RecordId, RecordKey, Request, Timestamp, View, decide,
};
use bellpunch_check::history::Versions;
use serde_json::Value;

use crate::gone::Gone;

/// What the rule said.
#[derive(Debug)]
pub(super) enum Answer {
    Accepted {
        told: Value,
        versions: Versions,
        /// Those of them that were forgotten.
        purged: BTreeSet<String>,
        /// Nothing was written.
        dry: bool,
    },
    Rejected {
        code: String,
        data: Value,
    },
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Accepted { told, versions, .. } => write!(f, "ok {told} {versions:?}"),
            Self::Rejected { code, data } => write!(f, "{code} {data}"),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct World {
    view: View,
    gone: Gone,
    /// Those that there are, and when each may be removed.
    records: BTreeMap<RecordKey, Option<Timestamp>>,
    drawn: u128,
}

impl World {
    #[expect(clippy::fn_params_excessive_bools, reason = "as the request has it")]
    pub(super) fn send(
        &mut self,
        command: Arc<dyn AnyCommand>,
        now: i128,
        dry_run: bool,
    ) -> Answer {
        self.drawn = self.drawn.wrapping_add(1);
        let now = u128::try_from(now).ok().and_then(Timestamp::from_nanos).unwrap();
        let request = Request {
            commands: vec![command],
            entropy: vec![self.drawn.wrapping_shl(64)],
            key: None,
            keep: Duration::from_days(7),
            dry_run,
            journaling: bellpunch::Journaling::Off,
        };
        loop {
            match decide(&mut self.view, &request, now) {
                Decision::Load { records, due } => self.load(records, due),
                Decision::Accepted { mut replies, versions, touched, .. } => {
                    let told = replies.pop().unwrap().to_json();
                    let mut purged = BTreeSet::new();
                    if !dry_run {
                        self.settle(&touched.writes, &mut purged);
                    }
                    let versions =
                        versions.into_iter().map(|(name, version)| (name, version.get()));
                    return Answer::Accepted {
                        told,
                        versions: versions.collect(),
                        purged,
                        dry: dry_run,
                    };
                }
                Decision::Rejected { rejection, touched, .. } => {
                    assert!(touched.writes.is_empty(), "a rejection writes nothing");
                    let code = rejection.code.to_owned();
                    return Answer::Rejected { code, data: Value::Object(rejection.data) };
                }
                failed @ (Decision::Failed(_) | _) => panic!("{failed:?}"),
            }
        }
    }

    fn load(&mut self, records: Vec<RecordKey>, due: Vec<Due>) {
        for key in records {
            let loaded = self.gone.loaded(&key);
            self.view.load(key, loaded);
        }
        for due in due {
            let ids = self.due(&due);
            self.view.answer(due, ids);
        }
    }

    fn due(&self, due: &Due) -> Vec<RecordId> {
        let wanted = self.records.iter().filter(|(key, sweep_at)| {
            key.kind == due.kind
                && key.id.as_str().starts_with(&due.prefix)
                && due.by.is_none_or(|by| sweep_at.is_some_and(|at| at <= by))
        });
        wanted.map(|(key, _)| key.id.clone()).take(bellpunch::DUE_MAX).collect()
    }

    fn settle(&mut self, written: &[RecordKey], purged: &mut BTreeSet<String>) {
        for key in written {
            let Some(pending) = self.view.pending(key) else { continue };
            if pending.purge {
                purged.insert(key.to_string());
            }
            if pending.value.is_some() {
                self.records.insert(key.clone(), pending.sweep_at);
            } else {
                self.records.remove(key);
            }
        }
        self.gone.note(&self.view, written);
        self.view.settle(written);
    }

    /// A sweep of what is due of some kind, if anything is.
    pub(super) fn sweep(&self, now: i128) -> Option<Arc<dyn AnyCommand>> {
        let now = u128::try_from(now).ok().and_then(Timestamp::from_nanos)?;
        let mut kinds: BTreeMap<String, Vec<RecordId>> = BTreeMap::new();
        for (key, sweep_at) in &self.records {
            if sweep_at.is_some_and(|at| at <= now) {
                kinds.entry(key.kind.name().to_owned()).or_default().push(key.id.clone());
            }
        }
        let (kind, ids) = kinds.into_iter().next_back()?;
        bellpunch::sweep(&kind, ids)
    }

    /// The ids of all records of a kind.
    pub(super) fn ids(&self, kind: &str) -> Vec<RecordId> {
        let of_kind = self.records.keys().filter(|key| key.kind.name() == kind);
        of_kind.map(|key| key.id.clone()).collect()
    }
}

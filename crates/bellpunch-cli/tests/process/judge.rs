//! Judges a run: by the checker of histories, and by sums of its own that share nothing with it.

use std::collections::{BTreeMap, BTreeSet};

use bellpunch_check::history::{
    Accepted, Floor, History, Invoke, Line, Record, Resolved, Versions,
};
use bellpunch_check::judge::Verdict3;
use bellpunch_check::model::state::State;
use serde_json::{Value, json};

/// What is uploaded: `bytes`, as base64, and what is known of it.
pub(crate) const PAYLOAD: &str = "Ynl0ZXM=";
const PAYLOAD_BYTES: u64 = 5;
const PAYLOAD_SHA256: &str = "277089d91c0bdf4f2e6862ba7e4a07605119431f5d13f726dd352b06f1b206a9";

/// All that is stored, by partition and name, with versions; what was deleted is null.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    pub(crate) records: BTreeMap<(String, String), (u64, Value)>,
    /// When tickets were stored as expired by the server itself.
    expired: BTreeMap<(String, String), String>,
    pub(crate) floors: Vec<Floor>,
}

impl Stored {
    /// Exports the store of a URL; if it is a folder, nobody may have it open.
    pub(crate) fn of(url: &str) -> Self {
        let output = crate::bellpunch(&["export", "--store", url]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let mut stored = Self::default();
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let (Some(partition), Some(kind)) = (line["partition"].as_str(), line["kind"].as_str())
            else {
                continue;
            };
            if let Some(version) = line["floor"].as_u64() {
                let (partition, of) = (partition.to_owned(), kind.to_owned());
                stored.floors.push(Floor { partition, of, version });
            } else {
                let name = named(kind, line["id"].as_str().unwrap());
                let record = (line["version"].as_u64().unwrap(), line["stored"]["record"].clone());
                let place = (partition.to_owned(), name);
                if kind == "tickets" && record.1["status"] == "expired" {
                    let at = line["at"].as_str().unwrap().to_owned();
                    stored.expired.insert(place.clone(), at);
                }
                stored.records.insert(place, record);
            }
        }
        stored
    }

    pub(crate) fn get(&self, partition: &str, name: &str) -> &(u64, Value) {
        let place = (partition.to_owned(), name.to_owned());
        self.records.get(&place).unwrap_or_else(|| panic!("{place:?} is not stored"))
    }

    /// As the last lines of a history.
    fn lines(&self) -> impl Iterator<Item = Line> {
        let records = self.records.iter().map(|((partition, record), (version, value))| {
            Line::Record(Record {
                partition: partition.clone(),
                record: record.clone(),
                version: *version,
                value: value.clone(),
            })
        });
        records.chain(self.floors.iter().cloned().map(Line::Floor))
    }
}

/// A record's name as it is told: an id of two parts is stored with the length of the first,
/// `4:ratek1`, and told as `rate/k1`.
fn named(kind: &str, id: &str) -> String {
    let split = |(length, rest): (&str, &str)| {
        let (first, second) = rest.split_at_checked(length.parse().ok()?)?;
        Some(format!("{kind}/{first}/{second}"))
    };
    id.split_once(':').and_then(split).unwrap_or_else(|| format!("{kind}/{id}"))
}

/// All that is known of one key.
#[derive(Debug, Default)]
struct Fate<'a> {
    asked: Option<&'a Invoke>,
    accepted: Vec<&'a Accepted>,
    rejected: usize,
    unknown: usize,
    resolved: Option<&'a Resolved>,
}

impl Fate<'_> {
    fn applied(&self) -> bool {
        !self.accepted.is_empty() || self.resolved.is_some_and(|resolved| resolved.applied)
    }

    fn versions(&self) -> Versions {
        match (self.accepted.first(), self.resolved) {
            (Some(accepted), _) => accepted.writes.clone(),
            (None, Some(resolved)) => {
                serde_json::from_value(resolved.receipt["versions"].clone()).unwrap()
            }
            (None, None) => Versions::new(),
        }
    }

    /// The commands it had, each with its content.
    fn commands(&self) -> Vec<(&str, &Value)> {
        let asked = self.asked.unwrap();
        match asked.args.as_array() {
            Some(all) => {
                all.iter().map(|one| (one["cmd"].as_str().unwrap(), &one["args"])).collect()
            }
            None => vec![(&asked.cmd, &asked.args)],
        }
    }
}

/// How many of what.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) sent: usize,
    pub(crate) applied: usize,
    pub(crate) replayed: usize,
    pub(crate) rejected: usize,
    pub(crate) unknown: usize,
    pub(crate) found_applied: usize,
}

/// Judges a run whose end is in this store. If it is a folder, nobody may have it open.
pub(crate) fn judge(mut history: History, url: &str) -> Summary {
    crate::verify_store(url);
    let stored = Stored::of(url);
    as_the_server_swept(&mut history, &stored);
    let summary = sums(&history, &stored);
    history.lines.extend(stored.lines());
    as_the_door_made_them(&mut history);
    let judgement = bellpunch_check::judge::judge::<State>(&history);
    if judgement.verdict != Verdict3::Pass {
        let place = std::env::temp_dir().join(format!("bellpunch-{}.history", std::process::id()));
        history.write(std::fs::File::create(&place).unwrap()).unwrap();
        panic!("{judgement}\nthe history is {}", place.display());
    }
    summary
}

/// Now and then the server stores tickets as expired that nobody asked for. That is a command like
/// any other, and the model says whether it was one at that time.
fn as_the_server_swept(history: &mut History, stored: &Stored) {
    let op = |line: &Line| if let Line::Invoke(invoke) = line { invoke.op } else { 0 };
    let ops = history.lines.iter().map(op);
    let (mut op, mut lines) = (ops.max().unwrap_or_default(), Vec::new());
    for ((partition, name), at) in &stored.expired {
        op += 1;
        let (version, _) = stored.get(partition, name);
        let id = name.strip_prefix("tickets/").unwrap();
        lines.push(Line::Invoke(Invoke {
            t: 0,
            op,
            proc: "server".to_owned(),
            node: None,
            partition: partition.clone(),
            cmd: "tickets.expire".to_owned(),
            target: name.clone(),
            args: json!({ "ids": [id] }),
            key: None,
        }));
        lines.push(Line::Accepted(Accepted {
            t: u64::MAX,
            op,
            at: at.clone(),
            writes: Versions::from([(name.clone(), *version)]),
            reply: json!({ "expired": [id], "skipped": [] }),
            ..Accepted::default()
        }));
    }
    history.lines.extend(lines);
}

/// The door makes more of a payload than was sent: its blob is drawn, and begun at some time. Both
/// are taken from what was told of the key; size and hash are known.
fn as_the_door_made_them(history: &mut History) {
    let mut made = BTreeMap::new();
    let mut keys = BTreeMap::new();
    for line in &history.lines {
        let (key, at, reply) = match line {
            Line::Invoke(invoke) if invoke.cmd == "uploads.publish" => {
                keys.insert(invoke.op, invoke.key.clone());
                continue;
            }
            Line::Accepted(end) => (keys.get(&end.op).cloned(), &end.at, &end.reply),
            Line::Rejected(end) => (keys.get(&end.op).cloned(), &end.at, &end.reply),
            Line::Resolved(end) if end.applied => {
                let (at, reply) = (&end.receipt["at"], &end.receipt["replies"][0]);
                let told = || (at.clone(), reply.clone());
                made.entry(Some(end.key.clone())).or_insert_with(told);
                continue;
            }
            Line::Invoke(_)
            | Line::Read(_)
            | Line::Error(_)
            | Line::Unknown(_)
            | Line::Resolved(_)
            | Line::Record(_)
            | Line::Floor(_)
            | Line::Entry(_)
            | Line::Fault(_)
            | Line::Note(_) => continue,
        };
        if let Some(key) = key {
            // A rejection before it was accepted says less.
            made.insert(key, (Value::from(at.as_str()), reply.clone()));
        }
    }
    for line in &mut history.lines {
        if let Line::Invoke(invoke) = line
            && invoke.cmd == "uploads.publish"
            && let Some((at, reply)) = made.get(&invoke.key)
        {
            let drawn = reply["upload"]["payload"].as_str().unwrap_or("no blob");
            invoke.args = json!({
                "id": invoke.args["id"], "blob": drawn, "started_at": at,
                "size": PAYLOAD_BYTES, "sha256": PAYLOAD_SHA256
            });
        }
    }
}

fn fates(history: &History) -> BTreeMap<(&str, String), Fate<'_>> {
    let mut fates: BTreeMap<(&str, String), Fate<'_>> = BTreeMap::new();
    let mut keys = BTreeMap::new();
    for line in &history.lines {
        let op = match line {
            Line::Invoke(invoke) if invoke.cmd.ends_with(".read") => continue,
            Line::Invoke(invoke) => {
                let key = invoke.key.clone().unwrap_or_else(|| format!("no key {}", invoke.op));
                let key = (invoke.partition.as_str(), key);
                let fate = fates.entry(key.clone()).or_default();
                if let Some(asked) = fate.asked {
                    assert_eq!((&asked.cmd, &asked.args), (&invoke.cmd, &invoke.args));
                }
                fate.asked = Some(invoke);
                keys.insert(invoke.op, key);
                continue;
            }
            Line::Accepted(accepted) => accepted.op,
            Line::Rejected(rejected) => rejected.op,
            Line::Unknown(broke) => broke.op,
            Line::Resolved(resolved) => {
                let key = (resolved.partition.as_str(), resolved.key.clone());
                fates.get_mut(&key).unwrap().resolved = Some(resolved);
                continue;
            }
            Line::Read(_)
            | Line::Error(_)
            | Line::Record(_)
            | Line::Floor(_)
            | Line::Entry(_)
            | Line::Fault(_)
            | Line::Note(_) => continue,
        };
        let Some(key) = keys.get(&op) else { continue };
        let fate = fates.get_mut(key).unwrap();
        if let Line::Accepted(accepted) = line {
            fate.accepted.push(accepted);
        } else if matches!(line, Line::Rejected(_)) {
            fate.rejected += 1;
        } else {
            fate.unknown += 1;
        }
    }
    fates
}

/// Nothing acknowledged is lost or doubled, by counting.
fn sums(history: &History, stored: &Stored) -> Summary {
    let fates = fates(history);
    let mut summary = Summary::default();
    let mut versions: BTreeMap<(&str, String), BTreeSet<u64>> = BTreeMap::new();
    let mut used: BTreeMap<(&str, String), u64> = BTreeMap::new();
    let mut redeemed = BTreeSet::new();
    let mut completed = BTreeSet::new();
    for ((partition, key), fate) in &fates {
        summary.sent += fate.accepted.len() + fate.rejected + fate.unknown;
        summary.rejected += fate.rejected;
        summary.unknown += fate.unknown;
        let replays = fate.accepted.iter().filter(|accepted| accepted.replayed).count();
        summary.replayed += replays;
        one_receipt(fate, (partition, key));
        assert!(fate.accepted.len() <= replays + 1, "{partition} {key} was applied twice");
        if 0 < fate.unknown && fate.accepted.is_empty() {
            let known = fate.resolved.is_some() || 0 < fate.rejected;
            assert!(known, "{partition} {key}: nobody knows");
        }
        if !fate.applied() {
            continue;
        }
        summary.applied += 1;
        summary.found_applied += usize::from(fate.accepted.is_empty());
        for (record, version) in fate.versions() {
            let place = versions.entry((partition, record.clone())).or_default();
            assert!(place.insert(version), "{partition} {record} {version} was told twice");
        }
        for (cmd, args) in fate.commands() {
            let id = args["id"].as_str().unwrap_or_default();
            match cmd {
                "quotas.consume" => {
                    *used.entry((partition, id.to_owned())).or_default() +=
                        args["units"].as_u64().unwrap();
                }
                "tickets.redeem" => {
                    assert!(redeemed.insert((*partition, id)), "{id} was redeemed twice");
                }
                "uploads.complete" => {
                    completed.insert(id);
                    *used.entry((partition, "transfers".to_owned())).or_default() += 1;
                }
                _ => {}
            }
        }
    }
    compare(stored, (&versions, &used), (&redeemed, &completed));
    summary
}

/// All that was told of one key is one receipt.
fn one_receipt(fate: &Fate<'_>, (partition, key): (&str, &str)) {
    let Some(first) = fate.accepted.first() else { return };
    for other in &fate.accepted {
        assert_eq!(
            (&first.at, &first.writes, &first.reply),
            (&other.at, &other.writes, &other.reply),
            "{partition} {key} has two receipts"
        );
    }
    if let Some(resolved) = fate.resolved {
        assert!(resolved.applied, "{partition} {key} was acknowledged and is lost");
        assert_eq!(resolved.receipt["at"], first.at, "{partition} {key}");
    }
}

type Places<'a, T> = BTreeMap<(&'a str, String), T>;

/// What was told against what is stored.
fn compare(
    stored: &Stored,
    (versions, used): (&Places<'_, BTreeSet<u64>>, &Places<'_, u64>),
    (redeemed, completed): (&BTreeSet<(&str, &str)>, &BTreeSet<&str>),
) {
    for ((partition, quota), units) in used {
        let (_, record) = stored.get(partition, &format!("quotas/{quota}"));
        assert_eq!(record["used"], *units, "{partition} {quota}: every use has its key");
    }
    for ((partition, record), told) in versions {
        // Counters that are full again are removed, and begin anew.
        if record.starts_with("counters/") {
            continue;
        }
        let (version, _) = stored.get(partition, record);
        // What an upload charges is told by its commands, too: no version is without a key.
        let last = u64::try_from(told.len()).unwrap();
        assert_eq!((told.first(), told.last()), (Some(&1), Some(&last)), "{partition} {record}");
        assert_eq!(version, &last, "{partition} {record}: no gap, and nothing after it");
    }
    for ((partition, name), (_, record)) in &stored.records {
        if let Some(id) = name.strip_prefix("tickets/") {
            let is_used = record["status"] == "used";
            assert_eq!(is_used, redeemed.contains(&(partition.as_str(), id)), "{name}: {record}");
        }
        if let Some(id) = name.strip_prefix("uploads/") {
            let is_completed = record["status"] == "completed";
            assert_eq!(is_completed, completed.contains(id), "{name}: {record}");
        }
    }
}

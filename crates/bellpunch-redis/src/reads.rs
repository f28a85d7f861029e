//! Reads: records by name, pages of records, pages of partitions.
//!
//! Invariant: only a primary is read, and what it says is checked: a record that is damaged, or that
//! somebody else wrote, is an error, never an absent record.

use std::collections::BTreeMap;

use bellpunch_store::{
    Failure, Kind, Page, Partition, PartitionPage, RecordId, RecordKey, Scan, Show, Versioned,
};
use redis::{Cmd, Value};

use crate::layout;
use crate::script;
use crate::store::Inner;
use crate::trouble::Trouble;

/// Records read at one instant.
const READ_KEYS_MAX: usize = 1_000;
/// Members looked at for one page of a scan.
const SCAN_VISITS_MAX: usize = 1_024;
/// Bytes of records after which a page ends.
const SCAN_BYTES_MAX: usize = 4 << 20;

impl Inner {
    pub(crate) async fn read(
        &self,
        partition: &Partition,
        keys: &[RecordKey],
    ) -> Result<Vec<Versioned>, Failure> {
        let shelf = self.terms.layout.shelf(partition);
        let guard = shelf.guard();
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(READ_KEYS_MAX) {
            let mut kinds: Vec<_> = keys.iter().map(|key| &key.kind).collect();
            kinds.sort();
            kinds.dedup();
            let mut call = self.scripts.read.call(keys.len().saturating_add(2));
            call.arg(&guard).arg(shelf.floors());
            for key in keys {
                call.arg(shelf.record(key).concat());
            }
            for kind in &kinds {
                call.arg(kind.name());
            }
            let reply = self.run(&self.scripts.read, guard.as_bytes(), call).await;
            let reply = reply.map_err(Trouble::failure)?;
            let (records, floors) = script::pair(reply).ok_or_else(script::nonsense)?;
            let (records, floors) = (script::all_bytes(records)?, script::all_bytes(floors)?);
            if records.len() != keys.len() || floors.len() != kinds.len() {
                return Err(script::nonsense());
            }
            for (key, raw) in keys.iter().zip(&records) {
                let floor =
                    kinds.binary_search(&&key.kind).ok().and_then(|place| floors.get(place));
                let floor = floor.map_or(&[][..], Vec::as_slice);
                found.push(script::versioned(key, (raw, floor))?);
            }
        }
        Ok(found)
    }

    pub(crate) async fn scan(&self, partition: &Partition, scan: &Scan) -> Result<Page, Failure> {
        let shelf = self.terms.layout.shelf(partition);
        let guard = shelf.guard();
        let start = scan.start();
        let least = if scan.after.as_ref() == Some(&start) { "(" } else { "[" };
        let least = format!("{least}{}", layout::member(&start));
        let mut call = self.scripts.scan.call(3);
        call.arg(&guard).arg(shelf.index()).arg(shelf.floors());
        call.arg(shelf.records()).arg(least).arg(greatest(scan)).arg(scan.limit.max(1));
        call.arg(SCAN_BYTES_MAX).arg(SCAN_VISITS_MAX);
        call.arg(u8::from(scan.show == Show::All));
        call.arg(scan.due_by.map(|due| layout::time_digits(due).to_vec()).unwrap_or_default());
        let reply = self.run(&self.scripts.scan, guard.as_bytes(), call).await;
        let Value::Array(parts) = reply.map_err(Trouble::failure)? else {
            return Err(script::nonsense());
        };
        let [floors, resume, records] =
            <[Value; 3]>::try_from(parts).map_err(|_| script::nonsense())?;
        let (floors, records) = (script::all_bytes(floors)?, script::all_bytes(records)?);
        let mut by_kind = BTreeMap::new();
        for (kind, floor) in script::pairs(&floors) {
            let kind = std::str::from_utf8(kind).map_err(|_| layout::corrupt("a floor"))?;
            by_kind.insert(Kind::named(kind), layout::parse_floor(floor)?);
        }
        let mut page = Page::default();
        for (member, raw) in script::pairs(&records) {
            let key = layout::key_of(member)?;
            let found = layout::decode(&key, raw)?;
            let floor = by_kind.get(&key.kind).copied().unwrap_or_default();
            if scan.wants(&key, found.sweep_at) {
                page.records.push((key, found.above(floor)));
            }
        }
        page.floors = by_kind.into_iter().filter(|(kind, _)| scan.wants_floor(kind)).collect();
        let resume = script::bytes(resume).ok_or_else(script::nonsense)?;
        page.resume = if resume.is_empty() { None } else { Some(layout::key_of(&resume)?) };
        Ok(page)
    }

    pub(crate) async fn partitions(
        &self,
        after: Option<&Partition>,
        limit: usize,
    ) -> Result<PartitionPage, Failure> {
        let key = self.terms.layout.partitions();
        // Removes nothing, but a replica refuses it: what it holds may be old.
        let mut guard = Cmd::new();
        guard.arg("DEL").arg(self.terms.layout.partitions_guard());
        self.query(key.as_bytes(), guard).await.map_err(Trouble::failure)?;
        let least = after.map_or_else(|| "-".to_owned(), |after| format!("({}", after.as_str()));
        let mut range = Cmd::new();
        range.arg("ZRANGEBYLEX").arg(&key).arg(least).arg("+");
        range.arg("LIMIT").arg(0).arg(limit.saturating_add(1));
        let found = self.query(key.as_bytes(), range).await.map_err(Trouble::failure)?;
        let mut partitions = Vec::new();
        for name in script::all_bytes(found)? {
            let name = std::str::from_utf8(&name).ok().and_then(|name| Partition::new(name).ok());
            partitions.push(name.ok_or_else(|| layout::corrupt("the list of partitions"))?);
        }
        let more = limit < partitions.len();
        partitions.truncate(limit);
        Ok(PartitionPage { partitions, more })
    }
}

/// After the last member that a scan may want.
fn greatest(scan: &Scan) -> Vec<u8> {
    let Some(kind) = &scan.kind else { return b"+".to_vec() };
    let prefix = RecordKey { kind: kind.clone(), id: RecordId::stored(&scan.prefix) };
    let mut bound = b"(".to_vec();
    bound.extend_from_slice(layout::member(&prefix).as_bytes());
    // No text contains this byte, and it comes after all that text is made of.
    bound.push(0xff);
    bound
}

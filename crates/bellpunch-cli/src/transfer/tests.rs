//! A copy is compared with what was copied, and one that differs is found.

use std::sync::Mutex;

use bellpunch::store::{
    BoxFuture, Failure as StoreFailure, MemoryConfig, MemoryStore, Page, PartitionPage, Properties,
    Resolution, Scan,
};

use super::*;

static KIND: Kind = Kind::new("records");

/// What happens to a record.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Put(String),
    Delete,
    Purge,
}

pub(crate) fn put(content: &str) -> Change {
    Change::Put(content.to_owned())
}

fn memory(sharing: fn(Arc<SystemClock>) -> MemoryStore) -> MemoryStore {
    sharing(Arc::new(SystemClock::new()))
}

fn exclusive(clock: Arc<SystemClock>) -> MemoryStore {
    MemoryStore::new(clock, MemoryConfig::default())
}

fn shared(clock: Arc<SystemClock>) -> MemoryStore {
    MemoryStore::shared(clock, MemoryConfig::default())
}

/// Writes a record of [`KIND`] at a version, whatever version it has.
pub(crate) async fn write(
    store: &dyn Store,
    partition: &str,
    (id, version, change): (&str, u64, Change),
) {
    let partition = Partition::new(partition).unwrap();
    let key = RecordKey { kind: KIND.clone(), id: RecordId::stored(id) };
    let before = store.read(&partition, std::slice::from_ref(&key)).await.unwrap().remove(0);
    let version = Version::new(version);
    let at = Timestamp::from_nanos(1_000 + u128::from(version.get())).unwrap();
    let (value, sweep_at) = match change {
        Change::Put(content) => (WriteValue::Put(content.into_bytes().into()), Some(at)),
        Change::Delete => (WriteValue::Delete, Some(at)),
        Change::Purge => (WriteValue::Purge, None),
    };
    let commit = Commit {
        id: CommitId::new(random()),
        partition,
        now: at,
        deadline: None,
        preconditions: vec![Precondition { key: key.clone(), version: before.version }],
        writes: vec![StoreWrite { key, version, at, sweep_at, value }],
    };
    let result = store.commit(vec![Arc::new(commit)]).await.remove(0);
    assert!(matches!(result, CommitResult::Committed { .. }), "{result:?}");
}

/// Ids with every odd letter, content of every form, what was removed, and what was purged.
async fn filled(store: &MemoryStore) {
    for (index, id) in
        ["a", "A", "a/b", "a:b", "é", "日本", " ", "\"", "\\", "%2f", "{x}", "a b", "~"]
            .iter()
            .enumerate()
    {
        let version = u64::try_from(index).unwrap().saturating_add(1);
        let content = format!("{{\"zz\": [1.50, 1e3, \"{version}\"], \"a\": {{}}}}");
        write(store, "acme", (id, version, put(&content))).await;
    }
    write(store, "acme", ("deleted", 3, put("1"))).await;
    write(store, "acme", ("deleted", 4, Change::Delete)).await;
    write(store, "b c", ("purged", 3, put("1"))).await;
    write(store, "b c", ("purged", 9, Change::Purge)).await;
    write(store, "b c", ("here", 10, put("null"))).await;
}

#[tokio::test]
async fn a_copy_is_equal_and_says_so() {
    for (from, to) in
        [(exclusive as fn(_) -> _, shared as fn(_) -> _), (shared, exclusive), (shared, shared)]
    {
        let (from, to) = (memory(from), memory(to));
        filled(&from).await;
        let exported = export_bytes(&from).await.unwrap();
        let compared = import_bytes(&to, &exported).await.unwrap();
        assert!(compared.is_equal(), "{}", compared.told(Form::Text));
        let total = digest::total(&from, Noise::Quiet).await.unwrap();
        assert_eq!(digest::total(&to, Noise::Quiet).await.unwrap().hex(), total.hex());
        assert_eq!(compared.told(Form::Text), total.told("equal", Form::Text));
        let told = total.told("equal", Form::Text);
        assert!(told.starts_with("equal: 2 partitions, 15 records, 1 floor, digest "), "{told}");
    }
}

/// What a store does with a copy that it acknowledges.
#[derive(Clone, Copy, Debug)]
enum Loss {
    Content,
    Version,
    Time,
    Due,
    Record,
    Tombstone,
    Floor,
    Added,
}

/// A store that keeps something else.
#[derive(Debug)]
struct Lossy(MemoryStore, Mutex<Option<Loss>>);

impl Lossy {
    fn spoil(&self, commit: &Commit) -> Commit {
        let mut commit = commit.clone();
        let mut loss = self.1.lock().unwrap();
        let later = Timestamp::from_nanos(77).unwrap();
        let put = |write: &StoreWrite| matches!(write.value, WriteValue::Put(_));
        let Some(planned) = *loss else { return commit };
        let found = commit.writes.iter().position(|write| match planned {
            Loss::Tombstone => write.value == WriteValue::Delete,
            Loss::Floor => write.value == WriteValue::Purge,
            Loss::Content | Loss::Version | Loss::Time | Loss::Due | Loss::Record | Loss::Added => {
                put(write)
            }
        });
        let Some(found) = found else { return commit };
        let write = &mut commit.writes[found];
        match planned {
            Loss::Content => write.value = WriteValue::Put(b"{}".as_slice().into()),
            Loss::Version => write.version = write.version.plus(1),
            Loss::Time => write.at = later,
            Loss::Due => write.sweep_at = None,
            Loss::Record | Loss::Tombstone | Loss::Floor => {
                commit.writes.remove(found);
            }
            Loss::Added => {
                let mut more = write.clone();
                more.key.id = RecordId::stored("zz");
                commit.writes.push(more);
            }
        }
        *loss = None;
        commit
    }
}

impl Store for Lossy {
    fn properties(&self) -> Properties {
        self.0.properties()
    }

    fn read<'a>(
        &'a self,
        partition: &'a Partition,
        keys: &'a [RecordKey],
    ) -> BoxFuture<'a, Result<Vec<Versioned>, StoreFailure>> {
        self.0.read(partition, keys)
    }

    fn commit(&self, commits: Vec<Arc<Commit>>) -> BoxFuture<'_, Vec<CommitResult>> {
        self.0.commit(commits.iter().map(|commit| Arc::new(self.spoil(commit))).collect())
    }

    fn scan<'a>(
        &'a self,
        partition: &'a Partition,
        scan: &'a Scan,
    ) -> BoxFuture<'a, Result<Page, StoreFailure>> {
        self.0.scan(partition, scan)
    }

    fn resolve<'a>(
        &'a self,
        partition: &'a Partition,
        id: CommitId,
    ) -> BoxFuture<'a, Result<Resolution, StoreFailure>> {
        self.0.resolve(partition, id)
    }

    fn partitions<'a>(
        &'a self,
        after: Option<&'a Partition>,
        limit: usize,
    ) -> BoxFuture<'a, Result<PartitionPage, StoreFailure>> {
        self.0.partitions(after, limit)
    }
}

#[tokio::test]
async fn a_copy_that_differs_is_found_and_named() {
    let from = memory(exclusive);
    filled(&from).await;
    let exported = export_bytes(&from).await.unwrap();
    for (loss, expected) in [
        (Loss::Content, "records/  of partition acme: version 7"),
        (Loss::Version, "records/  of partition acme: version 7"),
        (Loss::Time, "records/  of partition acme: version 7"),
        (Loss::Due, "records/  of partition acme: version 7"),
        (Loss::Record, "records/  of partition acme: version 7"),
        (Loss::Tombstone, "records/deleted of partition acme: version 4"),
        (Loss::Floor, "the floor of records of partition b c: version 9"),
        (Loss::Added, "records/zz of partition acme: nothing in the file"),
    ] {
        let to = Lossy(memory(exclusive), Mutex::new(Some(loss)));
        let compared = import_bytes(&to, &exported).await.unwrap();
        let told = compared.told(Form::Text);
        assert!(!compared.is_equal(), "{loss:?}: {told}");
        assert!(told.contains(expected), "{loss:?}: {told}");
        assert!(told.ends_with("different: 1 of them\n"), "{loss:?}: {told}");
        for line in compared.told(Form::Json).lines() {
            assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
        }
    }
}

#[tokio::test]
async fn what_is_out_of_order_is_refused_before_anything_is_written() {
    let from = memory(exclusive);
    filled(&from).await;
    let exported = String::from_utf8(export_bytes(&from).await.unwrap()).unwrap();
    let mut lines: Vec<&str> = exported.lines().collect();
    lines.swap(2, 3);
    let to = memory(exclusive);
    let error = import_bytes(&to, (lines.join("\n") + "\n").as_bytes()).await.unwrap_err();
    assert_eq!(error.code(), 2);
    assert!(error.to_string().contains("line 4: it is out of order"), "{error}");
    assert!(stores::partitions(&to).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_self_test_of_stores_is_no_data() {
    let (from, to) = (memory(shared), memory(shared));
    filled(&from).await;
    let before = digest::total(&from, Noise::Quiet).await.unwrap().hex();
    for store in [&from, &to] {
        bellpunch::store::probe::probe(store, random()).await.unwrap();
    }
    assert_eq!(digest::total(&from, Noise::Quiet).await.unwrap().hex(), before);
    let compared = import_bytes(&to, &export_bytes(&from).await.unwrap()).await.unwrap();
    assert!(compared.is_equal());
}

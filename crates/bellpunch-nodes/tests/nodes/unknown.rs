//! Replies of the engine that never came: nothing acknowledged is missing, nothing refused is there,
//! and nobody was told a lie.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bellpunch_check::recorder::Recorder;

use crate::cluster::{Cluster, Start};
use crate::engine::{Engine, Kind};
use crate::link::{FAULTS_COUNT, Link};
use crate::load::{Caller, World};
use crate::random::Random;
use crate::teller::{Ask, Teller, Told, recorder};

/// Commands of each caller in a normal run; `BELLPUNCH_LINK_COMMANDS=300` is the full one.
const COMMANDS: u64 = 30;
const CALLERS: usize = 24;
/// One of so many requests meets a fault.
const ONE_IN: u64 = 12;
const STORE_TIMEOUT: &str = "store.timeout=500ms";
/// Longer than that.
const HOLD: Duration = Duration::from_millis(900);
/// So short that now and then a caller is told that nobody knows yet.
const HTTP_TIMEOUT: &str = "http.timeout=1s";
/// Each command of a quota takes another power of two: what is used tells which were applied.
const BITS: u32 = 50;
const QUOTA: u64 = (1 << BITS) - 1;
/// Callers without keys, each with quotas of its own.
const KEYLESS: usize = 12;

on_each_engine!(replies_that_never_came_are_found_out_by_key, nobody_without_a_key_is_told_a_lie,);

struct Bad {
    engine: Arc<Engine>,
    link: Link,
    cluster: Cluster,
}

impl Bad {
    async fn start(kind: Kind, random: &mut Random) -> Self {
        let engine = Engine::start(kind).await;
        let link = Link::start(engine.port(), random.fork(), (ONE_IN, HOLD)).await;
        let start = Start::new(engine.url_at(link.port), &engine.settings());
        let cluster = Cluster::start(start.with(&[STORE_TIMEOUT, HTTP_TIMEOUT]), 2).await;
        Self { engine, link, cluster }
    }
}

async fn replies_that_never_came_are_found_out_by_key(kind: Kind) {
    let mut random = Random::seeded();
    let commands = crate::asked("BELLPUNCH_LINK_COMMANDS", COMMANDS);
    let Bad { engine, link, cluster } = Bad::start(kind, &mut random).await;
    let recorder = recorder();
    let world = World::furnish(&recorder, &cluster.places).await;
    let callers = Caller::several(CALLERS, &world, &mut random);
    link.turn_bad();
    let begun = std::time::Instant::now();
    let callers = Caller::start(callers, commands).join_all().await;
    let (took, faults, seen) = (begun.elapsed(), link.turn_good().await, world.seen());
    let summary = crate::load::end(cluster, &engine, (world, callers)).await;
    println!("{kind:?}, {took:?}, {faults:?}: {seen:?} {summary:?}");
    assert_eq!(faults.len(), FAULTS_COUNT, "each fault came");
}

/// What became of the commands of one quota, by the bit that each takes.
#[derive(Debug, Default)]
struct Bits {
    accepted: BTreeSet<u32>,
    failed: BTreeSet<u32>,
    unknown: BTreeSet<u32>,
    versions: BTreeSet<u64>,
}

async fn nobody_without_a_key_is_told_a_lie(kind: Kind) {
    let mut random = Random::seeded();
    let commands = crate::asked("BELLPUNCH_LINK_COMMANDS", COMMANDS);
    let Bad { engine, link, cluster } = Bad::start(kind, &mut random).await;
    let recorder = recorder();
    let quotas = commands.div_ceil(u64::from(BITS));
    let mut setup = Teller::new("setup", cluster.places.of(0), &recorder);
    for caller in 0..KEYLESS {
        for quota in 0..quotas {
            setup.must(&Ask::quota(&format!("k{caller}"), &format!("q{quota}"), QUOTA)).await;
        }
    }
    link.turn_bad();
    let mut working = tokio::task::JoinSet::new();
    for caller in 0..KEYLESS {
        let (recorder, places) = (Arc::clone(&recorder), cluster.places.clone());
        let node = caller % places.count();
        working.spawn(async move {
            let name = format!("c{caller}");
            let mut teller = Teller::new(&name, places.of(node), &recorder);
            let mut all = Vec::new();
            for quota in 0..quotas {
                let left = commands - quota * u64::from(BITS);
                let count = u32::try_from(left.min(u64::from(BITS))).unwrap();
                all.push(take((&format!("k{caller}"), quota), count, &mut teller).await);
            }
            (caller, all)
        });
    }
    let told = working.join_all().await;
    let faults = link.turn_good().await;
    cluster.end().await;
    engine.quiet().await;
    let fresh = Cluster::start(Start::new(engine.url(), &engine.settings()), 1).await;
    let mut counts = (0, 0, 0, 0);
    for (caller, all) in &told {
        for (quota, bits) in all.iter().enumerate() {
            let place = (format!("k{caller}"), format!("q{quota}"));
            let found = agrees((&place.0, &place.1), bits, &fresh, &recorder).await;
            counts.0 += bits.accepted.len();
            counts.1 += bits.failed.len();
            counts.2 += bits.unknown.len();
            counts.3 += found;
        }
    }
    fresh.end().await;
    let (accepted, failed, unknown, found) = counts;
    println!(
        "{kind:?}, {faults:?}: {accepted} accepted, {failed} not applied, {unknown} unknown, of \
         which {found} were applied"
    );
    assert!(0 < accepted && !faults.is_empty(), "faults came");
}

/// Takes each bit once, whatever is told.
async fn take((partition, quota): (&str, u64), count: u32, teller: &mut Teller) -> Bits {
    let mut bits = Bits::default();
    let quota = format!("q{quota}");
    for bit in 0..count {
        match teller.tell(&Ask::consume(partition, &quota, 1 << bit)).await {
            Told::Accepted(reply) => {
                bits.accepted.insert(bit);
                let version = reply["versions"][format!("quotas/{quota}")].as_u64().unwrap();
                assert!(bits.versions.last() < Some(&version), "{reply}");
                bits.versions.insert(version);
                let used = reply["quota"]["used"].as_u64().unwrap();
                let owned = bits.accepted.iter().fold(0, |sum, bit| sum | 1 << bit);
                assert_eq!(used & owned, owned, "{reply}: what was acknowledged is there");
                let never = bits.failed.iter().fold(0, |sum, bit| sum | 1 << bit);
                assert_eq!(used & never, 0, "{reply}: what failed is not there");
            }
            Told::Failed(_) => drop(bits.failed.insert(bit)),
            Told::Unknown => drop(bits.unknown.insert(bit)),
            Told::Refused(code, reply) => panic!("{code}: {reply}"),
        }
    }
    bits
}

/// What is stored is what was told; gives how many unknown ones were applied.
async fn agrees(
    (partition, quota): (&str, &str),
    bits: &Bits,
    fresh: &Cluster,
    recorder: &Arc<Recorder>,
) -> usize {
    let mut teller = Teller::new("end", fresh.places.of(0), recorder);
    let read = teller.read(partition, ("quotas", quota)).await;
    let used = read["quota"]["used"].as_u64().unwrap();
    let applied: BTreeSet<u32> = (0..BITS).filter(|bit| used >> bit & 1 == 1).collect();
    assert!(bits.accepted.is_subset(&applied), "{partition} {quota}: lost: {bits:?} {read}");
    assert!(bits.failed.is_disjoint(&applied), "{partition} {quota}: a lie: {bits:?} {read}");
    let found: BTreeSet<u32> = applied.difference(&bits.accepted).copied().collect();
    assert!(found.is_subset(&bits.unknown), "{partition} {quota}: {bits:?} {read}");
    // The first version is its creation.
    let version = read["quota"]["version"].as_u64().unwrap();
    let last = u64::try_from(applied.len()).unwrap() + 1;
    assert_eq!(version, last, "{partition} {quota}: one version for each effect: {read}");
    found.len()
}

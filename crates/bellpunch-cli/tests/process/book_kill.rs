//! `kill -9` at random moments under 64 callers of one book: no number is left out or given twice,
//! no money is lost, made or moved twice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::book::{Caller, World};
use crate::random::Random;
use crate::server::Server;

/// In a normal run; `BELLPUNCH_BOOK_KILLS=60` is the full one.
const KILLS: u64 = 12;
const CALLERS: usize = 64;

#[tokio::test(flavor = "multi_thread")]
async fn kills_leave_no_gap_in_numbers_and_no_money_astray() {
    let mut random = Random::seeded();
    let kills = crate::asked("BELLPUNCH_BOOK_KILLS", KILLS);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut server = Server::on_disk(&data);
    let (moved, places) = watch::channel(vec![server.address]);
    let mut told = Caller::furnish(&places, &mut random).await;
    let world = Arc::new(World::default());
    let callers = Caller::start((CALLERS, u64::MAX), (&places, &world), &mut random);
    let (begun, mut restarts) = (Instant::now(), Duration::ZERO);
    for _ in 0..kills {
        // The moment is a number of answers: the kill comes while others are under way.
        let more = usize::try_from(random.below(300)).unwrap();
        world.answered(more).await;
        let place = data.clone();
        let again = move || {
            server.kill();
            Server::on_disk(&place)
        };
        let restart = Instant::now();
        server = tokio::task::spawn_blocking(again).await.unwrap();
        restarts += restart.elapsed();
        moved.send(vec![server.address]).unwrap();
    }
    world.answered(CALLERS).await;
    world.stop();
    told.extend(callers.join_all().await.into_iter().flatten());
    let took = begun.elapsed();
    assert!(tokio::task::spawn_blocking(|| server.terminate()).await.unwrap().success());
    let summary = crate::book_judge::judge(&told, &crate::disk(&data));
    println!("{kills} kills in {took:?}, of that {restarts:?} starts: {summary:?}");
    assert!(0 < summary.cut, "no request was under way at any kill");
    assert!(0 < summary.refused && 0 < summary.transfers, "{summary:?}");
}

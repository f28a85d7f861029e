//! The scenarios: a few callers each, and whatever may happen beside them.

use std::future::poll_fn;
use std::task::Poll;

use bellpunch_threads::ErrorKind;
use bellpunch_threads::runtime::{HOUR, coin, drop_runtime, hours_pass, point};
use bellpunch_threads::store::{FailureKind, Sharing, fault::Fault};

use crate::stage::{Left, SHORT, Setting, Stage, all, at};

/// A name, and what is played.
pub(crate) type Scenario = (&'static str, fn());

/// All of them.
pub(crate) const ALL: &[Scenario] = &[
    ("replies", || play(replies())),
    ("leavers", || play(leavers())),
    ("drains", || play(drains())),
    ("bounds", || play(bounds())),
    ("patience", || play(patience())),
    ("faults", || play(faults())),
    ("pressure", || play(pressure())),
    ("dropped", || play(dropped())),
    ("runtime_gone", || play(runtime_gone())),
    ("sweeps", || play(sweeps())),
];

fn play(scenario: impl Future<Output = ()>) {
    shuttle::future::block_on(scenario);
}

/// Callers of two partitions on two shards; one of them comes too late.
async fn replies() {
    let stage = Stage::new(&Setting { shards: 2, lines_max: 3, ..Setting::default() });
    let callers = [(0, "a"), (2, "b"), (4, "a")].map(|(by, name)| {
        stage.beside(|stage| async move {
            stage.call(&at(name), by).await;
            stage.call(&at(name), by + 1).await;
        })
    });
    all(callers).await;
    stage.assert_counted();
    stage.end(Left::Done).await;
}

/// Some leave before they are answered; their commands are done all the same.
async fn leavers() {
    let stage = Stage::new(&Setting::default());
    let tasks = [
        stage.beside(|stage| async move { stage.leave(&at("a"), 0).await }),
        stage.beside(|stage| async move { stage.call(&at("a"), 1).await }),
        stage.beside(|stage| async move { stage.leave(&at("b"), 2).await }),
        stage.beside(|stage| async move { stage.leave(&at("a"), 3).await }),
    ];
    all(tasks).await;
    stage.engine.drain().await;
    stage.store.assert_idle();
    stage.assert_counted();
    stage.end(Left::Done).await;
}

/// Two ask for the end at once, while commands come.
async fn drains() {
    let errors = &[ErrorKind::Draining, ErrorKind::Overloaded];
    let stage = Stage::new(&Setting { shards: 2, inbox_max: 2, errors, ..Setting::default() });
    let drain = |stage: Stage| async move {
        stage.engine.drain().await;
        stage.store.assert_idle();
        let ready = stage.engine.ready().await.map_err(|error| error.kind());
        assert_eq!(ready, Err(ErrorKind::Draining));
    };
    let tasks = [
        stage.beside(|stage| async move { stage.call(&at("a"), 0).await }),
        stage.beside(|stage| async move { stage.leave(&at("a"), 1).await }),
        stage.beside(|stage| async move { stage.call(&at("b"), 2).await }),
        stage.beside(drain),
        stage.beside(drain),
        // One who asks for the end, and does not wait for it.
        stage.beside(|stage| async move {
            let mut drain = Box::pin(stage.engine.drain());
            poll_fn(|context| Poll::Ready(drain.as_mut().poll(context).is_ready())).await;
            point();
        }),
    ];
    all(tasks).await;
    stage.call(&at("a"), 3).await;
    assert!(stage.store.lines(&at("a")).await.iter().all(|by| *by != 3), "nothing more is taken");
    stage.end(Left::Cut).await;
}

/// More commands than there is room for.
async fn bounds() {
    let errors = &[ErrorKind::Overloaded];
    let (inbox_max, queue_max, batch_max) = (1, 1, 1);
    let setting = Setting { inbox_max, queue_max, batch_max, errors, ..Setting::default() };
    let stage = Stage::new(&setting);
    let callers = [0, 1, 2, 3].map(|by| {
        stage.beside(move |stage| async move {
            stage.call(&at("a"), by).await;
        })
    });
    all(callers).await;
    stage.assert_counted();
    stage.end(Left::Done).await;
}

/// Nobody waits for long.
async fn patience() {
    let errors = &[ErrorKind::TimedOut, ErrorKind::Unknown];
    let setting = Setting { timeout: SHORT, batch_max: 2, errors, ..Setting::default() };
    let stage = Stage::new(&setting);
    let callers = [0, 1, 2].map(|by| {
        stage.beside(move |stage| async move {
            stage.call(&at("a"), by).await;
        })
    });
    all(callers).await;
    stage.engine.drain().await;
    stage.store.assert_idle();
    stage.assert_counted();
    stage.end(Left::Done).await;
}

/// A store that fails, beside other writers: commits are sent again, asked for, decided again.
async fn faults() {
    let errors = &[ErrorKind::StoreUnavailable];
    let setting = Setting { sharing: Sharing::Shared, errors, ..Setting::default() };
    let stage = Stage::new(&setting);
    for fault in [
        Fault::LoseReply,
        Fault::Conflict,
        Fault::LoseCommit,
        Fault::Fail(FailureKind::Unavailable),
    ] {
        stage.store.faults().plan(fault);
    }
    let tasks = [
        stage.beside(|stage| async move { stage.call_once(&at("a"), 0, "k").await }),
        stage.beside(|stage| async move { stage.call_once(&at("a"), 0, "k").await }),
        stage.beside(|stage| async move { stage.call(&at("b"), 1).await }),
    ];
    all(tasks).await;
    stage.engine.drain().await;
    stage.store.assert_idle();
    stage.assert_counted();
    stage.end(Left::Done).await;
}

/// All of it at once.
async fn pressure() {
    let errors = &[
        ErrorKind::TimedOut,
        ErrorKind::Unknown,
        ErrorKind::Overloaded,
        ErrorKind::Draining,
        ErrorKind::StoreUnavailable,
    ];
    let setting = Setting {
        inbox_max: 2,
        queue_max: 1,
        batch_max: if coin() { 1 } else { 64 },
        sharing: if coin() { Sharing::Shared } else { Sharing::Exclusive },
        timeout: if coin() { SHORT } else { HOUR },
        errors,
        ..Setting::default()
    };
    let stage = Stage::new(&setting);
    for _ in 0..3 {
        stage.store.faults().plan(match (coin(), coin()) {
            (true, true) => Fault::LoseReply,
            (true, false) => Fault::LoseCommit,
            (false, true) => Fault::Conflict,
            (false, false) => Fault::Fail(FailureKind::Unavailable),
        });
    }
    let tasks = [
        stage.beside(|stage| async move { stage.call(&at("a"), 0).await }),
        stage.beside(|stage| async move { stage.call(&at("a"), 1).await }),
        stage.beside(|stage| async move { stage.leave(&at("a"), 2).await }),
        stage.beside(|stage| async move { stage.call(&at("a"), 3).await }),
        stage.beside(|stage| async move {
            stage.engine.drain().await;
            stage.store.assert_idle();
        }),
    ];
    all(tasks).await;
    stage.end(Left::Cut).await;
}

/// The last clone of the engine is dropped while commands are on their way.
async fn dropped() {
    let stage = Stage::new(&Setting { batch_max: 1, ..Setting::default() });
    let leavers = [(0, "a"), (1, "a"), (2, "b")].map(|(by, name)| {
        stage.beside(move |stage| async move {
            stage.leave(&at(name), by).await;
        })
    });
    all(leavers).await;
    stage.end(Left::Done).await;
}

/// The runtime is dropped under the engine: whoever waits is told that nobody knows.
async fn runtime_gone() {
    let errors = &[ErrorKind::Draining, ErrorKind::Unknown];
    let stage = Stage::new(&Setting { shards: 2, errors, ..Setting::default() });
    let tasks = [
        stage.beside(|stage| async move { stage.call(&at("a"), 0).await }),
        stage.beside(|stage| async move { stage.leave(&at("a"), 1).await }),
        stage.beside(|stage| async move { stage.call(&at("b"), 2).await }),
        stage.beside(|stage| async move { stage.engine.drain().await }),
        stage.beside(|_| async move {
            point();
            drop_runtime();
        }),
    ];
    all(tasks).await;
    stage.end(Left::Cut).await;
}

/// A round of the sweeper beside callers, until the engine is let go. When hours pass, they pass for
/// who waits as well.
async fn sweeps() {
    let errors = &[ErrorKind::Draining, ErrorKind::TimedOut, ErrorKind::Unknown];
    let stage = Stage::new(&Setting { errors, ..Setting::default() });
    stage.call_once(&at("a"), 0, "k0").await;
    // What the key is remembered for is over.
    stage.clock.move_on(8 * 24 * 60 * 60 * 1_000_000_000);
    let tasks = [
        stage.beside(|_| async move { hours_pass() }),
        stage.beside(|stage| async move { stage.call_once(&at("a"), 1, "k1").await }),
        stage.beside(|stage| async move { stage.call_once(&at("b"), 2, "k2").await }),
        stage.beside(|stage| async move { stage.engine.drain().await }),
    ];
    all(tasks).await;
    stage.end(Left::Done).await;
}

//! Every script of every domain, on a real server, by one node and by two.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bellpunch::script::{Report, Script, parse, parse_book, parse_compact, run};
use bellpunch_redis::RedisConfig;
use bellpunch_servers::Redis;
use bellpunch_store::Store;

use crate::connect;
use crate::world::{Backend, EngineWorld, Nodes, Replies, Weather};

const LIMITS: &str = include_str!("../../../../scripts/limits.script");
const MONEY: &str = include_str!("../../../../scripts/money.script");
const SPECIMEN: &str = include_str!("../../../../scripts/specimen.script");
const TICKETS: &str = include_str!("../../../../scripts/tickets.script");
const UPLOADS: &str = include_str!("../../../../scripts/uploads.script");

/// All but those of the book.
fn plain() -> Vec<Script> {
    let mut scripts = Vec::new();
    for text in [LIMITS, SPECIMEN, UPLOADS] {
        scripts.extend(parse(text).unwrap());
    }
    scripts.extend(parse_compact(TICKETS).unwrap());
    scripts
}

fn run_all(nodes: Nodes, weathers: &[Weather]) {
    // Not synced: it is not killed, and there are hundreds of worlds.
    let redis = Redis::start_with(&[]);
    let worlds = AtomicU64::new(0);
    let backend = || {
        let mut config = RedisConfig::new(redis.url(0));
        config.prefix = format!("world{}", worlds.fetch_add(1, Ordering::SeqCst));
        let open = move |clock| {
            config.clock = Some(clock);
            Arc::new(connect(&config).unwrap()) as Arc<dyn Store>
        };
        Backend { open: Box::new(open), replies: Replies::Later }
    };
    for weather in weathers {
        let mut scripts = plain();
        // Those of the book are slow here, so they run where most of their own can go wrong; the
        // engine's own tests have them in every weather.
        if nodes == Nodes::Two && matches!(weather, Weather::Conflicts | Weather::LostReplies) {
            scripts.extend(parse_book(MONEY).unwrap());
        }
        let (mut wrong, mut of_one_node) = (Vec::new(), Vec::new());
        for script in &scripts {
            match run(script, || EngineWorld::new(backend(), nodes, *weather)) {
                Ok(Report::Passed { .. }) => {}
                Ok(_) => of_one_node.push(script.id.as_str()),
                Err(failure) => wrong.push(failure.to_string()),
            }
        }
        assert!(wrong.is_empty(), "{} failed:\n{}", wrong.len(), wrong.join("\n"));
        let expected: &[&str] = if nodes == Nodes::One { &[] } else { &["FAIL"] };
        assert_eq!(of_one_node, expected, "{weather:?}");
    }
}

#[test]
fn one_node() {
    run_all(Nodes::One, &[Weather::Calm, Weather::LostReplies]);
}

#[test]
fn two_nodes() {
    run_all(Nodes::Two, &[Weather::Calm, Weather::Conflicts]);
}

#[test]
fn two_nodes_with_lost_replies_and_commits() {
    run_all(Nodes::Two, &[Weather::LostReplies, Weather::LostCommits]);
}

//! Plots about limits: the last unit, the last instant, and what is changed among uses.

use serde_json::json;

use super::{Plot, back, consume, ms, rounds, use_policy};
use crate::case::{FaultKind, MILLI, SECOND};
use crate::workload::STALE_DENIALS;

pub(super) fn last_unit(plot: &mut Plot) {
    plot.settings.nodes = plot.rng.between(1, 4);
    for (round, at) in rounds(4, 300 * MILLI) {
        let quota = format!("q{round}");
        let limit = plot.rng.between(1, 4);
        plot.quota(&quota, limit);
        let count = plot.rng.between(5, 14);
        plot.crowd(at, (count, None), consume(&quota, 1));
    }
}

pub(super) fn part_refused(plot: &mut Plot) {
    for partition in ["p0", "p1", "p2"] {
        plot.partition = partition.to_owned();
        plot.quota("q", 100);
        for (_, at) in rounds(5, 200 * MILLI) {
            plot.crowd(at, (4, None), consume("q", 1));
        }
    }
    for node in 0..2 {
        plot.fault(FaultKind::PartRefused, node, (190 * MILLI, 900 * MILLI));
    }
    for episode in &mut plot.faults {
        episode.intensity = 500;
    }
}

pub(super) fn capture(plot: &mut Plot) {
    let behind = plot.rng.between(200 * MILLI, SECOND);
    plot.fault_by((FaultKind::ClockJump, back(behind)), 0, (300 * MILLI, 5 * SECOND));
    plot.quota("q", 20);
    for (round, at) in rounds(4, 800 * MILLI) {
        let hold = format!("h{round}");
        let items = json!([{ "quota": "q", "units": 2 }]);
        let args = json!({ "id": hold, "items": items, "ttl_ns": 500 * MILLI });
        plot.ask(at, 1, ("holds.create", args));
        let end = at.saturating_add(500 * MILLI);
        for _ in 0..plot.rng.between(1, 3) {
            let (at, node) = (plot.about(end, 20 * MILLI), plot.node());
            plot.ask(at, node, ("holds.capture", json!({ "id": hold })));
        }
        let (at, node) = (plot.about(end, 2 * MILLI), plot.node());
        plot.ask(at, node, consume("q", 3));
    }
}

pub(super) fn revoke(plot: &mut Plot) {
    for (round, at) in rounds(4, 300 * MILLI) {
        let quota = format!("q{round}");
        plot.quota(&quota, 50);
        let node = plot.rng.chance(700).then_some(0);
        plot.crowd(at, (8, node), consume(&quota, 1));
        plot.crowd(at, (1, node), ("quotas.revoke", json!({ "id": quota })));
    }
}

pub(super) fn lowered(plot: &mut Plot) {
    for (round, at) in rounds(4, 300 * MILLI) {
        let quota = format!("q{round}");
        plot.quota(&quota, 9);
        let items = json!([{ "quota": quota, "units": 2 }]);
        let hold = json!({ "items": items, "ttl_ns": 20 * SECOND });
        plot.ask(at.saturating_sub(100 * MILLI), 1, ("holds.create", hold));
        plot.crowd(at, (6, None), consume(&quota, 1));
        let lower = json!({ "id": quota, "limit": 3 });
        plot.crowd(at, (2, None), ("quotas.set_limit", lower));
        plot.crowd(at.saturating_add(MILLI), (3, None), consume(&quota, 1));
    }
}

pub(super) fn keys_max(plot: &mut Plot) {
    let terms = json!({
        "id": "f", "algorithm": "fixed_window", "align": "first_hit", "limit": 1,
        "period_ns": 2 * SECOND,
    });
    plot.policy(terms, &json!({ "max_keys": 2 }));
    for (_, at) in rounds(4, 700 * MILLI) {
        for (later, key) in [(0, "k"), (10, "k"), (20, "l"), (30, "m"), (40, "l"), (50, "n")] {
            let (at, node) = (plot.about(at.saturating_add(ms(later)), 2 * MILLI), plot.node());
            plot.ask(at, node, use_policy("f", key));
        }
    }
}

pub(super) fn window_edge(plot: &mut Plot) {
    let terms = json!({
        "id": "f", "algorithm": "fixed_window", "align": "epoch", "limit": 3, "period_ns": SECOND,
    });
    plot.policy(terms, &json!({}));
    // While somebody holds units, what was used is not forgotten with the window.
    let items = json!([{ "policy": "f", "key": "k", "units": 1 }]);
    for (_, edge) in rounds(4, SECOND) {
        let hold = json!({ "items": items, "ttl_ns": 500 * MILLI });
        plot.ask(edge.saturating_sub(300 * MILLI), 1, ("holds.create", hold));
        plot.crowd(edge.saturating_sub(200 * MILLI), (3, None), use_policy("f", "k"));
        plot.fault(FaultKind::ClockFreeze, 0, (edge, edge.saturating_add(20 * MILLI)));
        plot.crowd(edge.saturating_add(MILLI), (3, Some(0)), use_policy("f", "k"));
        let read = json!({ "policy": "f", "key": "k" });
        plot.ask(edge.saturating_add(4 * MILLI), 0, ("counters.read", read));
    }
}

pub(super) fn expiry_edge(plot: &mut Plot) {
    for (round, edge) in rounds(4, SECOND) {
        let quota = format!("q{round}");
        plot.quota_until(&quota, edge);
        plot.ask(edge.saturating_sub(200 * MILLI), 0, consume(&quota, 1));
        plot.fault(FaultKind::ClockFreeze, 0, (edge, edge.saturating_add(20 * MILLI)));
        let until = edge.saturating_add(30 * MILLI);
        let behind = back(60 * MILLI);
        plot.fault_by((FaultKind::StoreClock, behind), 0, (edge.saturating_sub(MILLI), until));
        plot.crowd(edge.saturating_add(MILLI), (2, Some(0)), consume(&quota, 1));
        plot.ask(edge.saturating_add(2 * MILLI), 0, ("quotas.read", json!({ "id": quota })));
        plot.ask(edge.saturating_add(2 * MILLI), 0, consume(&quota, 1)).dry_run = true;
    }
}

pub(super) fn many_limits(plot: &mut Plot) {
    plot.quota("q", 2);
    plot.quota("r", 30);
    for (_, at) in rounds(4, 200 * MILLI) {
        let items = json!([{ "quota": "r", "units": 1 }, { "quota": "q", "units": 1 }]);
        plot.crowd(at, (3, None), ("checks.consume", json!({ "items": items })));
        plot.ask(at.saturating_add(50 * MILLI), 1, ("quotas.read", json!({ "id": "r" })));
    }
}

pub(super) fn remembered(plot: &mut Plot) {
    let terms = json!({
        "id": "f", "algorithm": "fixed_window", "align": "first_hit", "limit": 1,
        "period_ns": 3_600 * SECOND, "stale_denials_ns": STALE_DENIALS,
    });
    plot.policy(terms, &json!({}));
    for (_, at) in rounds(4, SECOND) {
        for later in [0, 100, 200, 300, 400, 500, 600, 700] {
            for node in 0..2 {
                let at = plot.about(at.saturating_add(ms(later)), 40 * MILLI);
                plot.ask(at, node, use_policy("f", "k")).key = None;
            }
        }
        // One gives it back, and takes it again; the other hears of neither.
        let back = json!({ "id": "f", "key": "k" });
        plot.ask(at.saturating_add(250 * MILLI), 1, ("policies.reset", back));
    }
}

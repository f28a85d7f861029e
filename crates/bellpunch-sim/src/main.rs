//! `bellpunch-sim`: many seeds, or one, or a case.

fn main() {
    let seed: u64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1);
    let count: u64 = std::env::args().nth(2).and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut all = bellpunch_sim::situations::Situations::default();
    let (mut failed, mut commits) = (0, 0);
    for seed in seed..seed + count {
        let case = bellpunch_sim::generate::random(seed);
        let trace =
            if count == 1 { bellpunch_sim::trace::Trace::kept() } else { Default::default() };
        let report = bellpunch_sim::run::run(&case, trace);
        commits += report.commits;
        all.add(&report.situations);
        if let Some(first) = report.violations.first() {
            failed += 1;
            println!("{seed}: {} {}", first.rule, first.text);
        }
        if count == 1 {
            println!("{}", report.trace.unwrap_or_default());
        }
    }
    println!("{failed} failed, {commits} commits, {all:?}");
}

use super::{DirectWorld, Report, Script, parse, parse_compact, run};

const LIMITS: &str = include_str!("../../../../scripts/limits.script");
const UPLOADS: &str = include_str!("../../../../scripts/uploads.script");
const TICKETS: &str = include_str!("../../../../scripts/tickets.script");

#[test]
fn reads_every_script() {
    assert_eq!(parse(LIMITS).unwrap().len(), LIMITS.matches("== ").count());
    assert_eq!(parse(UPLOADS).unwrap().len(), UPLOADS.matches("== ").count());
    let tickets = TICKETS.lines().filter(|line| line.starts_with('T')).count();
    assert_eq!(parse_compact(TICKETS).unwrap().len(), tickets);
}

/// Runs all scripts on the rules alone. Those that need an engine must be exactly these.
fn run_all(scripts: &[Script], need_an_engine: &[&str]) {
    let mut failures = Vec::new();
    let mut unsupported = Vec::new();
    for script in scripts {
        match run(script, DirectWorld::new) {
            Ok(Report::Passed { .. }) => {}
            Ok(Report::Unsupported(_)) => unsupported.push(script.id.as_str()),
            Err(failure) => failures.push(failure.to_string()),
        }
    }
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
    assert_eq!(unsupported, need_an_engine);
}

#[test]
fn tickets_on_the_rules_alone() {
    run_all(&parse_compact(TICKETS).unwrap(), &["T03", "T13"]);
}

#[test]
fn limits_on_the_rules_alone() {
    run_all(&parse(LIMITS).unwrap(), &["FAIL"]);
}

#[test]
fn uploads_on_the_rules_alone() {
    run_all(&parse(UPLOADS).unwrap(), &[]);
}

//! The check of foreign targets, which show a status and a body and nothing else.

use crate::calls::Foreign;
use crate::judge::Findings;

/// Judges one foreign target.
pub(crate) fn check(target: &str, foreign: &Foreign<'_>, findings: &mut Findings) {
    let _ = (foreign.model, &foreign.ops);
    findings.undecided(format!("no foreign model is known yet for {target}"));
}

//! Uploads and the holds that pay for them.

use super::{Book, Finding, Stored, holds, limit, number, same, text};

const CHECK: &str = "upload_states";

pub(super) fn check(book: &mut Book) {
    book.each("uploads", upload);
    book.each("uploads", paid);
}

fn upload(_: &Book, upload: &Stored) -> Option<Vec<Finding>> {
    let status = upload.text("status")?;
    let completed_at = upload.time("completed_at");
    let downloads = upload.number("downloads")?;
    let most = limit(upload.record.get("max_downloads")?)?;
    let payload = upload.record.get("payload");
    let ended = matches!(status, "abandoned" | "deleted");
    let in_time = |until: Option<crate::Timestamp>| {
        completed_at.is_none_or(|at| until.is_none_or(|until| at < until))
    };
    let mut findings: Vec<Finding> = [
        (status != "completed" || completed_at.is_some(), "a completed upload says since when"),
        (status != "completed" || payload.is_some(), "a completed upload has a payload"),
        (
            status == "completed" || status == "deleted" || completed_at.is_none(),
            "only a completed upload was completed",
        ),
        (upload.has("ended_at") == ended, "it ended if and only if its status says so"),
        (in_time(upload.time("pending_until")), "completed before it lapsed"),
        (in_time(upload.time("expires_at")), "completed before it expired"),
        (most.is_none_or(|most| downloads <= most), "no more downloads than it has"),
        (downloads == 0 || completed_at.is_some(), "downloads of a completed upload only"),
    ]
    .into_iter()
    .filter_map(|claim| holds(CHECK, upload, claim))
    .collect();
    if let Some(payload) = payload {
        let size = number(payload.get("size")?)?;
        let fits = size <= upload.number("size_limit")?;
        findings.extend(holds(CHECK, upload, (fits, "a payload within its size limit")));
        let numbered = 0 < number(payload.get("generation")?)?;
        findings.extend(holds(CHECK, upload, (numbered, "generations from 1 on")));
    }
    Some(findings)
}

/// No completed upload without its charge, and no charge without its completion.
fn paid(book: &Book, upload: &Stored) -> Option<Vec<Finding>> {
    const CHECK: &str = "upload_matches_hold";
    let Some(id) = upload.text("hold") else {
        let owes = upload.text("status") == Some("completed") && upload.has("charge");
        let claim = (!owes || upload.list("charge").is_empty(), "a hold of its charge");
        return Some(holds(CHECK, upload, claim).into_iter().collect());
    };
    let pending_until = upload.time("pending_until")?;
    let waits = upload.text("status")? == "pending" && book.now < pending_until;
    // Holds are forgotten some time after their end.
    let Some(hold) = book.one("holds", id) else {
        let claim = (!waits, "its hold, which is open");
        return Some(holds(CHECK, upload, claim).into_iter().collect());
    };
    let end = hold.record.get("end");
    let captured = end.and_then(|end| end.get("captured"));
    let open = end.is_none() && hold.time("expires_at").is_some_and(|end| book.now < end);
    let mut findings = Vec::new();
    if waits {
        findings.extend(holds(CHECK, upload, (open, "its hold, which is open")));
        let until = (Some(pending_until), hold.time("expires_at"));
        findings.extend(same(CHECK, hold, until));
    } else {
        findings.extend(holds(CHECK, upload, (!open, "its hold, which has ended")));
    }
    let completed = upload.has("completed_at");
    findings.extend(same(CHECK, hold, (completed, captured.is_some())));
    let charge = captured.and_then(|end| text(end, "charge"));
    findings.extend(same(CHECK, upload, (charge, upload.text("charged"))));
    Some(findings)
}

//! Uploads: create, publish, complete, download, under a quota; one command after the other.
//!
//! Every field of every reply and refusal is stated (as `null` if it must be absent), but for the words for people (`reason` of an
//! `invalid_request`) and unknown fields of a command.
//!
//! * What an upload costs is held, captured and released by `Charging`, the model of limits. Its
//!   refusals and those of the upload itself are told in the one order of the command.
//! * Ids of uploads, holds and grants are drawn where none is given; grants leave no record, so
//!   that theirs are new is not tested.
//! * Secrets are compared as their hashes (`delete_hash`, `secret_hash`). Of a command that shows
//!   a plain one the model says that it does not know.
//! * Blobs are not here: what an answer says of them is in the upload.
//!
//! Invariant: nothing returns to `pending`, and what was pinned at complete never changes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::fields::{
    DAY, Refusal, Writes, after, digest, duration, field, flag, moment, needed, object, record,
    refuse, senseless, shown, span, stated, text, undrawn, units, verdict,
};
use super::{Call, Verdict};
use crate::instant::Nanos;

/// The last instant there is.
const LAST: i128 = 253_402_207_200_999_999_999;
const PENDING_MAX: Nanos = 7 * DAY;
const PENDING_DEFAULT: Nanos = 3_600_000_000_000;
const PAYLOAD_MAX: u64 = 104_857_600;
const PUBLISH_WINDOW: Nanos = DAY;
const GRANT_TTL: Nanos = 900_000_000_000;
const GRANT_TTL_MAX: Nanos = 7 * DAY;
const GENERATIONS_MAX: usize = 16;
const CHARGE_MAX: usize = 16;

/// The order in which refusals of limits and of the upload are told; others come last.
const CREATE_ORDER: &[&str] = &[
    "quota_not_found",
    "policy_not_found",
    "upload_exists",
    "quota_revoked",
    "algorithm_changed",
    "quota_expired",
    "ttl_too_long",
    "expiry_not_later",
    "payload_too_large",
];
const PUBLISH_ORDER: &[&str] = &[
    "upload_not_found",
    "not_owner",
    "upload_deleted",
    "upload_completed",
    "upload_abandoned",
    "payload_missing",
    "generation_mismatch",
    "invalid_request",
    "quota_revoked",
    "upload_lapsed",
    "upload_expired",
    "quota_expired",
    "ttl_too_long",
    "expiry_not_later",
];

/// What is to be held for an upload.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    /// In the form of the `items` of `holds.create`: `quota`, or `policy` and `key` and perhaps
    /// `terms`; and `units`.
    pub(crate) items: &'a [Value],
    /// How long, as the caller said.
    pub(crate) ttl: Option<Nanos>,
    /// How long if nothing was said: this, or until the first of its quotas ends.
    pub(crate) ttl_default: Nanos,
    /// The decision time.
    pub(crate) at: Nanos,
    /// The id that was drawn, as told.
    pub(crate) drawn: Option<&'a str>,
}

/// A hold that was made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Held {
    /// Its id: what was drawn.
    pub(crate) id: String,
    /// It counts before this instant.
    pub(crate) until: Nanos,
    /// The records that were written: the hold, its quotas, counters, ….
    pub(crate) writes: Writes,
}

/// A hold that was captured.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Captured {
    /// The id of the charge, where one is kept.
    pub(crate) charge: Option<String>,
    /// The records that were written: the hold, its charge, its quotas, counters, ….
    pub(crate) writes: Writes,
}

/// What the model of limits does for uploads. Refusals are in its own words and its own order;
/// one that refuses has changed nothing.
pub(crate) trait Charging: Clone {
    /// Holds: everything that `holds.create` refuses, and the shapes of `items` apart.
    fn hold(&mut self, wanted: &Wanted<'_>) -> Result<Held, Refusal>;

    /// Whether the quotas of a hold are neither revoked nor expired: `quota_revoked` or
    /// `quota_expired`, or nothing. That the hold itself ran out is said by the upload.
    fn usable(&self, hold: &str, at: Nanos) -> Result<(), Refusal>;

    /// Moves the end of an open hold to `until`, which is later than it is: `quota_revoked`,
    /// `quota_expired`, `ttl_too_long {max_ttl_ns}` (beyond a quota's end, or the hold's own
    /// bound). Gives the records that were written.
    fn extend(&mut self, hold: &str, until: Nanos, at: Nanos) -> Result<Writes, Refusal>;

    /// Captures an open hold: of each item, in the order of [`Wanted::items`], so many of the
    /// units that it holds. The rest is released.
    fn capture(&mut self, hold: &str, units: &[u64], at: Nanos) -> Result<Captured, Refusal>;

    /// Voids a hold. Of one that is no longer open it writes nothing. Gives the records that were
    /// written.
    fn release(&mut self, hold: &str, at: Nanos) -> Writes;
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Status {
    Pending,
    Completed { at: Nanos },
    Abandoned { at: Nanos },
    Deleted { at: Nanos },
}

#[derive(Clone, Debug, PartialEq)]
struct Payload {
    blob: String,
    size: u64,
    sha256: String,
    at: Nanos,
}

#[derive(Clone, Debug, PartialEq)]
struct Upload {
    status: Status,
    owner: Option<String>,
    charge: Vec<Value>,
    hold: Option<String>,
    charged: Option<String>,
    size_limit: u64,
    pending_until: Nanos,
    /// All generations, the first at 0.
    generations: Vec<Payload>,
    /// `None`: unlimited.
    max_downloads: Option<u64>,
    downloads: u64,
    auto_delete: bool,
    expires_at: Option<Nanos>,
    delete_hash: Option<String>,
    created_at: Nanos,
    completed_at: Option<Nanos>,
    /// What was pinned, for [`Uploads::check`].
    pinned: Option<usize>,
    labels: Option<Value>,
    version: u64,
}

/// All uploads of a partition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Uploads {
    uploads: BTreeMap<String, Upload>,
}

type Outcome = Result<(Value, Writes), Refusal>;

/// Of the upload's own refusal and the limits', the one that stands first.
fn first(order: &[&str], own: Result<(), Refusal>, theirs: Option<Refusal>) -> Result<(), Refusal> {
    let place = |refusal: &Refusal| {
        order.iter().position(|code| **code == *refusal.0).unwrap_or(usize::MAX)
    };
    match (own, theirs) {
        (Ok(()), None) => Ok(()),
        (Err(own), None) => Err(own),
        (Ok(()), Some(theirs)) => Err(theirs),
        // Two bounds of one thing: the tighter one is told, it is what would do.
        (Err(own), Some(theirs)) if own.0 == "ttl_too_long" && theirs.0 == "ttl_too_long" => {
            let bound = |refusal: &Refusal| refusal.1.get("max_ttl_ns").and_then(Value::as_u64);
            Err(if bound(&theirs) < bound(&own) { theirs } else { own })
        }
        (Err(own), Some(theirs)) => Err(if place(&theirs) < place(&own) { theirs } else { own }),
    }
}

impl Upload {
    fn state(&self, at: Nanos) -> &'static str {
        match self.status {
            Status::Deleted { .. } => "deleted",
            Status::Abandoned { .. } => "abandoned",
            Status::Pending if self.pending_until <= at => "lapsed",
            Status::Pending => "pending",
            Status::Completed { .. } if self.is_expired(at) => "expired",
            Status::Completed { .. } if self.is_exhausted() => "exhausted",
            Status::Completed { .. } => "completed",
        }
    }

    fn is_expired(&self, at: Nanos) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= at)
    }

    fn is_exhausted(&self) -> bool {
        self.max_downloads.is_some_and(|max| max <= self.downloads)
    }

    fn is_owner(&self, args: &Value) -> Result<(), Refusal> {
        let is_free = self.owner.is_none() || self.owner.as_deref() == text(args, "owner");
        if is_free { Ok(()) } else { refuse("not_owner", json!({})) }
    }

    /// Deleted, completed or abandoned: what a pending upload is not.
    fn is_pending(&self) -> Result<(), Refusal> {
        match self.status {
            Status::Pending => Ok(()),
            Status::Deleted { at } => refuse("upload_deleted", json!({ "at": shown(at) })),
            Status::Abandoned { at } => refuse("upload_abandoned", json!({ "at": shown(at) })),
            Status::Completed { at } => {
                let charge = self.charged.as_ref().map(|charge| json!(charge));
                let generation = Some(json!(self.generations.len()));
                let at = Some(shown(at));
                let data = stated([("at", at), ("generation", generation), ("charge", charge)]);
                refuse("upload_completed", data)
            }
        }
    }

    /// Lapsed or expired: what a pending upload must not be.
    fn is_in_time(&self, at: Nanos) -> Result<(), Refusal> {
        if self.pending_until <= at {
            let until = shown(self.pending_until);
            return refuse("upload_lapsed", json!({ "pending_until": until }));
        }
        self.is_not_expired(at)
    }

    fn is_not_expired(&self, at: Nanos) -> Result<(), Refusal> {
        match self.expires_at {
            Some(end) if end <= at => refuse("upload_expired", json!({ "expires_at": shown(end) })),
            Some(_) | None => Ok(()),
        }
    }

    fn show(&self, id: &str, at: Nanos) -> Value {
        let payload = self.generations.last();
        let generation = payload.map(|_| json!(self.generations.len()));
        let (status, ended_at) = match self.status {
            Status::Pending => ("pending", None),
            Status::Completed { .. } => ("completed", None),
            Status::Abandoned { at } => ("abandoned", Some(at)),
            Status::Deleted { at } => ("deleted", Some(at)),
        };
        let left = self.max_downloads.map(|max| json!(max.saturating_sub(self.downloads)));
        let max = self.max_downloads.map_or_else(|| json!("unlimited"), |max| json!(max));
        stated([
            ("id", Some(json!(id))),
            ("status", Some(json!(status))),
            ("state", Some(json!(self.state(at)))),
            ("owner", self.owner.as_ref().map(|owner| json!(owner))),
            ("charge", (!self.charge.is_empty()).then(|| json!(self.charge))),
            ("hold", self.hold.as_ref().map(|hold| json!(hold))),
            ("charged", self.charged.as_ref().map(|charge| json!(charge))),
            ("size_limit", Some(json!(self.size_limit))),
            ("pending_until", Some(shown(self.pending_until))),
            ("generation", generation),
            ("payload", payload.map(|payload| json!(payload.blob))),
            ("size", payload.map(|payload| json!(payload.size))),
            ("sha256", payload.map(|payload| json!(payload.sha256))),
            ("published_at", payload.map(|payload| shown(payload.at))),
            ("max_downloads", Some(max)),
            ("downloads", Some(json!(self.downloads))),
            ("downloads_remaining", left),
            ("auto_delete", Some(json!(self.auto_delete))),
            ("expires_at", self.expires_at.map(shown)),
            ("created_at", Some(shown(self.created_at))),
            ("completed_at", self.completed_at.map(shown)),
            ("ended_at", ended_at.map(shown)),
            ("labels", self.labels.clone()),
            ("version", Some(json!(self.version))),
        ])
    }
}

impl Uploads {
    /// Judges one command; what it costs is `limits`' to say.
    pub(crate) fn apply(&mut self, call: &Call<'_>, limits: &mut impl Charging) -> Verdict {
        let plain = ["secret", "delete_secret"].iter().any(|name| field(call.args, name).is_some());
        if plain {
            return Verdict::NotModelled;
        }
        verdict(match call.cmd {
            "uploads.create" => self.create(call, limits),
            "uploads.publish" => self.publish(call, limits),
            "uploads.complete" => self.complete(call, limits),
            "uploads.extend" => self.extend(call, limits),
            "uploads.abandon" => self.abandon(call, limits),
            "uploads.download" => self.download(call),
            "uploads.delete" => self.delete(call, limits),
            "uploads.read" => self
                .find(call)
                .map(|(id, upload)| (shown_alone(upload.show(id, call.at)), Writes::new())),
            _ => return Verdict::NotModelled,
        })
    }

    fn find<'a>(&self, call: &Call<'a>) -> Result<(&'a str, Upload), Refusal> {
        let id = needed(call.args, "id")?;
        match self.uploads.get(id) {
            Some(upload) => Ok((id, upload.clone())),
            None => refuse("upload_not_found", json!({ "id": id })),
        }
    }

    /// Keeps an upload that an accepted command changed; `writes` is what else it wrote.
    fn keep(
        &mut self,
        id: &str,
        (upload, at): (Upload, Nanos),
        mut writes: Writes,
    ) -> (Value, Writes) {
        let upload = Upload { version: upload.version.saturating_add(1), ..upload };
        let reply = shown_alone(upload.show(id, at));
        self.uploads.insert(id.to_owned(), upload);
        writes.insert(record("uploads", &[id]));
        (reply, writes)
    }

    fn create(&mut self, call: &Call<'_>, limits: &mut impl Charging) -> Outcome {
        let (args, at) = (call.args, call.at);
        let size_limit = units(args, "size_limit")?;
        let (ttl, expires_at) = (duration(args, "ttl_ns")?, moment(args, "expires_at")?);
        let max_downloads = match field(args, "max_downloads") {
            Some(max) if *max != json!("unlimited") => Some(units(args, "max_downloads")?),
            Some(_) | None => None,
        };
        let delete_hash = digest(args, "delete_hash")?;
        let (charge, items) = charge(args, size_limit)?;
        let told =
            |name: &str| call.drawn.and_then(|reply| reply.get("upload")?.get(name)?.as_str());
        let given = text(args, "id").or_else(|| told("id")).map(str::to_owned);
        let id = &given.unwrap_or_else(|| undrawn(self.uploads.len()));

        let own = self.may_create(id, call);
        let drawn = told("hold");
        let wanted = Wanted { items: &items, ttl, ttl_default: PENDING_DEFAULT, at, drawn };
        let mut held = None;
        if own.is_ok() && !items.is_empty() {
            held = Some(limits.hold(&wanted)?);
        } else if !items.is_empty() {
            // Both may refuse, and the limits' reason may stand first.
            first(CREATE_ORDER, own, limits.clone().hold(&wanted).err())?;
        } else {
            own?;
        }

        // Past here it succeeds.
        let until = after(at, ttl.unwrap_or(PENDING_DEFAULT));
        let labels = field(args, "labels").filter(|labels| **labels != json!({}));
        let upload = Upload {
            status: Status::Pending,
            owner: text(args, "owner").map(str::to_owned),
            charge,
            hold: held.as_ref().map(|held| held.id.clone()),
            charged: None,
            size_limit,
            pending_until: held.as_ref().map_or(until, |held| held.until),
            generations: Vec::new(),
            max_downloads,
            downloads: 0,
            auto_delete: flag(args, "auto_delete"),
            expires_at,
            delete_hash,
            created_at: at,
            completed_at: None,
            pinned: None,
            labels: labels.cloned(),
            version: 0,
        };
        Ok(self.keep(id, (upload, at), held.map(|held| held.writes).unwrap_or_default()))
    }

    /// The upload's own refusals of a create.
    fn may_create(&self, id: &str, call: &Call<'_>) -> Result<(), Refusal> {
        let (args, at) = (call.args, call.at);
        if let Some(taken) = self.uploads.get(id) {
            return refuse("upload_exists", json!({ "at": shown(taken.created_at) }));
        }
        let free = field(args, "charge").and_then(Value::as_array).is_none_or(Vec::is_empty);
        let ttl = duration(args, "ttl_ns")?.or_else(|| free.then_some(PENDING_DEFAULT));
        if ttl.is_some_and(|ttl| PENDING_MAX < ttl || LAST.saturating_sub(at) < ttl) {
            return refuse("ttl_too_long", json!({ "max_ttl_ns": span(0, PENDING_MAX) }));
        }
        if let Some(expires_at) = moment(args, "expires_at")?.filter(|end| *end <= at) {
            return refuse("expiry_not_later", json!({ "expires_at": shown(expires_at) }));
        }
        let payload_max = field(args, "payload_max").and_then(Value::as_u64).unwrap_or(PAYLOAD_MAX);
        if payload_max < units(args, "size_limit")? {
            return refuse("payload_too_large", json!({ "limit": payload_max }));
        }
        Ok(())
    }

    fn publish(&mut self, call: &Call<'_>, limits: &impl Charging) -> Outcome {
        let (args, at) = (call.args, call.at);
        let blob = needed(args, "blob")?;
        let Some(sha256) = digest(args, "sha256")? else { return senseless("sha256") };
        let size = units(args, "size")?;
        let Some(started_at) = moment(args, "started_at")? else { return senseless("started_at") };
        let window = duration(args, "publish_window_ns")?.unwrap_or(PUBLISH_WINDOW);
        let (id, mut upload) = self.find(call)?;
        let own = upload
            .is_owner(args)
            .and_then(|()| upload.is_pending())
            .and_then(|()| {
                // A blob is written once and never shared. The one senseless content that only
                // the record tells, and so not before right and state.
                let mut blobs = upload.generations.iter().map(|payload| &payload.blob);
                if blobs.any(|known| known == blob) { senseless("blob") } else { Ok(()) }
            })
            .and_then(|()| upload.is_in_time(at));
        first(PUBLISH_ORDER, own, upload.unusable(limits, at))?;
        let publish_before = after(started_at, window);
        if publish_before <= at {
            let publish_before = shown(publish_before);
            return refuse("blob_too_old", json!({ "publish_before": publish_before }));
        }
        if upload.size_limit < size {
            return refuse("payload_too_large", json!({ "limit": upload.size_limit }));
        }
        if GENERATIONS_MAX <= upload.generations.len() {
            return refuse("too_many_generations", json!({ "max": GENERATIONS_MAX }));
        }
        upload.generations.push(Payload { blob: blob.to_owned(), size, sha256, at });
        Ok(self.keep(id, (upload, at), Writes::new()))
    }

    fn complete(&mut self, call: &Call<'_>, limits: &mut impl Charging) -> Outcome {
        let (args, at) = (call.args, call.at);
        let (id, upload) = self.find(call)?;
        let own = upload
            .is_owner(args)
            .and_then(|()| upload.is_pending())
            .and_then(|()| match upload.generations.len() {
                0 => refuse("payload_missing", json!({})),
                last => match field(args, "generation") {
                    Some(wanted) if *wanted != json!(last) => {
                        refuse("generation_mismatch", json!({ "generation": last }))
                    }
                    Some(_) | None => Ok(()),
                },
            })
            .and_then(|()| upload.is_in_time(at));
        first(PUBLISH_ORDER, own, upload.unusable(limits, at))?;
        let size = upload.generations.last().map_or(0, |payload| payload.size);
        let captured = match &upload.hold {
            Some(hold) => {
                let is_bytes = |item: &Value| flag(item, "bytes");
                let taken = |item: &Value| item.get("units").and_then(Value::as_u64);
                let units: Vec<u64> = upload
                    .charge
                    .iter()
                    .map(|item| if is_bytes(item) { size } else { taken(item).unwrap_or(1) })
                    .collect();
                limits.capture(hold, &units, at)?
            }
            None => Captured { charge: None, writes: Writes::new() },
        };
        let upload = Upload {
            status: Status::Completed { at },
            completed_at: Some(at),
            charged: captured.charge,
            pinned: Some(upload.generations.len()),
            ..upload
        };
        Ok(self.keep(id, (upload, at), captured.writes))
    }

    fn extend(&mut self, call: &Call<'_>, limits: &mut impl Charging) -> Outcome {
        let (args, at) = (call.args, call.at);
        let Some(ttl) = duration(args, "ttl_ns")? else { return senseless("ttl_ns") };
        let (id, upload) = self.find(call)?;
        let until = after(at, ttl);
        let latest = after(upload.created_at, PENDING_MAX);
        let own = upload
            .is_owner(args)
            .and_then(|()| upload.is_pending())
            .and_then(|()| upload.is_in_time(at))
            .and_then(|()| {
                if latest < until {
                    return refuse("ttl_too_long", json!({ "max_ttl_ns": span(at, latest) }));
                }
                if until <= upload.pending_until {
                    let now_until = shown(upload.pending_until);
                    return refuse("expiry_not_later", json!({ "expires_at": now_until }));
                }
                Ok(())
            });
        let mut writes = Writes::new();
        match &upload.hold {
            Some(hold) if own.is_ok() => writes = limits.extend(hold, until, at)?,
            Some(hold) if upload.status == Status::Pending => {
                first(PUBLISH_ORDER, own, limits.clone().extend(hold, until, at).err())?;
            }
            Some(_) | None => own?,
        }
        Ok(self.keep(id, (Upload { pending_until: until, ..upload }, at), writes))
    }

    fn abandon(&mut self, call: &Call<'_>, limits: &mut impl Charging) -> Outcome {
        let at = call.at;
        let (id, upload) = self.find(call)?;
        upload.is_owner(call.args)?;
        upload.is_pending()?;
        if upload.pending_until <= at {
            let until = shown(upload.pending_until);
            return refuse("upload_lapsed", json!({ "pending_until": until }));
        }
        let writes = upload.hold.as_ref().map(|hold| limits.release(hold, at));
        let upload = Upload { status: Status::Abandoned { at }, ..upload };
        Ok(self.keep(id, (upload, at), writes.unwrap_or_default()))
    }

    fn download(&mut self, call: &Call<'_>) -> Outcome {
        let at = call.at;
        let ttl = duration(call.args, "grant_ttl_ns")?.unwrap_or(GRANT_TTL);
        if GRANT_TTL_MAX < ttl {
            return senseless("grant_ttl_ns");
        }
        let (id, upload) = self.find(call)?;
        match upload.status {
            Status::Completed { .. } => {}
            Status::Pending => {
                return refuse("upload_pending", json!({ "state": upload.state(at) }));
            }
            Status::Abandoned { .. } | Status::Deleted { .. } => upload.is_pending()?,
        }
        upload.is_not_expired(at)?;
        if let Some(max) = upload.max_downloads.filter(|_| upload.is_exhausted()) {
            let data = json!({ "downloads": upload.downloads, "max_downloads": max });
            return refuse("downloads_exhausted", data);
        }
        let generation = upload.generations.len();
        let upload = Upload { downloads: upload.downloads.saturating_add(1), ..upload };
        let (mut reply, writes) = self.keep(id, (upload, at), Writes::new());
        let mut grant = json!({ "generation": generation, "expires_at": shown(after(at, ttl)) });
        let drawn = call.drawn.and_then(|reply| reply.get("grant")?.get("id")?.as_str());
        if let (Some(grant), Some(drawn)) = (grant.as_object_mut(), drawn) {
            grant.insert("id".to_owned(), json!(drawn));
        }
        if let Some(reply) = reply.as_object_mut() {
            reply.insert("grant".to_owned(), grant);
        }
        Ok((reply, writes))
    }

    fn delete(&mut self, call: &Call<'_>, limits: &mut impl Charging) -> Outcome {
        let at = call.at;
        let Some(secret) = digest(call.args, "secret_hash")? else {
            return senseless("secret_hash");
        };
        let (id, upload) = self.find(call)?;
        match &upload.delete_hash {
            None => return refuse("delete_not_enabled", json!({})),
            Some(hash) if *hash != secret => return refuse("delete_denied", json!({})),
            Some(_) => {}
        }
        if let Status::Deleted { .. } = upload.status {
            let upload = upload.show(id, at);
            let reply = json!({ "upload": upload, "grant": null, "changed": false });
            return Ok((reply, Writes::new()));
        }
        let open = upload.hold.as_ref().filter(|_| upload.state(at) == "pending");
        let writes = open.map(|hold| limits.release(hold, at)).unwrap_or_default();
        let upload = Upload { status: Status::Deleted { at }, ..upload };
        let (mut reply, writes) = self.keep(id, (upload, at), writes);
        if let Some(reply) = reply.as_object_mut() {
            reply.insert("changed".to_owned(), json!(true));
        }
        Ok((reply, writes))
    }

    /// What holds of every upload at `at`, whatever happened.
    pub(crate) fn check(&self, at: Nanos) -> Result<(), String> {
        for (id, upload) in &self.uploads {
            let broken = |what: &str| Err(format!("upload {id}: {what}"));
            if at < upload.created_at {
                return broken("was created in the future");
            }
            if after(upload.created_at, PENDING_MAX) < upload.pending_until {
                return broken("is pending for too long");
            }
            if upload.pinned.is_some_and(|pinned| pinned != upload.generations.len()) {
                return broken("serves another generation than was pinned");
            }
            if upload.pinned.is_none() && (0 < upload.downloads || upload.charged.is_some()) {
                return broken("was served or charged without being completed");
            }
            if upload.pinned.is_some() != upload.completed_at.is_some() {
                return broken("was completed without a generation, or the other way round");
            }
            if upload.completed_at.is_some_and(|done| upload.pending_until <= done || at < done) {
                return broken("was completed outside of its time");
            }
            if upload.max_downloads.is_some_and(|max| max < upload.downloads) {
                return broken("was downloaded too often");
            }
            let too_large = |payload: &Payload| upload.size_limit < payload.size;
            if upload.generations.iter().any(too_large) {
                return broken("is larger than it may be");
            }
            if GENERATIONS_MAX < upload.generations.len() {
                return broken("has too many generations");
            }
        }
        Ok(())
    }
}

impl Upload {
    /// What the quotas of the hold say against going on.
    fn unusable(&self, limits: &impl Charging, at: Nanos) -> Option<Refusal> {
        let hold = self.hold.as_ref().filter(|_| self.status == Status::Pending)?;
        limits.usable(hold, at).err()
    }
}

/// A reply that is an upload, without a grant or a change beside it.
fn shown_alone(upload: Value) -> Value {
    json!({ "upload": upload, "grant": null, "changed": null })
}

/// What an upload costs: as it is shown, and as it is held.
fn charge(args: &Value, size_limit: u64) -> Result<(Vec<Value>, Vec<Value>), Refusal> {
    let items = field(args, "charge").and_then(Value::as_array).cloned().unwrap_or_default();
    let (mut shown, mut held, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
    for item in &items {
        let target = match (text(item, "quota"), text(item, "policy"), text(item, "key")) {
            (Some(quota), None, None) => (quota, None),
            (None, Some(policy), Some(key)) => (policy, Some(key)),
            _ => return senseless("charge"),
        };
        let (bytes, given) = (flag(item, "bytes"), field(item, "units"));
        if bytes && given.is_some() {
            return senseless("charge");
        }
        let count = if given.is_some() { units(item, "units")? } else { 1 };
        if CHARGE_MAX < items.len() || !seen.insert(target) || bytes && size_limit == 0 {
            return senseless("charge");
        }
        let terms = || field(item, "terms").cloned();
        let (quota, policy, key) = (item.get("quota"), item.get("policy"), item.get("key"));
        let form = |units: Option<u64>, bytes: bool| {
            object([
                ("quota", quota.cloned()),
                ("policy", policy.cloned()),
                ("key", key.cloned()),
                ("units", units.map(|units| json!(units))),
                ("bytes", bytes.then_some(Value::Bool(true))),
                ("terms", terms()),
            ])
        };
        shown.push(form((!bytes).then_some(count), bytes));
        held.push(form(Some(if bytes { size_limit } else { count }), false));
    }
    Ok((shown, held))
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    clippy::too_many_arguments,
    reason = "a test that panics has failed"
)]
mod tests;

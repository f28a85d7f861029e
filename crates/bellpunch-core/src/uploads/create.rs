//! `uploads.create`: declares an upload and holds what it will cost, before a byte is sent.

use serde::{Deserialize, Serialize};

use super::charging::{self, ChargeItem, ChargeUnits};
use super::{PENDING_MAX, Status, Upload, UploadRejection, UploadReply, earliest, put};
use crate::limits::Rejection as LimitsRejection;
use crate::{
    Command, Draft, Duration, Key, Labels, Limit, RecordId, Rejection, SecretHash, Timestamp, Units,
};

const CHARGE_ITEMS_MAX: usize = 16;
/// How long an upload is pending unless it says otherwise.
const PENDING_DEFAULT: Duration = Duration::from_secs(3_600);

pub(super) const ORDER: &[&str] = &[
    "quota_not_found",
    "policy_not_found",
    "upload_exists",
    "quota_revoked",
    "algorithm_changed",
    "quota_expired",
    "ttl_too_long",
    "expiry_not_later",
    "payload_too_large",
    "too_many_holds",
    "too_many_keys",
];

/// Declares an upload.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// Its id, for ever; drawn unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Key>,
    /// The most bytes it may have.
    pub size_limit: Units,
    /// What it costs: at most 16 items, each target once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub charge: Vec<ChargeItem>,
    /// How long it may be pending: at most 7 days. Unless given one hour, or the quota's rest if
    /// that is shorter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ns: Option<Duration>,
    /// How often it may be downloaded.
    #[serde(default = "unlimited")]
    pub max_downloads: Limit,
    /// Usable before this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Whether its bytes go when its downloads are used up.
    #[serde(default)]
    pub auto_delete: bool,
    /// The SHA-256 of a secret with which it can be deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_hash: Option<SecretHash>,
    /// Who alone may publish, complete, extend and abandon it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Key>,
    /// Stored, never interpreted.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// The most bytes that any upload may have: a setting that the door lays over what a caller
    /// sent. Not in the fingerprint.
    #[serde(default = "payload_max", skip_serializing)]
    pub payload_max: Units,
}

const fn unlimited() -> Limit {
    Limit::Unlimited
}

/// 100 MiB.
fn payload_max() -> Units {
    Units::new(104_857_600).expect("100 MiB is far below 2^53")
}

impl Create {
    fn check_shape(&self) -> Result<(), UploadRejection> {
        let wrong = |reason| Err(UploadRejection::InvalidRequest { field: "charge", reason });
        if CHARGE_ITEMS_MAX < self.charge.len() {
            return wrong("has at most 16 items");
        }
        let twice = self.charge.iter().enumerate().any(|(index, item)| {
            self.charge.iter().take(index).any(|earlier| earlier.target == item.target)
        });
        if twice {
            return wrong("names each target once");
        }
        if self.charge.iter().any(|item| item.units == ChargeUnits::Bytes)
            && self.size_limit.is_zero()
        {
            return wrong("holds size_limit bytes, and so at least 1");
        }
        Ok(())
    }

    /// How long it is pending. `None`: as long as its hold.
    fn ttl(&self) -> Option<Duration> {
        self.ttl_ns.or_else(|| self.charge.is_empty().then_some(PENDING_DEFAULT))
    }

    fn check_upload(&self, known: Option<&Upload>, now: Timestamp) -> Result<(), UploadRejection> {
        if let Some(upload) = known {
            return Err(UploadRejection::UploadExists { at: upload.created_at });
        }
        let ttl = self.ttl();
        if ttl.is_some_and(|ttl| PENDING_MAX < ttl || now.plus(ttl).is_none()) {
            return Err(UploadRejection::TtlTooLong { max_ttl_ns: PENDING_MAX });
        }
        if let Some(expires_at) = self.expires_at.filter(|expires_at| *expires_at <= now) {
            return Err(UploadRejection::ExpiryNotLater { expires_at });
        }
        if self.payload_max < self.size_limit {
            return Err(UploadRejection::PayloadTooLarge { limit: self.payload_max });
        }
        Ok(())
    }

    /// Holds what the upload will cost; gives the hold, and until when it is pending.
    fn hold(
        &self,
        draft: &mut Draft<'_>,
        id: &Key,
        now: Timestamp,
    ) -> Result<(Option<Key>, Timestamp), LimitsRejection> {
        if self.charge.is_empty() {
            let ttl = self.ttl_ns.unwrap_or(PENDING_DEFAULT);
            // One that ends after all instants is refused beside this.
            return Ok((None, now.plus(ttl).unwrap_or(Timestamp::MAX)));
        }
        let hold = charging::Hold {
            id: charging::hold_id(draft),
            upload: id.clone(),
            size_limit: self.size_limit,
            ttl: self.ttl_ns,
            ttl_default: PENDING_DEFAULT,
        };
        let pending_until = hold.create(draft, &self.charge, now)?;
        Ok((Some(hold.id), pending_until))
    }

    fn created(&self, pending_until: Timestamp, now: Timestamp) -> Upload {
        Upload {
            status: Status::Pending,
            owner: self.owner.clone(),
            charge: self.charge.clone(),
            hold: None,
            charged: None,
            size_limit: self.size_limit,
            pending_until,
            payload: None,
            replaced: Vec::new(),
            max_downloads: self.max_downloads,
            downloads: Units::ZERO,
            auto_delete: self.auto_delete,
            expires_at: self.expires_at,
            delete_hash: self.delete_hash,
            created_at: now,
            completed_at: None,
            ended_at: None,
            grants_until: None,
            labels: self.labels.clone(),
        }
    }
}

impl Command for Create {
    const NAME: &'static str = "uploads.create";
    type Reply = UploadReply;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, now: Timestamp) -> Result<UploadReply, Rejection> {
        self.check_shape()?;
        let id = self.id.clone().unwrap_or_else(|| draft.drawn_key());
        let known = draft.get::<Upload>(&RecordId::from(&id));
        let own = self.check_upload(known.as_deref(), now).map_err(Rejection::from);
        let held = self.hold(draft, &id, now).map_err(Rejection::from);
        earliest(ORDER, [held.as_ref().err().cloned(), own.err()])?;
        let (hold, pending_until) = held?;

        // Past here it succeeds.
        let upload = Upload { hold, ..self.created(pending_until, now) };
        Ok(put(draft, &id, upload, now))
    }
}

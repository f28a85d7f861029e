//! Rate policies: terms under a name, and their last changes.
//!
//! Invariant: terms that exist are legal, and algorithm and alignment never change for a name.
//! Changes are kept with their instants, so that a counter which slept through several is brought
//! forward through each of them in turn.

use serde::{Deserialize, Serialize};

use super::epoch::Epoch;
use super::schedule::{Anchor, Calendar, CalendarUnit};
use crate::{Duration, Kind, Limit, PositiveUnits, Record, Timestamp, Units, ValueError};

const PERIOD_MIN: Duration = Duration::from_millis(1);
const PERIOD_MAX: Duration = Duration::from_days(36_525);
const LOG_LIMIT_MAX: u64 = 10_000;
const STALE_DENIALS_MAX: Duration = Duration::from_secs(60);
const CHANGES_MAX: usize = 16;
/// The longest hold on a quota, and on a rate that says nothing else.
pub(super) const HOLD_TTL_MAX: Duration = Duration::from_days(31);
/// How many open holds a quota may have, and a rate that says nothing else.
pub(super) const OPEN_HOLDS_MAX: u32 = 1_024;

/// How a rate is counted.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Algorithm {
    /// One count per window.
    FixedWindow {
        /// Where windows begin.
        align: Align,
        /// Their length.
        period: Duration,
    },
    /// One count per window of a calendar.
    Calendar(Calendar),
    /// The count of this window, and the share of the one before that is still in sight.
    SlidingCounter {
        /// Length of the windows.
        period: Duration,
    },
    /// Each use for itself: exact in every span.
    SlidingLog {
        /// How long a use counts.
        period: Duration,
    },
    /// A token bucket: `rate` units drain in each `period`.
    Gcra {
        /// Units per period.
        rate: PositiveUnits,
        /// The period.
        period: Duration,
    },
    /// Leases: what is open at once.
    Concurrency,
}

impl Algorithm {
    /// The name on the wire.
    #[must_use]
    pub const fn name(&self) -> AlgorithmName {
        match self {
            Self::FixedWindow { .. } => AlgorithmName::FixedWindow,
            Self::Calendar(_) => AlgorithmName::Calendar,
            Self::SlidingCounter { .. } => AlgorithmName::SlidingCounter,
            Self::SlidingLog { .. } => AlgorithmName::SlidingLog,
            Self::Gcra { .. } => AlgorithmName::Gcra,
            Self::Concurrency => AlgorithmName::Concurrency,
        }
    }

    /// Whether a name may go from one to the other: algorithm and alignment stay.
    #[must_use]
    pub fn same_kind(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::FixedWindow { align, .. }, Self::FixedWindow { align: after, .. }) => {
                align == after
            }
            _ => self.name() == other.name(),
        }
    }

    /// Whether both cut time in the same way; another rate drains faster, and cuts the same.
    pub(super) fn same_windows(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Gcra { period, .. }, Self::Gcra { period: after, .. }) => period == after,
            _ => self == other,
        }
    }
}

/// The names of the algorithms.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AlgorithmName {
    /// See [`Algorithm::FixedWindow`].
    FixedWindow,
    /// See [`Algorithm::Calendar`].
    Calendar,
    /// See [`Algorithm::SlidingCounter`].
    SlidingCounter,
    /// See [`Algorithm::SlidingLog`].
    SlidingLog,
    /// See [`Algorithm::Gcra`].
    Gcra,
    /// See [`Algorithm::Concurrency`].
    Concurrency,
}

/// Where a fixed window begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Align {
    /// At the first use after the window before.
    FirstHit,
    /// At multiples of the period since 1970.
    Epoch,
}

/// What a rate answers while the store fails.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnStoreFailure {
    /// Nothing passes.
    #[default]
    Closed,
    /// Everything passes, uncounted.
    Open,
    /// The same algorithm in the node alone.
    Local {
        /// The node's own limit (of a token bucket its burst).
        limit: Limit,
        /// Of a token bucket: its rate.
        rate: Option<PositiveUnits>,
    },
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(super) enum FailureMode {
    #[default]
    Closed,
    Open,
    Local,
}

/// When a decision may be acknowledged.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Once it is durable.
    #[default]
    Strict,
    /// Before, where a node has its store for itself: a crash loses at most what was told within a
    /// second.
    Relaxed,
}

/// The terms of a rate. Legal by construction.
///
/// ```
/// use bellpunch_core::limits::Terms;
/// use bellpunch_core::{Duration, Limit, PositiveUnits, Units};
/// let terms = Terms::gcra(PositiveUnits::new(100)?, Duration::from_secs(60))?
///     .with_burst(Limit::Finite(Units::new(10)?));
/// assert_eq!(terms.limit(), Limit::Finite(Units::new(10)?));
/// assert!(Terms::gcra(PositiveUnits::ONE, Duration::from_nanos(1)).is_err());
/// # Ok::<(), bellpunch_core::ValueError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "TermsForm", into = "TermsForm")]
pub struct Terms {
    #[cfg_attr(feature = "schema", schemars(skip))]
    algorithm: Algorithm,
    limit: Limit,
    max_ttl: Duration,
    max_open_holds: u32,
    max_keys: Option<Units>,
    #[cfg_attr(feature = "schema", schemars(skip))]
    options: Options,
    stale_denials: Option<Duration>,
    #[cfg_attr(feature = "schema", schemars(skip))]
    on_store_failure: OnStoreFailure,
    durability: Durability,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Options {
    charges: bool,
    shadow: bool,
    best_effort: bool,
}

impl Terms {
    /// At most `limit` in each window of `period`.
    ///
    /// # Errors
    /// `invalid_request` for a period outside 1 ms to 36,525 days.
    pub fn fixed_window(align: Align, limit: Limit, period: Duration) -> Result<Self, ValueError> {
        Self::checked(Algorithm::FixedWindow { align, period }, limit)
    }

    /// At most `limit` in each window of a calendar.
    ///
    /// # Errors
    /// None now; the calendar was checked when it was made.
    pub fn calendar(calendar: Calendar, limit: Limit) -> Result<Self, ValueError> {
        Self::checked(Algorithm::Calendar(calendar), limit)
    }

    /// About `limit` in each span of `period`, in two counts.
    ///
    /// # Errors
    /// `invalid_request` for a period outside 1 ms to 36,525 days.
    pub fn sliding_counter(limit: Limit, period: Duration) -> Result<Self, ValueError> {
        Self::checked(Algorithm::SlidingCounter { period }, limit)
    }

    /// Exactly at most `limit` in each span of `period`.
    ///
    /// # Errors
    /// `invalid_request` for a limit above 10,000, or a period outside 1 ms to 36,525 days.
    pub fn sliding_log(limit: Limit, period: Duration) -> Result<Self, ValueError> {
        Self::checked(Algorithm::SlidingLog { period }, limit)
    }

    /// A token bucket: `rate` units per `period`, and as many at once.
    ///
    /// # Errors
    /// `invalid_request` for a period outside 1 ms to 36,525 days.
    pub fn gcra(rate: PositiveUnits, period: Duration) -> Result<Self, ValueError> {
        Self::checked(Algorithm::Gcra { rate, period }, Limit::Finite(rate.units()))
    }

    /// At most `limit` leases at once.
    ///
    /// # Errors
    /// None now.
    pub fn concurrency(limit: Limit) -> Result<Self, ValueError> {
        Self::checked(Algorithm::Concurrency, limit)
    }

    fn checked(algorithm: Algorithm, limit: Limit) -> Result<Self, ValueError> {
        if let Algorithm::FixedWindow { period, .. }
        | Algorithm::SlidingCounter { period }
        | Algorithm::SlidingLog { period }
        | Algorithm::Gcra { period, .. } = &algorithm
            && !(PERIOD_MIN..=PERIOD_MAX).contains(period)
        {
            return Err(ValueError::Request("a period is 1 ms to 36,525 days"));
        }
        if matches!(algorithm, Algorithm::SlidingLog { .. }) {
            check_log_limit(limit)?;
        }
        Ok(Self {
            algorithm,
            limit,
            max_ttl: HOLD_TTL_MAX,
            max_open_holds: OPEN_HOLDS_MAX,
            max_keys: None,
            options: Options::default(),
            stale_denials: None,
            on_store_failure: OnStoreFailure::Closed,
            durability: Durability::Strict,
        })
    }

    /// With another capacity than the rate.
    #[must_use]
    pub const fn with_burst(mut self, burst: Limit) -> Self {
        self.limit = burst;
        self
    }

    /// With a charge kept while it can be refunded.
    #[must_use]
    pub const fn with_charges(mut self) -> Self {
        self.options.charges = true;
        self
    }

    /// Never refusing, only telling.
    #[must_use]
    pub const fn with_shadow(mut self) -> Self {
        self.options.shadow = true;
        self
    }

    /// With at most so many live counters.
    #[must_use]
    pub const fn with_max_keys(mut self, max_keys: Units) -> Self {
        self.max_keys = Some(max_keys);
        self
    }

    /// How it is counted.
    #[must_use]
    pub const fn algorithm(&self) -> &Algorithm {
        &self.algorithm
    }

    /// The limit; of a token bucket its burst.
    #[must_use]
    pub const fn limit(&self) -> Limit {
        self.limit
    }

    /// The longest hold.
    #[must_use]
    pub const fn max_ttl(&self) -> Duration {
        self.max_ttl
    }

    /// How many holds one key may have open.
    #[must_use]
    pub const fn max_open_holds(&self) -> u32 {
        self.max_open_holds
    }

    /// How many counters may be live.
    #[must_use]
    pub const fn max_keys(&self) -> Option<Units> {
        self.max_keys
    }

    /// Whether charges are kept.
    #[must_use]
    pub const fn keeps_charges(&self) -> bool {
        self.options.charges
    }

    /// Whether it only tells.
    #[must_use]
    pub const fn is_shadow(&self) -> bool {
        self.options.shadow
    }

    /// Whether it may run on a best-effort store.
    #[must_use]
    pub const fn is_best_effort(&self) -> bool {
        self.options.best_effort
    }

    /// For how long a refusal may be repeated from memory.
    #[must_use]
    pub const fn stale_denials(&self) -> Option<Duration> {
        self.stale_denials
    }

    /// What is answered while the store fails.
    #[must_use]
    pub const fn on_store_failure(&self) -> OnStoreFailure {
        self.on_store_failure
    }

    /// When a decision may be acknowledged.
    #[must_use]
    pub const fn durability(&self) -> Durability {
        self.durability
    }

    /// Whether a decision may be acknowledged before it is durable.
    #[must_use]
    pub const fn is_relaxed(&self) -> bool {
        matches!(self.durability, Durability::Relaxed)
    }

    /// The terms a node alone decides under, where these allow it.
    pub(super) fn local(&self) -> Option<Self> {
        let OnStoreFailure::Local { limit, rate: local_rate } = self.on_store_failure else {
            return None;
        };
        let algorithm = match (&self.algorithm, local_rate) {
            (Algorithm::Gcra { period, .. }, Some(rate)) => {
                Algorithm::Gcra { rate, period: *period }
            }
            (algorithm, _) => algorithm.clone(),
        };
        Some(Self { algorithm, limit, max_keys: None, ..self.clone() })
    }
}

/// A log has an entry for each use, also in the node alone.
fn check_log_limit(limit: Limit) -> Result<(), ValueError> {
    match limit {
        Limit::Finite(units) if LOG_LIMIT_MAX < units.get() => {
            Err(ValueError::Request("the limit of a sliding log is at most 10,000"))
        }
        Limit::Finite(_) | Limit::Unlimited => Ok(()),
    }
}

/// Terms as they are written, on the wire and in records.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename = "Terms")]
pub(super) struct TermsForm {
    pub(super) algorithm: AlgorithmName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) align: Option<Align>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) limit: Option<Limit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) period_ns: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rate: Option<PositiveUnits>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) burst: Option<Limit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) unit: Option<CalendarUnit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) zone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) anchor: Option<Anchor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) max_ttl_ns: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) max_open_holds: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) max_keys: Option<Units>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) charges: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) shadow: bool,
    #[serde(default, skip_serializing_if = "is_closed")]
    pub(super) on_store_failure: FailureMode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) local_limit: Option<Limit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) local_rate: Option<PositiveUnits>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) stale_denials_ns: Option<Duration>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) best_effort: bool,
    #[serde(default, skip_serializing_if = "is_strict")]
    pub(super) durability: Durability,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
pub(super) const fn is_false(flag: &bool) -> bool {
    !*flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
const fn is_closed(mode: &FailureMode) -> bool {
    matches!(mode, FailureMode::Closed)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
const fn is_strict(durability: &Durability) -> bool {
    matches!(durability, Durability::Strict)
}

impl TermsForm {
    fn algorithm(&self) -> Result<Algorithm, ValueError> {
        const PERIOD: ValueError = ValueError::Request("period_ns is missing");
        Ok(match self.algorithm {
            AlgorithmName::FixedWindow => Algorithm::FixedWindow {
                align: self.align.ok_or(ValueError::Request("align is missing"))?,
                period: self.period_ns.ok_or(PERIOD)?,
            },
            AlgorithmName::Calendar => Algorithm::Calendar(Calendar::new(
                self.unit.ok_or(ValueError::Request("unit is missing"))?,
                self.zone.as_deref().ok_or(ValueError::Request("zone is missing"))?,
                self.anchor.clone(),
            )?),
            AlgorithmName::SlidingCounter => {
                Algorithm::SlidingCounter { period: self.period_ns.ok_or(PERIOD)? }
            }
            AlgorithmName::SlidingLog => {
                Algorithm::SlidingLog { period: self.period_ns.ok_or(PERIOD)? }
            }
            AlgorithmName::Gcra => Algorithm::Gcra {
                rate: self.rate.ok_or(ValueError::Request("rate is missing"))?,
                period: self.period_ns.ok_or(PERIOD)?,
            },
            AlgorithmName::Concurrency => Algorithm::Concurrency,
        })
    }

    /// Fields that the algorithm has not are refused: a misplaced one would mean something else.
    fn check_fields(&self) -> Result<(), ValueError> {
        let gcra = self.algorithm == AlgorithmName::Gcra;
        let calendar = self.algorithm == AlgorithmName::Calendar;
        let timeless = calendar || self.algorithm == AlgorithmName::Concurrency;
        let misplaced = [
            (
                self.align.is_some() && self.algorithm != AlgorithmName::FixedWindow,
                "align is only for fixed_window",
            ),
            (self.period_ns.is_some() && timeless, "period_ns is not for this algorithm"),
            (self.limit.is_some() && gcra, "gcra has rate and burst, no limit"),
            (
                (self.rate.is_some() || self.burst.is_some()) && !gcra,
                "rate and burst are only for gcra",
            ),
            (
                (self.unit.is_some() || self.zone.is_some() || self.anchor.is_some()) && !calendar,
                "unit, zone and anchor are only for calendar",
            ),
            (self.local_rate.is_some() && !gcra, "local_rate is only for gcra"),
            (
                (self.local_limit.is_some() || self.local_rate.is_some())
                    && self.on_store_failure != FailureMode::Local,
                "local_limit and local_rate need on_store_failure = local",
            ),
            (
                self.stale_denials_ns.is_some_and(|span| STALE_DENIALS_MAX < span),
                "stale_denials is at most 60 s",
            ),
        ];
        match misplaced.into_iter().find(|(wrong, _)| *wrong) {
            Some((_, reason)) => Err(ValueError::Request(reason)),
            None => Ok(()),
        }
    }

    fn failure(&self) -> Result<OnStoreFailure, ValueError> {
        Ok(match self.on_store_failure {
            FailureMode::Closed => OnStoreFailure::Closed,
            FailureMode::Open => OnStoreFailure::Open,
            FailureMode::Local => {
                let limit =
                    self.local_limit.ok_or(ValueError::Request("local_limit is missing"))?;
                if self.algorithm == AlgorithmName::Gcra && self.local_rate.is_none() {
                    return Err(ValueError::Request("local_rate is missing"));
                }
                if self.algorithm == AlgorithmName::SlidingLog {
                    check_log_limit(limit)?;
                }
                OnStoreFailure::Local { limit, rate: self.local_rate }
            }
        })
    }
}

impl TryFrom<TermsForm> for Terms {
    type Error = ValueError;

    fn try_from(form: TermsForm) -> Result<Self, ValueError> {
        form.check_fields()?;
        let algorithm = form.algorithm()?;
        let limit = match &algorithm {
            Algorithm::Gcra { rate, .. } => {
                form.burst.unwrap_or_else(|| Limit::Finite(rate.units()))
            }
            Algorithm::FixedWindow { .. }
            | Algorithm::Calendar(_)
            | Algorithm::SlidingCounter { .. }
            | Algorithm::SlidingLog { .. }
            | Algorithm::Concurrency => {
                form.limit.ok_or(ValueError::Request("limit is missing"))?
            }
        };
        let on_store_failure = form.failure()?;
        Ok(Self {
            max_ttl: form.max_ttl_ns.unwrap_or(HOLD_TTL_MAX),
            max_open_holds: form.max_open_holds.unwrap_or(OPEN_HOLDS_MAX),
            max_keys: form.max_keys,
            options: Options {
                charges: form.charges,
                shadow: form.shadow,
                best_effort: form.best_effort,
            },
            stale_denials: form.stale_denials_ns,
            on_store_failure,
            durability: form.durability,
            ..Self::checked(algorithm, limit)?
        })
    }
}

impl From<Terms> for TermsForm {
    fn from(terms: Terms) -> Self {
        let (mode, local_limit, local_rate) = match terms.on_store_failure {
            OnStoreFailure::Closed => (FailureMode::Closed, None, None),
            OnStoreFailure::Open => (FailureMode::Open, None, None),
            OnStoreFailure::Local { limit, rate } => (FailureMode::Local, Some(limit), rate),
        };
        let mut form = Self {
            algorithm: terms.algorithm.name(),
            align: None,
            limit: Some(terms.limit),
            period_ns: None,
            rate: None,
            burst: None,
            unit: None,
            zone: None,
            anchor: None,
            max_ttl_ns: Some(terms.max_ttl).filter(|span| *span != HOLD_TTL_MAX),
            max_open_holds: Some(terms.max_open_holds).filter(|count| *count != OPEN_HOLDS_MAX),
            max_keys: terms.max_keys,
            charges: terms.options.charges,
            shadow: terms.options.shadow,
            on_store_failure: mode,
            local_limit,
            local_rate,
            stale_denials_ns: terms.stale_denials,
            best_effort: terms.options.best_effort,
            durability: terms.durability,
        };
        match terms.algorithm {
            Algorithm::FixedWindow { align, period } => {
                form.align = Some(align);
                form.period_ns = Some(period);
            }
            Algorithm::Calendar(calendar) => {
                form.unit = Some(calendar.unit());
                form.zone = Some(calendar.zone().to_owned());
                form.anchor = calendar.anchor().cloned();
            }
            Algorithm::SlidingCounter { period } | Algorithm::SlidingLog { period } => {
                form.period_ns = Some(period);
            }
            Algorithm::Gcra { rate, period } => {
                form.rate = Some(rate);
                form.period_ns = Some(period);
                form.burst = form.limit.take();
            }
            Algorithm::Concurrency => {}
        }
        form
    }
}

/// Terms, and since when.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Change {
    /// Counts the changes of the policy.
    pub(super) number: u64,
    pub(super) at: Timestamp,
    pub(super) terms: Terms,
}

/// A rate policy: terms that many keys share.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RatePolicy {
    changes: Vec<Change>,
    epoch: Epoch,
}

impl Record for RatePolicy {
    const KIND: Kind = Kind::new("policies");
}

impl RatePolicy {
    pub(super) fn new(terms: Terms, at: Timestamp, epoch: Epoch) -> Self {
        Self { changes: vec![Change { number: 0, at, terms }], epoch }
    }

    /// The terms now.
    ///
    /// # Panics
    /// Never: there are always terms.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.last().terms
    }

    pub(super) fn last(&self) -> &Change {
        self.changes.last().expect("a policy has terms")
    }

    pub(super) fn changes(&self) -> &[Change] {
        &self.changes
    }

    pub(super) const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The policy with other terms from `at` on.
    pub(super) fn changed(&self, terms: Terms, at: Timestamp) -> Self {
        let number = self.last().number.checked_add(1).expect("nobody changes terms 2^64 times");
        let mut changes = self.changes.clone();
        changes.push(Change { number, at, terms });
        let surplus = changes.len().saturating_sub(CHANGES_MAX);
        changes.drain(..surplus);
        Self { changes, epoch: self.epoch }
    }

    /// The policy with all counters of before void.
    pub(super) fn reset(&self) -> Self {
        Self { epoch: self.epoch.next(), ..self.clone() }
    }
}

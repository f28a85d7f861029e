//! Rejections: the rule said no. Values with a stable code, never errors.
//!
//! Invariant: the stage decides what kind of "no" it is, so a new code touches no door.

use serde::Serialize;
use serde_json::{Map, Value};

/// The stages of a `decide`, in the order in which they are tested. The first stage where anything
/// fails gives the answer.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Stage {
    /// The command makes no sense by itself.
    Shape,
    /// The idempotency key names another command.
    Key,
    /// A record is missing, or there already.
    Existence,
    /// The caller may not.
    Right,
    /// The record is not at the version the caller named.
    Version,
    /// The record is not in a state that allows it.
    State,
    /// Too early, or too late.
    Time,
    /// The amount does not fit the record.
    Amount,
    /// There is not enough left.
    Limit,
}

/// What kind of "no" it is, free of any wire. Doors map these.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Category {
    /// Bad input.
    Malformed,
    /// An idempotency key used for another command.
    Reuse,
    /// No such record.
    Absent,
    /// A record in another state, or without funds.
    State,
    /// Over, for good.
    Gone,
    /// Not the caller's.
    Right,
    /// Not the version named.
    Version,
    /// Not enough left.
    Limit,
}

impl Category {
    /// The category of a code, by its stage (see `docs/reference/codes.md`).
    ///
    /// ```
    /// use bellpunch_core::{Category, Stage};
    /// assert_eq!(Category::of(Stage::Time, "quota_expired"), Category::Gone);
    /// assert_eq!(Category::of(Stage::Existence, "quota_exists"), Category::State);
    /// ```
    #[must_use]
    pub fn of(stage: Stage, code: &str) -> Self {
        const GONE_ENDINGS: [&str; 5] =
            ["_expired", "_revoked", "_deleted", "_abandoned", "_lapsed"];
        const GONE: [&str; 3] = ["downloads_exhausted", "ticket_rejected", "ticket_cancelled"];
        const STATE: [&str; 3] = ["scope_required", "series_exhausted", "chain_unsealed"];
        match stage {
            Stage::Shape => Self::Malformed,
            Stage::Key => Self::Reuse,
            Stage::Existence if code.ends_with("_not_found") => Self::Absent,
            Stage::Existence => Self::State,
            Stage::Right => Self::Right,
            Stage::Version => Self::Version,
            Stage::State | Stage::Time | Stage::Amount => {
                let gone = GONE.contains(&code) || GONE_ENDINGS.iter().any(|e| code.ends_with(e));
                if gone { Self::Gone } else { Self::State }
            }
            // A series without a number left is no limit that time or another try helps with.
            Stage::Limit if STATE.contains(&code) => Self::State,
            Stage::Limit => Self::Limit,
        }
    }
}

/// The "no" of one domain, with its data still typed.
pub trait Reject {
    /// The stable `snake_case` code.
    fn code(&self) -> &'static str;
    /// Where in the order of tests it stands.
    fn stage(&self) -> Stage;
    /// What the caller needs next.
    fn data(&self) -> Map<String, Value>;
}

/// A rejection of any domain.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Rejection {
    /// Stable; the only thing programs branch on.
    pub code: &'static str,
    /// What kind of "no".
    #[serde(skip)]
    pub category: Category,
    /// What the caller needs next; durations as `…_ns`, exact.
    pub data: Map<String, Value>,
}

impl<R: Reject> From<R> for Rejection {
    fn from(reject: R) -> Self {
        let code = reject.code();
        Self { code, category: Category::of(reject.stage(), code), data: reject.data() }
    }
}

/// The data of a rejection: each field, whether it may be left out, and its schema.
#[cfg(feature = "schema")]
pub type DataSchema = Vec<(&'static str, bool, schemars::Schema)>;

/// Defines the rejections of a domain: variants in order of precedence, each with its stage, its
/// code and its data. Gives the enum, [`Reject`], and `TABLE` for the generated reference.
macro_rules! rejections {
    (
        $(#[$doc:meta])*
        pub enum $name:ident {
            $(
                $(#[doc = $text:literal])+
                $stage:ident $code:literal => $variant:ident { $($(#[$fdoc:meta])* $field:ident : $type:ty),* $(,)? }
            ),* $(,)?
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Eq, PartialEq)]
        #[non_exhaustive]
        pub enum $name {
            $(
                $(#[doc = $text])+
                $variant { $($(#[$fdoc])* $field: $type),* },
            )*
        }

        impl $name {
            /// Stage, code and meaning of each, in order of precedence.
            pub const TABLE: &[($crate::Stage, &str, &str)] = &[
                $(($crate::Stage::$stage, $code, concat!($($text),+))),*
            ];

            /// The data of each code: fields, whether they may be left out, and their schemas.
            #[cfg(feature = "schema")]
            pub fn data_schemas(
                generator: &mut schemars::SchemaGenerator,
            ) -> Vec<(&'static str, $crate::DataSchema)> {
                vec![$((
                    $code,
                    vec![$((
                        stringify!($field),
                        stringify!($type).starts_with("Option"),
                        generator.subschema_for::<$type>(),
                    )),*],
                )),*]
            }
        }

        impl $crate::Reject for $name {
            fn code(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $code,)*
                }
            }

            fn stage(&self) -> $crate::Stage {
                match self {
                    $(Self::$variant { .. } => $crate::Stage::$stage,)*
                }
            }

            fn data(&self) -> serde_json::Map<String, serde_json::Value> {
                #[allow(unused_mut, reason = "a variant without data adds nothing")]
                let mut data = serde_json::Map::new();
                match self {
                    $(Self::$variant { $($field),* } => {
                        $(
                            let value = serde_json::to_value($field)
                                .expect("what a rejection says is plain data");
                            if !value.is_null() {
                                data.insert(stringify!($field).to_owned(), value);
                            }
                        )*
                    })*
                }
                data
            }
        }
    };
}
pub(crate) use rejections;

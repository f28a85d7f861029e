//! What a caller stores with a ticket.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::ValueError;

const BYTES_MAX: usize = 4_096;
/// How deep it may nest: a reader of JSON goes 128 deep, and around it stand a record's own fields,
/// or those of the outcome that has the reply that shows it.
const DEPTH_MAX: usize = 100;

/// A JSON object of at most 4 KiB and 100 levels. Returned as stored; no rule reads it.
///
/// ```
/// use bellpunch_core::tickets::Metadata;
/// let metadata: Metadata = serde_json::from_str(r#"{"qr_code": "x"}"#)?;
/// assert_eq!(serde_json::to_string(&metadata)?, r#"{"qr_code":"x"}"#);
/// assert!(serde_json::from_str::<Metadata>("[]").is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Metadata(Map<String, Value>);

impl Metadata {
    /// Takes the object.
    ///
    /// # Errors
    /// `invalid_request` if its JSON is longer than 4 KiB or nests deeper than 100.
    pub fn new(object: Map<String, Value>) -> Result<Self, ValueError> {
        if !object.values().all(|member| fits(member, DEPTH_MAX)) {
            return Err(ValueError::Request("metadata nests deeper than 100"));
        }
        let json = serde_json::to_vec(&object).expect("a JSON value is JSON");
        if BYTES_MAX < json.len() {
            return Err(ValueError::Request("metadata is longer than 4 KiB"));
        }
        Ok(Self(object))
    }
}

/// Whether a value within so many levels left nests no deeper.
fn fits(value: &Value, levels: usize) -> bool {
    let Some(left) = levels.checked_sub(1) else { return false };
    match value {
        Value::Array(items) => items.iter().all(|item| fits(item, left)),
        Value::Object(members) => members.values().all(|member| fits(member, left)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Map::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

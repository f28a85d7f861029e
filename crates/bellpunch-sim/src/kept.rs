//! Case files: failures that are kept, each with what it once found.
//!
//! Invariant: a file that was written reads back equal, and a field that nobody knows is refused,
//! so that a case never means less than it says.

use serde::{Deserialize, Serialize};

use crate::case::Case;

/// See the [module](self).
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// What it once found, for people.
    pub title: String,
    /// The rule that was broken.
    pub rule: String,
    /// The revision at which it was.
    #[serde(default)]
    pub commit: String,
    /// What happens.
    pub case: Case,
}

impl Kept {
    /// Reads a file's text.
    ///
    /// # Errors
    /// With what is wrong with it.
    pub fn read(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    /// A file's text: one step and one fault per line, so that a difference can be read.
    #[must_use]
    pub fn text(&self) -> String {
        let each = |list: Vec<String>| match list.is_empty() {
            true => "[]".to_owned(),
            false => format!("[\n      {}\n    ]", list.join(",\n      ")),
        };
        let Case { seed, generator, settings, steps, faults } = &self.case;
        let steps = each(steps.iter().map(json).collect());
        let faults = each(faults.iter().map(json).collect());
        format!(
            "{{\n  \"title\": {},\n  \"rule\": {},\n  \"commit\": {},\n  \"case\": {{\n    \
             \"seed\": {seed},\n    \"generator\": {},\n    \"settings\": {},\n    \"steps\": \
             {steps},\n    \"faults\": {faults}\n  }}\n}}\n",
            json(&self.title),
            json(&self.rule),
            json(&self.commit),
            json(generator),
            json(settings),
        )
    }
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("text, numbers and lists become JSON")
}

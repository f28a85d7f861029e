//! A rule whose answers name who asked: a sheet on which each signs one line.

use bellpunch_threads::{
    Category, Command, Draft, Key, Kind, Record, RecordId, Rejection, Timestamp,
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sheet {
    /// Who signed, in order.
    pub(crate) lines: Vec<u64>,
}

impl Record for Sheet {
    const KIND: Kind = Kind::new("sheets");
}

/// The one sheet of a partition.
pub(crate) fn sheet() -> RecordId {
    RecordId::from(&Key::new("sheet").expect("a legal name"))
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sign {
    pub(crate) by: u64,
    pub(crate) lines_max: usize,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Signed {
    pub(crate) by: u64,
    pub(crate) line: usize,
}

impl Command for Sign {
    const NAME: &'static str = "sheets.sign";
    type Reply = Signed;
    type Rejection = Rejection;

    fn decide(&self, draft: &mut Draft<'_>, _: Timestamp) -> Result<Signed, Rejection> {
        let mut signed = draft.get::<Sheet>(&sheet()).map(|sheet| sheet.lines.clone());
        let lines = signed.get_or_insert_default();
        if self.lines_max <= lines.len() {
            let mut data = serde_json::Map::new();
            data.insert("by".to_owned(), self.by.into());
            return Err(Rejection { code: "sheet_full", category: Category::Limit, data });
        }
        // Past here it succeeds.
        let line = lines.len();
        lines.push(self.by);
        draft.put(&sheet(), Sheet { lines: std::mem::take(lines) });
        Ok(Signed { by: self.by, line })
    }
}

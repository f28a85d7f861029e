//! What a disk store is opened with, and why it may refuse.

use std::fmt;
use std::path::PathBuf;

/// The greatest segment.
const SEGMENT_BYTES_MAX: u64 = 1 << 30;
/// The least segment.
const SEGMENT_BYTES_MIN: u64 = 256;

/// Where a disk store is, and its bounds.
///
/// ```
/// use bellpunch_disk::DiskConfig;
/// let config = DiskConfig { segment_bytes: 1 << 20, ..DiskConfig::new("/var/lib/bellpunch") };
/// assert_eq!(config.clock_skew_max_ns, 500_000_000);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DiskConfig {
    /// The folder; made if it is not there. Nothing else may be in it.
    pub folder: PathBuf,
    /// The log goes on in a new file when one has reached this. From 256 bytes to 1 GiB.
    pub segment_bytes: u64,
    /// Bytes of memory for the index above which a commit that adds records is refused as full: 160
    /// and the length of its id for each record.
    pub index_bytes_max: usize,
    /// How many bytes beyond twice the live ones the log may have before old segments are
    /// compacted.
    pub slack_bytes: u64,
    /// How far a commit's `now` may be ahead of the store's clock, in nanoseconds.
    pub clock_skew_max_ns: u64,
}

impl DiskConfig {
    /// 64 MiB segments, 1 GiB of index, 128 MiB of slack, 500 ms.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            segment_bytes: 64 << 20,
            index_bytes_max: 1 << 30,
            slack_bytes: 128 << 20,
            clock_skew_max_ns: 500_000_000,
        }
    }

    pub(crate) fn check(&self) -> Result<(), OpenError> {
        if (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes) {
            return Ok(());
        }
        let given = self.segment_bytes;
        Err(OpenError::new(
            OpenErrorKind::Config,
            format!("segment_bytes is {given}: give 256 bytes to 1 GiB"),
        ))
    }
}

/// What to do about a store that did not open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum OpenErrorKind {
    /// Another process has the folder: stop it, or use another folder.
    Locked,
    /// Acknowledged data is damaged or missing: restore a backup.
    Damaged,
    /// Written by a newer release: upgrade.
    Newer,
    /// The file system refused.
    Files,
    /// The configuration is refused.
    Config,
}

/// Why a store did not open. Nothing was changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OpenError {
    kind: OpenErrorKind,
    message: String,
}

impl OpenError {
    pub(crate) fn new(kind: OpenErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// What to do.
    #[must_use]
    pub const fn kind(&self) -> OpenErrorKind {
        self.kind
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for OpenError {}

//! What an error of the server or of the way to it says about a commit.
//!
//! Invariant: only what certainly was not applied is called failed. The server says `ERROR` of a
//! statement that it took back whole; of all else that happens once a statement has been sent,
//! nobody here knows what became of it. Why here and nowhere else: each wrong line of this table is
//! an effect that happens twice or not at all.

use bellpunch_store::{Failure, FailureKind};
use tokio_postgres::Error;
use tokio_postgres::error::{Severity, SqlState};

/// What came of a statement that did not succeed.
#[derive(Clone, Debug)]
pub(crate) enum Trouble {
    /// It was taken back, since somebody else was in the way: it may be sent again.
    Again(Failure),
    /// It was taken back.
    Failed(Failure),
    /// The same, and the connection leads to a server that cannot be written.
    Elsewhere(Failure),
    /// It may have been applied.
    Unknown(Failure),
}

impl Trouble {
    /// What to tell of a statement that changes nothing.
    pub(crate) fn into_failure(self) -> Failure {
        match self {
            Self::Again(failure)
            | Self::Failed(failure)
            | Self::Elsewhere(failure)
            | Self::Unknown(failure) => failure,
        }
    }

    /// The same about a statement that was not sent at all.
    pub(crate) fn unsent(error: &Error) -> Self {
        match Self::of(error) {
            Self::Unknown(failure) => Self::Failed(failure),
            known @ (Self::Again(_) | Self::Failed(_) | Self::Elsewhere(_)) => known,
        }
    }

    /// What an error says that came once a statement was sent.
    pub(crate) fn of(error: &Error) -> Self {
        let Some(answer) = error.as_db_error() else {
            let message = format!("the connection to PostgreSQL broke: {}", causes(error));
            return Self::Unknown(Failure::new(FailureKind::Unavailable, message));
        };
        let (code, text) = (answer.code(), format!("PostgreSQL: {}", answer.message()));
        let failure = |kind| Failure::new(kind, format!("{text} ({})", code.code()));
        // A pooler between says so of a server that it lost, whatever severity it gives that.
        let between = code.code().starts_with("08");
        if between || answer.parsed_severity() != Some(Severity::Error) {
            let full = *code == SqlState::TOO_MANY_CONNECTIONS;
            let kind = if full { FailureKind::Throttled } else { FailureKind::Unavailable };
            return Self::Unknown(failure(kind));
        }
        let again = [
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::UNIQUE_VIOLATION,
        ];
        if again.contains(code) {
            return Self::Again(failure(FailureKind::Throttled));
        }
        if *code == SqlState::READ_ONLY_SQL_TRANSACTION {
            return Self::Elsewhere(failure(FailureKind::Unavailable));
        }
        Self::Failed(failure(if *code == SqlState::DISK_FULL {
            FailureKind::Full
        } else if [SqlState::OUT_OF_MEMORY, SqlState::TOO_MANY_CONNECTIONS].contains(code) {
            FailureKind::Throttled
        } else if [SqlState::DATA_CORRUPTED, SqlState::INDEX_CORRUPTED].contains(code) {
            FailureKind::Corrupt
        } else {
            FailureKind::Unavailable
        }))
    }
}

/// An error with all that it says of its causes.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

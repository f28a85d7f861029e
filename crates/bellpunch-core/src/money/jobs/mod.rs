//! Jobs and proposals: one is accepted, and all others are rejected by that alone.
//!
//! Invariant: a job counts its live proposals in the commit of each change. A stored pending
//! proposal of a job that accepted another, or was cancelled, *is* rejected: accepting rejects all
//! others with two writes.

use serde::{Deserialize, Serialize};

use crate::CommandSpec;

/// What a job is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum JobStatus {
    /// Takes proposals.
    Open,
    /// One was accepted.
    InProgress,
    /// Done.
    Completed,
    /// Withdrawn.
    Cancelled,
}

/// What a proposal is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProposalStatus {
    /// Waits for the owner.
    Pending,
    /// Chosen.
    Accepted,
    /// Not chosen.
    Rejected,
    /// Taken back by its proposer.
    Withdrawn,
}

/// The commands of jobs and proposals.
pub(crate) const COMMANDS: &[CommandSpec] = &[];

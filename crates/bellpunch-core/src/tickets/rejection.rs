//! Why a ticket's command was refused, in order of precedence.

use crate::rejection::rejections;
use crate::tickets::Status;
use crate::{AccountId, Amount, CurrencyCode, Duration, Key, Minor, Timestamp, Version};

rejections! {
    /// Why not. Of several that apply the first is the answer, on every backend.
    pub enum TicketRejection {
        /// The content makes no sense.
        Shape "invalid_request" => InvalidRequest {
            /// Which field.
            field: &'static str,
            /// What would be right.
            reason: &'static str,
        },
        /// The currency is neither of ISO 4217 nor declared.
        Shape "unknown_currency" => UnknownCurrency {
            /// Its code.
            currency: CurrencyCode,
        },
        /// No ticket has this id.
        Existence "ticket_not_found" => TicketNotFound {
            /// The id.
            id: Key,
        },
        /// No account has this id.
        Existence "account_not_found" => AccountNotFound {
            /// The id.
            id: Key,
        },
        /// Another audience may redeem it.
        Right "wrong_audience" => WrongAudience {},
        /// It is another holder's.
        Right "wrong_holder" => WrongHolder {},
        /// The secret is not the ticket's.
        Right "wrong_secret" => WrongSecret {},
        /// Only its holder, audience or issuer may.
        Right "not_allowed" => NotAllowed {},
        /// The account that pays is not the holder's or the issuer's, or the one that is paid not
        /// the audience's.
        Right "account_owner_mismatch" => AccountOwnerMismatch {
            /// Which one.
            account: AccountId,
        },
        /// It is not at the version that the caller named.
        Version "version_mismatch" => VersionMismatch {
            /// The version it is at.
            version: Version,
        },
        /// It was used up.
        State "already_redeemed" => AlreadyRedeemed {
            /// When.
            used_at: Timestamp,
            /// By whom.
            used_by: Key,
            /// How much was taken.
            amount_used: Amount,
            /// The version since then.
            version: Version,
        },
        /// Its holder said no.
        State "ticket_rejected" => TicketRejected {
            /// When.
            closed_at: Timestamp,
            /// By whom.
            closed_by: Option<Key>,
        },
        /// It was withdrawn.
        State "ticket_cancelled" => TicketCancelled {
            /// When.
            closed_at: Timestamp,
            /// By whom.
            closed_by: Option<Key>,
        },
        /// Its time is over, whether or not that was written down.
        Time "ticket_expired" => TicketExpired {
            /// Since when.
            expires_at: Timestamp,
        },
        /// It was approved before.
        State "already_approved" => AlreadyApproved {
            /// When.
            approved_at: Timestamp,
        },
        /// Nobody approved it yet.
        State "ticket_not_approved" => TicketNotApproved {
            /// What it is.
            status: Status,
        },
        /// The account was closed.
        State "account_closed" => AccountClosed {
            /// Which one.
            account: AccountId,
        },
        /// The holder has a pending ticket for this audience.
        State "already_pending" => AlreadyPending {
            /// Which one.
            ticket: Key,
            /// Until when.
            expires_at: Timestamp,
        },
        /// None of the tickets named is past its time and not yet stored so.
        State "nothing_to_expire" => NothingToExpire {},
        /// It would be valid for longer than a ticket may be.
        Time "ttl_too_long" => TtlTooLong {
            /// The longest span.
            max_ttl_ns: Duration,
        },
        /// It is in another currency or unit.
        Amount "currency_mismatch" => CurrencyMismatch {
            /// The ticket's.
            expected: String,
            /// The command's.
            got: String,
        },
        /// More than the ticket is good for.
        Amount "amount_exceeds_ticket" => AmountExceedsTicket {
            /// What it is good for.
            max_amount: Amount,
        },
        /// It can be redeemed only as a whole.
        Amount "amount_not_exact" => AmountNotExact {
            /// The whole.
            max_amount: Amount,
        },
        /// Not enough is available.
        Amount "insufficient_funds" => InsufficientFunds {
            /// On which account.
            account: AccountId,
            /// What is.
            available: Minor,
            /// What it would take.
            required: Minor,
        },
        /// The balance of the account that is paid would be above the largest, 2^53 − 1.
        Amount "amount_overflow" => AmountOverflow {},
        /// The holder has too many pending tickets for this audience.
        Limit "too_many_pending" => TooManyPending {
            /// How many there may be.
            max: u64,
        },
        /// Too many were issued to the holder for this audience.
        Limit "issue_limit_exceeded" => IssueLimitExceeded {
            /// When the next one may be issued.
            retry_at: Option<Timestamp>,
            /// How long that is from now.
            retry_after_ns: Option<Duration>,
        },
        /// Too many holds are open on the account that pays.
        Limit "too_many_holds" => TooManyHolds {
            /// How many there may be.
            max: u64,
        },
    }
}

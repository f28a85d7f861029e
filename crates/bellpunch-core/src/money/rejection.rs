//! Why a command about money was refused. One list for all of them, in order of precedence: a
//! command has those of its own row in the tables of `docs/reference`.

use crate::rejection::rejections;
use crate::{AccountId, CurrencyCode, Duration, Key, Minor, Timestamp, Version};

rejections! {
    /// Why not. Of several that apply the first is the answer, on every backend.
    pub enum MoneyRejection {
        /// The content makes no sense.
        Shape "invalid_request" => InvalidRequest {
            /// Which field.
            field: &'static str,
            /// What would be right.
            reason: &'static str,
        },
        /// The amount makes no sense.
        Shape "invalid_amount" => InvalidAmount {
            /// Which field.
            field: &'static str,
            /// `not_an_integer`, `negative`, `zero` or `too_large`.
            reason: &'static str,
        },
        /// The currency is neither of ISO 4217 nor declared in this book.
        Shape "unknown_currency" => UnknownCurrency {
            /// Its code.
            currency: CurrencyCode,
        },
        /// The command writes values, so it must say on which version.
        Shape "if_version_required" => IfVersionRequired {},
        /// The debits are not the credits.
        Shape "unbalanced" => Unbalanced {
            /// Of this currency.
            currency: CurrencyCode,
            /// The sum of the debits.
            debits: Minor,
            /// The sum of the credits.
            credits: Minor,
        },
        /// The destinations do not add up to the amount.
        Shape "destinations_mismatch" => DestinationsMismatch {
            /// What they add up to.
            sum: Minor,
            /// The payment's.
            amount: Minor,
        },
        /// A payment goes to fewer.
        Shape "too_many_destinations" => TooManyDestinations {
            /// How many there may be.
            max: u64,
        },
        /// The sources do not add up to the amount.
        Shape "sources_mismatch" => SourcesMismatch {
            /// What they add up to.
            sum: Minor,
            /// The refund's.
            amount: Minor,
        },
        /// The template makes no number.
        Shape "invalid_template" => InvalidTemplate {
            /// What is wrong with it.
            reason: &'static str,
        },
        /// No such time zone: an IANA name or a fixed offset like `+03:00`.
        Shape "unknown_zone" => UnknownZone {
            /// As it was given.
            zone: String,
        },

        /// No account has this id.
        Existence "account_not_found" => AccountNotFound {
            /// The id.
            id: Key,
        },
        /// No hold on an account has this id.
        Existence "hold_not_found" => HoldNotFound {
            /// The id.
            id: Key,
        },
        /// No transfer has this id.
        Existence "transfer_not_found" => TransferNotFound {
            /// The id.
            id: Key,
        },
        /// No client has this id.
        Existence "client_not_found" => ClientNotFound {
            /// The id.
            id: Key,
        },
        /// No retainer has this id.
        Existence "retainer_not_found" => RetainerNotFound {
            /// The id.
            id: Key,
        },
        /// No consumption has this id.
        Existence "consumption_not_found" => ConsumptionNotFound {
            /// The id.
            id: Key,
        },
        /// No invoice has this id.
        Existence "invoice_not_found" => InvoiceNotFound {
            /// The id.
            id: Key,
        },
        /// No credit note has this id.
        Existence "credit_note_not_found" => CreditNoteNotFound {
            /// The id.
            id: Key,
        },
        /// No payment has this id.
        Existence "payment_not_found" => PaymentNotFound {
            /// The id.
            id: Key,
        },
        /// The payment has no live allocation there.
        Existence "allocation_not_found" => AllocationNotFound {
            /// The invoice or retainer.
            target: Key,
        },
        /// The payment has nothing there to give back.
        Existence "source_not_found" => SourceNotFound {
            /// `unapplied`, or the invoice or retainer.
            source: Key,
        },
        /// No refund has this id.
        Existence "refund_not_found" => RefundNotFound {
            /// The id.
            id: Key,
        },
        /// No dispute has this id.
        Existence "dispute_not_found" => DisputeNotFound {
            /// The id.
            id: Key,
        },
        /// No job has this id.
        Existence "job_not_found" => JobNotFound {
            /// The id.
            id: Key,
        },
        /// The proposer has made no proposal for this job.
        Existence "proposal_not_found" => ProposalNotFound {
            /// Who.
            proposer: Key,
        },
        /// No series has this name.
        Existence "series_not_found" => SeriesNotFound {
            /// The name.
            name: Key,
        },
        /// No chain has this name.
        Existence "chain_not_found" => ChainNotFound {
            /// The name.
            name: Key,
        },
        /// The chain has no such document.
        Existence "document_not_found" => DocumentNotFound {
            /// The document.
            document: Key,
        },
        /// The series has given no such number.
        Existence "number_not_found" => NumberNotFound {
            /// As it was asked for.
            number: String,
        },
        /// There is one with this id.
        Existence "account_exists" => AccountExists {
            /// The id.
            id: Key,
        },
        /// There is one with this id.
        Existence "client_exists" => ClientExists {
            /// The id.
            id: Key,
        },
        /// There is one with this id.
        Existence "retainer_exists" => RetainerExists {
            /// The id.
            id: Key,
        },
        /// There is one with this id.
        Existence "invoice_exists" => InvoiceExists {
            /// The id.
            id: Key,
        },
        /// There is one with this id.
        Existence "payment_exists" => PaymentExists {
            /// The id.
            id: Key,
        },
        /// There is one with this id.
        Existence "job_exists" => JobExists {
            /// The id.
            id: Key,
        },
        /// The proposer has answered this job before, also if it was withdrawn.
        Existence "already_proposed" => AlreadyProposed {
            /// What became of it.
            status: super::jobs::ProposalStatus,
        },
        /// The series is defined; all but its overflow is fixed.
        Existence "series_exists" => SeriesExists {
            /// The name.
            id: Key,
        },
        /// The chain is defined, and fixed.
        Existence "chain_exists" => ChainExists {
            /// The name.
            id: Key,
        },
        /// Another record has this id of the outside.
        Existence "external_id_in_use" => ExternalIdInUse {
            /// Which one.
            id: Key,
        },

        /// It is another client's.
        Right "client_mismatch" => ClientMismatch {
            /// Whose it is.
            expected: Key,
            /// Whose the other record is.
            got: Key,
        },
        /// An account of the book itself, moved by its own commands alone.
        Right "reserved_account" => ReservedAccount {
            /// Which one.
            account: AccountId,
        },
        /// The hold belongs to a ticket or a refund, and moves with it alone.
        Right "reserved_hold" => ReservedHold {
            /// The ticket or refund.
            ticket: Key,
        },
        /// Only the job's owner may.
        Right "not_job_owner" => NotJobOwner {},

        /// It is not at the version that the caller named.
        Version "version_mismatch" => VersionMismatch {
            /// The version it is at.
            version: Version,
        },

        /// The account was closed.
        State "account_closed" => AccountClosed {
            /// Which one.
            account: AccountId,
        },
        /// Something stands on the account, or is held there.
        State "account_not_empty" => AccountNotEmpty {
            /// What stands on it.
            posted: crate::Balance,
            /// What is held.
            held: Minor,
        },
        /// The transfer was reversed before.
        State "already_reversed" => AlreadyReversed {
            /// By which transfer.
            by: Key,
            /// When.
            at: Timestamp,
        },
        /// The hold was captured.
        State "hold_captured" => HoldCaptured {
            /// When.
            at: Timestamp,
        },
        /// The hold was voided.
        State "hold_voided" => HoldVoided {
            /// When.
            at: Timestamp,
        },
        /// The hold ran out.
        Time "hold_expired" => HoldExpired {
            /// Since when.
            expires_at: Timestamp,
        },
        /// The client takes nothing new.
        State "client_archived" => ClientArchived {
            /// Since when.
            at: Timestamp,
        },
        /// It would end before it begins.
        Time "expiry_not_later" => ExpiryNotLater {
            /// What the end must be after.
            after: Timestamp,
        },
        /// It would be held for longer than a hold may be.
        Time "ttl_too_long" => TtlTooLong {
            /// The longest span.
            max_ttl_ns: Duration,
        },
        /// The payment was completed before.
        State "already_completed" => AlreadyCompleted {
            /// When.
            completed_at: Timestamp,
            /// The entry of the journal.
            seq: u64,
        },
        /// The payment failed or was cancelled.
        State "payment_not_pending" => PaymentNotPending {
            /// What became of it.
            status: super::payments::PaymentStatus,
            /// When.
            at: Timestamp,
        },
        /// The payment is not completed.
        State "payment_not_completed" => PaymentNotCompleted {
            /// What it is.
            status: super::payments::PaymentStatus,
        },
        /// Nobody said where the payment goes. There is no default.
        State "destinations_required" => DestinationsRequired {},
        /// The invoice is no draft.
        State "invoice_not_draft" => InvoiceNotDraft {
            /// What it is.
            status: super::invoices::InvoiceStatus,
        },
        /// The invoice was not issued, or is void.
        State "invoice_not_issued" => InvoiceNotIssued {
            /// What it is.
            status: super::invoices::InvoiceStatus,
        },
        /// The invoice takes no payment.
        State "invoice_not_payable" => InvoiceNotPayable {
            /// Which one.
            invoice: Key,
            /// What it is.
            status: super::invoices::InvoiceStatus,
        },
        /// The book allows no void: write a credit note.
        State "void_not_allowed" => VoidNotAllowed {},
        /// Something was applied to the invoice.
        State "invoice_not_voidable" => InvoiceNotVoidable {
            /// What was paid.
            amount_paid: Minor,
            /// What was credited.
            credited: Minor,
            /// What was written off.
            written_off: Minor,
        },
        /// The retainer was refunded whole.
        State "retainer_refunded" => RetainerRefunded {
            /// When.
            at: Timestamp,
        },
        /// The retainer's time is over.
        Time "retainer_expired" => RetainerExpired {
            /// Since when.
            ends_at: Timestamp,
        },
        /// The retainer's time has not come.
        Time "retainer_not_started" => RetainerNotStarted {
            /// When it does.
            starts_at: Timestamp,
        },
        /// Nothing is left on the retainer.
        State "retainer_depleted" => RetainerDepleted {},
        /// All of the retainer is being refunded: nothing comes in.
        State "retainer_closing" => RetainerClosing {
            /// By which refund.
            refund: Key,
        },
        /// Something is held on the retainer.
        State "retainer_has_holds" => RetainerHasHolds {
            /// How much.
            held: Minor,
        },
        /// The payment went to a retainer before.
        State "payment_already_credited" => PaymentAlreadyCredited {
            /// To which one.
            retainer: Key,
            /// The entry of the journal.
            seq: u64,
        },
        /// Nothing stands on the retainer.
        State "nothing_to_refund" => NothingToRefund {},
        /// Nothing is due.
        State "nothing_due" => NothingDue {},
        /// Nothing was written off.
        State "nothing_written_off" => NothingWrittenOff {},
        /// The refund has ended.
        State "refund_not_pending" => RefundNotPending {
            /// How.
            status: super::refunds::RefundStatus,
            /// When.
            at: Timestamp,
        },
        /// The dispute has ended.
        State "dispute_not_open" => DisputeNotOpen {
            /// How.
            status: super::refunds::DisputeStatus,
            /// When.
            at: Timestamp,
        },
        /// The job takes no proposal and accepts none.
        State "job_not_open" => JobNotOpen {
            /// What it is.
            status: super::jobs::JobStatus,
            /// Who was accepted.
            accepted_proposal: Option<Key>,
        },
        /// Nobody works on the job.
        State "job_not_in_progress" => JobNotInProgress {
            /// What it is.
            status: super::jobs::JobStatus,
        },
        /// The proposal has ended.
        State "proposal_not_pending" => ProposalNotPending {
            /// How.
            status: super::jobs::ProposalStatus,
        },
        /// The document has a number.
        State "document_already_numbered" => DocumentAlreadyNumbered {
            /// Which one.
            number: String,
        },
        /// The document has its seal.
        State "already_sealed" => AlreadySealed {
            /// Its hash.
            hash: crate::Digest,
        },
        /// A document has the number.
        State "number_in_use" => NumberInUse {
            /// Which document.
            document: Key,
        },
        /// The number is void.
        State "number_void" => NumberVoid {
            /// Since when.
            at: Timestamp,
        },
        /// The series has given numbers.
        State "series_in_use" => SeriesInUse {
            /// The last one.
            last: u64,
        },
        /// A series only goes forward.
        State "series_cannot_move_back" => SeriesCannotMoveBack {
            /// Where it is.
            last: u64,
        },

        /// It is in another currency.
        Amount "currency_mismatch" => CurrencyMismatch {
            /// The record's.
            expected: CurrencyCode,
            /// The command's.
            got: CurrencyCode,
        },
        /// It is not the payment's amount.
        Amount "amount_mismatch" => AmountMismatch {
            /// The payment's.
            expected: Minor,
        },
        /// More than the payment has that goes nowhere yet.
        Amount "exceeds_unapplied" => ExceedsUnapplied {
            /// What it has.
            unapplied: Minor,
        },
        /// More than is due.
        Amount "exceeds_due" => ExceedsDue {
            /// Of which invoice.
            invoice: Key,
            /// What is due.
            balance_due: Minor,
        },
        /// More than was held.
        Amount "exceeds_hold" => ExceedsHold {
            /// What was.
            amount: Minor,
        },
        /// More than is left of the consumption.
        Amount "exceeds_consumption" => ExceedsConsumption {
            /// What is left.
            restorable: Minor,
        },
        /// More than the lines are worth.
        Amount "discount_exceeds_net" => DiscountExceedsNet {
            /// What they are worth.
            net: Minor,
        },
        /// More than the invoice has at this rate.
        Amount "exceeds_invoice" => ExceedsInvoice {
            /// The rate, in hundredths of a percent.
            vat_bp: u64,
            /// What it has that was not credited.
            creditable: Minor,
        },
        /// More than is allocated there, or not set aside.
        Amount "exceeds_allocation" => ExceedsAllocation {
            /// What is allocated.
            allocated: Minor,
            /// What of it is free.
            free: Minor,
        },
        /// More than can be given back.
        Amount "exceeds_refundable" => ExceedsRefundable {
            /// What can.
            refundable: Minor,
            /// What was asked for.
            requested: Minor,
            /// What refunds and disputes have set aside.
            pending: Minor,
        },
        /// More than can be disputed.
        Amount "exceeds_free" => ExceedsFree {
            /// What can.
            free: Minor,
            /// What refunds and disputes have set aside.
            pending: Minor,
        },
        /// More than this source has.
        Amount "exceeds_source" => ExceedsSource {
            /// `unapplied`, or the invoice or retainer.
            source: Key,
            /// What of it is free.
            free: Minor,
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
        /// A sum or balance would be above the largest, 2^53 − 1.
        Amount "amount_overflow" => AmountOverflow {},

        /// Too many holds are open on the account.
        Limit "too_many_holds" => TooManyHolds {
            /// How many there may be.
            max: u64,
        },
        /// It would give back to too many payments and retainers at once: credit less.
        Limit "too_many_allocations" => TooManyAllocations {
            /// How many there may be.
            max: u64,
        },
        /// The series counts apart for each scope: name one.
        Limit "scope_required" => ScopeRequired {
            /// The series.
            series: Key,
        },
        /// The series has no number left.
        Limit "series_exhausted" => SeriesExhausted {
            /// The last one.
            last: u64,
        },
        /// The chain's last document waits for its seal.
        Limit "chain_unsealed" => ChainUnsealed {
            /// Which document.
            document: Key,
            /// Its place.
            counter: u64,
            /// The hash before it.
            prev_hash: crate::Digest,
        },
    }
}

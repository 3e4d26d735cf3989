//! What an account held at a moment, and the statement between two: told from the transfers that moved its posted money.
//!
//! Transfers stand in the order of their times, a new one always behind all others, and never change. So what was posted before a moment follows from
//! what is posted now and what has moved since, both of one snapshot. That is looked through up to [`MOVES_MAX`] transfers; where more have moved since, the
//! account's history tells (flag `history`), or the transfers before that moment, if those are not more. What is out of reach of all three is refused.
//! So is what rests on transfers that were lost with an earlier store: a moment before the first one that is left, and any by time of effect.
//!
//! A statement ends where its first page found its end: with the last transfer of its range that was there. What arrives later is behind it. So its
//! opening and closing are found once, and the cursor carries them, with what stood after the last line that was shown.

use std::fmt;
use std::str::FromStr;

use florin_engine::{
    AccountFlags, AccountId, Amount, Balances, Code, JournalSeq, Settlement, SignedAmount,
    Timestamp, Transfer, TransferFlags, TransferId,
};
use xxhash_rust::xxh3::xxh3_64;

use super::cursor;
use super::error::StoreError;
use super::filter::{Side, TimeRange};
use super::page::{CursorError, Order, PAGE_ROWS_MAX};
use super::rows::{BalanceAt, Checkpoint, StoredAccount};
use super::span::Span;

/// The most transfers of an account that are looked through to tell what it held.
pub const MOVES_MAX: usize = if cfg!(test) { 40 } else { 100_000 };

/// What was posted on an account, in minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Posted {
    /// The sum of its debits.
    pub debits: Amount,
    /// The sum of its credits.
    pub credits: Amount,
}

impl Posted {
    /// The balance as an account with these flags shows it.
    #[must_use]
    pub fn balance(&self, flags: AccountFlags) -> SignedAmount {
        let posted = Balances {
            debits_posted: self.debits,
            credits_posted: self.credits,
            ..Balances::default()
        };
        posted.balance(flags)
    }

    fn of(balances: &Balances) -> Posted {
        Posted { debits: balances.debits_posted, credits: balances.credits_posted }
    }

    fn plus(self, movement: &Movement) -> Result<Posted, StoreError> {
        self.change(movement, Amount::checked_add)
    }

    fn minus(self, movement: &Movement) -> Result<Posted, StoreError> {
        self.change(movement, Amount::checked_sub)
    }

    fn change(
        mut self,
        movement: &Movement,
        change: impl Fn(Amount, Amount) -> Option<Amount>,
    ) -> Result<Posted, StoreError> {
        let side = match movement.side {
            Side::Debit => &mut self.debits,
            Side::Credit | Side::Both => &mut self.credits,
        };
        let unreadable =
            StoreError::Unreadable { what: "transfers that do not add up to a balance" };
        *side = change(*side, movement.amount).ok_or(unreadable)?;
        Ok(self)
    }
}

/// A transfer as it stands on one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Movement {
    /// When it was decided.
    pub timestamp: Timestamp,
    /// When it took effect outside, if the caller said so.
    pub effective_at: Option<Timestamp>,
    /// The position of its command.
    pub seq: JournalSeq,
    /// The transfer.
    pub transfer: TransferId,
    /// The account on its other side.
    pub counterparty: AccountId,
    /// Its side of the account: debit or credit.
    pub side: Side,
    /// Its amount, in minor units.
    pub amount: Amount,
    /// Its code.
    pub code: Code,
    /// Whether it moved posted money, and not only a reservation.
    pub is_posted: bool,
}

impl Movement {
    /// The part that this account has in a transfer.
    pub(super) fn of(transfer: &Transfer, seq: JournalSeq, account: AccountId) -> Movement {
        let (side, counterparty) = match transfer.debit_account_id == account {
            true => (Side::Debit, transfer.credit_account_id),
            false => (Side::Credit, transfer.debit_account_id),
        };
        let moves_nothing = transfer.flags.contains(TransferFlags::PENDING)
            || transfer.flags.settlement() == Some(Settlement::Voided);
        Movement {
            timestamp: transfer.timestamp,
            effective_at: transfer.effective_at,
            seq,
            transfer: transfer.id,
            counterparty,
            side,
            amount: transfer.amount,
            code: transfer.code,
            is_posted: !moves_nothing,
        }
    }

    /// What it changed the balance of an account with these flags by.
    #[must_use]
    pub fn change(&self, flags: AccountFlags) -> SignedAmount {
        let none = Posted::default();
        let moved = match self.side {
            Side::Debit => Posted { debits: self.amount, ..none },
            Side::Credit | Side::Both => Posted { credits: self.amount, ..none },
        };
        moved.balance(flags)
    }
}

/// What was posted on an account at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PostedAt {
    /// What was posted.
    pub posted: Posted,
    /// See [`Checkpoint::history_from`].
    pub history_from: JournalSeq,
}

/// Which moment, by which clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// After what was decided at it or before.
    DecidedAt(Timestamp),
    /// After what took effect at it or before: by `effective_at`, and for transfers without by the time of their decision.
    EffectiveAt(Timestamp),
}

/// Which statement, and which page of it.
#[derive(Clone, Copy, Debug)]
pub struct StatementRequest {
    /// Of this account.
    pub account: AccountId,
    /// Decided in this range of time.
    pub time: TimeRange,
    /// At most so many lines; brought into 1 to [`PAGE_ROWS_MAX`].
    pub limit: u32,
    /// Where the page before ended; the first page without.
    pub cursor: Option<StatementCursor>,
}

/// A page of a statement, oldest line first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// What was posted before the range.
    pub opening: Posted,
    /// What was posted before the first line of this page.
    pub before: Posted,
    /// Each with what was posted after it.
    pub lines: Vec<(Movement, Posted)>,
    /// What was posted after the last line of the last page.
    pub closing: Posted,
    /// Leads to the next page; none on the last one.
    pub next: Option<StatementCursor>,
    /// The page was read when all that was decided up to here was there.
    pub as_of: JournalSeq,
    /// And not what was decided before this: see [`Checkpoint::history_from`].
    pub history_from: JournalSeq,
}

impl Statement {
    /// The statement of an account without transfers.
    #[must_use]
    pub fn empty(as_of: JournalSeq) -> Statement {
        let none = Posted::default();
        Statement {
            opening: none,
            before: none,
            lines: Vec::new(),
            closing: none,
            next: None,
            as_of,
            history_from: JournalSeq::FIRST,
        }
    }
}

/// What a statement is made of, in one snapshot.
pub(super) trait Moves {
    fn checkpoint(&self) -> Checkpoint;
    /// The account as it is.
    async fn account(&mut self, id: AccountId) -> Result<Option<StoredAccount>, StoreError>;
    /// The first so many transfers of the account in `span`, whether they moved posted money or not.
    async fn moves(
        &mut self,
        account: AccountId,
        span: Span,
        order: Order,
        rows: usize,
    ) -> Result<Vec<Movement>, StoreError>;
    /// When the first transfer was decided that is here, of any account.
    async fn first_transfer(&mut self) -> Result<Option<Timestamp>, StoreError>;
    /// The account's history at a moment, where it has one.
    async fn history_at(
        &mut self,
        account: AccountId,
        at: Timestamp,
    ) -> Result<Option<BalanceAt>, StoreError>;
}

/// What was posted on the account at a moment; none for an account that is not there.
pub(super) async fn posted_at(
    moves: &mut impl Moves,
    account: AccountId,
    moment: Moment,
) -> Result<Option<PostedAt>, StoreError> {
    let Some(stored) = moves.account(account).await? else { return Ok(None) };
    let history_from = moves.checkpoint().history_from;
    let begin = begin_of_history(moves, &stored).await?;
    let posted = match moment {
        Moment::DecidedAt(at) if at.0.saturating_add(1) < begin => Err(lost(history_from))?,
        Moment::DecidedAt(at) => posted_before(moves, &stored, at.0.saturating_add(1)).await?,
        // What was lost can have taken effect at any time.
        Moment::EffectiveAt(_) if begin > 0 => Err(lost(history_from))?,
        Moment::EffectiveAt(at) => {
            let all = moves.moves(account, Span::ALL, Order::OldestFirst, MOVES_MAX + 1).await?;
            if all.len() > MOVES_MAX {
                return Err(StoreError::OutOfReach);
            }
            let later = all.iter().filter(|movement| movement.is_posted);
            let later =
                later.filter(|movement| movement.effective_at.unwrap_or(movement.timestamp) > at);
            take_back(Posted::of(&stored.account.balances), later)?
        }
    };
    Ok(Some(PostedAt { posted, history_from }))
}

/// The moment from which on all transfers of the account are here: 0, unless some were lost with an earlier store.
async fn begin_of_history(
    moves: &mut impl Moves,
    stored: &StoredAccount,
) -> Result<u64, StoreError> {
    let checkpoint = moves.checkpoint();
    // What was created later has all of its transfers.
    if stored.seq >= checkpoint.history_from || checkpoint.history_from <= JournalSeq::FIRST {
        return Ok(0);
    }
    // Transfers stand in the order of their times, so all that were lost are earlier.
    let first = moves.first_transfer().await?;
    Ok(first.unwrap_or(checkpoint.timestamp.plus(1)).0)
}

fn lost(history_from: JournalSeq) -> StoreError {
    StoreError::HistoryLost { history_from }
}

fn take_back<'m>(
    posted: Posted,
    moved: impl Iterator<Item = &'m Movement>,
) -> Result<Posted, StoreError> {
    moved.filter(|movement| movement.is_posted).try_fold(posted, Posted::minus)
}

/// What was posted by transfers decided before `moment`.
async fn posted_before(
    moves: &mut impl Moves,
    stored: &StoredAccount,
    moment: u64,
) -> Result<Posted, StoreError> {
    let (id, now) = (stored.account.id, Posted::of(&stored.account.balances));
    let since = Span::ALL.within(moment, u64::MAX);
    let oldest = Order::OldestFirst;
    let first = moves.moves(id, since, oldest, 1).await?.into_iter().next();
    let Some(first) = first else { return Ok(now) };
    if stored.account.flags.contains(AccountFlags::HISTORY)
        && let Some(then) = moves.history_at(id, first.timestamp).await?
        // What was imported stands at another moment than its command.
        && then.seq == first.seq
    {
        // A command has fewer transfers than are looked through.
        let of_command = moves.moves(id, since, oldest, COMMAND_MOVES_MAX).await?;
        let of_command = of_command.iter().take_while(|movement| movement.seq == first.seq);
        return take_back(Posted::of(&then.balances), of_command);
    }
    let after = moves.moves(id, since, oldest, MOVES_MAX + 1).await?;
    if after.len() <= MOVES_MAX {
        return take_back(now, after.iter());
    }
    let until = Span::ALL.within(0, moment.saturating_sub(1));
    let before = moves.moves(id, until, oldest, MOVES_MAX + 1).await?;
    if before.len() > MOVES_MAX || begin_of_history(moves, stored).await? > 0 {
        return Err(StoreError::OutOfReach);
    }
    let mut posted = before.iter().filter(|movement| movement.is_posted);
    posted.try_fold(Posted::default(), Posted::plus)
}

/// The most transfers of one command.
const COMMAND_MOVES_MAX: usize = 8190;

/// A page of a statement; none of an account that is not there.
pub(super) async fn statement(
    moves: &mut impl Moves,
    request: &StatementRequest,
) -> Result<Option<Statement>, StoreError> {
    let StatementRequest { account, time, limit, cursor } = request;
    let digest = request.digest();
    let Checkpoint { seq: as_of, history_from, .. } = moves.checkpoint();
    let at = match cursor {
        Some(cursor) if cursor.digest != digest => Err(CursorError::OtherFilter)?,
        Some(cursor) => *cursor,
        None => {
            let Some(stored) = moves.account(*account).await? else { return Ok(None) };
            let begin = begin_of_history(moves, &stored).await?;
            if [time.from, time.to].into_iter().flatten().any(|moment| moment.0 < begin) {
                return Err(lost(history_from));
            }
            let from = time.from.map_or(begin, |from| from.0);
            let range = Span::new(*time, Order::NewestFirst, None);
            let newest = moves.moves(*account, range, Order::NewestFirst, 1).await?;
            // Whatever is decided later is later than this.
            let end = newest.first().map_or(from, |newest| newest.timestamp.0 + 1);
            let opening = match from {
                0 => Posted::default(),
                _ => posted_before(moves, &stored, from).await?,
            };
            let closing = match from < end {
                true => posted_before(moves, &stored, end).await?,
                false => opening,
            };
            StatementCursor { digest, position: from, end, opening, before: opening, closing }
        }
    };
    let limit = (*limit).clamp(1, PAGE_ROWS_MAX) as usize;
    let mut page = Statement {
        opening: at.opening,
        before: at.before,
        lines: Vec::new(),
        closing: at.closing,
        next: None,
        as_of,
        history_from,
    };
    let mut posted = at.before;
    let mut position = at.position;
    // Reservations are passed over, for a while; then the page is short.
    for _ in 0..LOOKS_MAX {
        if position >= at.end {
            break;
        }
        let span = Span::ALL.within(position, at.end - 1);
        let found = moves.moves(*account, span, Order::OldestFirst, limit + 1).await?;
        let more = found.len() > limit;
        for movement in found.iter().take(limit) {
            position = movement.timestamp.0 + 1;
            if movement.is_posted {
                posted = posted.plus(movement)?;
                page.lines.push((*movement, posted));
            }
            if page.lines.len() == limit {
                break;
            }
        }
        if !more && found.last().is_none_or(|last| position > last.timestamp.0) {
            position = at.end;
        }
        if page.lines.len() == limit {
            break;
        }
    }
    if position < at.end {
        page.next = Some(StatementCursor { position, before: posted, ..at });
    } else if posted != at.closing {
        return Err(StoreError::Unreadable { what: "transfers that do not add up to a balance" });
    }
    Ok(Some(page))
}

/// How often a page looks for lines.
const LOOKS_MAX: usize = 16;

impl StatementRequest {
    fn digest(&self) -> u64 {
        let mut bytes = [0; 34];
        bytes[..16].copy_from_slice(&self.account.0.to_le_bytes());
        let (from, to) = (self.time.from, self.time.to);
        bytes[16..24].copy_from_slice(&from.map_or(0, |from| from.0).to_le_bytes());
        bytes[24..32].copy_from_slice(&to.map_or(0, |to| to.0).to_le_bytes());
        bytes[32] = u8::from(from.is_some());
        bytes[33] = u8::from(to.is_some());
        xxh3_64(&bytes)
    }
}

/// A place in a statement, with its two ends. Its text is opaque and fit for a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatementCursor {
    digest: u64,
    /// The first moment that was not shown.
    position: u64,
    /// The first moment that is not shown.
    end: u64,
    opening: Posted,
    before: Posted,
    closing: Posted,
}

const CURSOR_VERSION: u8 = 1;
const CURSOR_BYTES: usize = 1 + 3 * 8 + 3 * 2 * 12;

impl fmt::Display for StatementCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(CURSOR_BYTES);
        bytes.push(CURSOR_VERSION);
        for number in [self.digest, self.position, self.end] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for posted in [self.opening, self.before, self.closing] {
            bytes.extend_from_slice(&posted.debits.to_le_bytes());
            bytes.extend_from_slice(&posted.credits.to_le_bytes());
        }
        cursor::write(f, &bytes)
    }
}

impl FromStr for StatementCursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<StatementCursor, CursorError> {
        let bytes: [u8; CURSOR_BYTES] = cursor::read(text, CURSOR_VERSION)?;
        let wide = |at: usize, length: usize| {
            let mut wide = [0; 16];
            wide[..length].copy_from_slice(&bytes[at..at + length]);
            u128::from_le_bytes(wide)
        };
        let number = |at: usize| wide(at, 8) as u64;
        let amount = |at: usize| Amount::try_new(wide(at, 12)).unwrap_or(Amount::MAX);
        let posted = |at: usize| Posted { debits: amount(at), credits: amount(at + 12) };
        Ok(StatementCursor {
            digest: number(1),
            position: number(9),
            end: number(17),
            opening: posted(25),
            before: posted(49),
            closing: posted(73),
        })
    }
}

//! Pages of a list, and the cursors that lead from one to the next.
//!
//! A list is ordered by time, and a cursor is the time of the last row that was shown: rows that arrive while somebody
//! turns the pages neither shift a page nor appear twice.

use std::fmt;
use std::str::FromStr;

use florin_engine::JournalSeq;

use super::cursor;
use super::rows::Checkpoint;

/// The most rows of a page.
pub const PAGE_ROWS_MAX: u32 = 1000;

/// Which end of time a list begins at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The newest first.
    #[default]
    NewestFirst,
    /// The oldest first.
    OldestFirst,
}

/// Which page of a list is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// At most so many rows; brought into 1 to [`PAGE_ROWS_MAX`].
    pub limit: u32,
    /// Which end comes first.
    pub order: Order,
    /// Where the page before ended; the first page without.
    pub cursor: Option<Cursor>,
}

impl PageRequest {
    /// The first page, newest first.
    #[must_use]
    pub fn first(limit: u32) -> PageRequest {
        PageRequest { limit, order: Order::NewestFirst, cursor: None }
    }

    pub(super) fn rows(&self) -> usize {
        self.limit.clamp(1, PAGE_ROWS_MAX) as usize
    }

    /// The position after which the page begins, when the cursor belongs to this list.
    pub(super) fn position(&self, list: List) -> Result<Option<u64>, CursorError> {
        match self.cursor {
            None => Ok(None),
            Some(cursor) if cursor.order != self.order => Err(CursorError::OtherOrder),
            Some(cursor) if cursor.list != list => Err(CursorError::OtherFilter),
            Some(cursor) => Ok(Some(cursor.position)),
        }
    }

    /// Makes a page of one row more than was asked for: the extra row only says that there are more.
    pub(super) fn page<T>(
        &self,
        list: List,
        checkpoint: &Checkpoint,
        rows: Vec<T>,
        position: impl Fn(&T) -> u64,
    ) -> Page<T> {
        self.page_until(list, checkpoint, rows, None, position, |_| true)
    }

    /// [`PageRequest::page`] of a list that was looked through only until `end`, if there is one, showing of its rows those to `keep`.
    pub(super) fn page_until<T>(
        &self,
        list: List,
        checkpoint: &Checkpoint,
        mut rows: Vec<T>,
        end: Option<u64>,
        position: impl Fn(&T) -> u64,
        keep: impl Fn(&T) -> bool,
    ) -> Page<T> {
        let is_full = rows.len() > self.rows();
        rows.truncate(self.rows());
        let end = if is_full { rows.last().map(position) } else { end };
        rows.retain(keep);
        let next = end.map(|position| Cursor { order: self.order, list, position });
        Page { data: rows, next, as_of: checkpoint.seq, history_from: checkpoint.history_from }
    }
}

/// One page of a list, all of one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows in order.
    pub data: Vec<T>,
    /// Leads to the next page; none when there are no more rows.
    pub next: Option<Cursor>,
    /// The rows are all that was decided up to this position.
    pub as_of: JournalSeq,
    /// And not before this one: see [`Checkpoint::history_from`].
    pub history_from: JournalSeq,
}

/// What was read, and the position it was true at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsOf<T> {
    /// Everything decided up to here was looked at.
    pub as_of: JournalSeq,
    /// What was read.
    pub value: T,
}

/// Which list with which filter a cursor belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct List {
    pub(super) kind: ListKind,
    pub(super) filter_digest: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListKind {
    Transfers = 1,
    Accounts = 2,
    Balances = 3,
    Ledgers = 4,
}

/// A place in a list. Its text is opaque and fit for a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    order: Order,
    list: List,
    position: u64,
}

/// Why a cursor can not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// Not a text that a page gave.
    #[error("the cursor is damaged: use next_cursor of a page as it was given")]
    Damaged,
    /// Of a format that this program does not know.
    #[error("the cursor is of another version of this program: begin again with the first page")]
    OtherVersion,
    /// From a list with another filter.
    #[error("the cursor belongs to a list with another filter")]
    OtherFilter,
    /// From a list that was turned round.
    #[error("the cursor belongs to a list in the other order")]
    OtherOrder,
}

const CURSOR_VERSION: u8 = 1;
const CURSOR_BYTES: usize = 19;

impl Cursor {
    fn to_bytes(self) -> [u8; CURSOR_BYTES] {
        let mut bytes = [0; CURSOR_BYTES];
        bytes[0] = CURSOR_VERSION;
        bytes[1] = self.list.kind as u8;
        bytes[2] = match self.order {
            Order::NewestFirst => 0,
            Order::OldestFirst => 1,
        };
        bytes[3..11].copy_from_slice(&self.list.filter_digest.to_be_bytes());
        bytes[11..].copy_from_slice(&self.position.to_be_bytes());
        bytes
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        cursor::write(f, &self.to_bytes())
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Cursor, CursorError> {
        let bytes: [u8; CURSOR_BYTES] = cursor::read(text, CURSOR_VERSION)?;
        let kind = match bytes[1] {
            1 => ListKind::Transfers,
            2 => ListKind::Accounts,
            3 => ListKind::Balances,
            4 => ListKind::Ledgers,
            _ => return Err(CursorError::Damaged),
        };
        let order = match bytes[2] {
            0 => Order::NewestFirst,
            1 => Order::OldestFirst,
            _ => return Err(CursorError::Damaged),
        };
        let number = |at: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[at..at + 8]);
            u64::from_be_bytes(number)
        };
        Ok(Cursor { order, list: List { kind, filter_digest: number(3) }, position: number(11) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor() -> Cursor {
        Cursor {
            order: Order::OldestFirst,
            list: List { kind: ListKind::Balances, filter_digest: u64::MAX - 7 },
            position: 1_763_000_000_000_000_001,
        }
    }

    #[test]
    fn a_cursor_comes_back_from_its_text() {
        let text = cursor().to_string();
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric()), "fit for a URL: {text}");
        assert_eq!(text.parse(), Ok(cursor()));
    }

    #[test]
    fn any_changed_digit_is_noticed() {
        let text = cursor().to_string();
        for at in 0..text.len() {
            for digit in ["0", "f", "x", "é"] {
                if &text[at..=at] == digit {
                    continue;
                }
                let damaged = format!("{}{digit}{}", &text[..at], &text[at + 1..]);
                assert_eq!(damaged.parse::<Cursor>(), Err(CursorError::Damaged), "{damaged}");
            }
            assert_eq!(text[..at].parse::<Cursor>(), Err(CursorError::Damaged), "cut at {at}");
        }
    }

    #[test]
    fn another_version_says_so() {
        let mut bytes = cursor().to_bytes();
        bytes[0] = CURSOR_VERSION + 1;
        let text = fmt::from_fn(|f| cursor::write(f, &bytes)).to_string();
        assert_eq!(text.parse::<Cursor>(), Err(CursorError::OtherVersion));
    }

    #[test]
    fn a_cursor_serves_only_its_own_list() {
        let list = cursor().list;
        let request = PageRequest { limit: 1, order: Order::OldestFirst, cursor: Some(cursor()) };
        assert_eq!(request.position(list), Ok(Some(cursor().position)));
        assert_eq!(
            request.position(List { filter_digest: 1, ..list }),
            Err(CursorError::OtherFilter)
        );
        assert_eq!(
            request.position(List { kind: ListKind::Accounts, ..list }),
            Err(CursorError::OtherFilter)
        );
        let turned = PageRequest { order: Order::NewestFirst, ..request };
        assert_eq!(turned.position(list), Err(CursorError::OtherOrder));
    }
}

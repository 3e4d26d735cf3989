//! Reads a snapshot from front to back.

use std::io::{self, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use florin_engine::{
    Account, AccountId, JournalSeq, Ledger, LedgerTotals, PendingTransfer, Timestamp, TransferId,
};
use uuid::Uuid;

use super::audit::{Audit, Discrepancy, PendingTold};
use super::entry::{self, NO_ACCOUNT, NO_LEDGER, NO_TRANSFER};
use super::write::block_checksum;
use super::{
    BLOCK_BYTES_MAX, BLOCK_HEAD_BYTES, FOOTER_BYTES, HEADER_BYTES, HEADER_BYTES_1, MAGIC,
    SnapshotHeader, VERSION, kind, seq_of_file_name,
};
use crate::record::bytes::{Cursor, Malformed, Problem};

/// What is wrong with a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It does not begin as one.
    #[error("it does not begin as a snapshot does")]
    Magic,
    /// It ends too early.
    #[error("the file ends too early")]
    Truncated,
    /// Bytes follow after its end.
    #[error("bytes follow after its end")]
    TrailingBytes,
    /// A checksum does not match.
    #[error("a checksum does not match")]
    Checksum,
    /// The hash over the whole does not match.
    #[error("the hash over the whole file does not match")]
    Hash,
    /// A block of a kind that does not belong here, or of an impossible length.
    #[error("there is not the block that belongs here")]
    Block,
    /// The content of a block makes no sense.
    #[error("{0}")]
    Content(Problem),
    /// Its name gives another position than its header.
    #[error("its name does not fit its position, which is {}", .0.0)]
    Name(JournalSeq),
    /// It is not the state that it should be.
    #[error("{0}")]
    Discrepancy(Box<Discrepancy>),
}

/// Why a snapshot was refused.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The disk refused.
    #[error("the snapshot {} can not be read at byte {offset}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// How far it was read.
        offset: u64,
        /// What the disk said.
        source: io::Error,
    },
    /// Made by a newer program.
    #[error(
        "the snapshot {} has format version {version}, which this program does not know; start the version of Florin that wrote it",
        file.display()
    )]
    NewerFormat {
        /// The file.
        file: PathBuf,
        /// Its version.
        version: u32,
    },
    /// Not what was written.
    #[error(
        "the snapshot {} is damaged at byte {offset}: {damage}. An older snapshot can take its place as long as the journal reaches back to it: \
         move this file out of the data directory and start again; if that is refused, restore the data directory from a backup",
        file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where it makes no sense, in bytes from its beginning.
        offset: u64,
        /// What is wrong there.
        damage: Damage,
    },
}

/// What a snapshot holds beside its ledgers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// An account.
    Account(Account),
    /// A pending transfer that is open.
    Pending(PendingTransfer),
}

/// A snapshot that is being read: an iterator over its accounts, then its open pending transfers, each in the order of their ids.
///
/// Each block is checked before its entries are given, but only the end of the iteration, without an error, says that the snapshot is
/// whole and is the state of its header: what was made of its entries must be thrown away after an error.
#[derive(Debug)]
pub struct SnapshotReader<R> {
    input: Input<R>,
    header: SnapshotHeader,
    pending_told: PendingTold,
    ledgers: Vec<(Ledger, LedgerTotals)>,
    audit: Audit,
    block: Block,
    accounts_read: u64,
    pending_read: u64,
    /// The last account that was read.
    last: AccountId,
    /// The last account of this block that was read.
    last_in_block: AccountId,
    /// The last pending transfer that was read.
    last_pending: TransferId,
    /// The last pending transfer of this block that was read.
    last_pending_in_block: TransferId,
    /// The footer was read, or an error was given.
    is_over: bool,
}

/// The content of one block and how far it is read.
#[derive(Debug, Default)]
struct Block {
    bytes: Vec<u8>,
    at: usize,
    /// Where the content begins in the file.
    offset: u64,
}

#[derive(Debug)]
struct Input<R> {
    reader: BufReader<R>,
    hasher: blake3::Hasher,
    offset: u64,
    file: PathBuf,
}

impl<R: Read> SnapshotReader<R> {
    /// Reads the header and the ledgers. `file` is the path that errors name; where its name is that of a snapshot, its
    /// position must be the header's.
    ///
    /// Whether it belongs to the data directory and to its journal is for the caller to compare, with [`SnapshotReader::header`].
    ///
    /// # Errors
    /// The disk failed, or what was read is no snapshot.
    pub fn open(input: R, file: &Path) -> Result<SnapshotReader<R>, SnapshotError> {
        let mut input = Input {
            reader: BufReader::new(input),
            hasher: blake3::Hasher::new(),
            offset: 0,
            file: file.to_owned(),
        };
        let (header, ledgers_due, pending_told) = input.header()?;
        let name = file.file_name().and_then(|name| name.to_str());
        if name.and_then(seq_of_file_name).is_some_and(|seq| seq != header.seq) {
            return Err(input.damaged(0, Damage::Name(header.seq)));
        }
        let mut reader = SnapshotReader {
            input,
            header,
            pending_told,
            ledgers: Vec::new(),
            audit: Audit::new(),
            block: Block::default(),
            accounts_read: 0,
            pending_read: 0,
            last: NO_ACCOUNT,
            last_in_block: NO_ACCOUNT,
            last_pending: NO_TRANSFER,
            last_pending_in_block: NO_TRANSFER,
            is_over: false,
        };
        while (reader.ledgers.len() as u64) < ledgers_due {
            reader.ledger_block()?;
        }
        if reader.ledgers.len() as u64 > ledgers_due {
            return Err(reader.input.damaged(reader.block.offset, Damage::Block));
        }
        Ok(reader)
    }

    /// Which state this is.
    pub const fn header(&self) -> &SnapshotHeader {
        &self.header
    }

    /// All ledgers with their totals, in the order of their ids.
    pub fn ledgers(&self) -> &[(Ledger, LedgerTotals)] {
        &self.ledgers
    }

    fn ledger_block(&mut self) -> Result<(), SnapshotError> {
        self.input.block(kind::LEDGERS, &mut self.block)?;
        let block = &self.block;
        let mut cursor = Cursor::new(&block.bytes);
        let mut before = NO_LEDGER;
        while cursor.left() > 0 {
            let offset = cursor.offset();
            let (ledger, totals) = entry::ledger(before, &mut cursor)
                .map_err(|malformed| self.input.malformed(block, malformed))?;
            if self.ledgers.last().is_some_and(|(last, _)| ledger.id <= last.id) {
                let malformed = Malformed { offset, problem: Problem::NotAscending };
                return Err(self.input.malformed(block, malformed));
            }
            before = ledger.id;
            self.audit.ledger(&ledger, &totals);
            self.ledgers.push((ledger, totals));
        }
        self.block.at = self.block.bytes.len();
        Ok(())
    }

    fn footer(&mut self) -> Result<(), SnapshotError> {
        let begin = self.input.offset;
        let mut footer = [0; FOOTER_BYTES];
        let (hashed, hash) = footer.split_at_mut(FOOTER_BYTES - blake3::OUT_LEN);
        self.input.read(hashed)?;
        let whole = self.input.hasher.finalize();
        self.input.read(hash)?;
        if hash != whole.as_bytes() {
            return Err(self.input.damaged(begin, Damage::Hash));
        }
        if hashed[0] != kind::FOOTER || hashed[1..] != self.header.accounts.to_le_bytes() {
            return Err(self.input.damaged(begin, Damage::Block));
        }
        self.input.end()?;
        self.audit.finish(&self.header, self.pending_told).map_err(|discrepancy| {
            self.input.damaged(begin, Damage::Discrepancy(Box::new(discrepancy)))
        })
    }
}

impl<R: Read> SnapshotReader<R> {
    fn next_entry(&mut self) -> Result<Option<Held>, SnapshotError> {
        if self.accounts_read < self.header.accounts {
            return self.next_account().map(|account| Some(Held::Account(account)));
        }
        if self.pending_read < self.header.pending {
            return self.next_pending().map(|pending| Some(Held::Pending(pending)));
        }
        self.end_of_block()?;
        self.footer()?;
        Ok(None)
    }

    /// Makes sure that the block is read to its end, since what follows is of another kind.
    fn end_of_block(&self) -> Result<(), SnapshotError> {
        if self.block.at == self.block.bytes.len() {
            return Ok(());
        }
        let offset = self.block.offset + self.block.at as u64;
        Err(self.input.damaged(offset, Damage::Block))
    }

    fn next_account(&mut self) -> Result<Account, SnapshotError> {
        if self.block.at == self.block.bytes.len() {
            self.input.block(kind::ACCOUNTS, &mut self.block)?;
            self.last_in_block = NO_ACCOUNT;
        }
        let block = &mut self.block;
        let mut cursor = Cursor::new(&block.bytes[block.at..]);
        let account = entry::account(self.last_in_block, &mut cursor)
            .map_err(|malformed| self.input.malformed(block, malformed))?;
        if account.id <= self.last {
            let malformed = Malformed { offset: 0, problem: Problem::NotAscending };
            return Err(self.input.malformed(block, malformed));
        }
        self.audit.account(&account).map_err(|discrepancy| {
            let offset = block.offset + block.at as u64;
            self.input.damaged(offset, Damage::Discrepancy(Box::new(discrepancy)))
        })?;
        block.at += cursor.offset();
        (self.last, self.last_in_block) = (account.id, account.id);
        self.accounts_read += 1;
        Ok(account)
    }

    fn next_pending(&mut self) -> Result<PendingTransfer, SnapshotError> {
        if self.pending_read == 0 {
            self.end_of_block()?;
        }
        if self.block.at == self.block.bytes.len() {
            self.input.block(kind::PENDING, &mut self.block)?;
            self.last_pending_in_block = NO_TRANSFER;
        }
        let block = &mut self.block;
        let mut cursor = Cursor::new(&block.bytes[block.at..]);
        let pending = entry::pending(self.last_pending_in_block, &mut cursor)
            .map_err(|malformed| self.input.malformed(block, malformed))?;
        if pending.id <= self.last_pending {
            let malformed = Malformed { offset: 0, problem: Problem::NotAscending };
            return Err(self.input.malformed(block, malformed));
        }
        self.audit.pending(&pending).map_err(|discrepancy| {
            let offset = block.offset + block.at as u64;
            self.input.damaged(offset, Damage::Discrepancy(Box::new(discrepancy)))
        })?;
        block.at += cursor.offset();
        (self.last_pending, self.last_pending_in_block) = (pending.id, pending.id);
        self.pending_read += 1;
        Ok(pending)
    }
}

impl<R: Read> Iterator for SnapshotReader<R> {
    type Item = Result<Held, SnapshotError>;

    fn next(&mut self) -> Option<Result<Held, SnapshotError>> {
        if self.is_over {
            return None;
        }
        let next = self.next_entry().transpose();
        self.is_over = !matches!(next, Some(Ok(_)));
        next
    }
}

impl<R: Read> Input<R> {
    /// The header, how many ledgers follow, and whether its pending transfers do.
    fn header(&mut self) -> Result<(SnapshotHeader, u64, PendingTold), SnapshotError> {
        let mut bytes = [0; HEADER_BYTES];
        // The header of every version is at least as long as that of the first, and has magic and version at the same place.
        self.read(&mut bytes[..HEADER_BYTES_1])?;
        let (magic, rest) = bytes.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(self.damaged(0, Damage::Magic));
        }
        let [v0, v1, v2, v3, ..] = *rest else { unreachable!("the header is longer") };
        let version = u32::from_le_bytes([v0, v1, v2, v3]);
        let length = match version {
            1 => HEADER_BYTES_1,
            VERSION => {
                self.read(&mut bytes[HEADER_BYTES_1..])?;
                HEADER_BYTES
            }
            // Before the version is known, so is not what follows it, nor where its checksum stands.
            0 => return Err(self.damaged(0, Damage::Checksum)),
            _ => return Err(SnapshotError::NewerFormat { file: self.file.clone(), version }),
        };
        let (checked, checksum) = bytes[..length].split_at(length - size_of::<u32>());
        if crc32c::crc32c(checked).to_le_bytes() != checksum {
            return Err(self.damaged(0, Damage::Checksum));
        }
        let malformed = |malformed: Malformed| {
            self.damaged(malformed.offset as u64, Damage::Content(malformed.problem))
        };
        let mut cursor = Cursor::new(&checked[MAGIC.len() + size_of::<u32>()..]);
        let mut header = SnapshotHeader {
            directory: Uuid::from_bytes(cursor.array().map_err(malformed)?),
            seq: JournalSeq(cursor.u64().map_err(malformed)?),
            frame_hash: cursor.array().map_err(malformed)?,
            state_hash: cursor.u64().map_err(malformed)?,
            last_timestamp: Timestamp(cursor.u64().map_err(malformed)?),
            newest_transfer: Timestamp(0),
            accounts: cursor.u64().map_err(malformed)?,
            pending: 0,
        };
        let ledgers = cursor.u64().map_err(malformed)?;
        if version == 1 {
            header.newest_transfer = header.last_timestamp;
            return Ok((header, ledgers, PendingTold::No));
        }
        header.newest_transfer = Timestamp(cursor.u64().map_err(malformed)?);
        header.pending = cursor.u64().map_err(malformed)?;
        Ok((header, ledgers, PendingTold::Yes))
    }

    /// Reads the next block, which must be of this kind, and its checksum right.
    fn block(&mut self, kind: u8, block: &mut Block) -> Result<(), SnapshotError> {
        let begin = self.offset;
        let mut head = [0; BLOCK_HEAD_BYTES];
        self.read(&mut head)?;
        let [found, l0, l1, l2, l3, c0, c1, c2, c3] = head;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if found != kind || length == 0 || length > BLOCK_BYTES_MAX {
            return Err(self.damaged(begin, Damage::Block));
        }
        block.bytes.resize(length, 0);
        block.offset = self.offset;
        block.at = 0;
        self.read(&mut block.bytes)?;
        let checksum = u32::from_le_bytes([c0, c1, c2, c3]);
        if block_checksum(&head[..5], &block.bytes) != checksum {
            return Err(self.damaged(begin, Damage::Checksum));
        }
        Ok(())
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<(), SnapshotError> {
        match self.reader.read_exact(bytes) {
            Ok(()) => {
                self.hasher.update(bytes);
                self.offset += bytes.len() as u64;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                Err(self.damaged(self.offset, Damage::Truncated))
            }
            Err(source) => Err(self.failed(source)),
        }
    }

    /// Makes sure that nothing follows.
    fn end(&mut self) -> Result<(), SnapshotError> {
        match self.reader.read_exact(&mut [0]) {
            Ok(()) => Err(self.damaged(self.offset, Damage::TrailingBytes)),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(()),
            Err(source) => Err(self.failed(source)),
        }
    }

    fn failed(&self, source: io::Error) -> SnapshotError {
        SnapshotError::Io { file: self.file.clone(), offset: self.offset, source }
    }

    fn damaged(&self, offset: u64, damage: Damage) -> SnapshotError {
        SnapshotError::Damaged { file: self.file.clone(), offset, damage }
    }

    /// The error for an entry that was read from where the block is read up to.
    fn malformed(&self, block: &Block, malformed: Malformed) -> SnapshotError {
        let offset = block.offset + (block.at + malformed.offset) as u64;
        self.damaged(offset, Damage::Content(malformed.problem))
    }
}

//! Writes a snapshot from front to back.

use std::io::{self, Write};

use florin_engine::{
    Account, AccountId, Ledger, LedgerId, LedgerTotals, PendingTransfer, TransferId,
};

use super::audit::{Audit, Discrepancy, PendingTold};
use super::entry::{NO_ACCOUNT, NO_LEDGER, NO_TRANSFER, put_account, put_ledger, put_pending};
use super::{BLOCK_BYTES, BLOCK_HEAD_BYTES, MAGIC, SnapshotHeader, VERSION, kind};
use crate::record::bytes::Scratch;

/// Why a snapshot was not written.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotWriteError {
    /// The disk refused.
    #[error("the snapshot can not be written")]
    Io(#[from] io::Error),
    /// It would not be the state that it should be.
    #[error("the snapshot is not the state at its position")]
    Discrepancy(#[from] Discrepancy),
    /// Ids must ascend from 1.
    #[error("account {} comes at or after an account of a higher id", .0.0)]
    AccountsNotAscending(AccountId),
    /// Ids must ascend from 1, and no account follows.
    #[error("the pending transfer {} comes at or after one of a higher id, or an account after it", .0.0)]
    PendingNotAscending(TransferId),
    /// Ids must ascend from 1.
    #[error("ledger {} comes at or after a ledger of a higher id", .0.0)]
    LedgersNotAscending(LedgerId),
}

/// A snapshot that is being written: first its ledgers, then account after account, then one open pending transfer after the other, each in
/// the order of their ids.
///
/// What is written before [`SnapshotWriter::finish`] returned is no snapshot.
#[derive(Debug)]
pub struct SnapshotWriter<W> {
    out: W,
    hasher: blake3::Hasher,
    header: SnapshotHeader,
    audit: Audit,
    /// Room for the block's head, then its content.
    block: Vec<u8>,
    /// The last account written.
    last: AccountId,
    /// The last account of this block.
    last_in_block: AccountId,
    /// The last pending transfer written; none before the last account.
    last_pending: TransferId,
    /// The last pending transfer of this block.
    last_pending_in_block: TransferId,
}

impl<W: Write> SnapshotWriter<W> {
    /// Begins the snapshot of this header with all its ledgers, in the order of their ids.
    ///
    /// # Errors
    /// The ledgers are not in order, or `out` failed.
    pub fn start(
        out: W,
        header: SnapshotHeader,
        ledgers: &[(Ledger, LedgerTotals)],
    ) -> Result<SnapshotWriter<W>, SnapshotWriteError> {
        let mut writer = SnapshotWriter {
            out,
            hasher: blake3::Hasher::new(),
            header,
            audit: Audit::new(),
            block: Vec::with_capacity(2 * BLOCK_BYTES),
            last: NO_ACCOUNT,
            last_in_block: NO_ACCOUNT,
            last_pending: NO_TRANSFER,
            last_pending_in_block: NO_TRANSFER,
        };
        writer.put(&header_bytes(&header, ledgers.len() as u64))?;
        writer.begin_block();
        let (mut last, mut last_in_block) = (NO_LEDGER, NO_LEDGER);
        for (ledger, totals) in ledgers {
            if ledger.id <= last {
                return Err(SnapshotWriteError::LedgersNotAscending(ledger.id));
            }
            put_ledger(last_in_block, ledger, totals, &mut writer.block);
            writer.audit.ledger(ledger, totals);
            (last, last_in_block) = (ledger.id, ledger.id);
            if writer.block.len() >= BLOCK_BYTES {
                writer.end_block(kind::LEDGERS)?;
                last_in_block = NO_LEDGER;
            }
        }
        writer.end_block(kind::LEDGERS)?;
        Ok(writer)
    }

    /// Adds an account, whose id must be above those before.
    ///
    /// # Errors
    /// The account is not in order or its ledger does not exist, or `out` failed.
    pub fn push(&mut self, account: &Account) -> Result<(), SnapshotWriteError> {
        if account.id <= self.last {
            return Err(SnapshotWriteError::AccountsNotAscending(account.id));
        }
        if self.last_pending != NO_TRANSFER {
            return Err(SnapshotWriteError::PendingNotAscending(self.last_pending));
        }
        self.audit.account(account)?;
        put_account(self.last_in_block, account, &mut Scratch::new(), &mut self.block);
        (self.last, self.last_in_block) = (account.id, account.id);
        if self.block.len() >= BLOCK_BYTES {
            self.end_block(kind::ACCOUNTS)?;
            self.last_in_block = NO_ACCOUNT;
        }
        Ok(())
    }

    /// Adds an open pending transfer, after the last account; its id must be above those before.
    ///
    /// # Errors
    /// The transfer is not in order or its ledger does not exist, or `out` failed.
    pub fn push_pending(&mut self, pending: &PendingTransfer) -> Result<(), SnapshotWriteError> {
        if pending.id <= self.last_pending {
            return Err(SnapshotWriteError::PendingNotAscending(pending.id));
        }
        if self.last_pending == NO_TRANSFER {
            self.end_block(kind::ACCOUNTS)?;
        }
        self.audit.pending(pending)?;
        let before = self.last_pending_in_block;
        put_pending(before, pending, &mut Scratch::new(), &mut self.block);
        (self.last_pending, self.last_pending_in_block) = (pending.id, pending.id);
        if self.block.len() >= BLOCK_BYTES {
            self.end_block(kind::PENDING)?;
            self.last_pending_in_block = NO_TRANSFER;
        }
        Ok(())
    }

    /// Compares what was written with the header, and ends the snapshot. The caller syncs and renames the file.
    ///
    /// # Errors
    /// What was written is not the state that the header names, or `out` failed. There is no snapshot then.
    pub fn finish(mut self) -> Result<W, SnapshotWriteError> {
        let has_pending = self.last_pending != NO_TRANSFER;
        self.end_block(if has_pending { kind::PENDING } else { kind::ACCOUNTS })?;
        self.audit.finish(&self.header, PendingTold::Yes)?;
        self.put(&[kind::FOOTER])?;
        self.put(&self.header.accounts.to_le_bytes())?;
        let hash = self.hasher.finalize();
        self.out.write_all(hash.as_bytes())?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn begin_block(&mut self) {
        self.block.clear();
        self.block.resize(BLOCK_HEAD_BYTES, 0);
    }

    fn end_block(&mut self, kind: u8) -> io::Result<()> {
        let content_bytes = self.block.len() - BLOCK_HEAD_BYTES;
        if content_bytes > 0 {
            self.block[0] = kind;
            self.block[1..5].copy_from_slice(&(content_bytes as u32).to_le_bytes());
            let checksum = block_checksum(&self.block[..5], &self.block[BLOCK_HEAD_BYTES..]);
            self.block[5..BLOCK_HEAD_BYTES].copy_from_slice(&checksum.to_le_bytes());
            self.hasher.update(&self.block);
            self.out.write_all(&self.block)?;
        }
        self.begin_block();
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.out.write_all(bytes)
    }
}

/// The checksum of a block: of its kind and length, and its content.
pub(super) fn block_checksum(kind_and_length: &[u8], content: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(kind_and_length), content)
}

fn header_bytes(header: &SnapshotHeader, ledgers: u64) -> Vec<u8> {
    let SnapshotHeader {
        directory,
        seq,
        frame_hash,
        state_hash,
        last_timestamp,
        newest_transfer,
        accounts,
        pending,
    } = header;
    let mut bytes = Vec::with_capacity(super::HEADER_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(directory.as_bytes());
    bytes.extend_from_slice(&seq.0.to_le_bytes());
    bytes.extend_from_slice(frame_hash);
    bytes.extend_from_slice(&state_hash.to_le_bytes());
    bytes.extend_from_slice(&last_timestamp.0.to_le_bytes());
    bytes.extend_from_slice(&accounts.to_le_bytes());
    bytes.extend_from_slice(&ledgers.to_le_bytes());
    bytes.extend_from_slice(&newest_transfer.0.to_le_bytes());
    bytes.extend_from_slice(&pending.to_le_bytes());
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

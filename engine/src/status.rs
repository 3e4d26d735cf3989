//! How a transfer stands: derived from what it is and what became of it, since the transfer itself never changes.

use crate::decided::Settlement;
use crate::transfer::{Transfer, TransferFlags};

/// How a transfer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransferStatus {
    /// It moved money; or it is a pending one that was posted.
    Posted,
    /// It reserves money, and is open.
    Pending,
    /// It was voided, or is itself the void.
    Voided,
    /// It was pending, and its time was over.
    Expired,
}

impl TransferStatus {
    /// Every status with its name.
    pub const NAMES: [(TransferStatus, &'static str); 4] = [
        (TransferStatus::Posted, "posted"),
        (TransferStatus::Pending, "pending"),
        (TransferStatus::Voided, "voided"),
        (TransferStatus::Expired, "expired"),
    ];

    /// How a transfer stands that became of it what `settlement` says.
    #[must_use]
    pub fn of(transfer: &Transfer, settlement: Option<Settlement>) -> TransferStatus {
        if transfer.flags.contains(TransferFlags::VOID_PENDING_TRANSFER) {
            return TransferStatus::Voided;
        }
        if !transfer.flags.contains(TransferFlags::PENDING) {
            return TransferStatus::Posted;
        }
        match settlement {
            None => TransferStatus::Pending,
            Some(Settlement::Posted) => TransferStatus::Posted,
            Some(Settlement::Voided) => TransferStatus::Voided,
            Some(Settlement::Expired) => TransferStatus::Expired,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            TransferStatus::Posted => "posted",
            TransferStatus::Pending => "pending",
            TransferStatus::Voided => "voided",
            TransferStatus::Expired => "expired",
        }
    }
}

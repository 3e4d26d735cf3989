//! Statements, balances at a moment and sums by code, against sums over the journal's events: no balance of a record is looked at.

use std::collections::BTreeMap;

use florin_engine::{
    AccountFlags, AccountId, Amount, AmountInput, Code, Command, CreateAccount, CreateLedger,
    CreateTransfer, Event, ExpirePending, JournalSeq, LedgerId, LedgerState, NothingBefore, Record,
    Scale, State, Timestamp, Transfer, TransferFlags, TransferId, Verdict,
};

use super::world::Random;
use super::{Kind, Place, in_both};
use crate::store::{
    CursorError, MOVES_MAX, Moment, Posted, Side, Statement, StatementRequest, Store, StoreBatch,
    StoreError, StoreErrorKind, StoredAccount, StoredLedger, TimeRange,
};

in_both! {
    statements_are_those_of_the_journal,
    balances_at_a_moment_are_those_of_the_journal,
    a_statement_ends_where_its_first_page_found_its_end,
    what_is_out_of_reach_is_refused,
    what_rests_on_lost_transfers_is_refused,
    sums_by_code_are_those_of_the_journal,
    many_are_found_by_their_ids,
}

/// A ledger decided by the engine.
struct Bank {
    state: State,
    now: Timestamp,
    random: Random,
    records: Vec<Record>,
    next_id: u128,
    open: Vec<TransferId>,
    /// Whether transfers are imported now and then, which stand at other moments than their commands.
    imports: bool,
}

const ACCOUNTS: [u128; 5] = [1, 2, 3, 4, 1 << 100];

impl Bank {
    /// Five accounts of three codes; the second and the last keep their history, and the fourth shows debits as positive.
    fn new(seed: u64) -> Bank {
        let mut bank = Bank {
            state: State::new(seed),
            now: Timestamp(1_763_000_000_000_000_000),
            random: Random::new(seed),
            records: Vec::new(),
            next_id: 1000,
            open: Vec::new(),
            imports: false,
        };
        for (id, currency) in [(1, "USD"), (2, "EUR")] {
            bank.decide(Command::CreateLedger(CreateLedger {
                id: LedgerId(id),
                currency: currency.to_owned(),
                scale: Scale::try_new(2).unwrap(),
                name: String::new(),
            }));
        }
        let accounts = ACCOUNTS.into_iter().zip([10, 10, 20, 20, 30]).map(|(id, code)| {
            let flags = match id {
                2 => AccountFlags::HISTORY,
                4 => AccountFlags::CREDITS_MUST_NOT_EXCEED_DEBITS,
                id if id > 4 => AccountFlags::HISTORY,
                _ => AccountFlags::empty(),
            };
            CreateAccount { code: Code(code), flags, ..CreateAccount::new(AccountId(id)) }
        });
        bank.decide(Command::CreateAccounts(accounts.collect()));
        let other = CreateAccount { ledger: LedgerId(2), ..CreateAccount::new(AccountId(77)) };
        bank.decide(Command::CreateAccounts(vec![other]));
        bank
    }

    fn seq(&self) -> JournalSeq {
        JournalSeq(self.records.len() as u64)
    }

    fn decide(&mut self, command: Command) {
        self.now = self.now.plus(1 + self.random.below(1_000_000) as u64 * 1000);
        let verdict = self.state.decide(command, None, self.now, &mut NothingBefore).unwrap();
        let Verdict::Decided(decision) = verdict else { panic!("{verdict:?}") };
        if let Some(record) = decision.record {
            self.now = self.now.max(record.timestamp.plus(u64::from(record.asked)));
            self.records.push(record);
        }
        assert_eq!(self.state.seq(), self.seq());
    }

    /// A batch of transfers of all kinds, or what is due expires.
    fn command(&mut self) {
        if self.random.one_in(8) && self.state.next_expiry().is_some() {
            self.now = self.now.plus(3_000_000_000);
            self.decide(Command::ExpirePending(ExpirePending { limit: 2 }));
            return;
        }
        if self.imports && self.random.one_in(4) {
            self.import();
            return;
        }
        let count = 1 + self.random.below(6);
        let transfers: Vec<CreateTransfer> = (0..count).map(|_| self.transfer()).collect();
        self.decide(Command::CreateTransfers(transfers));
    }

    /// A batch of what was decided elsewhere, a while ago.
    fn import(&mut self) {
        let newest = self.state.newest_transfer().0.max(self.records[2].timestamp.0 + 100);
        self.now = Timestamp(self.now.0.max(newest)).plus(1_000_000_000);
        let events = self.records.iter().map(|record| record.events.len()).sum::<usize>();
        let imported = (1..=3).map(|place| {
            let plain = self.transfer();
            CreateTransfer {
                id: plain.id,
                flags: TransferFlags::IMPORTED,
                timestamp: Timestamp(newest + place * 1000),
                ..CreateTransfer::new(
                    plain.id,
                    AccountId(1),
                    AccountId(2),
                    AmountInput::Minor(Amount::from_minor(7)),
                )
            }
        });
        let imported: Vec<_> = imported.collect();
        self.decide(Command::CreateTransfers(imported));
        let after = self.records.iter().map(|record| record.events.len()).sum::<usize>();
        assert_eq!(after, events + 3, "all of them were imported");
    }

    fn transfer(&mut self) -> CreateTransfer {
        self.next_id += 1;
        let id = TransferId(self.next_id << self.random.pick(&[0, 40, 70]));
        let debit = self.random.below(ACCOUNTS.len());
        let credit = (debit + 1 + self.random.below(ACCOUNTS.len() - 1)) % ACCOUNTS.len();
        let (debit, credit) = (AccountId(ACCOUNTS[debit]), AccountId(ACCOUNTS[credit]));
        let large = self.random.one_in(10);
        let amount = if large { 10_u128.pow(24) + 7 } else { self.random.below(500) as u128 };
        let amount = AmountInput::Minor(Amount::try_new(amount).unwrap());
        let mut transfer = CreateTransfer::new(id, debit, credit, amount);
        if self.random.one_in(3) {
            let off = self.random.below(20_000_000_000) as u64;
            let at = self.now.0;
            let at = if self.random.one_in(2) { at - off } else { at + off };
            transfer.effective_at = Some(Timestamp(at));
        }
        match self.random.below(5) {
            0 => {
                transfer.flags = TransferFlags::PENDING;
                transfer.timeout = self.random.pick(&[0, 1]);
                self.open.push(id);
            }
            1 if !self.open.is_empty() => {
                let at = self.random.below(self.open.len());
                transfer.pending_id = self.open.swap_remove(at);
                transfer.debit_account_id = AccountId(0);
                transfer.credit_account_id = AccountId(0);
                transfer.code = Code(0);
                let post = self.random.one_in(2);
                let all = if post { Amount::MAX } else { Amount::ZERO };
                transfer.amount = AmountInput::Minor(all);
                transfer.flags = match post {
                    true => TransferFlags::POST_PENDING_TRANSFER,
                    false => TransferFlags::VOID_PENDING_TRANSFER,
                };
            }
            _ => {}
        }
        transfer
    }

    async fn store(&self, store: &Store) {
        let after = store.checkpoint().await.unwrap().seq;
        let mut batch = StoreBatch::new(after);
        for (index, record) in self.records.iter().enumerate().skip(after.0 as usize) {
            batch.push(JournalSeq(index as u64 + 1), record.clone(), None).unwrap();
        }
        store.apply(&batch).await.unwrap();
    }

    /// Every transfer in the journal, in order.
    fn transfers(&self) -> impl Iterator<Item = &Transfer> {
        self.records.iter().flat_map(|record| &record.events).filter_map(|event| match event {
            Event::TransferPosted(posted) => Some(&posted.transfer),
            _ => None,
        })
    }

    /// What moved posted money on an account, as debit and credit.
    fn moved(&self, id: AccountId) -> Vec<(Transfer, u128, u128)> {
        let none = |transfer: &&Transfer| {
            !transfer.flags.contains(TransferFlags::PENDING)
                && !transfer.flags.contains(TransferFlags::VOID_PENDING_TRANSFER)
        };
        let of_account = self.transfers().filter(none).filter_map(|transfer| {
            let amount = transfer.amount.minor_units();
            let debit = if transfer.debit_account_id == id { amount } else { 0 };
            let credit = if transfer.credit_account_id == id { amount } else { 0 };
            let is_of = transfer.debit_account_id == id || transfer.credit_account_id == id;
            is_of.then(|| (transfer.clone(), debit, credit))
        });
        of_account.collect()
    }
}

async fn bank(seed: u64, commands: usize, place: &Place) -> (Bank, Store) {
    let mut bank = Bank::new(seed);
    bank.imports = commands < 100;
    let store = place.open().await;
    for _ in 0..commands {
        bank.command();
        if bank.random.one_in(5) {
            bank.store(&store).await;
        }
    }
    bank.store(&store).await;
    (bank, store)
}

fn sum<'m>(moved: impl Iterator<Item = &'m (Transfer, u128, u128)>) -> Posted {
    let (debits, credits) = moved
        .fold((0, 0), |(debits, credits), (_, debit, credit)| (debits + debit, credits + credit));
    let amount = |sum| Amount::try_new(sum).unwrap();
    Posted { debits: amount(debits), credits: amount(credits) }
}

/// All pages of a statement; each has the same ends, and begins where the one before ended.
async fn pages(store: &Store, request: &StatementRequest) -> Result<Vec<Statement>, StoreError> {
    let mut request = *request;
    let mut pages: Vec<Statement> = Vec::new();
    loop {
        let page = store.statement(&request).await?.value.unwrap();
        if let Some(last) = pages.last() {
            assert_eq!((page.opening, page.closing), (last.opening, last.closing));
            let carried = last.lines.last().map_or(last.before, |(_, after)| *after);
            assert_eq!(page.before, carried);
        } else {
            assert_eq!(page.before, page.opening);
        }
        assert!(page.lines.len() <= request.limit as usize);
        request.cursor = page.next.map(|next| next.to_string().parse().unwrap());
        pages.push(page);
        if request.cursor.is_none() {
            return Ok(pages);
        }
        assert!(pages.len() < 1000, "the pages go round in a circle");
    }
}

async fn statements_are_those_of_the_journal(kind: Kind) {
    for seed in [1, 2] {
        let place = kind.place();
        // Few enough that all is in reach.
        let (mut bank, store) = bank(seed, 15, &place).await;
        let times: Vec<Timestamp> = bank.transfers().map(|transfer| transfer.timestamp).collect();
        let mut lines = 0;
        for _ in 0..60 {
            let account = AccountId(bank.random.pick(&ACCOUNTS));
            let time = |random: &mut Random| {
                let near = Timestamp(random.pick(&times).0 + random.below(3) as u64 - 1);
                (!random.one_in(3)).then_some(near)
            };
            let (from, to) = (time(&mut bank.random), time(&mut bank.random));
            let limit = bank.random.pick(&[1, 3, 50]);
            let request =
                StatementRequest { account, time: TimeRange { from, to }, limit, cursor: None };
            let pages = pages(&store, &request).await.unwrap();
            let moved = bank.moved(account);
            let is_before = |at: Timestamp| from.is_some_and(|from| at < from);
            let is_in = |at: Timestamp| !is_before(at) && to.is_none_or(|to| at < to);
            let opening = sum(moved.iter().filter(|(transfer, ..)| is_before(transfer.timestamp)));
            assert_eq!(pages[0].opening, opening, "{request:?}");
            let expected: Vec<_> =
                moved.iter().filter(|(transfer, ..)| is_in(transfer.timestamp)).collect();
            let shown: Vec<_> = pages.iter().flat_map(|page| &page.lines).collect();
            assert_eq!(shown.len(), expected.len(), "{request:?}");
            let mut so_far =
                moved.iter().filter(|(it, ..)| is_before(it.timestamp)).collect::<Vec<_>>();
            for ((movement, after), line) in shown.iter().zip(expected) {
                let (transfer, debit, _) = line;
                assert_eq!(movement.transfer, transfer.id);
                assert_eq!(
                    (movement.timestamp, movement.amount),
                    (transfer.timestamp, transfer.amount)
                );
                assert_eq!(movement.effective_at, transfer.effective_at);
                let is_debit = transfer.debit_account_id == account;
                assert_eq!(movement.side, if is_debit { Side::Debit } else { Side::Credit });
                assert_eq!(is_debit && transfer.amount.minor_units() > 0, *debit > 0);
                so_far.push(line);
                assert_eq!(*after, sum(so_far.iter().copied()));
            }
            lines += shown.len();
            // Opening and all lines together are the closing.
            let last = shown.last().map_or(opening, |(_, after)| *after);
            assert_eq!(pages[0].closing, last, "{request:?}");
        }
        assert!(lines > 100, "{lines}");
    }
}

async fn balances_at_a_moment_are_those_of_the_journal(kind: Kind) {
    let place = kind.place();
    let (bank, store) = bank(3, 12, &place).await;
    let mut times: Vec<Timestamp> = bank.transfers().map(|transfer| transfer.timestamp).collect();
    times.extend(bank.transfers().filter_map(|transfer| transfer.effective_at));
    for account in ACCOUNTS.map(AccountId) {
        let moved = bank.moved(account);
        for at in times.iter().flat_map(|at| [Timestamp(at.0 - 1), *at]) {
            let told = async |moment| store.posted_at(account, moment).await.unwrap();
            let decided = moved.iter().filter(|(transfer, ..)| transfer.timestamp <= at);
            let found = told(Moment::DecidedAt(at)).await;
            let posted = found.value.map(|found| found.posted);
            assert_eq!((posted, found.as_of), (Some(sum(decided)), bank.seq()));
            let effective = moved
                .iter()
                .filter(|(transfer, ..)| transfer.effective_at.unwrap_or(transfer.timestamp) <= at);
            let found = told(Moment::EffectiveAt(at)).await;
            let posted = found.value.map(|found| found.posted);
            assert_eq!(posted, Some(sum(effective)), "{account:?} {at:?}");
        }
    }
    let none = store.posted_at(AccountId(999), Moment::DecidedAt(bank.now)).await.unwrap();
    assert_eq!(none.value, None);
}

async fn a_statement_ends_where_its_first_page_found_its_end(kind: Kind) {
    let place = kind.place();
    let (mut bank, store) = bank(4, 12, &place).await;
    let account = AccountId(1);
    let expected = bank.moved(account).len();
    let closing = sum(bank.moved(account).iter());
    let mut request =
        StatementRequest { account, time: TimeRange::default(), limit: 2, cursor: None };
    let mut lines = Vec::new();
    loop {
        let page = store.statement(&request).await.unwrap().value.unwrap();
        assert_eq!((page.opening, page.closing), (Posted::default(), closing));
        lines.extend(page.lines);
        let Some(next) = page.next else { break };
        request.cursor = Some(next);
        bank.command();
        bank.store(&store).await;
    }
    assert!(bank.moved(account).len() > expected, "something has happened meanwhile");
    assert_eq!(lines.len(), expected);
    assert_eq!(lines.last().map(|(_, after)| *after), Some(closing));
    // A cursor belongs to its statement.
    let first = StatementRequest { cursor: None, ..request };
    let cursor = store.statement(&first).await.unwrap().value.unwrap().next;
    let from = TimeRange { from: Some(Timestamp(1)), to: None };
    for other in [
        StatementRequest { account: AccountId(2), cursor, ..first },
        StatementRequest { time: from, cursor, ..first },
    ] {
        let error = store.statement(&other).await.unwrap_err();
        assert!(matches!(error, StoreError::Cursor(CursorError::OtherFilter)), "{error}");
    }
    let text = cursor.unwrap().to_string();
    for at in 0..text.len() {
        let other = if &text[at..=at] == "0" { "1" } else { "0" };
        let damaged = format!("{}{other}{}", &text[..at], &text[at + 1..]);
        let parsed = damaged.parse::<crate::store::StatementCursor>();
        assert_eq!(parsed, Err(CursorError::Damaged), "{damaged}");
        assert!(text[..at].parse::<crate::store::StatementCursor>().is_err());
    }
}

async fn what_is_out_of_reach_is_refused(kind: Kind) {
    let place = kind.place();
    let (bank, store) = bank(5, 120, &place).await;
    let times = |id: u128| -> Vec<Timestamp> {
        let is_of = |transfer: &&Transfer| {
            [transfer.debit_account_id, transfer.credit_account_id].contains(&AccountId(id))
        };
        bank.transfers().filter(is_of).map(|transfer| transfer.timestamp).collect()
    };
    let (plain, with_history) = (times(1), times(2));
    assert!(plain.len() > 2 * MOVES_MAX + 2 && with_history.len() > 2 * MOVES_MAX + 2);
    for (account, times) in [(AccountId(1), &plain), (AccountId(2), &with_history)] {
        let moved = bank.moved(account);
        for (index, at) in times.iter().enumerate() {
            let moment = Moment::DecidedAt(Timestamp(at.0 - 1));
            let told = store.posted_at(account, moment).await;
            let in_reach = index <= MOVES_MAX || times.len() - index <= MOVES_MAX;
            if account == AccountId(1) && !in_reach {
                assert!(matches!(told, Err(StoreError::OutOfReach)), "{index} {told:?}");
                continue;
            }
            let before = moved.iter().filter(|(transfer, ..)| transfer.timestamp < *at);
            let told = told.unwrap().value.unwrap();
            assert_eq!(told.posted, sum(before), "{account:?} {index}");
        }
        let moment = Moment::EffectiveAt(bank.now);
        let told = store.posted_at(account, moment).await;
        assert!(matches!(told, Err(StoreError::OutOfReach)), "{told:?}");
    }
    // The whole of it has an opening and a closing in any case.
    let request = StatementRequest {
        account: AccountId(1),
        time: TimeRange::default(),
        limit: 7,
        cursor: None,
    };
    let pages = pages(&store, &request).await.unwrap();
    let lines: usize = pages.iter().map(|page| page.lines.len()).sum();
    assert_eq!(lines, bank.moved(AccountId(1)).len());
}

/// Makes the store anew without the records before `from`, as where nobody has them.
async fn lose_what_was_before(bank: &Bank, store: &Store, from: usize) {
    store.begin_rebuild().await.unwrap();
    let before = JournalSeq(from as u64);
    let mut base = StoreBatch::new(JournalSeq::NONE);
    for LedgerState { ledger, totals } in bank.state.ledgers() {
        base.push_ledger(StoredLedger { ledger: ledger.clone(), totals: *totals, seq: before });
    }
    for id in ACCOUNTS.into_iter().chain([77]) {
        let account = bank.state.account(AccountId(id)).unwrap().clone();
        base.push_account(StoredAccount {
            account,
            metadata: None,
            external_id: None,
            seq: before,
        });
    }
    base.set_upto(before, bank.records[from - 1].timestamp.plus(1_000));
    store.apply(&base).await.unwrap();
    bank.store(store).await;
    store.end_rebuild(before.next()).await.unwrap();
}

async fn what_rests_on_lost_transfers_is_refused(kind: Kind) {
    let place = kind.place();
    let store = place.open().await;
    let mut bank = Bank::new(8);
    bank.imports = true;
    (0..8).for_each(|_| bank.command());
    let lost = bank.records.len();
    // One that was created later has lost nothing.
    bank.decide(Command::CreateAccounts(vec![CreateAccount::new(AccountId(5))]));
    let amount = AmountInput::Minor(Amount::from_minor(5));
    let late = CreateTransfer::new(TransferId(5), AccountId(5), AccountId(1), amount);
    bank.decide(Command::CreateTransfers(vec![late]));
    (0..5).for_each(|_| bank.command());
    let seen: usize = bank.records[..lost].iter().map(|record| record.events.len()).sum();
    assert!(seen > 20, "{seen}");
    lose_what_was_before(&bank, &store, lost).await;
    let is_lost = |error: StoreError| {
        let from = JournalSeq(lost as u64 + 1);
        assert_eq!(error.kind(), StoreErrorKind::HistoryLost);
        matches!(error, StoreError::HistoryLost { history_from } if history_from == from)
    };
    let left = bank.records[lost..].iter().flat_map(|record| &record.events);
    let begin = left.clone().find_map(|event| match event {
        Event::TransferPosted(posted) => Some(posted.transfer.timestamp),
        _ => None,
    });
    let begin = begin.unwrap();
    let times: Vec<Timestamp> = bank.transfers().map(|transfer| transfer.timestamp).collect();
    let (mut told, mut refused) = (0, 0);
    for account in ACCOUNTS.map(AccountId) {
        let moved = bank.moved(account);
        for at in times.iter().flat_map(|at| [Timestamp(at.0 - 1), *at]) {
            let found = store.posted_at(account, Moment::DecidedAt(at)).await;
            if at.plus(1) < begin {
                assert!(is_lost(found.unwrap_err()), "{account:?} {at:?}");
                refused += 1;
            } else {
                let expected = sum(moved.iter().filter(|(it, ..)| it.timestamp <= at));
                let found = found.unwrap().value.unwrap();
                assert_eq!((found.posted, found.history_from.0), (expected, lost as u64 + 1));
                told += 1;
            }
        }
        let effective = store.posted_at(account, Moment::EffectiveAt(bank.now)).await;
        assert!(is_lost(effective.unwrap_err()));
        // Without a beginning a statement begins with what is left.
        let request = |from, to| StatementRequest {
            account,
            time: TimeRange { from, to },
            limit: 50,
            cursor: None,
        };
        let before = sum(moved.iter().filter(|(it, ..)| it.timestamp < begin));
        for from in [None, Some(begin)] {
            let page = &pages(&store, &request(from, None)).await.unwrap()[0];
            assert_eq!((page.opening, page.closing), (before, sum(moved.iter())));
            assert_eq!(page.history_from.0, lost as u64 + 1);
        }
        let earlier = Some(Timestamp(begin.0 - 1));
        for request in [request(earlier, None), request(None, earlier)] {
            assert!(is_lost(store.statement(&request).await.unwrap_err()), "{request:?}");
        }
    }
    assert!(told > 50 && refused > 50, "{told} {refused}");
    let whole = AccountId(5);
    for moment in [Moment::DecidedAt(times[0]), Moment::EffectiveAt(times[0])] {
        let found = store.posted_at(whole, moment).await.unwrap().value.unwrap();
        assert_eq!(found.posted, Posted::default());
    }
    let found = store.posted_at(whole, Moment::EffectiveAt(bank.now)).await.unwrap();
    assert_eq!(found.value.unwrap().posted, sum(bank.moved(whole).iter()));

    // Where no transfer is left, all that is known is what is there now.
    let place = kind.place();
    let store = place.open().await;
    lose_what_was_before(&bank, &store, bank.records.len()).await;
    let account = AccountId(1);
    let found = store.posted_at(account, Moment::DecidedAt(*times.last().unwrap())).await;
    let now = Moment::DecidedAt(bank.now.plus(1_000));
    assert!(matches!(found, Err(StoreError::HistoryLost { .. })), "{found:?}");
    let found = store.posted_at(account, now).await.unwrap().value.unwrap();
    assert_eq!(found.posted, sum(bank.moved(account).iter()));
}

async fn sums_by_code_are_those_of_the_journal(kind: Kind) {
    let place = kind.place();
    let (bank, store) = bank(6, 150, &place).await;
    // Pending and posted, debits and credits of each account, from the events alone.
    let mut sums: BTreeMap<AccountId, [i128; 4]> = BTreeMap::new();
    let mut pending: BTreeMap<TransferId, Transfer> = BTreeMap::new();
    let mut move_of = |transfer: &Transfer, which: usize, amount: i128| {
        sums.entry(transfer.debit_account_id).or_default()[which] += amount;
        sums.entry(transfer.credit_account_id).or_default()[which + 2] += amount;
    };
    let mut expired = 0;
    for event in bank.records.iter().flat_map(|record| &record.events) {
        let units = |amount: Amount| amount.minor_units().cast_signed();
        match event {
            Event::TransferPosted(posted) => {
                let transfer = &posted.transfer;
                if transfer.flags.contains(TransferFlags::PENDING) {
                    move_of(transfer, 0, units(transfer.amount));
                    pending.insert(transfer.id, transfer.clone());
                    continue;
                }
                if let Some((id, _)) = transfer.settles() {
                    let ended = pending.remove(&id).unwrap();
                    move_of(&ended, 0, -units(ended.amount));
                }
                if !transfer.flags.contains(TransferFlags::VOID_PENDING_TRANSFER) {
                    move_of(transfer, 1, units(transfer.amount));
                }
            }
            Event::TransferExpired(expiry) => {
                expired += 1;
                let ended = pending.remove(&expiry.id).unwrap();
                move_of(&ended, 0, -units(ended.amount));
            }
            _ => {}
        }
    }
    assert!(expired > 0 && !pending.is_empty(), "{expired} {}", pending.len());
    let found = store.ledger_by_code(LedgerId(1)).await.unwrap();
    assert_eq!(found.as_of, bank.seq());
    let found = found.value.unwrap();
    let mut expected: BTreeMap<(u16, bool), [u128; 5]> = BTreeMap::new();
    for (id, code) in ACCOUNTS.into_iter().zip([10, 10, 20, 20, 30]) {
        let sums = sums.get(&AccountId(id)).copied().unwrap_or_default();
        let of_code = expected.entry((code, sums[1] > sums[3])).or_default();
        of_code[0] += 1;
        for (total, sum) in of_code[1..].iter_mut().zip(sums) {
            *total += sum.cast_unsigned();
        }
    }
    let shown: BTreeMap<(u16, bool), [u128; 5]> = found
        .codes
        .iter()
        .map(|of| {
            let sums = [
                u128::from(of.accounts),
                of.debits_pending,
                of.debits_posted,
                of.credits_pending,
                of.credits_posted,
            ];
            ((of.code.0, of.side == Side::Debit), sums)
        })
        .collect();
    assert_eq!(shown, expected);
    assert_eq!(shown.len(), found.codes.len());
    assert!(shown.values().any(|sums| sums[2] > 1 << 80), "beyond what SQLite can add");
    let total = |which: usize| shown.values().map(|sums| sums[which]).sum::<u128>();
    assert_eq!((total(1), total(2)), (total(3), total(4)), "debits are credits");
    let totals = found.stored.totals;
    assert_eq!((totals.pending, totals.posted, totals.accounts), (total(1), total(2), 5));
    // Another ledger's accounts do not count, and one without accounts or that is not there says so.
    let other = store.ledger_by_code(LedgerId(2)).await.unwrap().value.unwrap();
    assert_eq!(other.codes.len(), 1);
    assert_eq!(store.ledger_by_code(LedgerId(3)).await.unwrap().value, None);
}

async fn many_are_found_by_their_ids(kind: Kind) {
    let place = kind.place();
    let (bank, store) = bank(7, 200, &place).await;
    let transfers: BTreeMap<TransferId, &Transfer> =
        bank.transfers().map(|transfer| (transfer.id, transfer)).collect();
    assert!(transfers.len() > 512, "more than go into one statement");
    let ids: Vec<TransferId> =
        transfers.keys().copied().chain([TransferId(5), TransferId(u128::MAX - 1)]).collect();
    let found = store.transfers_by_id(&ids).await.unwrap();
    assert_eq!(found.as_of, bank.seq());
    let shown: BTreeMap<TransferId, Transfer> =
        found.value.into_iter().map(|stored| (stored.transfer.id, stored.transfer)).collect();
    assert!(shown.iter().eq(transfers.iter().map(|(id, it)| (id, *it))));
    let ids: Vec<AccountId> = ACCOUNTS.into_iter().chain([9, 9]).map(AccountId).collect();
    let found = store.accounts_by_id(&ids).await.unwrap().value;
    let mut shown: Vec<u128> = found.iter().map(|stored| stored.account.id.0).collect();
    shown.sort_unstable();
    assert_eq!(shown, ACCOUNTS);
    for stored in found {
        let single = store.account(stored.account.id).await.unwrap().value;
        assert_eq!(single, Some(stored));
    }
    assert_eq!(store.transfers_by_id(&[]).await.unwrap().value, Vec::new());
}

//! The ledger itself: rows in PostgreSQL, changed under their locks, one transaction a request.

use std::collections::{HashMap, HashSet};

use sqlx::postgres::{PgPool, PgRow};
use sqlx::{Postgres, Row, Transaction};
use uuid::Uuid;

use crate::wire::{
    AccountMoment, AccountRow, BatchSummary, Flag, Id, Minor, Moment, NewAccount, NewTransfer,
    Refusal, Refused, RejectedItem, Transfer,
};

/// What became of a transfer.
pub(crate) enum Done {
    /// It happened now.
    Created(Transfer),
    /// It had happened.
    Replayed(Transfer),
}

/// One transfer, by one call of a function in the database: one round trip, one commit.
pub(crate) async fn transfer(pool: &PgPool, mut asked: NewTransfer) -> Result<Done, Refused> {
    let id = asked.named();
    if let Some(code) = asked.fault() {
        return Err(Refused::Rule { id, refusal: code.as_str().into() });
    }
    let row = sqlx::query("SELECT * FROM transfer($1, $2, $3, $4)")
        .bind(id.0)
        .bind(asked.debit_account_id.0)
        .bind(asked.credit_account_id.0)
        .bind(asked.amount.0)
        .fetch_one(pool)
        .await?;
    let outcome: &str = row.try_get("outcome")?;
    let moment = Moment(row.try_get("moment")?);
    match outcome {
        "created" => {
            let [debit, credit] = [
                moment_of(&row, asked.debit_account_id, "debit_balance", "debit_version")?,
                moment_of(&row, asked.credit_account_id, "credit_balance", "credit_version")?,
            ];
            Ok(Done::Created(Transfer::of(id, &asked, moment, Some([debit, credit]))))
        }
        "exists" => Ok(Done::Replayed(Transfer::of(id, &asked, moment, None))),
        code => {
            let figures = match code {
                "exceeds_credits" => Some([Minor(row.try_get("debit_balance")?), asked.amount]),
                _ => None,
            };
            Err(Refused::Rule { id, refusal: Refusal { code: code.to_owned(), figures } })
        }
    }
}

fn moment_of(
    row: &PgRow,
    id: Id,
    balance: &str,
    version: &str,
) -> Result<AccountMoment, sqlx::Error> {
    let balance = Minor(row.try_get(balance)?);
    Ok(AccountMoment { id, balance, available: balance, version: row.try_get(version)? })
}

fn account_of(row: &PgRow) -> Result<AccountRow, sqlx::Error> {
    Ok(AccountRow {
        id: Id(row.try_get("id")?),
        debits_limited: row.try_get("debits_limited")?,
        debits_posted: row.try_get("debits_posted")?,
        credits_posted: row.try_get("credits_posted")?,
        version: row.try_get("version")?,
        created_at: Moment(row.try_get("moment")?),
    })
}

/// One account.
pub(crate) async fn account(pool: &PgPool, id: Id) -> Result<AccountRow, Refused> {
    let row = sqlx::query("SELECT *, micros(created_at) AS moment FROM accounts WHERE id = $1")
        .bind(id.0)
        .fetch_optional(pool)
        .await?;
    Ok(account_of(&row.ok_or(Refused::NotFound(id))?)?)
}

/// Many new accounts in one transaction.
pub(crate) async fn accounts(pool: &PgPool, asked: &[NewAccount]) -> Result<BatchSummary, Refused> {
    let mut summary = BatchSummary::default();
    let mut transaction = pool.begin().await?;
    for (index, account) in asked.iter().enumerate() {
        let (id, limited) = (account.id, account.flags.contains(&Flag::DebitsMustNotExceedCredits));
        let refused = match id.fault() {
            Some(fault) => Some(format!("id_{fault}").as_str().into()),
            None => {
                let created: Option<i64> = sqlx::query_scalar(
                    "INSERT INTO accounts (id, debits_limited) VALUES ($1, $2)
                     ON CONFLICT (id) DO NOTHING RETURNING micros(created_at)",
                )
                .bind(id.0)
                .bind(limited)
                .fetch_optional(&mut *transaction)
                .await?;
                if let Some(moment) = created {
                    summary.created(Moment(moment));
                    continue;
                }
                let same: bool =
                    sqlx::query_scalar("SELECT debits_limited = $2 FROM accounts WHERE id = $1")
                        .bind(id.0)
                        .bind(limited)
                        .fetch_one(&mut *transaction)
                        .await?;
                (!same).then(|| "exists_with_different_flags".into())
            }
        };
        summary.exists_or_is_refused(index, id, refused);
    }
    transaction.commit().await?;
    Ok(summary)
}

impl BatchSummary {
    fn created(&mut self, moment: Moment) {
        self.created += 1;
        self.first_timestamp = Some(self.first_timestamp.map_or(moment, |first| first.min(moment)));
        self.last_timestamp = Some(self.last_timestamp.map_or(moment, |last| last.max(moment)));
    }

    fn exists_or_is_refused(&mut self, index: usize, id: Id, refused: Option<Refusal>) {
        match refused {
            None => self.replayed += 1,
            Some(Refusal { code, figures }) => {
                let detail = code.replace('_', " ");
                let [available, requested] = figures.map_or([None, None], |both| both.map(Some));
                let item = RejectedItem { index, id, code, detail, available, requested };
                self.rejected.push(item);
            }
        }
    }
}

/// Transfers, each decided by itself and in order, in one transaction of a few statements: the ids first, then the accounts in the
/// order of their ids, as one transfer does it.
pub(crate) async fn transfers(
    pool: &PgPool,
    mut asked: Vec<NewTransfer>,
) -> Result<BatchSummary, Refused> {
    let ids: Vec<Id> = asked.iter_mut().map(NewTransfer::named).collect();
    let readable: Vec<usize> =
        (0..asked.len()).filter(|index| asked[*index].fault().is_none()).collect();

    let mut transaction = pool.begin().await?;
    let mut fresh = take_ids(&mut transaction, &asked, &ids, &readable).await?;
    let mut accounts = lock_accounts(&mut transaction, &asked, &readable).await?;

    let mut outcomes: Vec<Option<Result<Moment, Refusal>>> = vec![None; asked.len()];
    let mut touched: HashSet<Uuid> = HashSet::new();
    for index in readable {
        // Of an id that stands twice the first one counts.
        let Some(moment) = fresh.remove(&ids[index].0) else { continue };
        let transfer = &asked[index];
        let outcome = decide(&mut accounts, transfer).map(|()| moment);
        if outcome.is_ok() {
            touched.extend([transfer.debit_account_id.0, transfer.credit_account_id.0]);
        }
        outcomes[index] = Some(outcome);
    }
    write_balances(&mut transaction, &accounts, &touched).await?;
    burn(&mut transaction, &ids, &outcomes).await?;

    let mut summary = BatchSummary::default();
    for (index, outcome) in outcomes.into_iter().enumerate() {
        let (id, transfer) = (ids[index], &asked[index]);
        match (outcome, transfer.fault()) {
            (Some(Ok(moment)), _) => summary.created(moment),
            (Some(Err(refusal)), _) => summary.exists_or_is_refused(index, id, Some(refusal)),
            (None, Some(code)) => {
                summary.exists_or_is_refused(index, id, Some(code.as_str().into()));
            }
            (None, None) => {
                let refused = earlier(&mut transaction, id, transfer).await?;
                summary.exists_or_is_refused(index, id, refused);
            }
        }
    }
    transaction.commit().await?;
    Ok(summary)
}

/// Puts in those whose ids are new, in the order of the ids, and tells which they are.
async fn take_ids(
    transaction: &mut Transaction<'_, Postgres>,
    asked: &[NewTransfer],
    ids: &[Id],
    readable: &[usize],
) -> Result<HashMap<Uuid, Moment>, sqlx::Error> {
    let of = |part: &dyn Fn(usize) -> Uuid| -> Vec<Uuid> {
        readable.iter().map(|index| part(*index)).collect()
    };
    let amounts: Vec<i64> = readable.iter().map(|index| asked[*index].amount.0).collect();
    let rows = sqlx::query(
        "INSERT INTO transfers (id, debit_account_id, credit_account_id, amount)
         SELECT id, debit, credit, amount FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[])
             WITH ORDINALITY AS asked (id, debit, credit, amount, place) ORDER BY id, place
         ON CONFLICT (id) DO NOTHING RETURNING id, micros(created_at) AS moment",
    )
    .bind(of(&|index| ids[index].0))
    .bind(of(&|index| asked[index].debit_account_id.0))
    .bind(of(&|index| asked[index].credit_account_id.0))
    .bind(amounts)
    .fetch_all(&mut **transaction)
    .await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, Moment(row.try_get(1)?)))).collect()
}

async fn lock_accounts(
    transaction: &mut Transaction<'_, Postgres>,
    asked: &[NewTransfer],
    readable: &[usize],
) -> Result<HashMap<Uuid, AccountRow>, sqlx::Error> {
    let sides = readable.iter().flat_map(|index| {
        let transfer = &asked[*index];
        [transfer.debit_account_id.0, transfer.credit_account_id.0]
    });
    let named: HashSet<Uuid> = sides.collect();
    let named: Vec<Uuid> = named.into_iter().collect();
    let rows = sqlx::query(
        "SELECT *, micros(created_at) AS moment FROM accounts WHERE id = ANY($1) ORDER BY id FOR UPDATE",
    )
    .bind(named)
    .fetch_all(&mut **transaction)
    .await?;
    rows.iter().map(|row| account_of(row).map(|account| (account.id.0, account))).collect()
}

/// Moves the money in memory, or says why not.
fn decide(accounts: &mut HashMap<Uuid, AccountRow>, transfer: &NewTransfer) -> Result<(), Refusal> {
    let (debit_id, credit_id) = (transfer.debit_account_id.0, transfer.credit_account_id.0);
    let amount = transfer.amount.0;
    let debit = accounts.get(&debit_id).ok_or("debit_account_not_found")?;
    let credit = accounts.get(&credit_id).ok_or("credit_account_not_found")?;
    if debit.debits_limited && debit.balance().0 < amount {
        let figures = Some([debit.balance(), transfer.amount]);
        return Err(Refusal { code: "exceeds_credits".to_owned(), figures });
    }
    let debits_posted = debit.debits_posted.checked_add(amount).ok_or("overflows_debits_posted")?;
    let credits_posted =
        credit.credits_posted.checked_add(amount).ok_or("overflows_credits_posted")?;
    if let Some(debit) = accounts.get_mut(&debit_id) {
        debit.debits_posted = debits_posted;
    }
    if let Some(credit) = accounts.get_mut(&credit_id) {
        credit.credits_posted = credits_posted;
    }
    Ok(())
}

/// A batch moves the version of an account by one, as any command does.
async fn write_balances(
    transaction: &mut Transaction<'_, Postgres>,
    accounts: &HashMap<Uuid, AccountRow>,
    touched: &HashSet<Uuid>,
) -> Result<(), sqlx::Error> {
    let rows: Vec<&AccountRow> = touched.iter().filter_map(|id| accounts.get(id)).collect();
    let of = |part: fn(&AccountRow) -> i64| -> Vec<i64> {
        rows.iter().map(|account| part(account)).collect()
    };
    let ids: Vec<Uuid> = rows.iter().map(|account| account.id.0).collect();
    sqlx::query(
        "UPDATE accounts SET debits_posted = new.debits, credits_posted = new.credits, version = version + 1
         FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS new (id, debits, credits)
         WHERE accounts.id = new.id",
    )
    .bind(ids)
    .bind(of(|account| account.debits_posted))
    .bind(of(|account| account.credits_posted))
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Marks the ids that a refusal used up.
async fn burn(
    transaction: &mut Transaction<'_, Postgres>,
    ids: &[Id],
    outcomes: &[Option<Result<Moment, Refusal>>],
) -> Result<(), sqlx::Error> {
    let refused = ids.iter().zip(outcomes);
    let refused: (Vec<Uuid>, Vec<&str>) = refused
        .filter_map(|(id, outcome)| match outcome {
            Some(Err(refusal)) => Some((id.0, refusal.code.as_str())),
            _ => None,
        })
        .unzip();
    if !refused.0.is_empty() {
        sqlx::query(
            "UPDATE transfers SET refused = code FROM unnest($1::uuid[], $2::text[]) AS burned (id, code)
             WHERE transfers.id = burned.id",
        )
        .bind(refused.0)
        .bind(refused.1)
        .execute(&mut **transaction)
        .await?;
    }
    Ok(())
}

/// What is wrong with the second use of an id; nothing if it means the same.
async fn earlier(
    transaction: &mut Transaction<'_, Postgres>,
    id: Id,
    asked: &NewTransfer,
) -> Result<Option<Refusal>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT refused IS NOT NULL, debit_account_id, credit_account_id, amount FROM transfers WHERE id = $1",
    )
    .bind(id.0)
    .fetch_one(&mut **transaction)
    .await?;
    let differs = [
        (row.try_get(0)?, "id_already_failed"),
        (
            row.try_get::<Uuid, _>(1)? != asked.debit_account_id.0,
            "exists_with_different_debit_account_id",
        ),
        (
            row.try_get::<Uuid, _>(2)? != asked.credit_account_id.0,
            "exists_with_different_credit_account_id",
        ),
        (row.try_get::<i64, _>(3)? != asked.amount.0, "exists_with_different_amount"),
    ];
    Ok(differs.into_iter().find_map(|(found, code)| found.then(|| code.into())))
}

-- What such a ledger has: balances in their rows, transfers that are never changed, and an account's history by two indexes.

-- Half of each page is left free, so that a new balance finds room beside the old one and touches no index.
CREATE TABLE accounts (
    id uuid PRIMARY KEY,
    debits_limited boolean NOT NULL,
    debits_posted bigint NOT NULL DEFAULT 0,
    credits_posted bigint NOT NULL DEFAULT 0,
    version bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);

-- Accounts are found under their locks, so no foreign keys ask for them again. `refused` marks an id that a refusal used up.
CREATE TABLE transfers (
    id uuid PRIMARY KEY,
    debit_account_id uuid NOT NULL,
    credit_account_id uuid NOT NULL,
    amount bigint NOT NULL,
    refused text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ON transfers (debit_account_id, created_at);
CREATE INDEX ON transfers (credit_account_id, created_at);

CREATE FUNCTION micros(moment timestamptz) RETURNS bigint LANGUAGE sql IMMUTABLE
    RETURN (extract(epoch FROM moment) * 1000000)::bigint;

-- One transfer in one round trip. The id first: who sends it again waits here for the first one, and no lock on an account is held
-- meanwhile. Then the accounts in the order of their ids, so that nobody waits for each other in a circle.
CREATE FUNCTION transfer(
    p_id uuid, p_debit uuid, p_credit uuid, p_amount bigint,
    OUT outcome text, OUT moment bigint,
    OUT debit_balance bigint, OUT debit_version bigint, OUT credit_balance bigint, OUT credit_version bigint
) LANGUAGE plpgsql AS $$
DECLARE
    earlier transfers;
    account accounts;
    debit accounts;
    credit accounts;
BEGIN
    INSERT INTO transfers (id, debit_account_id, credit_account_id, amount) VALUES (p_id, p_debit, p_credit, p_amount)
        ON CONFLICT (id) DO NOTHING RETURNING micros(created_at) INTO moment;
    IF NOT FOUND THEN
        SELECT * INTO STRICT earlier FROM transfers WHERE id = p_id;
        moment := micros(earlier.created_at);
        outcome := CASE
            WHEN earlier.refused IS NOT NULL THEN 'id_already_failed'
            WHEN earlier.debit_account_id <> p_debit THEN 'exists_with_different_debit_account_id'
            WHEN earlier.credit_account_id <> p_credit THEN 'exists_with_different_credit_account_id'
            WHEN earlier.amount <> p_amount THEN 'exists_with_different_amount'
            ELSE 'exists' END;
        RETURN;
    END IF;

    FOR account IN SELECT * FROM accounts WHERE id IN (p_debit, p_credit) ORDER BY id FOR UPDATE LOOP
        IF account.id = p_debit THEN debit := account; ELSE credit := account; END IF;
    END LOOP;
    debit_balance := debit.credits_posted - debit.debits_posted;
    outcome := CASE
        WHEN debit.id IS NULL THEN 'debit_account_not_found'
        WHEN credit.id IS NULL THEN 'credit_account_not_found'
        WHEN debit.debits_limited AND debit_balance < p_amount THEN 'exceeds_credits'
        WHEN debit.debits_posted > 9223372036854775807 - p_amount THEN 'overflows_debits_posted'
        WHEN credit.credits_posted > 9223372036854775807 - p_amount THEN 'overflows_credits_posted' END;
    IF outcome IS NOT NULL THEN
        UPDATE transfers SET refused = outcome WHERE id = p_id;
        RETURN;
    END IF;

    UPDATE accounts SET debits_posted = debits_posted + p_amount, version = version + 1 WHERE id = p_debit
        RETURNING credits_posted - debits_posted, version INTO debit_balance, debit_version;
    UPDATE accounts SET credits_posted = credits_posted + p_amount, version = version + 1 WHERE id = p_credit
        RETURNING credits_posted - debits_posted, version INTO credit_balance, credit_version;
    outcome := 'created';
END $$;

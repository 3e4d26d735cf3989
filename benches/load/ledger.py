#!/usr/bin/env python3
"""Makes the accounts of scenario.json, and at the end holds the ledger against everything that the load was told.

    ledger.py prepare BASE
    ledger.py check BASE OUTCOMES

OUTCOMES has one line for each outcome: `moved ID DEBIT CREDIT AMOUNT` (acknowledged), `unknown ID …` (nobody said) and `account ID`
(opened). Exits with 1 and says what is wrong if an acknowledged id is missing or means something else, if a balance is not what these
transfers make of it, or if money came out of nothing.
"""

import json
import sys
import urllib.request
from collections import Counter
from pathlib import Path

SCENARIO = json.loads(Path(__file__).with_name("scenario.json").read_text())
# What one lookup or batch may have.
MANY = 8190
# Around what may stand in the environment.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def customers():
    first = SCENARIO["first_customer"]
    return range(first, first + SCENARIO["customers"])


def ask(base, path, body=None, headers=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(base + path, data, {"Content-Type": "application/json", **(headers or {})})
    with DIRECT.open(request, timeout=60) as answer:
        return json.load(answer), answer.headers


def parts(things):
    things = list(things)
    return (things[at : at + MANY] for at in range(0, len(things), MANY))


def cents(amount):
    sign = -1 if amount.startswith("-") else 1
    whole, _, rest = amount.lstrip("-").partition(".")
    return sign * (int(whole) * 100 + int(rest))


def money(count):
    return f"{count // 100}.{count % 100:02}"


def prepare(base):
    limited = ["debits_must_not_exceed_credits"]
    accounts = [{"id": str(SCENARIO[name])} for name in ("bank", "merchant")]
    accounts += [{"id": str(id), "flags": limited} for id in (SCENARIO["broke"], *customers())]
    openings = [
        {
            "id": str(id),
            "debit_account_id": str(SCENARIO["bank"]),
            "credit_account_id": str(id),
            "amount": money(SCENARIO["opening_cents"]),
        }
        for id in customers()
    ]
    for path, all in (("/v1/accounts/batch", accounts), ("/v1/transfers/batch", openings)):
        for part in parts(all):
            answer, _ = ask(base, path, part)
            assert answer["created"] == len(part), answer


def read(outcomes):
    """What was told: transfers by id, apart those without an outcome, and opened accounts."""
    told = {"moved": {}, "unknown": {}, "account": {}}
    faults = []
    for line in Path(outcomes).read_text(encoding="utf-8").splitlines():
        kind, *words = line.split()
        if kind in told:
            if words[0] in told[kind]:
                faults.append(f"told twice: {line}")
            told[kind][words[0]] = words[1:]
        else:
            faults.append(line)
    return told, faults


def check(base, outcomes):
    told, faults = read(outcomes)
    asked = {**told["unknown"], **told["moved"]}
    balances = Counter({id: SCENARIO["opening_cents"] for id in map(str, customers())})
    balances[str(SCENARIO["bank"])] = -SCENARIO["opening_cents"] * SCENARIO["customers"]
    total = SCENARIO["opening_cents"] * SCENARIO["customers"]
    found = 0
    newest = "0"
    for part in parts(asked):
        answer, headers = ask(base, "/v1/transfers/lookup", {"ids": part})
        newest = headers["Florin-Seq"]
        faults += [f"acknowledged and not there: {id}" for id in answer["missing"] if id in told["moved"]]
        for transfer in answer["data"]:
            debit, credit, amount = asked[transfer["id"]]
            is_, was = [
                transfer["debit_account_id"],
                transfer["credit_account_id"],
                transfer["amount"],
                transfer["status"],
            ], [debit, credit, amount, "posted"]
            if is_ != was:
                faults.append(f"transfer {transfer['id']} is {is_} and was told as {was}")
            balances[debit] -= cents(amount)
            balances[credit] += cents(amount)
            total += cents(amount)
            found += 1
    for id in (SCENARIO["merchant"], SCENARIO["broke"], *told["account"]):
        balances.setdefault(str(id), 0)
    for part in parts(balances):
        answer, _ = ask(base, "/v1/accounts/lookup", {"ids": part})
        faults += [f"account {id} is not there" for id in answer["missing"]]
        for account in answer["data"]:
            id, balance = account["id"], cents(account["balance"])
            if balance != balances[id]:
                faults.append(f"account {id} holds {balance} cents where its transfers make {balances[id]}")
            if account["flags"] and balance < 0:
                faults.append(f"account {id} is overdrawn: {balance} cents")
    sheet, _ = ask(base, "/v1/ledgers/1/trial-balance", headers={"Florin-Min-Seq": newest})
    debits, credits = (cents(sheet["totals"][side]) for side in ("debits_posted", "credits_posted"))
    if not debits == credits == total:
        faults.append(f"debits {debits}, credits {credits} and transfers {total} cents are not the same")
    for fault in faults[:20]:
        print(f"wrong: {fault}")
    if not found:
        faults.append("nothing was moved")
        print("wrong: nothing was moved")
    print(
        f"{len(told['moved'])} acknowledged transfers and {len(told['account'])} accounts, {len(told['unknown'])} without an outcome: "
        f"{found} found, {len(balances)} balances and the trial balance compared, {len(faults)} faults"
    )
    return not faults


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["prepare", base]:
            prepare(base)
        case ["check", base, outcomes]:
            sys.exit(0 if check(base, outcomes) else 1)
        case _:
            sys.exit(__doc__)

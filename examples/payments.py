#!/usr/bin/env python3
"""A shop that takes payments: a batch, a retry after a lost answer, and its statement. Needs a server, and nothing but Python:

    cargo run --release
    examples/payments.py
"""

import json
import os
import urllib.error
import urllib.request

FLORIN = os.environ.get("FLORIN_URL", "http://127.0.0.1:8080")
SHOP, CUSTOMERS = "8000", ["8001", "8002", "8003"]


def call(method, path, body=None, headers=None):
    """Sends a request and returns (status, answer). A refusal is an answer, too."""
    request = urllib.request.Request(
        FLORIN + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json", **(headers or {})},
    )
    try:
        with urllib.request.urlopen(request, timeout=35) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as problem:
        return problem.code, json.load(problem)


# Accounts. Creating one that is there already, with the same content, is no error.
call("POST", "/v1/accounts", {"id": SHOP, "flags": ["history"], "metadata": {"name": "Shop"}})
for customer in CUSTOMERS:
    status, _ = call("POST", "/account", {"account_id": customer, "balance": "25.00"})
    assert status in (200, 201), status

# Many payments in one request, each with an id of its own: the third customer has not enough.
batch = [
    {"id": str(80000 + n), "debit_account_id": customer, "credit_account_id": SHOP, "amount": amount, "code": 7}
    for n, (customer, amount) in enumerate(zip(CUSTOMERS, ["19.99", "5.00", "25.01"]))
]
status, answer = call("POST", "/v1/transfers/batch?results=all", batch)
assert status == 200, answer
for result in answer["results"]:
    print(f"payment {batch[result['index']]['id']}: {result['status']}")

# No answer came? Ask again with the same id: it is decided once.
status, answer = call("POST", "/v1/transfers", batch[0])
assert status == 200 and answer["status"] == "posted", answer
status, answer = call("POST", "/v1/transfers", batch[2])
assert status == 422 and answer["code"] == "id_already_failed", answer
print(f"the refused one again: {answer['detail']}")

# No ids at hand? A key does the same for any POST.
order = {"from": CUSTOMERS[1], "to": SHOP, "amount": "1.50"}
key = {"Idempotency-Key": "shop-order-1"}
first = call("POST", "/transaction", order, key)
again = call("POST", "/transaction", order, key)
assert first == again and first[0] == 201, (first, again)

# The statement, page by page.
path = f"/v1/accounts/{SHOP}/transfers?side=credit&order=asc&limit=2"
cursor = ""
while True:
    status, page = call("GET", path + cursor)
    assert status == 200, page
    for transfer in page["data"]:
        print(f"{transfer['timestamp']}  {transfer['debit_account_id']:>6}  {transfer['amount']:>10}")
    if not page["has_more"]:
        break
    cursor = "&cursor=" + page["next_cursor"]

status, shop = call("GET", f"/v1/accounts/{SHOP}")
print(f"the shop has {shop['balance']}")
assert shop["balance"] == "26.49", shop

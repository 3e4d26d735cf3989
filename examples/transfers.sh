#!/usr/bin/env bash
# Two accounts, one transfer, and what a retry does: with curl alone. Needs a server:
#
#   cargo run --release
#   examples/transfers.sh
set -euo pipefail

florin=${FLORIN_URL:-http://127.0.0.1:8080}

post() {
    curl -sS "$florin$1" --json "$2"
    echo
}

echo "Alice has 100 dollars and can not be overdrawn; Bob has nothing."
post /account '{"account_id": 7001, "balance": 100}'
post /v1/accounts '{"id": "7002", "metadata": {"name": "Bob"}}'

echo "Alice pays Bob, twice under the same id: it happens once."
payment='{"id": "70001", "debit_account_id": "7001", "credit_account_id": "7002", "amount": "40.00"}'
post /v1/transfers "$payment"
post /v1/transfers "$payment"

echo "More than she has is refused."
post /v1/transfers '{"debit_account_id": "7001", "credit_account_id": "7002", "amount": "1000.00"}'

echo "Both together moved 40 dollars:"
curl -sS "$florin/balance/7001" && echo
curl -sS "$florin/balance/7002" && echo
curl -sS "$florin/v1/accounts/7002/transfers?limit=5" && echo

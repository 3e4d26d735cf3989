#!/usr/bin/env bash
# How fast is one transfer a request, durable, against a handler that does nothing?
#
#   benches/http.sh [seconds of one run] [rounds]
#
# Both are built as they are shipped, with the profile dist, which takes some minutes the first time; PROFILE=release is faster
# built. Both servers run on this machine, one at a time under load, with the load generator beside them: 64 connections, one
# transfer a request, uniform over 10,000 accounts, and with one hot account. The rounds alternate; medians are printed.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-8}
rounds=${2:-5}
accounts=10000
connections=64

stop() {
    echo "benches/http.sh: $*" >&2
    exit 1
}

if ! command -v wrk >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && apt-get install -y -qq wrk >/dev/null
fi
command -v wrk >/dev/null || stop "wrk is missing: install the Debian package wrk and start again"
command -v curl >/dev/null || stop "curl is missing: install the Debian package curl and start again"

profile=${PROFILE:-dist}
cargo build --profile "$profile" --locked -p florin -p florin-benches --bins
target=${CARGO_TARGET_DIR:-target}/$profile

work=$(mktemp -d)
started=()
finish() {
    for pid in "${started[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

# Waits for a server's ready line and leaves the address in $address.
await() {
    local log=$1 pid=$2
    for _ in $(seq 600); do
        address=$(grep -oE '127\.0\.0\.1:[0-9]+' "$log" | head -n 1 || true)
        [ -z "$address" ] || return 0
        kill -0 "$pid" 2>/dev/null || stop "a server did not start: $(cat "$log" "$log.err")"
        sleep 0.1
    done
    stop "a server did not become ready"
}

env -u DATABASE_URL -u REDIS_URL "$target/florin" serve --listen 127.0.0.1:0 --data-dir "$work/data" \
    >"$work/florin" 2>"$work/florin.err" &
started+=($!)
await "$work/florin" $!
florin=$address

post() {
    curl --noproxy '*' -fsS -H 'Content-Type: application/json' "http://$florin$1" -d "$2"
}
for first in $(seq 1 5000 $accounts); do
    batch=$(seq "$first" $((first + 4999)) | sed 's/.*/{"id":"&"}/' | paste -sd ,)
    post /v1/accounts/batch "[$batch]" >/dev/null
done

# One answer, looked at: created, and as long as the yardstick's will be.
transfer='{"debit_account_id":2,"credit_account_id":3,"amount":"0.01"}'
status=$(curl --noproxy '*' -sS -o "$work/answer" -w '%{http_code}' -H 'Content-Type: application/json' \
    "http://$florin/v1/transfers" -d "$transfer")
[ "$status" = 201 ] || stop "a transfer was answered $status: $(cat "$work/answer")"

"$target/empty_handler" 127.0.0.1:0 "$work/answer" >"$work/empty" 2>"$work/empty.err" &
started+=($!)
await "$work/empty" $!
empty=$address

# Waits until the store has everything that was acknowledged, so that no run is slowed down by what the one before left to do.
caught_up() {
    local durable stored
    for _ in $(seq 600); do
        durable=$(metric florin_journal_durable_seq)
        stored=$(metric florin_store_seq)
        [ "$stored" != "$durable" ] || return 0
        sleep 0.1
    done
    stop "the store did not catch up: it stands at $stored of $durable"
}
metric() { curl --noproxy '*' -fsS "http://$florin/metrics" | awk -v name="$1" '$1 == name { print $2 }'; }

sent=1
# Runs the load and appends "requests/s p50 p99" to a file of results.
drive() {
    local name=$1 address=$2 choice=$3 result
    result=$(wrk -t 2 -c $connections -d "${seconds}s" --latency -s benches/transfers.lua "http://$address" \
        -- $accounts "$choice" | grep '^RESULT ')
    read -r _ rate p50 p99 requests errors <<<"$result"
    [ "$errors" = 0 ] || stop "$errors of $requests requests of $name failed"
    if [ "$name" != empty ]; then
        sent=$((sent + requests))
        caught_up
    fi
    echo "$rate $p50 $p99" >>"$work/$name.results"
    printf '%-8s %8.0f requests/s   p50 %7.3f ms   p99 %7.3f ms\n' "$name" "$rate" "$p50" "$p99"
}

for round in $(seq "$rounds"); do
    echo "round $round of $rounds"
    drive empty "$empty" uniform
    # The store grows with each run, so neither is always the second.
    if ((round % 2)); then both="uniform hot"; else both="hot uniform"; fi
    for choice in $both; do drive "$choice" "$florin" "$choice"; done
done

# Every request that was answered moved a cent: neither refused nor left out.
minor() { tr -d '."' | sed 's/^0*//'; }
for _ in $(seq 600); do
    ledger=$(curl --noproxy '*' -fsS "http://$florin/v1/ledgers/1")
    moved=$(grep -oE '"debits_posted":"[0-9.]+"' <<<"$ledger" | head -n 1 | cut -d: -f2 | minor)
    [ "${moved:-0}" -lt "$sent" ] || break
    sleep 0.5
done
[ "${moved:-0}" -ge "$sent" ] || stop "$sent transfers were acknowledged, and ${moved:-0} are there"

median() { sort -n | awk '{ v[NR] = $1 } END { print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
column() { cut -d ' ' -f "$2" "$work/$1.results" | median; }

echo
echo "medians of $rounds rounds of ${seconds} s, $connections connections, $accounts accounts, $(nproc) cores, $sent transfers"
for name in empty uniform hot; do
    printf '%-8s %8.0f requests/s   p50 %7.3f ms   p99 %7.3f ms\n' "$name" \
        "$(column $name 1)" "$(column $name 2)" "$(column $name 3)"
done
awk -v e="$(column empty 1)" -v u="$(column uniform 1)" -v h="$(column hot 1)" \
    'BEGIN { printf "durable / empty handler  %.2f\nhot / uniform            %.2f\n", u / e, h / u }'

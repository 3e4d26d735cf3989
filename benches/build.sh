# Read by the scripts that start a benchmark: builds it and the server, and leaves where they are in $target.
for tool in wrk redis-server psql; do
    command -v "$tool" >/dev/null || { echo "$0: $tool is missing: install the Debian packages wrk, redis-server and postgresql" >&2 && exit 1; }
done
profile=${PROFILE:-dist}
cargo build --profile "$profile" --locked -p florin -p florin-benches --bins
target=${CARGO_TARGET_DIR:-target}/$profile
export FLORIN_BIN=$target/florin

# Runs a benchmark. When it is told to stop, the ledger under it is, so that the benchmark fails and takes away what it started.
measure() {
    "$target/$1" "${@:2}" &
    local pid=$!
    trap 'pkill -P "$pid" -x "florin|wrk" || true' INT TERM
    local status=0
    wait "$pid" || status=$?
    # A signal ends the first wait, not the benchmark.
    while kill -0 "$pid" 2>/dev/null; do wait "$pid" || status=$?; done
    return "$status"
}

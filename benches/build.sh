# shellcheck shell=bash
# Read by the scripts that start a benchmark.
stop() {
    echo "$0: $*" >&2
    exit 1
}
. tests/tools.sh
need_cargo
need cc gcc

# Builds these programs, of florin and of this directory, as they are shipped, and leaves where they are in $target. No others: linking each takes a
# minute or two. With another profile than dist they are built without counts.
build() {
    local profile=${PROFILE:-dist} programs=()
    if [ "$profile" = dist ]; then
        deploy/build "$@"
        target=${CARGO_TARGET_DIR:-target}/shipped
    else
        for program in "$@"; do programs+=(--bin "$program"); done
        cargo build --profile "$profile" --locked -p florin -p florin-benches "${programs[@]}"
        target=${CARGO_TARGET_DIR:-target}/$profile
    fi
    export FLORIN_BIN=$target/florin
}

# Gives everything temporary a directory of its own, $work, that goes at the end. Here, since /tmp may be memory, where an fsync costs nothing.
make_work() {
    work=$(mktemp -d "$PWD/florin-bench-XXXXXX")
    # PostgreSQL does not run as root, and root's own directories are closed to others.
    if [ "$(id -u)" = 0 ] && id postgres >/dev/null 2>&1; then
        chmod 711 "$work"
        if ! runuser -u postgres -- test -x "$work"; then
            rmdir "$work"
            work=$(mktemp -d /var/tmp/florin-bench-XXXXXX)
            chmod 711 "$work"
            echo "$0: the user postgres can not reach $PWD, so files go to $work"
        fi
    fi
    export TMPDIR=$work
    trap 'rm -rf "$work"' EXIT
}

# Runs a benchmark. When it is told to stop, what it started is, so that the benchmark fails and takes the rest away.
measure() {
    make_work
    "$target/$1" "${@:2}" &
    local pid=$!
    # Also those that are stopped where they are.
    trap 'pkill -KILL -P "$pid" -x "florin|wrk|row_locks|empty_handler" || true' INT TERM
    local status=0
    wait "$pid" || status=$?
    # A signal ends the first wait, not the benchmark.
    while kill -0 "$pid" 2>/dev/null; do wait "$pid" || status=$?; done
    return "$status"
}

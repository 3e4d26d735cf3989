#!/usr/bin/env bash
# The set of compose.yaml on this machine, from plain binaries: PostgreSQL, Redis, a writer and two readers on free ports of the
# loopback interface, in a directory of their own. No container engine, nothing outside that directory.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: deploy/local.sh up [PART…]   start what does not run yet: postgres, redis, writer, reader-1, reader-2; all of them
                                    when none is named
       deploy/local.sh status       what runs, and where; exit 0 if anything does
       deploy/local.sh down         stop what `up` started, readers first; the data stays for the next `up`
       deploy/local.sh wipe         down, then remove the data too

LOCAL_DIR   where all of it lives (deploy/.local)
FLORIN_BIN  the program; without it `cargo build --release` makes it
TEXT
}

project=$(cd "$(dirname "$0")/.." && pwd)
directory=${LOCAL_DIR:-$project/deploy/.local}
marker=$directory/made-by-local-sh
# In the order of starting; they are stopped the other way round.
parts=(postgres redis writer reader-1 reader-2)
# Longer than any of them takes to be ready, or to stop (a florin drains for 30 s).
patience_seconds=60

stop_here() {
    echo "local.sh: $*" >&2
    exit 1
}

# --- Processes, known by their id and the moment of their start, so that another one that got the id is never touched ---

started_at() { # of a process id
    local stat fields
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    # After the name in parentheses, which may hold anything, stands the state; a zombie has ended.
    read -ra fields <<<"${stat##*) }"
    [ "${fields[0]}" != Z ] && echo "${fields[19]}"
}

remember() { # name, process id
    # One that has ended already is never found to run.
    echo "$2 $(started_at "$2" || echo ended)" >"$directory/$1.pid"
}

pid_of() { # name: its process id if it runs
    local pid start now
    read -r pid start 2>/dev/null <"$directory/$1.pid" || return 1
    now=$(started_at "$pid") && [ "$now" = "$start" ] && echo "$pid"
}

stop_part() { # name
    local pid signal=TERM waited
    if pid=$(pid_of "$1"); then
        # PostgreSQL's fast stop: it does not wait for its clients.
        [ "$1" != postgres ] || signal=INT
        # It may have ended just now.
        kill "-$signal" "$pid" 2>/dev/null || true
        for ((waited = 0; waited < patience_seconds * 10; waited++)); do
            pid_of "$1" >/dev/null || break
            sleep 0.1
        done
        if pid_of "$1" >/dev/null; then
            echo "local.sh: $1 (process $pid) does not stop within $patience_seconds s; see $directory/$1.log" >&2
            return 1
        fi
        echo "stopped $1"
    fi
    rm -f "$directory/$1.pid" "$directory/$1.url"
}

# Starts a program in the background, away from this terminal. Not in a subshell: its id is wanted.
launch() { # name, program, words…
    local name=$1
    shift
    setsid "$@" >"$directory/$name.log" 2>&1 </dev/null &
    disown
    remember "$name" $!
}

wait_until() { # name, command that succeeds when it is ready
    local name=$1 waited
    shift
    for ((waited = 0; waited < patience_seconds * 10; waited++)); do
        "$@" >/dev/null 2>&1 && return
        pid_of "$name" >/dev/null || break
        sleep 0.1
    done
    tail -n 20 "$directory/$name.log" >&2 || true
    stop_here "$name did not become ready; its log is $directory/$name.log"
}

listens_at() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# The port that this part had the last time, so that whoever spoke to it finds it again; else a free one.
port_of() { # name
    local port
    port=$(cat "$directory/$1.port" 2>/dev/null) || port=$((20000 + RANDOM % 12000))
    while listens_at "$port"; do port=$((20000 + RANDOM % 12000)); done
    echo "$port" | tee "$directory/$1.port"
}

secret() { # name: a file with 256 random bits, made once
    local path=$directory/$1
    [ -s "$path" ] || od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$path"
    cat "$path"
}

# --- The parts ---

# PostgreSQL refuses to run as root. This becomes the program it is given, so that the process id stays.
as_postgres=()
[ "$(id -u)" != 0 ] || as_postgres=(setpriv --reuid=postgres --regid=postgres --init-groups)

start_postgres() {
    local bin port password data=$directory/postgres
    bin=$(printf '%s\n' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin | sort -V | while read -r at; do
        [ ! -x "$at/initdb" ] || echo "$at"
    done | tail -n 1)
    [ -n "$bin" ] || bin=$(dirname "$(command -v initdb || true)")
    [ -x "$bin/initdb" ] || stop_here "PostgreSQL is missing: install the Debian package postgresql"
    password=$(secret postgres.password)
    if [ ! -s "$data/PG_VERSION" ]; then
        rm -rf "$data"
        mkdir -p "$data"
        if [ "$(id -u)" = 0 ]; then
            chmod 711 "$directory"
            chown postgres "$data"
        fi
        "${as_postgres[@]}" test -w "$data" || stop_here "the user postgres can not reach $data; choose another place with LOCAL_DIR"
        # It reads the password as its own user.
        cp "$directory/postgres.password" "$directory/postgres.initial"
        [ "$(id -u)" != 0 ] || chown postgres "$directory/postgres.initial"
        "${as_postgres[@]}" "$bin/initdb" --pgdata="$data" --username=florin --auth=scram-sha-256 --encoding=UTF8 \
            --locale=C --data-checksums --pwfile="$directory/postgres.initial" >"$directory/postgres.log" 2>&1 ||
            { tail -n 20 "$directory/postgres.log" >&2 && stop_here "initdb failed"; }
        rm "$directory/postgres.initial"
    fi
    port=$(port_of postgres)
    # The server itself and no pg_ctl before it, so that its id is the one that is remembered.
    launch postgres "${as_postgres[@]}" "$bin/postgres" -D "$data" -c "port=$port" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
        -c synchronous_commit=on
    wait_until postgres "$bin/pg_isready" --host=127.0.0.1 --port="$port"
    export PGPASSWORD=$password
    if [ "$("$bin/psql" -h 127.0.0.1 -p "$port" -U florin -d postgres -Atc \
        "select count(*) from pg_database where datname = 'florin'")" = 0 ]; then
        "$bin/createdb" --host=127.0.0.1 --port="$port" --username=florin florin
    fi
    unset PGPASSWORD
    echo "postgres://florin:$password@127.0.0.1:$port/florin" >"$directory/postgres.url"
}

start_redis() {
    local port password
    if ! command -v redis-server redis-cli >/dev/null; then
        stop_here "Redis is missing: install the Debian package redis-server"
    fi
    password=$(secret redis.password)
    port=$(port_of redis)
    cat >"$directory/redis.conf" <<CONF
bind 127.0.0.1
port $port
requirepass $password
dir $directory
maxmemory 256mb
maxmemory-policy allkeys-lru
save ""
appendonly no
CONF
    launch redis redis-server "$directory/redis.conf"
    REDISCLI_AUTH=$password wait_until redis sh -c "redis-cli -h 127.0.0.1 -p $port ping | grep -q PONG"
    # Named, since redis-cli takes an empty name for a name.
    echo "redis://default:$password@127.0.0.1:$port/0" >"$directory/redis.url"
}

ready_url() { grep -o 'https\?://127\.0\.0\.1:[0-9]*' < <(grep '^florin ready' "$directory/$1.log"); }

start_florin() { # name, words…
    local name=$1 program
    shift
    program=$(florin_program)
    if ! pid_of postgres >/dev/null || ! pid_of redis >/dev/null; then
        stop_here "$name needs postgres and redis: start them first"
    fi
    # Nothing of this shell's own settings reaches it, and no password stands on a command line.
    launch "$name" env -u DATABASE_URL -u REDIS_URL FLORIN_DATABASE_URL_FILE="$directory/postgres.url" \
        FLORIN_REDIS_URL_FILE="$directory/redis.url" "$program" serve --listen "127.0.0.1:$(port_of "$name")" "$@"
    wait_until "$name" ready_url "$name"
    ready_url "$name" | head -n 1 >"$directory/$name.url"
}

start_reader() { # name
    pid_of writer >/dev/null || stop_here "$1 needs the writer: start it first"
    start_florin "$1" --role read --writer-url "$(<"$directory/writer.url")"
}

start_part() {
    case $1 in
        postgres) start_postgres ;;
        redis) start_redis ;;
        writer) start_florin writer --role all --data-dir "$directory/ledger" ;;
        reader-*) start_reader "$1" ;;
    esac
}

# The program that the variable names, else what the source says now.
florin_program() {
    if [ -n "${FLORIN_BIN-}" ]; then
        command -v "$FLORIN_BIN" || stop_here "FLORIN_BIN names no program: $FLORIN_BIN"
        return
    fi
    (cd "$project" && cargo build --release --locked --quiet) >&2 || stop_here "florin can not be built"
    echo "${CARGO_TARGET_DIR:-$project/target}/release/florin"
}

# --- The verbs ---

example() { # name, url
    case $1 in
        postgres) echo "psql '$2' -c '\\dv florin.*'" ;;
        redis) echo "redis-cli -u '$2' info keyspace" ;;
        writer) echo "curl --noproxy '*' -sS $2/account --json '{\"account_id\": 1, \"balance\": 500}'" ;;
        reader-*) echo "curl --noproxy '*' -sS $2/balance/1" ;;
    esac
}

status() {
    local part pid url any=1
    for part in "${parts[@]}"; do
        if pid=$(pid_of "$part"); then
            url=$(cat "$directory/$part.url" 2>/dev/null || true)
            printf '%-9s process %-8s %s\n          %s\n' "$part" "$pid" "$url" "$(example "$part" "$url")"
            any=0
        else
            printf '%-9s down\n' "$part"
        fi
    done
    return $any
}

down() {
    local index failed=0
    for ((index = ${#parts[@]} - 1; index >= 0; index--)); do
        stop_part "${parts[index]}" || failed=1
    done
    return $failed
}

up() {
    local part known wanted=("$@")
    for part in "$@"; do
        known=0
        case " ${parts[*]} " in *" $part "*) known=1 ;; esac
        [ $known = 1 ] || { echo "local.sh: there is no part $part" >&2 && usage >&2 && exit 2; }
    done
    [ $# -gt 0 ] || wanted=("${parts[@]}")
    # Passwords lie here, and `wipe` removes it with all that is in it.
    umask 077
    mkdir -p "$directory"
    if [ ! -e "$marker" ]; then
        [ -z "$(ls -A "$directory")" ] || stop_here "$directory is not empty and not made by this script; name another with LOCAL_DIR"
        touch "$marker"
    fi
    # Whatever goes wrong, what this call started does not stay behind.
    fresh=()
    trap 'for ((at = ${#fresh[@]} - 1; at >= 0; at--)); do stop_part "${fresh[at]}" || true; done' EXIT
    trap 'exit 130' INT TERM
    for part in "${parts[@]}"; do
        case " ${wanted[*]} " in *" $part "*) ;; *) continue ;; esac
        ! pid_of "$part" >/dev/null || continue
        fresh+=("$part")
        start_part "$part"
        echo "started $part"
    done
    trap - EXIT INT TERM
    status
}

verb=${1-}
[ $# = 0 ] || shift
case $verb in
    up) up "$@" ;;
    status | down | wipe)
        [ $# = 0 ] || { usage >&2 && exit 2; }
        case $verb in
            status) status ;;
            down) down ;;
            wipe)
                down
                [ ! -e "$directory" ] || [ -e "$marker" ] || stop_here "$directory was not made by this script"
                rm -rf "$directory"
                ;;
        esac
        ;;
    -h | --help | help) usage ;;
    *) usage >&2 && exit 2 ;;
esac

#!/usr/bin/env bash
# How fast is Florin with PostgreSQL behind it? What is stored, against a plain COPY of the same rows; what is acknowledged while
# PostgreSQL does not answer, against while it catches up; and what each process uses.
#
#   benches/postgres.sh [records of the outage] [seconds of one run] [rounds]
#
# Starts a PostgreSQL of its own, with fsync, and the server, on free ports of the loopback interface; removes everything at the
# end. Built as it is shipped by `deploy/build`, which takes twenty minutes the first time;
# PROFILE=release is faster built.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/build.sh
need wrk wrk
need_postgresql
build florin postgres
measure postgres "$@"

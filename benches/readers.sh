#!/usr/bin/env bash
# How fast does a reader answer from a warm cache, against a handler that does nothing? And how soon after its answer is a
# transfer seen there, while others are decided at a steady rate?
#
#   benches/readers.sh [seconds of one run] [rounds] [transfers a second]
#
# Starts a PostgreSQL with fsync, a Redis, a writer and a reader of its own, on free ports of the loopback interface; removes
# everything at the end. Built as it is shipped by `deploy/build`;
# PROFILE=release is faster built.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/build.sh
need wrk wrk
unstarted need redis-server redis-server
need_postgresql
build florin readers empty_handler
measure readers "$@"

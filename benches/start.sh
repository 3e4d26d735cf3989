#!/usr/bin/env bash
# How long is a ledger with ten million accounts and five million records behind its snapshot down when it is started again, and what does it spend where?
#
#   benches/start.sh [accounts] [records] [rounds]
#
# Makes a data directory here (3 GB, 4 GB of memory, two minutes), then starts it in processes of their own, with its files taken out of the page cache and with them in it. No root is needed
# for that: only its own files are dropped. Removes everything at the end. With five rounds and the sizes of the target the table is written to
# benches/results/start.md and into benches/README.md. Built as it is shipped by `deploy/build`, which takes twenty minutes the first time;
# PROFILE=release is faster built.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/build.sh
build start
measure start "$@"

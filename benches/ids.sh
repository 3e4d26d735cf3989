#!/usr/bin/env bash
# What do ids cost that are remembered for ever? The index alone with a hundred million, and a ledger with twenty million transfers.
#
#   benches/ids.sh [ids in the index] [transfers in the ledger], in millions
#
# In directories of its own here, about 5 and 10 GB; removes them at the end. Built as it is shipped by `deploy/build`, which takes twenty minutes the first time;
# PROFILE=release is faster built.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/build.sh
build ids
exec "$target/ids" "$@"

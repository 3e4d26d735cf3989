#!/usr/bin/env bash
# How many transfers a second go through the server in batches of 8,190, durable, as JSON and in binary, and with one hot account?
#
#   benches/batches.sh [seconds of one run] [rounds] [stored|away]
#
# With `away` the store does not answer, so that the figures are those of the way to the acknowledgement alone.
# Server and client are built as they are shipped by `deploy/build`;
# PROFILE=release is faster built. Both run on this machine.
# The rounds alternate; medians are printed.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/build.sh
build florin batches
measure batches "$@"

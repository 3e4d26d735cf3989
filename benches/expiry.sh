#!/usr/bin/env bash
# How long do other transfers wait while a million pending ones expire at one moment?
#
#   benches/expiry.sh [pending transfers] [rounds] [other transfers a second]
#
# The embedded engine, durable, with its store, in a directory of its own here; removes it at the end. Built as it is shipped by `deploy/build`, which takes twenty minutes the first time;
# PROFILE=release is faster built.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/build.sh
build expiry
exec "$target/expiry" "$@"

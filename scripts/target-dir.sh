#!/usr/bin/env bash
# Prints the folder that cargo builds into.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -n "${CARGO_TARGET_DIR:-}" ]; then
    echo "$CARGO_TARGET_DIR"
else
    cargo metadata --format-version 1 --no-deps --locked --offline | sed -E 's/.*"target_directory":"([^"]*)".*/\1/'
fi

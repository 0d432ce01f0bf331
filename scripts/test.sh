#!/usr/bin/env bash
# Runs every check, cheapest first. `scripts/with-postgres.sh` gives it a database.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

[ -n "${TANDEM_TEST_POSTGRES:-}" ] || fail "run it through \`make test\`, which gives it a PostgreSQL"
need_rust
# Half-written artefacts of a run that was cut off are worth less than a warning.
export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never} CARGO_INCREMENTAL=${CARGO_INCREMENTAL:-0}

buf_command() {
    if command -v buf >/dev/null && buf --version >/dev/null 2>&1; then
        echo buf
        return
    fi
    # Outside the clone, so that it is installed once.
    local tools="${XDG_CACHE_HOME:-$HOME/.cache}/tandem-tools"
    if [ ! -x "$tools/bin/buf" ]; then
        headline "buf is missing: installing it under $tools"
        # A Python without `ensurepip` leaves a venv without pip; the package brings it.
        if command -v python3 >/dev/null && ! python3 -c 'import ensurepip' 2>/dev/null; then
            as_root apt-get install -y -qq python3-venv >/dev/null || true
        fi
        if command -v python3 >/dev/null && python3 -m venv "$tools" >&2 && "$tools/bin/pip" install -q buf-bin==1.75.0 >&2; then
            :
        elif command -v npm >/dev/null && npm install --silent --prefix "$tools" @bufbuild/buf@1.75.0 >&2; then
            mkdir -p "$tools/bin"
            ln -sf "$tools/node_modules/.bin/buf" "$tools/bin/buf"
        else
            fail "buf cannot be installed: it needs python3 with venv, or npm"
        fi
    fi
    echo "$tools/bin/buf"
}

headline "format"
cargo fmt --all --check

headline "contract: buf lint"
buf=$(buf_command)
(cd proto && "$buf" lint)

headline "clippy, all targets"
cargo clippy --workspace --all-targets --locked --quiet -- -D warnings

headline "marketplace-adapters alone: value types of the contract only"
cargo check -p tandem-adapters --all-features --locked --quiet

headline "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet

headline "tests: building"
cargo test --workspace --locked --quiet --no-run

headline "tests: running"
# Whatever fails, the rest is run: one run tells all.
cargo test --workspace --locked --no-fail-fast

headline "all checks passed"

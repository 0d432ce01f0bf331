# The few words a developer types. `make` alone says them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

.PHONY: help run demo test bench fmt

help: ## Say what can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /make \1\t/' | expand -t 16

run: ## Build, then start everything in one process: `tandem up`, state under ./data
	@. scripts/lib.sh && need_rust && headline "building; the first time takes a few minutes"
	@cargo build --workspace --bin tandem --locked
	@exec "$$(scripts/target-dir.sh)/debug/tandem" up $(ARGS)

demo: ## Live through the life of two customers and prove the result
	@. scripts/lib.sh && need_rust && headline "building; the first time takes a few minutes"
	@cargo build --workspace --bin tandem --locked
	@exec "$$(scripts/target-dir.sh)/debug/tandem" demo $(ARGS)

test: ## Run everything: format, contract, lints, documentation, all tests on SQLite and PostgreSQL
	@. scripts/lib.sh && need_rust
	@scripts/with-postgres.sh scripts/test.sh

bench: ## Measure, beside the databases' own rates; writes target/bench.json
	@. scripts/lib.sh && need_rust
	@scripts/with-postgres.sh cargo run --release --locked --bin tandem-benches $(if $(ARGS),-- $(ARGS))

fmt: ## Format the code and the schema
	@cargo fmt --all
	@if command -v buf >/dev/null; then buf format -w proto; fi

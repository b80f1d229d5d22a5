# make help lists the commands. `make demo` and `make test` install what they need and work in a fresh clone.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
PREFIX ?= /usr/local
# Feature set of every test build. Dependencies are compiled once for it and for the plain build alike.
FEATURES := --features failpoints

# A Rust toolchain installed a moment ago is not always on the path of a non-interactive shell.
export PATH := $(PATH):$(HOME)/.cargo/bin:/usr/sbin:/sbin
export CARGO_TERM_PROGRESS_WHEN ?= auto

help: ## List the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

demo: ## One certificate, end to end, against a real nginx (under a minute after the build)
	scripts/install-tools.sh demo
	$(CARGO) build --locked --bins
	scripts/demo.sh

test: ## The whole suite; .ci/run calls exactly this
	scripts/install-tools.sh test
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets $(FEATURES) -- -D warnings
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --no-default-features -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps $(FEATURES)
	$(CARGO) test --locked --doc $(FEATURES)
	scripts/run-tests.sh --locked $(FEATURES)

soak: ## A simulated year of 1 100 certificates, the full crash grid, a million random schedules of purchases, and 5 000 against renewd-ccm (optimised; hours)
	scripts/install-tools.sh test
	RENEWD_SOAK=1 RENEWD_SEEDS=1000000 RENEWD_EXECUTOR_SEEDS=5000 NEXTEST_PROFILE=soak BUILD_PROFILE=soak scripts/run-tests.sh --locked $(FEATURES) soak:: crash schedules::

bench: ## Benchmarks; results with command and machine are kept in docs/performance.md
	scripts/install-tools.sh bench
	$(CARGO) bench --locked --bench bench

FUZZ_SECONDS ?= 600
fuzz: ## Throw damaged requests at what reads them, for FUZZ_SECONDS (installs cargo-fuzz, which takes minutes, if it is missing)
	scripts/install-tools.sh build
	$(CARGO) fuzz --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-fuzz
	RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run -s none request fuzz/corpus/request fuzz/seeds/request -- -max_total_time=$(FUZZ_SECONDS) -timeout=10

audit: ## Licences, bans and sources of all dependencies (installs cargo-deny, which takes minutes, if it is missing)
	$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-deny
	$(CARGO) fetch --locked
	$(CARGO) deny --locked --offline check licenses bans sources

man: ## Write the manual pages, the journal's catalog and docs/ccm-operations.md anew from the command line, docs/ and the code
	UPDATE_GOLDEN=1 $(CARGO) test --locked $(FEATURES) --test it -- man:: catalog:: operations::

# What the clock of a host is held against.
release deb: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null)

release: ## Build what `make install` installs
	scripts/install-tools.sh build
	$(CARGO) build --locked --release --bins

deb: ## Make a Debian package of a release build, in target/debian (installs cargo-deb, which takes minutes, if it is missing)
	scripts/install-tools.sh build
	$(CARGO) build --locked --release --bins
	packaging/deb.sh

install: ## Install below PREFIX (default /usr/local) from target/release; honours DESTDIR
	packaging/install.sh --prefix '$(PREFIX)'

uninstall: ## Remove what `make install` put; keeps state and edited configuration
	packaging/install.sh --prefix '$(PREFIX)' --undo

clean: ## Remove what was built
	$(CARGO) clean

.PHONY: help demo test soak bench fuzz audit man release deb install uninstall clean

# Everything a person or a CI system types. Each target sets up what it needs; `make` alone lists them.
#
# Cargo builds into target/, or where CARGO_TARGET_DIR says. Everything is one profile, release, so that what is
# tested is what runs.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup build demo test soak check bench docs dist install manual clean

# Says where libtorch is; scripts/setup puts it there.
WITH_LIBTORCH := . scripts/env.sh &&
# A worker that has its allocator's settings need not start itself again for them; tests start hundreds.
STARTED_ONCE = GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.tcache_count=0
# What the demo runs. Features are still those of the whole workspace, so that `make test` compiles no dependency again.
DEMO_BINARIES := $(addprefix --bin ,launcher worker prepare $(if $(filter s3,$(STORE)),s3-server))
# Where `make install` puts bin, lib and share; DESTDIR, if given, comes before it.
PREFIX := /usr/local
# More than twice what they take on two slow cores; by then cargo has named the test that hangs.
BOUNDED := timeout --foreground 60m
# Most tests of programs wait: for ranks, for stores, for clocks. Those that train are fewer at once (tests/src/training.rs).
AT_ONCE := RUST_TEST_THREADS=$(shell expr 4 \* $$(nproc))
# What scripts/figures says of a `make test`: when it began, and whether there was anything built by then.
BEGAN := $(shell date +%s)
WARMTH := $(if $(wildcard $(or $(CARGO_TARGET_DIR),target)/release/deps),warm,cold)

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install system packages and libtorch (CONVOY_CUDA=1: with its CUDA libraries)
	@scripts/setup

build: setup ## Build every binary into target/release
	$(WITH_LIBTORCH) cargo build --release --workspace

demo: ## Prepare a text, train on 2 ranks, kill one, resume, sample (STORE=s3, DEMO_TEXT=file)
	@scripts/demo --announce
	@CONVOY_SERVERS=0 scripts/setup
	$(WITH_LIBTORCH) cargo build --release --workspace $(DEMO_BINARIES)
	STORE='$(STORE)' DEMO_TEXT='$(DEMO_TEXT)' scripts/demo

check: setup ## Formatting, lints, documentation, manual pages, spelling, circles, dependencies
	cargo fmt --all --check
	$(WITH_LIBTORCH) cargo clippy --release --workspace --all-targets -- -D warnings
	$(WITH_LIBTORCH) RUSTDOCFLAGS='-D warnings' cargo doc --release --workspace --no-deps --document-private-items
	@scripts/check
	$(WITH_LIBTORCH) cargo test --release --workspace --bin launcher commands::manual

test: check build ## Everything that must pass before a change is accepted, with real mpirun
	$(WITH_LIBTORCH) $(STARTED_ONCE) $(AT_ONCE) $(BOUNDED) cargo test --release --workspace
	@scripts/figures $(WARMTH) $(BEGAN)

soak: build ## What takes longer, or 24 GiB of memory (ONLY=part,part, SOAK_AGAIN=1)
	@$(WITH_LIBTORCH) ONLY='$(ONLY)' SOAK_AGAIN='$(SOAK_AGAIN)' scripts/soak

docs: ## Make a book of all pages, with search, in target/book/html
	@. scripts/env.sh && scripts/book.py

bench: build ## Speed beside its peers (ONLY=name for one)
	$(WITH_LIBTORCH) ONLY='$(ONLY)' scripts/bench

dist: build ## Make a tarball and a wheel in target/dist
	@$(WITH_LIBTORCH) scripts/dist

install: ## Install what `make dist` made (PREFIX=/usr/local, DESTDIR)
	@scripts/dist --install '$(DESTDIR)$(PREFIX)'

manual: build ## Write the manual pages and shell completions in launcher/share anew
	$(WITH_LIBTORCH) "$${CARGO_TARGET_DIR:-target}/release/launcher" manual launcher/share

clean: ## Remove what was built, and the demo's folder; the cache of set-up stays
	cargo clean
	rm -rf demo

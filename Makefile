# The front door. `make help` lists what there is.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help

STUDY ?= experiments/quick.toml
HOST ?= auto
# The study's profile; `make reproduce` takes the one of the host when none is given.
PROFILE ?=
PROFILE_kvm = full
PROFILE_emulated = short
TARGET := $(or $(CARGO_TARGET_DIR),target)
MICROBENCH := $(TARGET)/debug/microbench
# Manual pages and completions, as they are installed below PREFIX/share.
SHARE := $(TARGET)/share
AGENT_TARGET := x86_64-unknown-linux-gnu
AGENT := $(TARGET)/$(AGENT_TARGET)/agent/microbench-agent

# What building and running takes on Debian; `dpkg-query` is asked first, so that a second run needs no network and no root.
PACKAGES := build-essential pkg-config libssl-dev qemu-system-x86 flex bison bc libelf-dev cpio xz-utils patch e2fsprogs strace crun runc \
	iproute2 python3-pip ca-certificates

# What the tests take besides: a browser that opens the report, a LaTeX that sets tables and figures (siunitx is in texlive-science).
TEST_PACKAGES := chromium texlive-latex-recommended texlive-science

# What the test of a cluster takes.
SLURM_PACKAGES := slurm-wlm munge

# What the benchmarks compare with; PYTHON is a folder for the peers in Python (bench/python/requirements.txt).
BENCH_PACKAGES := hyperfine openssl python3-venv util-linux
PYTHON ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/microbench/python-bench

# Benchmarks to run (all when empty), and rounds of each.
BENCH ?=
ROUNDS ?= 10

CARGO_DENY := 0.20.2

# The spelling checker, from PyPI; LINT_TOOLS is the folder it is installed to.
TYPOS := 1.52.0
LINT_TOOLS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/microbench/lint-$(TYPOS)

# Seconds of fuzzing for each target.
SECONDS ?= 60

PREFIX ?= /usr/local

.PHONY: help deps build install images plan run plots docs reproduce test package test-slurm soak bench fuzz lint clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14
	@echo
	@echo 'Variables: STUDY=experiments/quick.toml  PROFILE=full|short  HOST=auto|kvm|emulated  RUN=runs/...  ROUNDS=10  SECONDS=60  PREFIX=/usr/local'

deps: ## Install what building and running needs (Debian; asks for sudo when not root)
	@missing=
	for package in $(PACKAGES) $(MORE_PACKAGES); do
		[ "$$(dpkg-query -W -f '$${Status}' "$$package" 2>/dev/null)" = 'install ok installed' ] || missing="$$missing $$package"
	done
	if [ -n "$$missing" ]; then
		echo "installing:$$missing"
		sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo
		$$sudo apt-get -q update
		# apt would remove an installed package of another suite that conflicts. The archive's own version replaces it instead.
		replaced=
		for package in $$(LC_ALL=C apt-get -s --no-install-recommends install $$missing | sed -n 's/^Remv \([^ ]*\).*/\1/p'); do
			version=$$(apt-cache madison "$$package" | awk 'NR == 1 { print $$3 }')
			[ -z "$$version" ] || replaced="$$replaced $$package=$$version"
		done
		[ -z "$$replaced" ] || echo "replacing, because the installed versions conflict:$$replaced"
		DEBIAN_FRONTEND=noninteractive $$sudo apt-get -q -y --no-install-recommends --no-remove --allow-downgrades install $$missing $$replaced
	fi
	command -v cargo >/dev/null || { echo 'no cargo: install Rust 1.95 or newer by https://rustup.rs'; exit 1; }

build: ## Build the program and the guest agent, with manual pages and completions
	@cargo build --locked -p microbench
	CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS='-C target-feature=+crt-static -C relocation-model=static' \
		cargo build --locked -p microbench-agent --bin microbench-agent --profile agent --target $(AGENT_TARGET)
	mkdir -p $(SHARE)/{man/man1,bash-completion/completions,zsh/site-functions,fish/vendor_completions.d}
	$(MICROBENCH) man --out $(SHARE)/man/man1
	$(MICROBENCH) completions bash > $(SHARE)/bash-completion/completions/microbench
	$(MICROBENCH) completions zsh > $(SHARE)/zsh/site-functions/_microbench
	$(MICROBENCH) completions fish > $(SHARE)/fish/vendor_completions.d/microbench.fish

install: build ## Install the programs, their manual pages and completions below PREFIX
	@install -Dm755 -t '$(DESTDIR)$(PREFIX)/bin' $(MICROBENCH) $(MICROBENCH)-testbed
	# Not in bin: nobody starts the agent by its name. The program looks for it here.
	install -Dm755 -t '$(DESTDIR)$(PREFIX)/libexec/microbench' $(AGENT)
	mkdir -p '$(DESTDIR)$(PREFIX)/share'
	cp -r $(SHARE)/. '$(DESTDIR)$(PREFIX)/share/'
	echo 'installed below $(DESTDIR)$(PREFIX)'

images: deps build ## Provide kernels, root file systems and programs of STUDY, and list them
	@$(MICROBENCH) artifacts $(STUDY) --emulated

plan: build ## Show what STUDY would run
	@$(MICROBENCH) plan $(STUDY) $(if $(PROFILE),--profile $(PROFILE))

run: deps build ## Run STUDY, then make its figures, tables and report
	@run=$$($(MICROBENCH) run $(STUDY) --host $(HOST) $(if $(PROFILE),--profile $(PROFILE)))
	$(MAKE) --no-print-directory plots RUN="$$run"

plots: build ## Analyse RUN again and make its figures, tables and report, without running anything
	@test -n '$(RUN)' || { echo 'say which: make plots RUN=runs/...'; exit 2; }
	$(MICROBENCH) analyze '$(RUN)'
	echo 'figures:'
	$(MICROBENCH) plot '$(RUN)'
	echo 'tables, and the numbers as LaTeX macros:'
	$(MICROBENCH) table '$(RUN)'
	echo 'report, to be opened by a browser:'
	$(MICROBENCH) report '$(RUN)'

docs: build ## Write the reference pages, docs/reference, again: they are made of the code
	@$(MICROBENCH) reference

reproduce: deps build ## The main job: the paper's study, from nothing to figures and verdicts, on whatever host there is
	@host=$(HOST)
	[ "$$host" != auto ] || host=$$($(MICROBENCH) host experiments/quick.toml)
	profile=$(PROFILE)
	if [ -z "$$profile" ]; then
		if [ "$$host" = kvm ]; then profile=$(PROFILE_kvm); else profile=$(PROFILE_emulated); fi
	fi
	echo "host: $$host; study: experiments/paper-2019.toml; profile: $$profile"
	run=$$($(MICROBENCH) run experiments/paper-2019.toml --host "$$host" --profile "$$profile")
	$(MAKE) --no-print-directory plots RUN="$$run"
	echo 'the same figures as the paper printed them:'
	$(MICROBENCH) plot "$$run" --theme paper

test: MORE_PACKAGES = $(TEST_PACKAGES)
test: images ## Run every test, the real boots in the emulated host included; a test that is skipped for a missing program fails
	@# The kernels that every machine boots are built (minutes, once) before a test waits for them.
	$(MICROBENCH) artifacts experiments/boot-floor.toml --emulated > /dev/null
	$(MICROBENCH) artifacts experiments/boot-phases.toml --emulated > /dev/null
	skipped='$(abspath $(TARGET))/skipped-tests'
	rm -f "$$skipped"
	MICROBENCH_TEST_ALL=1 MICROBENCH_TEST_SKIPS="$$skipped" cargo test --locked --workspace --no-fail-fast
	[ ! -s "$$skipped" ] || { echo 'skipped, because this machine or user lacks what cannot be installed:'; sort "$$skipped"; }

package: ## Pack each crate and build it as packed, as for a registry; nothing is published
	@cargo package --locked --workspace

soak: images ## Run the long tests: 100 kills, 2,000 trials, 700 real boots; print their figures (an hour)
	@cargo test --locked -p microbench --test soak -- --ignored --nocapture --test-threads 1

test-slurm: MORE_PACKAGES = $(SLURM_PACKAGES)
test-slurm: images ## Run shards on a Slurm of two nodes on this machine, one of which dies (installs slurm-wlm and munge)
	@cargo test --locked -p microbench --test slurm -- --ignored --nocapture --test-threads 1

bench: MORE_PACKAGES = $(BENCH_PACKAGES)
bench: images ## Measure this program beside its peers and the limit, and draw what it costs (installs hyperfine and pandas; an hour)
	@[ -x '$(PYTHON)/bin/python' ] || python3 -I -m venv '$(PYTHON)'
	'$(PYTHON)/bin/python' -I -m pip install --quiet --disable-pip-version-check -r bench/python/requirements.txt
	cargo build --locked --release -p microbench -p microbench-bench --bins --examples
	$(TARGET)/release/microbench-bench $(BENCH) --rounds $(ROUNDS) --microbench $(TARGET)/release/microbench \
		--agent $(AGENT) --python '$(PYTHON)/bin/python'
	for study in trial plan analysis; do
		rm -rf bench/results/$$study
		$(TARGET)/release/microbench import bench/curves/$$study.toml bench/results/$$study.csv --out bench/results/$$study
		$(TARGET)/release/microbench analyze bench/results/$$study > /dev/null
		$(TARGET)/release/microbench plot bench/results/$$study
	done

fuzz: ## Fuzz manifest, journal, answers and kernel log; SECONDS=60 each (needs a nightly toolchain)
	@command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
	for target in manifest journal answer kernel_log; do
		more=; [ $$target != manifest ] || more='experiments runner/tests/manifests'
		mkdir -p fuzz/corpus/$$target
		# The code is safe Rust and needs no sanitiser. What is found goes to the first folder, the others are only read.
		cargo +nightly fuzz run -s none $$target fuzz/corpus/$$target fuzz/seeds/$$target $$more -- \
			-max_total_time=$(SECONDS) -max_len=8192 -timeout=10
	done

lint: deps ## Check formatting, clippy, spelling, banned phrases, and licences, sources and advisories of dependencies
	@cargo fmt --check
	[ -x '$(LINT_TOOLS)/bin/typos' ] || python3 -I -m pip install --quiet --disable-pip-version-check --root-user-action ignore \
		--target '$(LINT_TOOLS)' typos==$(TYPOS)
	'$(LINT_TOOLS)/bin/typos'
	.ci/check-phrases
	cargo clippy --locked --workspace --all-targets -- -D warnings
	if ! command -v cargo-deny >/dev/null && ! cargo install --locked --version $(CARGO_DENY) cargo-deny; then
		echo 'dependencies: not checked: cargo-deny cannot be installed here'
		exit 0
	fi
	cargo deny --locked check licenses bans sources
	if cargo deny fetch db 2>/dev/null; then
		cargo deny --frozen check advisories
	else
		echo 'advisories: not checked: their database cannot be fetched here'
	fi

clean: ## Remove what was built here (runs/ and the user's cache stay)
	@cargo clean

# Entry point for users and CI. `make help` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help

STUDY ?= experiments/quick.toml
HOST ?= auto
# Profile of the study. `make reproduce` chooses PROFILE_kvm or PROFILE_emulated by the host kind if PROFILE is empty.
PROFILE ?=
PROFILE_kvm = full
PROFILE_emulated = short
TARGET := $(or $(CARGO_TARGET_DIR),target)
MICROBENCH := $(TARGET)/debug/microbench
# Manual pages and completions; `make install` copies them to PREFIX/share.
SHARE := $(TARGET)/share
AGENT_TARGET := x86_64-unknown-linux-gnu
AGENT := $(TARGET)/$(AGENT_TARGET)/agent/microbench-agent

# Debian packages for building and running. `make deps` installs only missing ones, so that a second run needs no network or root.
PACKAGES := build-essential pkg-config libssl-dev qemu-system-x86 flex bison bc libelf-dev cpio xz-utils patch e2fsprogs strace crun runc \
	iproute2 python3-pip ca-certificates

# Additional packages of the tests: a browser for the report, LaTeX for tables and figures (siunitx is in texlive-science).
TEST_PACKAGES := chromium texlive-latex-recommended texlive-science

# Additional packages of `make test-slurm`.
SLURM_PACKAGES := slurm-wlm munge

# Additional packages of `make bench`. PYTHON is the virtual environment of bench/python/requirements.txt.
BENCH_PACKAGES := hyperfine openssl python3-venv util-linux
PYTHON ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/microbench/python-bench

# Benchmarks to run (all if empty), rounds of each, and the folder of their results.
BENCH ?=
ROUNDS ?= 10
BENCH_RESULTS ?= bench/results/$(shell date -u +%F)-$(shell uname -n)

CARGO_DENY := 0.20.2

# The spelling checker, from PyPI, and the folder that it is installed to.
TYPOS := 1.52.0
LINT_TOOLS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/microbench/lint-$(TYPOS)

# The virtual environment of the check with SciPy, named by its requirements. It is not named after the project's folder,
# so that clones share it.
CHECK_PYTHON ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/microbench/python-check-$(shell sha256sum plots/check/requirements.txt | cut -c1-12)

# Run that RUN is compared with by `make check`.
BASE ?=

# Seconds of fuzzing per fuzz target.
SECONDS ?= 60

PREFIX ?= /usr/local

.PHONY: help deps build install images plan run plots docs reproduce check check-python test package test-slurm soak bench fuzz lint clean

help: ## List the targets and variables
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14
	@echo
	@echo 'Variables: STUDY=experiments/quick.toml  PROFILE=full|short  HOST=auto|kvm|emulated'
	@echo '           RUN=runs/...  BASE=runs/...  BENCH=NAME  ROUNDS=10  SECONDS=60  PREFIX=/usr/local'

deps: ## Install the Debian packages that are needed (sudo unless root)
	@missing=
	for package in $(PACKAGES) $(MORE_PACKAGES); do
		[ "$$(dpkg-query -W -f '$${Status}' "$$package" 2>/dev/null)" = 'install ok installed' ] || missing="$$missing $$package"
	done
	if [ -n "$$missing" ]; then
		echo "installing:$$missing"
		sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo
		$$sudo apt-get -q update
		# If an installed package of another suite conflicts, apt would remove it. Install the archive's version of it instead.
		replaced=
		for package in $$(LC_ALL=C apt-get -s --no-install-recommends install $$missing | sed -n 's/^Remv \([^ ]*\).*/\1/p'); do
			version=$$(apt-cache madison "$$package" | awk 'NR == 1 { print $$3 }')
			[ -z "$$version" ] || replaced="$$replaced $$package=$$version"
		done
		[ -z "$$replaced" ] || echo "replacing, because the installed versions conflict:$$replaced"
		DEBIAN_FRONTEND=noninteractive $$sudo apt-get -q -y --no-install-recommends --no-remove --allow-downgrades install $$missing $$replaced
	fi
	command -v cargo >/dev/null || { echo 'cargo is not installed: install Rust 1.95 or newer from https://rustup.rs'; exit 1; }

build: ## Build the program, the agent, manual pages and completions
	@cargo build --locked -p microbench
	CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS='-C target-feature=+crt-static -C relocation-model=static' \
		cargo build --locked -p microbench-agent --bin microbench-agent --profile agent --target $(AGENT_TARGET)
	mkdir -p $(SHARE)/{man/man1,bash-completion/completions,zsh/site-functions,fish/vendor_completions.d}
	$(MICROBENCH) man --out $(SHARE)/man/man1
	$(MICROBENCH) completions bash > $(SHARE)/bash-completion/completions/microbench
	$(MICROBENCH) completions zsh > $(SHARE)/zsh/site-functions/_microbench
	$(MICROBENCH) completions fish > $(SHARE)/fish/vendor_completions.d/microbench.fish

install: build ## Install programs, manual pages and completions below PREFIX
	@install -Dm755 -t '$(DESTDIR)$(PREFIX)/bin' $(MICROBENCH) $(MICROBENCH)-emulated-host
	# The agent is not a command for users. The program looks for it in libexec.
	install -Dm755 -t '$(DESTDIR)$(PREFIX)/libexec/microbench' $(AGENT)
	mkdir -p '$(DESTDIR)$(PREFIX)/share'
	cp -r $(SHARE)/. '$(DESTDIR)$(PREFIX)/share/'
	echo 'installed below $(DESTDIR)$(PREFIX)'

images: deps build ## Build or fetch kernels, root file systems and VMMs of STUDY
	@$(MICROBENCH) artifacts $(STUDY) --emulated

plan: build ## Show cells, order and peak memory of STUDY; start nothing
	@$(MICROBENCH) plan $(STUDY) $(if $(PROFILE),--profile $(PROFILE))

run: deps build ## Run STUDY, then write its figures, tables and report
	@run=$$($(MICROBENCH) run $(STUDY) --host $(HOST) $(if $(PROFILE),--profile $(PROFILE)))
	$(MAKE) --no-print-directory plots RUN="$$run"

plots: build ## Write figures, tables and report of RUN; start nothing
	@test -n '$(RUN)' || { echo 'RUN is missing: use `make plots RUN=runs/...`'; exit 2; }
	$(MICROBENCH) analyze '$(RUN)'
	echo 'figures:'
	$(MICROBENCH) plot '$(RUN)'
	echo 'tables and LaTeX macros of the numbers:'
	$(MICROBENCH) table '$(RUN)'
	echo 'report, for a browser:'
	$(MICROBENCH) report '$(RUN)'

docs: build ## Generate the pages of docs/reference from the code
	@$(MICROBENCH) reference

reproduce: deps build ## Run the study of the 2019 paper (45 minutes without KVM)
	@host=$(HOST)
	[ "$$host" != auto ] || host=$$($(MICROBENCH) host experiments/quick.toml)
	profile=$(PROFILE)
	if [ -z "$$profile" ]; then
		if [ "$$host" = kvm ]; then profile=$(PROFILE_kvm); else profile=$(PROFILE_emulated); fi
	fi
	echo "host: $$host; study: experiments/paper-2019.toml; profile: $$profile"
	run=$$($(MICROBENCH) run experiments/paper-2019.toml --host "$$host" --profile "$$profile")
	$(MAKE) --no-print-directory plots RUN="$$run"
	echo 'the same figures in the style of the paper:'
	$(MICROBENCH) plot "$$run" --theme paper

check: CHECK_MUST_WORK = 1
check: build check-python ## Compare the statistics of RUN (and of RUN with BASE) with SciPy
	@test -n '$(RUN)' || { echo 'RUN is missing: use `make check RUN=runs/...`'; exit 2; }
	'$(CHECK_PYTHON)/bin/python' plots/check/check_statistics.py --microbench $(MICROBENCH) $(BASE) '$(RUN)'

check-python: MORE_PACKAGES = python3-venv
check-python: deps
	@[ ! -e '$(CHECK_PYTHON)/complete' ] || exit 0
	rm -rf '$(CHECK_PYTHON)'
	python3 -I -m venv '$(CHECK_PYTHON)'
	if '$(CHECK_PYTHON)/bin/python' -I -m pip install --quiet --disable-pip-version-check --retries 1 \
			-r plots/check/requirements.txt; then
		touch '$(CHECK_PYTHON)/complete'
	else
		echo 'SciPy is not installed: PyPI cannot be reached, and no earlier installation is in the cache'
		[ -z '$(CHECK_MUST_WORK)' ]
	fi

test: MORE_PACKAGES = $(TEST_PACKAGES) python3-venv
test: images check-python ## Run every test, including boots of real guests
	@# Kernels are built here (minutes, once), because a test that waits for a build would time out.
	$(MICROBENCH) artifacts experiments/boot-floor.toml --emulated > /dev/null
	$(MICROBENCH) artifacts experiments/boot-phases.toml --emulated > /dev/null
	skipped='$(abspath $(TARGET))/skipped-tests'
	rm -f "$$skipped"
	MICROBENCH_TEST_ALL=1 MICROBENCH_TEST_SKIPS="$$skipped" MICROBENCH_TEST_SCIPY='$(CHECK_PYTHON)' cargo test --locked --workspace --no-fail-fast
	[ ! -s "$$skipped" ] || { echo 'skipped, because the machine or the user does not meet a requirement that cannot be installed:'; sort "$$skipped"; }

package: ## Package each crate and build the package; publish nothing
	@cargo package --locked --workspace

soak: images ## Run long tests: 100 kills, 2,100 trials, 700 boots (an hour)
	@cargo test --locked -p microbench --test soak -- --ignored --nocapture --test-threads 1

test-slurm: MORE_PACKAGES = $(SLURM_PACKAGES)
test-slurm: images ## Run shards on a local Slurm of two nodes (installs slurm-wlm)
	@cargo test --locked -p microbench --test slurm -- --ignored --nocapture --test-threads 1

bench: MORE_PACKAGES = $(BENCH_PACKAGES)
bench: images ## Measure microbench, write BENCHMARKS.md (an hour)
	@[ -x '$(PYTHON)/bin/python' ] || python3 -I -m venv '$(PYTHON)'
	'$(PYTHON)/bin/python' -I -m pip install --quiet --disable-pip-version-check -r bench/python/requirements.txt
	cargo build --locked --release -p microbench -p microbench-bench --bins --examples
	$(TARGET)/release/microbench-bench $(BENCH) --rounds $(ROUNDS) --microbench $(TARGET)/release/microbench \
		--agent $(AGENT) --python '$(PYTHON)/bin/python' --out '$(BENCH_RESULTS)'
	for study in trial plan analysis; do
		[ -e '$(BENCH_RESULTS)'/$$study.csv ] || continue
		run=$(TARGET)/bench/$$study
		rm -rf $$run
		$(TARGET)/release/microbench import bench/curves/$$study.toml '$(BENCH_RESULTS)'/$$study.csv --out $$run
		$(TARGET)/release/microbench analyze $$run > /dev/null
		$(TARGET)/release/microbench plot $$run
		cp $$run/figures/publication/$$study.svg docs/images/cost-$$study.svg
	done

fuzz: ## Fuzz the parsers, SECONDS each (needs a nightly toolchain)
	@command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
	for target in manifest journal response kernel_log; do
		more=; [ $$target != manifest ] || more='experiments runner/tests/manifests'
		mkdir -p fuzz/corpus/$$target
		# The code is safe Rust and needs no sanitiser. cargo-fuzz writes new inputs to the first folder only.
		cargo +nightly fuzz run -s none $$target fuzz/corpus/$$target fuzz/seeds/$$target $$more -- \
			-max_total_time=$(SECONDS) -max_len=8192 -timeout=10
	done

lint: deps ## Check formatting, clippy, spelling, phrases and dependencies
	@cargo fmt --check
	[ -x '$(LINT_TOOLS)/bin/typos' ] || python3 -I -m pip install --quiet --disable-pip-version-check --root-user-action ignore \
		--target '$(LINT_TOOLS)' typos==$(TYPOS)
	'$(LINT_TOOLS)/bin/typos'
	.ci/check-phrases
	cargo clippy --locked --workspace --all-targets -- -D warnings
	if ! command -v cargo-deny >/dev/null && ! cargo install --locked --version $(CARGO_DENY) cargo-deny; then
		echo 'dependencies: not checked: cargo-deny cannot be installed'
		exit 0
	fi
	cargo deny --locked check licenses bans sources
	if cargo deny fetch db 2>/dev/null; then
		cargo deny --frozen check advisories
	else
		echo 'advisories: not checked: the advisory database cannot be fetched'
	fi

clean: ## Remove the build in target/; keep runs/ and the user's cache
	@cargo clean

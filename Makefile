# Every task of a developer or user, by name. A fresh machine needs Rust, Go, git and make. The first `make run` or
# `make test` builds a Kubernetes control plane once (about ten minutes on two cores) and caches it outside the tree.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

CARGO ?= cargo
HELM ?= helm
KUBECTL ?= kubectl
# Settings of `make install`.
NAMESPACE ?= tenantry-system
VALUES ?=
# `make run CLUSTER=kind` uses kind and Docker. Without it, etcd and kube-apiserver run as plain processes.
CLUSTER ?= local

# Where cargo puts programs. We build all of them at once: alone, each would compile its dependencies with other features.
built = $(shell $(CARGO) metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug
build := $(CARGO) build --locked --workspace --bins
# Runs a command under a name and prints how long it took: $(phase) NAME COMMAND.
phase := @sh tools/phase.sh
unknown_cluster = echo "CLUSTER=$(CLUSTER) is unknown: leave it out, or use CLUSTER=kind" >&2; exit 2
# The first build takes minutes, so announce it.
quietly = [ -x $(built)/lab ] || echo "building first: a minute or two"; $(build) --quiet

##@ Try it
.PHONY: help
help: ## Show this
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z][a-z-]*:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: run
run: ## Build, start a cluster on this machine, install, run the operator, apply the examples; keeps running
ifeq ($(CLUSTER),kind)
	@sh tools/kind.sh
else ifeq ($(CLUSTER),local)
	$(build)
	@$(built)/lab up
else
	@$(unknown_cluster)
endif

.PHONY: status
status: ## Show the cluster and operator that `make run` started
	@$(quietly)
	@$(built)/lab status || [ $$? -eq 3 ] # 3: nothing runs, which is no error here

.PHONY: stop
stop: ## Stop the cluster and operator of `make run`, and remove their data
ifeq ($(CLUSTER),kind)
	@sh tools/kind.sh down
else ifeq ($(CLUSTER),local)
	@$(quietly)
	@$(built)/lab down
else
	@$(unknown_cluster)
endif

##@ Use it on your cluster (your kubectl context)
.PHONY: install
install: ## Install or upgrade the chart with helm; VALUES="--set image.registry=..." are helm's arguments
	@command -v $(HELM) >/dev/null || { \
	  echo "make install needs helm 3 or 4 (https://helm.sh/docs/intro/install) or HELM=/path/to/it; docs/install.md has a way without helm" >&2; exit 2; }
	@command -v $(KUBECTL) >/dev/null || { \
	  echo "make install needs kubectl (https://kubernetes.io/docs/tasks/tools) or KUBECTL=/path/to/it" >&2; exit 2; }
	@# Helm asks the API server about templates before it creates their definition, so the first install takes two steps.
	@$(KUBECTL) get crd tenants.tenantry.dev >/dev/null 2>&1 || { \
	  $(HELM) upgrade --install tenantry charts/tenantry --namespace $(NAMESPACE) --create-namespace $(VALUES) \
	    --set templates.install=false >/dev/null && \
	  $(KUBECTL) wait --for=condition=Established --timeout=60s crd tenants.tenantry.dev tenanttemplates.tenantry.dev \
	    tenantpolicies.tenantry.dev tenantnamespaces.tenantry.dev; }
	$(HELM) upgrade --install tenantry charts/tenantry --namespace $(NAMESPACE) --create-namespace \
	  --set templates.install=true $(VALUES)

# Files of Tenants to check.
TENANTS ?= $(wildcard examples/*.yaml)
.PHONY: validate
validate: ## Check Tenants (TENANTS="a.yaml b.yaml") and templates: offline, and on your cluster if Tenantry is installed
	@$(quietly)
	@TENANTRY=$(built)/tenantry KUBECTL=$(KUBECTL) sh tools/validate.sh $(TENANTS)

##@ Check it
.PHONY: check
check: ## Format, clippy and unit tests of what differs from BASE (origin/main, else main); ALL=1: of every package
	@sh tools/check.sh

.PHONY: test
test: lint deny ## Everything: lints, generated files, licences, chart, unit, golden, property and real control plane
	$(phase) "build of all tests" $(CARGO) test --locked --workspace --no-run
	$(phase) "all tests" $(CARGO) test --locked --workspace --no-fail-fast

.PHONY: unit
unit: ## Tests that need no control plane: seconds
	$(CARGO) test --locked --workspace --lib --bins --test generated --test templates --test docs --test benchmarks --test spec

.PHONY: coverage
coverage: ## Line coverage of the unit tests; COVERAGE="--workspace" is of all tests (cargo's arguments)
	@COVERAGE="$(COVERAGE)" sh tools/coverage.sh

.PHONY: chart-test
chart-test: ## The chart: its unit tests, and every combination of values in tests/it/chart.rs on a real API server
	$(CARGO) test --locked --workspace --test it chart

.PHONY: lint
lint: ## Format and clippy, warnings denied, with and without traces
	$(phase) format $(CARGO) fmt --all --check
	$(phase) clippy $(CARGO) clippy --locked --workspace --all-targets -- --deny warnings
	$(phase) "check with traces" $(CARGO) check --locked --features otlp

.PHONY: deny
deny: ## Licences, sources and duplicates of dependencies; known vulnerabilities if the database can be fetched
	$(phase) "cargo-deny" sh tools/deny.sh

.PHONY: spell
spell: ## Spelling of code and pages, by typos; _typos.toml has the words that are meant
	$(phase) spelling sh -c '"$$(sh tools/tool.sh typos-cli 1.42.3 typos)"'

.PHONY: verify
verify: ## Fail if a generated file is out of date
	$(CARGO) test --locked --workspace --test generated generated_file
	$(CARGO) test --locked --workspace --test it checked_in_is_current

.PHONY: bench
bench: ## Measure, compared with the API server's own limit; docs/benchmarks.md has the settings (BENCH_TENANTS, BENCH_GROWTH ...)
	$(CARGO) bench --locked --bench scale

.PHONY: bench-docs
bench-docs: ## Write the tables and plots of docs/benchmarks.md from the results in docs/benchmarks
	UPDATE=1 $(CARGO) test --locked --test benchmarks

# One of:
# - all
# - all:1/4: a quarter of the single faults, without storms, guards, leaders and surroundings
# - answers, late, events, killed, killed-late, terminated: one group of single faults
# - pairs:48:7: two faults at once, 48 plans with seed 7
# - a rule file, to repeat a failure
# - empty: the fixed sample
FAULTS ?= all
.PHONY: faults
faults: ## Fail every write and event of a scenario in every way on a real control plane: 90 minutes on two idle cores; FAULTS=killed, all:1/4, pairs:48:7 or a rule file for less
	TENANTRY_FAULTS=$(FAULTS) $(CARGO) test --locked --workspace --test it faults::$(if $(filter all,$(FAULTS)),,after_any) -- --nocapture --test-threads=1

SOAK_MINUTES ?= 60
SOAK_TENANTS ?= 100
.PHONY: soak
soak: ## Change SOAK_TENANTS (100) tenants for SOAK_MINUTES (60) on a real control plane; fail if the operator's memory grows
	SOAK_MINUTES=$(SOAK_MINUTES) SOAK_TENANTS=$(SOAK_TENANTS) $(CARGO) test --locked --workspace --test soak

##@ Change it
.PHONY: generate
generate: ## Write every generated file: CRDs, chart copies, docs, install.yaml
	$(build)
	$(CARGO) xtask generate
	@dirs=$$($(built)/controlplane assets helm) && PATH="$$(echo "$$dirs" | tr '\n' ':')$$PATH" sh tools/render-install.sh

.PHONY: clean
clean: stop ## Stop the cluster of `make run` and remove build outputs; the cache outside the tree stays
	$(CARGO) clean

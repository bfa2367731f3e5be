# Everything one does with Tenantry, by name. A fresh machine needs Rust, Go, git and make; the first `make run` or
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
# `make run CLUSTER=kind` uses kind and Docker; without it etcd and kube-apiserver run as plain processes.
CLUSTER ?= local

# Where cargo puts programs. All are built at once: one by one, each would get its dependencies with other features.
built = $(shell $(CARGO) metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug
build := $(CARGO) build --locked --workspace --bins
unknown_cluster = echo "CLUSTER=$(CLUSTER) is not known: leave it out, or say CLUSTER=kind" >&2; exit 2
# A first build takes minutes: not without a word.
quietly = [ -x $(built)/lab ] || echo "building first: a minute or two"; $(build) --quiet

##@ Try it
.PHONY: help
help: ## Show this
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z][a-z-]*:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: run
run: ## Build, start a cluster on this machine, install, run the operator, apply the examples; all of it stays
ifeq ($(CLUSTER),kind)
	@sh tools/kind.sh
else ifeq ($(CLUSTER),local)
	$(build)
	@$(built)/lab up
else
	@$(unknown_cluster)
endif

.PHONY: status
status: ## Show what `make run` left running
	@$(quietly)
	@$(built)/lab status || [ $$? -eq 3 ] # 3: nothing is up, as it says

.PHONY: stop
stop: ## End what `make run` started, and remove its data
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
	  echo "this takes helm 3 or 4 (https://helm.sh/docs/intro/install), or HELM=/path/to/it; without it see kubectl in README.md, Install" >&2; exit 2; }
	@command -v $(KUBECTL) >/dev/null || { \
	  echo "this takes kubectl (https://kubernetes.io/docs/tasks/tools), or KUBECTL=/path/to/it" >&2; exit 2; }
	@# Helm asks the API server about templates before it creates their definition: the first time takes two steps.
	@$(KUBECTL) get crd tenants.tenantry.dev >/dev/null 2>&1 || { \
	  $(HELM) upgrade --install tenantry charts/tenantry --namespace $(NAMESPACE) --create-namespace $(VALUES) \
	    --set templates.install=false >/dev/null && \
	  $(KUBECTL) wait --for=condition=Established --timeout=60s crd tenants.tenantry.dev tenanttemplates.tenantry.dev \
	    tenantpolicies.tenantry.dev tenantnamespaces.tenantry.dev; }
	$(HELM) upgrade --install tenantry charts/tenantry --namespace $(NAMESPACE) --create-namespace \
	  --set templates.install=true $(VALUES)

# Files with Tenants to check.
TENANTS ?= $(wildcard examples/*.yaml)
.PHONY: validate
validate: ## Check Tenants (TENANTS="a.yaml b.yaml") and templates: offline, and on your cluster if it has our kinds
	@$(quietly)
	@TENANTRY=$(built)/tenantry KUBECTL=$(KUBECTL) sh tools/validate.sh $(TENANTS)

##@ Check it
.PHONY: test
test: lint deny ## Everything: lints, generated files, licences, chart, unit, golden, property and real control plane
	$(CARGO) test --locked --workspace --no-fail-fast

.PHONY: unit
unit: ## Only what needs no control plane: seconds
	$(CARGO) test --locked --workspace --lib --bins --test generated --test templates --test docs --test benchmarks --test spec

.PHONY: chart-test
chart-test: ## The chart: its unit tests, and every shape of it on a real API server
	$(CARGO) test --locked --workspace --test it chart

.PHONY: lint
lint: ## Format and clippy, warnings denied, with and without traces
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- --deny warnings
	$(CARGO) check --locked --features otlp

.PHONY: deny
deny: ## Licences, sources and duplicates of dependencies; known vulnerabilities where the database is in reach
	@sh tools/deny.sh

.PHONY: verify
verify: ## Fail if a generated file is not current
	$(CARGO) test --locked --workspace --test generated generated_file
	$(CARGO) test --locked --workspace --test it checked_in_is_current

.PHONY: bench
bench: ## Measure against what the API server takes at most; docs/benchmarks.md has the settings (BENCH_TENANTS, BENCH_GROWTH ...)
	$(CARGO) bench --locked --bench scale

.PHONY: bench-docs
bench-docs: ## Write the tables and plots of docs/benchmarks.md from the results in docs/benchmarks
	UPDATE=1 $(CARGO) test --locked --test benchmarks

# `all`, a part of the single faults (all:1/4; without storms, guards, leaders and surroundings), one group of them (answers, late,
# events, killed, killed-late, terminated), two faults at once (pairs:48:7 is 48 plans by seed 7), or a rule file to run again what
# failed. Empty: the fixed sample.
FAULTS ?= all
.PHONY: faults
faults: ## Break every single write of a scenario in every way, and lose every event, on a real control plane, and print a table: an hour and a half on two quiet cores; FAULTS=all:1/4, killed, pairs:48:7 or a rule file
	TENANTRY_FAULTS=$(FAULTS) $(CARGO) test --locked --workspace --test it faults::$(if $(filter all,$(FAULTS)),,after_any) -- --nocapture --test-threads=1

SOAK_MINUTES ?= 60
SOAK_TENANTS ?= 100
.PHONY: soak
soak: ## Keep SOAK_TENANTS (100) tenants changing for SOAK_MINUTES (60, and some 3 of quiet) on a real control plane; fail if the operator grows
	SOAK_MINUTES=$(SOAK_MINUTES) SOAK_TENANTS=$(SOAK_TENANTS) $(CARGO) test --locked --workspace --test soak

##@ Change it
.PHONY: generate
generate: ## Write every generated file: CRDs, chart copies, docs, install.yaml
	$(build)
	$(CARGO) xtask generate
	@dirs=$$($(built)/controlplane assets helm) && PATH="$$(echo "$$dirs" | tr '\n' ':')$$PATH" sh tools/render-install.sh

.PHONY: clean
clean: stop ## End what runs and remove what was built here; what is cached outside the tree stays
	$(CARGO) clean

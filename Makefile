# All tasks. A fresh machine needs Rust, Go, git and make. The first `make run` or `make test` builds a Kubernetes control
# plane once (about ten minutes on two cores) and caches it outside the tree.

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

# Cargo's folder of programs. One build for all: separate builds would compile the dependencies with other features.
built = $(shell $(CARGO) metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug
build := $(CARGO) build --locked --workspace --bins
unknown_cluster = echo "CLUSTER=$(CLUSTER) is unknown: omit it, or use CLUSTER=kind" >&2; exit 2
# A first build takes minutes, so print a line first.
quietly = [ -x $(built)/lab ] || echo "building first: a minute or two"; $(build) --quiet

##@ Try it
.PHONY: help
help: ## Show this
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z][a-z-]*:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: run
run: ## Build, start a cluster on this machine, install the chart, run the operator, apply the examples; all keep running
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
	@$(built)/lab status || [ $$? -eq 3 ] # 3: nothing runs; the program has printed that

.PHONY: stop
stop: ## Stop the cluster and operator that `make run` started, and remove their data
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
	  echo "you need helm 3 or 4 (https://helm.sh/docs/intro/install), or HELM=/path/to/it; docs/install.md has a way without it" >&2; exit 2; }
	@command -v $(KUBECTL) >/dev/null || { \
	  echo "you need kubectl (https://kubernetes.io/docs/tasks/tools), or KUBECTL=/path/to/it" >&2; exit 2; }
	@# Helm looks up the kind of TenantTemplates before it creates their definition, so the first installation takes two steps.
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
.PHONY: test
test: lint deny ## Run all checks: lints, generated files, licences, chart, unit, golden, property and real control plane tests
	$(CARGO) test --locked --workspace --no-fail-fast

.PHONY: unit
unit: ## Run only the tests that need no control plane: seconds
	$(CARGO) test --locked --workspace --lib --bins --test generated --test templates --test docs --test benchmarks --test spec

.PHONY: chart-test
chart-test: ## Test the chart: unit tests, and every variant on a real API server
	$(CARGO) test --locked --workspace --test it chart

.PHONY: lint
lint: ## Check format and clippy (warnings are errors), with and without traces
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- --deny warnings
	$(CARGO) check --locked --features otlp

.PHONY: deny
deny: ## Check licences, sources and duplicates of dependencies, and known vulnerabilities if the database is reachable
	@sh tools/deny.sh

.PHONY: verify
verify: ## Fail if a generated file is stale
	$(CARGO) test --locked --workspace --test generated generated_file
	$(CARGO) test --locked --workspace --test it checked_in_is_current

.PHONY: bench
bench: ## Compare the operator with the raw limit of the API server; docs/benchmarks.md lists the settings (BENCH_TENANTS ...)
	$(CARGO) bench --locked --bench scale

.PHONY: bench-docs
bench-docs: ## Write the tables and plots of docs/benchmarks.md from the results in docs/benchmarks
	UPDATE=1 $(CARGO) test --locked --test benchmarks

# `all`; a part of the single faults (all:1/4, without storms, guards, leaders and surroundings); one group (answers, late, events,
# killed, killed-late, terminated); two faults at once (pairs:48:7 is 48 plans by seed 7); or a rule file, to repeat a failure.
# Empty: the fixed sample.
FAULTS ?= all
.PHONY: faults
faults: ## Break every write and lose every event of a scenario on a real control plane: 90 minutes on two quiet cores; FAULTS=all:1/4, killed, pairs:48:7 or a rule file
	TENANTRY_FAULTS=$(FAULTS) $(CARGO) test --locked --workspace --test it faults::$(if $(filter all,$(FAULTS)),,after_any) -- --nocapture --test-threads=1

SOAK_MINUTES ?= 60
SOAK_TENANTS ?= 100
.PHONY: soak
soak: ## Keep SOAK_TENANTS (100) tenants changing for SOAK_MINUTES (60, plus about 3) on a real control plane; fail if the operator grows
	SOAK_MINUTES=$(SOAK_MINUTES) SOAK_TENANTS=$(SOAK_TENANTS) $(CARGO) test --locked --workspace --test soak

##@ Change it
.PHONY: generate
generate: ## Write every generated file: CRDs, chart copies, docs, install.yaml
	$(build)
	$(CARGO) xtask generate
	@dirs=$$($(built)/controlplane assets helm) && PATH="$$(echo "$$dirs" | tr '\n' ':')$$PATH" sh tools/render-install.sh

.PHONY: clean
clean: stop ## Stop the cluster and remove build outputs; keep the caches outside the tree
	$(CARGO) clean

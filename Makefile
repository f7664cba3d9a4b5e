# Everything is done through these targets, on a laptop as in CI. ARGS="..." is passed on.

BIN := .venv/bin
ARGS ?=
PROFILE ?= short
JOBS ?= 4
# What the image can do beyond the engine itself; `embedded`, the servers of `make dev`, is left out.
IMAGE_EXTRAS := a2a mcp otel

# Where images set this, each of the hundreds of processes of a test run would compile everything it imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo dev test long check drill bench soak chaos dashboards lock clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: ## Fill .venv, with uv when it is there, else with venv and pip
	@bin/setup

demo: install ## Start everything, run the runbook's workflow, show it, stop
	@$(BIN)/workflow-engine demo $(ARGS)

dev: install ## Start everything on port 3003 and leave it running (ARGS="--workers 4")
	@$(BIN)/workflow-engine dev $(ARGS)

test: install ## Run the tests on real servers (ARGS="tests/unit -k cycle"; JOBS=0: one after the other)
	@$(BIN)/pytest --numprocesses $(JOBS) --dist loadscope $(ARGS)

long: install ## Run the tests that take minutes: the image built and run, each alert caused, workers scaled, a backup restored
	@$(BIN)/pytest -m long $(ARGS)

check: install ## Lint, formatting, types, layers; deploy/ (what bin/deploy-tools brought); alert rules, names of metrics; known vulnerabilities, if there is a network
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python bin/check-alerts
	@$(BIN)/python -m deploy.checks
	@$(BIN)/python bin/check-metrics
	@$(BIN)/python -m deploy.grafana --check
	@$(BIN)/python bin/audit

drill: install ## Cause, see and cure the runbook's five Common Issues, one line of verdict each (ARGS=3 for the third)
	@PYTHONPATH=tests $(BIN)/python -m drills $(ARGS)

bench: install ## Measure throughput, latency and growth beside stock procrastinate and pgbench (PROFILE=full)
	@$(BIN)/python -m benchmarks --profile $(PROFILE) $(ARGS)

soak: install ## An engine and two workers under steady load for an hour: sizes, turns, memory (ARGS="--minutes 10 --rate 200")
	@$(BIN)/python -m benchmarks.soak $(ARGS)

chaos: install ## Real processes under load while faults are inflicted, for 3 minutes; then what is still true (ARGS="--minutes 30 --seed 7")
	@$(BIN)/python -m chaos $(ARGS)

dashboards: install ## Make the Grafana dashboards in deploy/grafana (ARGS="--engine-url https://workflows.example.com")
	@$(BIN)/python -m deploy.grafana $(ARGS)

LOCKED := uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url
LOCKED_AS_HERE := $(LOCKED) --constraints requirements.lock

lock: ## Resolve requirements.lock and the locks of deploy/ anew; needs uv (ARGS=--upgrade takes the newest versions)
	@$(LOCKED) --all-extras --group dev $(ARGS) --output-file requirements.lock pyproject.toml
	@$(LOCKED_AS_HERE) $(foreach extra,$(IMAGE_EXTRAS),--extra $(extra)) --output-file deploy/image/run.lock pyproject.toml
	@echo hatchling | $(LOCKED_AS_HERE) --output-file deploy/image/build.lock -
	@for tools in tools node kubectl; do \
		$(LOCKED) $(ARGS) $$([ $$tools != kubectl ] || echo --no-deps) --output-file deploy/checks/$$tools.lock deploy/checks/$$tools.in; \
	done

clean: ## Remove .venv and caches; the data of `make dev` in .workflow-engine stays
	rm -rf .venv .deploy-tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
	find src tests benchmarks drills chaos deploy -name __pycache__ -type d -prune -exec rm -rf {} +

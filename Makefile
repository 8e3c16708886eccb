# Commands for people who have the checkout. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON := .venv/bin/python

.PHONY: help demo dev test check check-newest check-callers bench bench-peers sync server parts

help: ## Lists these commands.
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | \
	  while IFS=$$'\t' read -r name text; do printf '  make %-12s %s\n' "$$name" "$$text"; done

demo: sync server ## Runs the demo: servers, a worker and callers that speak, on this machine, with no keys.
	@$(PYTHON) -m agent demo $(ARGS)

dev: sync server ## Runs the services, a worker and a page to talk with an agent by microphone, until Ctrl-C.
	@$(PYTHON) -m agent dev $(ARGS)

test: sync server parts ## Runs all tests, on real servers that it gets and starts by itself.
	@scripts/run-tests $(ARGS)

check: sync ## Checks format, lint, types and the shipped bundles.
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m mypy
	@env $(NO_KEYS) $(PYTHON) -m agent bundles check

check-newest: sync server ## Tries everything with the newest livekit-agents, in an environment of its own.
	@scripts/check-newest $(ARGS)

check-callers: ## Checks and tests the callers of the benchmarks that are written in Go; needs Go.
	@cd benchmarks/opus_callers && test -z "$$(gofmt -l .)" && go vet . && go test .

bench: sync server ## Measures what the README states, beside a plain worker, in the same run.
	@$(PYTHON) -m benchmarks $(ARGS)

bench-peers: sync server ## Measures OpenRTC, from PyPI, beside a plain worker and ours.
	@$(PYTHON) -m benchmarks.peers $(ARGS)

# Checking bundles only asks whether keys are set: these stand for them, for this one command.
NO_KEYS := AGENT_BUNDLES=bundles OPENAI_API_KEY=placeholder ELEVEN_API_KEY=placeholder

# --- what those commands need, got only when it is missing

SYNC := sync --locked --extra offline

sync: ## Makes .venv with everything, as uv.lock has it.
	@uv=$$(scripts/find-uv) && { $$uv $(SYNC) --check --quiet 2> /dev/null || $$uv $(SYNC); }

server: sync ## Gets a livekit-server when there is none.
	@$(PYTHON) -m agent.services.livekit_server > /dev/null

parts:
	@scripts/install-test-parts

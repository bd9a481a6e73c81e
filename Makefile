# Orderflow. `make demo` and `make test` are all that most people need; `make help` lists the rest.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV   ?= .venv
# Only for bench-versus: the libraries that speed is compared with.
BENCH_VENV ?= .venv-bench
BIN    := $(VENV)/bin
DATA   ?= data
# The simulated markets of the demo: hours of history that Binance futures starts with (a model needs twenty; none where
# data is stored already, as each start is a world of its own), hours of the eight others, how busy they are (1 is about
# the real thing), and the time between two book snapshots.
HISTORY ?= $(if $(wildcard $(DATA)/orderflow.duckdb),0,24)
LATE ?= 1
ACTIVITY ?= 0.25
BOOK_INTERVAL_MS ?= 1000
# PyTorch's index of CPU wheels, where pip does not find one by itself (its install page has the address).
TORCH_INDEX ?=
TORCH  := torch==2.13.0
# Tests side by side: many wait for sockets and clocks, so one more than there are cores.
JOBS   ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
# Recorded candles for bench-forecast: gzipped CSV with ts_ms, open, high, low, close, volume.
FORECAST_DATA ?= ../shared/market_data
# Ctrl-C and a terminate signal are the way to stop, not a failure.
STOPPED := || { code=$$?; [ $$code -eq 130 ] || [ $$code -eq 143 ] || exit $$code; }

export ORDERFLOW_DATA_DIR := $(DATA)
export OMP_WAIT_POLICY := PASSIVE
export HF_HUB_OFFLINE := 1
export HISTORY LATE ACTIVITY BOOK_INTERVAL_MS
export PATH := $(abspath $(BIN)):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help install demo up test test-fast conformance packages check format docs bench bench-forecast bench-versus clean

help: ## Show this list.
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## Install everything into .venv.

# torch comes first, as a CPU build where one is offered and the machine has no NVIDIA card; uv keeps it.
$(VENV)/.installed: pyproject.toml uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' \
		|| { echo "Orderflow needs Python 3.11 or 3.12; set PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "uv>=0.8"
	@if command -v nvidia-smi >/dev/null 2>&1; then \
		$(BIN)/python -m pip install --quiet "$(TORCH)"; \
	else \
		$(BIN)/python -m pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$(TORCH)+cpu" 2>/dev/null \
			|| $(BIN)/python -m pip install --quiet "$(TORCH)"; \
	fi
	$(BIN)/uv sync --frozen --inexact --compile-bytecode --extra all --no-install-package torch
	@touch $@

demo: install ## Everything at once, offline: nine simulated markets, daemon, Dagster and the MCP server.
	@mkdir -p $(DATA)
	@echo "Orderflow demo: $(HISTORY) h of simulated market, then real time. Stop with Ctrl-C."
	@echo "  Dagster  http://127.0.0.1:3000          lineage, runs, checks, backfills"
	@echo "  MCP      http://127.0.0.1:8765/mcp      claude mcp add --transport http orderflow http://127.0.0.1:8765/mcp"
	@echo "  Status   $(BIN)/orderflow-stream status   http://127.0.0.1:9108/health   http://127.0.0.1:9108/metrics"
	@ORDERFLOW_SIMULATOR_URL=http://127.0.0.1:8900 ORDERFLOW_OVERFLOW=wait \
		ORDERFLOW_FLUSH_INTERVAL_SECONDS=1 $(BIN)/honcho start simulator stream dagster mcp $(STOPPED)

up: install ## The same on the live exchanges.
	@mkdir -p $(DATA)
	@echo "Orderflow: http://127.0.0.1:3000 is Dagster, http://127.0.0.1:8765/mcp is MCP. Stop with Ctrl-C."
	@$(BIN)/honcho start stream dagster mcp $(STOPPED)

test: install ## Install everything and run all tests.
	$(BIN)/python -m pytest -n $(JOBS) --dist loadscope --no-loadscope-reorder

test-fast: install ## The tests without the slow ones.
	$(BIN)/python -m pytest -n $(JOBS) --dist loadscope --no-loadscope-reorder -m "not slow"

conformance: install ## The official MCP conformance suite and the inspector; needs npx, which fetches them.
	$(BIN)/python -m tests.mcp.conformance

packages: install ## Build the Claude Desktop bundle (.mcpb) and server.json into dist.
	PYTHONPATH=. $(BIN)/python .ci/packages.py dist

check: install ## Lint, format and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install ## Format the code.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: install ## Write the pages of docs/reference from the declarations.
	$(BIN)/python -m orderflow_assets.catalog --write-docs docs/reference

bench: install ## Measure speed; prints a table and JSON.
	$(BIN)/python -m tests.bench

bench-forecast: install ## Every model on recorded candles, against the last value; FORECAST_DATA is their folder.
	$(BIN)/python -m tests.bench.forecasting --data $(FORECAST_DATA)

bench-versus: install $(BENCH_VENV)/.installed ## The same beside cryptofeed and ccxt.pro, which it installs apart.
	ORDERFLOW_BENCH_VENV=$(BENCH_VENV) $(BIN)/python -m tests.bench versus

$(BENCH_VENV)/.installed: tests/bench/requirements.txt
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet -r $<
	@touch $@

clean: ## Remove the environment, the data and Dagster's history.
	rm -rf $(VENV) $(BENCH_VENV) $(DATA) .dagster

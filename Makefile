# `make demo` and `make test` do all the setup: both create .venv if it is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
SOURCES := bilin tests benchmarks
# Trials compute with one thread each, so two processes fill two cores.
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

.PHONY: demo test test-clusters check coverage format metrics tables pictures reproduce hierarchy survival fuzz bench gpu-check clean

demo: $(VENV)/.installed
	$(BIN)/bilin sweep launch examples/quickstart.yaml
	$(BIN)/bilin results table --sweep quickstart
	@echo
	$(BIN)/bilin results plot length --sweep quickstart --output quickstart.png
	@echo
	$(BIN)/bilin results report quickstart --output quickstart.html
	@echo
	@echo "bilin is installed in $(VENV). To use it: source $(BIN)/activate"

# Ten minutes at most on two idle cores: everything but the slow tests, and those that start a Slurm cluster.
test: check
	$(PYTEST) -m "not slurm and not slow"

# With the slow tests, and with branch coverage, which must reach `fail_under` in pyproject.toml.
coverage: $(VENV)/.installed-dev
	$(PYTEST) -m "not slurm" --cov --cov-report=term --cov-report=json --durations=25

test-clusters: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slurm $(PYTEST_ARGS)

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

# Another checkout beside this one: make metrics PATHS="../before ."
PATHS ?= .
metrics:
	$(PYTHON) -m benchmarks.metrics $(PATHS)

# The tables of keys and fields in docs/, and the reference of docs/python.md, from the code.
tables: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.tables
	$(BIN)/python -m benchmarks.reference

# The pictures in the README, from the sweep of `make demo`.
pictures: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.pictures

# The published tables, as far as the budget goes; it continues where it stopped. PROTOCOL=published: without a change.
BUDGET_MIN ?= 100
PROTOCOL ?= budget
reproduce: $(VENV)/.installed
	$(BIN)/python -m benchmarks.reproduce --budget-min $(BUDGET_MIN) --protocol $(PROTOCOL)
	$(BIN)/bilin results compact --store reproduction
	$(BIN)/python -m benchmarks.reproduction --write

hierarchy: $(VENV)/.installed
	$(BIN)/bilin sweep launch examples/hierarchy.yaml --store reproduction
	$(BIN)/bilin results compact --store reproduction
	$(BIN)/python -m benchmarks.hierarchy > docs/hierarchy.md

survival: $(VENV)/.installed-dev
	$(BIN)/python -m pytest tests/survival.py tests/slurm/survival.py --timeout 3600 -s

fuzz: $(VENV)/.installed-dev
	BILIN_TEST_EXAMPLES=50 $(BIN)/python -m pytest --timeout 3600 tests/orchestrator/grid/test_fuzz.py \
	    tests/orchestrator/sweep/test_damaged_store.py tests/results/store/test_writer.py

# Speed, each as ratios within one run: tables on the terminal, and JSON files in bench/. Takes hours on two cores.
bench: $(VENV)/.installed-dev
	$(PIP) --editable '.[bench]'
	$(BIN)/python -m benchmarks.step_time --json bench/step_time.json
	$(BIN)/python -m benchmarks.packing --json bench/packing.json
	$(BIN)/python -m benchmarks.overhead --json bench/overhead.json
	$(BIN)/python -m benchmarks.planning --json bench/planning.json
	$(BIN)/python -m benchmarks.query --json bench/query.json
	$(BIN)/python -m benchmarks.report --json bench/report.json
	$(BIN)/python -m benchmarks.pruning --json bench/pruning.json
	$(BIN)/python -m benchmarks.time_to_table --json bench/time_to_table.json

# On a machine with a GPU; it needs no network and no Ray. It uses the Python that has torch with CUDA: PYTHON=...
gpu-check:
	$(or $(wildcard $(BIN)/python),$(PYTHON)) -m benchmarks.gpu_check

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis \
	    .coverage* coverage.json bench quickstart.png quickstart.html

$(VENV)/.created:
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info[:2] <= (3, 13) else "bilin needs Python 3.11 to 3.13, found " + sys.version.split()[0] + ": run make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml constraints.txt
	$(PIP) --editable '.[plot]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.created pyproject.toml constraints.txt
	$(PIP) --editable '.[dev]'
	touch $@ $(VENV)/.installed

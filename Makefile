# Everything runs in .venv, which `up` and `test` make themselves; the second time they find it ready.
# The default tests run three at a time (pyproject.toml): many wait, so two cores are kept busy. What takes whole cores or
# measures time runs alone (-n 0).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TRIALS ?= 12
WORKERS ?= 2
RED := $(wildcard tests/redteam/test_*.py)

.PHONY: up test default-tests mutants mutants-fast lint bench bench-long bench-search chaos drill redteam test-slow test-exports test-agents test-gpu gpu-evening pictures bench-report docs wheel notebook clean

up: $(READY)  ## set up and run a small study with two workers
	$(BIN)/swarm up --workers $(WORKERS) --trials $(TRIALS)

test: $(READY) default-tests mutants-fast  ## the default tests, and a few of the mutants

default-tests: $(READY)  ## what fails beside others is tried once more, alone, and has to pass there
	$(BIN)/python -m pytest || $(BIN)/python -m pytest -n 0 --last-failed --last-failed-no-failures none

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile

test-slow: $(READY)  ## real trainings and whole studies, minutes each
	$(BIN)/python -m pytest -n 0 -m slow --timeout 1200

chaos: $(READY)  ## kills, hangs and faults; CHAOS_KILLS=500, CHAOS_HANGS=200 and CHAOS_SEED may be set
	$(BIN)/python -m pytest -n 0 -s -m chaos --timeout 3600

drill: $(READY)  ## faults injected into studies in a throw-away folder, about a minute
	$(BIN)/swarm drill

mutants: $(READY)  ## each safeguard off in turn: a test must notice; ARGS="--only NAME" for some of them
	$(BIN)/python tests/mutants/run.py $(ARGS)

mutants-fast: $(READY)  ## a few of them, in seconds
	$(BIN)/python tests/mutants/run.py --fast

redteam: $(READY)  ## hostile candidates against the harness, alone on the machine: a table of what each came to
	$(BIN)/python -m pytest -n 0 -m redteam --timeout 900 $(RED)

gpu-evening: $(READY)  ## half an hour on a card: results, a figure and a table in gpu-evening/; ARGS="--device cpu --short" without one
	$(BIN)/python benchmarks/gpu_evening $(ARGS)

test-exports: $(READY)  ## swarm export against the real libraries of its stores; installs them, about 400 MB
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[parquet,tensorboard,mlflow,wandb,optuna]'
	$(BIN)/python -m pytest -n 0 -m 'slow or not slow' tests/swarm/report/test_export_stores.py

test-agents: $(READY)  ## the real coding agents on a scripted model; installs them by name in .agents/, about 2 GB
	$(BIN)/python tests/agents/install.py .agents
	SWARM_TEST_AGENTS=$(CURDIR)/.agents $(BIN)/python -m pytest -n 0 -s -rs -m agents $(ARGS) tests/agents

test-gpu: $(READY)
	$(BIN)/python -m pytest -n 0 -m gpu --timeout 1200

bench: $(READY)  ## the quick figures of docs/benchmarks.md, one JSON line each, about ten minutes
	for bench in cli brain pipeline overhead admission; do $(BIN)/python benchmarks/$$bench.py --json || exit 1; done

bench-long: $(READY)  ## real trainings, about half an hour on a quiet machine
	for bench in idle fairness early_stop baselines; do $(BIN)/python benchmarks/$$bench.py --json || exit 1; done

bench-search: $(READY)  ## search policies and the memory ablation on the replay table, a few minutes
	for bench in search memory; do $(BIN)/python benchmarks/$$bench.py --json || exit 1; done

pictures: $(READY)  ## the README's pictures of the recorded study; needs Chromium
	$(BIN)/pip install -q -c constraints.txt --group browser
	$(BIN)/python docs/make_pictures.py

bench-report: $(READY)  ## report, figures and first paint at 2,000 trials, under a minute
	$(BIN)/python benchmarks/report.py --json

docs: $(READY)  ## fill the generated parts of docs/reference from the code
	$(BIN)/python docs/make_reference.py

wheel: $(READY)  ## dist/*.whl: swarm and workers, with the targets as data
	$(BIN)/python -m pip wheel -q --disable-pip-version-check --no-deps -w dist .

# Jupyter prints its address, with the token. A browser is opened where there is a screen.
NO_BROWSER := $(if $(DISPLAY)$(WAYLAND_DISPLAY)$(filter Darwin,$(shell uname)),,--no-browser)

notebook: $(READY)  ## watch the study in Jupyter, also as root and without a browser
	$(BIN)/pip install -q -c constraints.txt -e '.[notebook]'
	$(BIN)/jupyter lab --allow-root $(NO_BROWSER) --LabApp.default_url=/lab/tree/notebooks/watch.ipynb

clean:  ## remove caches and finished trials; the brain, refs and the environment stay
	rm -rf .swarm/trials .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	@echo "Setting up $(VENV): torch and its libraries are about 5 GB, once."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt pip
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[train,models,cost,web]' --group test --group lint
	@touch $@

# make setup | demo | test | check | bench | test-train | test-web: each sets up what it needs by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
OUT ?= out/demo
# Small matrices: more threads only wait for each other, above all under parallel tests.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: setup demo test check bench test-pyannote test-train test-web clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python run_pipeline.py models pull
	touch $@

demo: $(READY)
	$(BIN)/python run_pipeline.py process examples/conversation.flac --out $(OUT)
	@echo
	@cat $(OUT)/conversation/transcript.txt

test: $(READY)
	$(BIN)/python -m pytest -n auto

.venv-pyannote/.ready: pyproject.toml constraints-pyannote.txt
	$(PYTHON) -m venv .venv-pyannote
	.venv-pyannote/bin/python -m pip install --quiet --constraint constraints-pyannote.txt \
		--editable '.[pyannote,whisper,pocketsphinx]' pytest pytest-timeout
	touch $@

test-pyannote: .venv-pyannote/.ready
	.venv-pyannote/bin/python -m pytest tests/pyannote

.venv-train/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-train
	.venv-train/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[train]' pytest pytest-timeout tensorboard
	touch $@

test-train: .venv-train/.ready
	.venv-train/bin/python -m pytest tests/training

test-web:
	cd web && npm ci --silent --no-audit --no-fund && npm run --silent check && npm test --silent

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_house.py

bench: $(READY)
	$(BIN)/python -m benchmarks.accuracy --json benchmarks/results/accuracy.json
	$(BIN)/python -m benchmarks.accuracy --profile fast --json benchmarks/results/accuracy-fast.json
	$(BIN)/python -m benchmarks.speed --json benchmarks/results/speed.json

clean:
	rm -rf $(VENV) .venv-pyannote .venv-train out

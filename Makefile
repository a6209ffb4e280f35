# Everything a bare machine with python3, pip and make needs: both commands set up .venv first.
#
#   make demo    the main job from end to end
#   make test    checks the project
#   make wheel   the same demo from the wheel alone, in an empty environment

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test wheel lint types unit clean

demo: .venv/installed
	$(BIN)/tonghua demo

test: lint types unit

wheel: .venv/installed
	$(BIN)/python .ci/wheel.py

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/ready
	$(BIN)/mypy

# Two processes of one thread each: the tests are many and small.
unit: .venv/ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) .ci/ready.py
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --upgrade "pip>=25.1"
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[fast]"
	@touch $@

.venv/ready: .venv/installed
	$(BIN)/python -m pip install -q -c constraints.txt --group dev
	@touch $@

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache

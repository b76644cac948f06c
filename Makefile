# The two commands of the README: `make demo` shows the product, `make test` checks it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet -c constraints.txt

.PHONY: demo test bench clean

demo: $(VENV)/.demo
	$(BIN)/ragvlm corpus simulate corpora/demo --n 400 --seed 0
	$(BIN)/ragvlm index corpora/demo --out indexes/demo
	$(BIN)/ragvlm corpus simulate corpora/demo-queries --n 6 --seed 1
	$(BIN)/ragvlm search "red blood cells and a neutrophil" --index indexes/demo -k 3
	$(BIN)/ragvlm describe corpora/demo-queries/images/* \
		$$($(BIN)/python -c "import importlib.util, pathlib; d = pathlib.Path(importlib.util.find_spec('skimage').origin).parent / 'data'; print(*(d / n for n in ('ihc.png', 'cell.png', 'microaneurysms.png', 'retina.jpg', 'coffee.png')))") \
		--index indexes/demo --report demo/report.html
	@echo "Open demo/report.html in a browser."

test: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest

bench: $(VENV)/.demo
	$(BIN)/python benchmarks/startup.py

clean:
	rm -rf $(VENV) corpora/demo corpora/demo-queries indexes/demo demo dist

$(VENV)/.demo: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -e ".[demo]"
	touch $@

$(VENV)/.test: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -e ".[test]"
	touch $@

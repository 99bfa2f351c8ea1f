# Every target bootstraps what it needs into .venv; the system Python is never touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(or $(shell command -v uv 2>/dev/null),$(BIN)/uv)
READY := $(VENV)/.ready
PACKAGES := chainette-core chainette-openai chainette-vllm chainette-vllm-local chainette-ollama \
	examples/chainette-llamacpp
SOURCES := $(addsuffix /src,$(PACKAGES))

# Else every command that a test starts would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo demo-gallery fuzz test test-all test-vllm test-ollama test-converters lint types \
	format docs docs-check docs-links docs-peers report-assets bench bench-full bench-vllm build \
	lock clean

demo: $(READY)
	$(BIN)/chainette run-yaml examples/engine_clinical_qa.yaml \
		--engines examples/engines.llamacpp.yml -o runs/demo --overwrite

# Four recipes of docs/recipes on the small model.
GALLERY ?= ultrafeedback magpie semantic-join arena-hard
demo-gallery: $(READY)
	$(BIN)/python docs/gallery.py examples/engines.gallery.yml runs/gallery $(GALLERY:%=docs/recipes/%.md)

# Left out: what builds distributions and environments, examples on the real model, and combinations.
# Tests often wait for servers, so there are more workers than cores.
WORKERS ?= $(shell $(PYTHON) -c "import os; print(os.cpu_count() * 3 // 2)")
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal
test: $(READY)
	$(PYTEST) -m "not (packaging or docs_venv or examples or exhaustive or converters)"

# Last come the tests whose model takes all cores: beside others, they would take ten times as long.
test-all: $(READY)
	$(PYTEST) -m "not (converters or alone)"
	$(BIN)/python -m pytest tests/docs -m alone

# The real vLLM (its CPU build) in an environment of its own; 5 GB the first time.
test-vllm:
	tests/vllm/setup.sh .venv-vllm
	.venv-vllm/venv/bin/python -m pytest tests/vllm -m vllm

# The Ollama backends on a proxy that others wrote, and on `ollama` where it is installed.
test-ollama: $(READY)
	test -x .venv-ollama/bin/ollama-proxy || ( $(PYTHON) -m venv .venv-ollama && \
		.venv-ollama/bin/pip install --quiet --disable-pip-version-check ollama-proxy-plus==0.1.0 )
	$(BIN)/python -m pytest tests/ollama -m ollama

# Schemas of 500 random models on llama.cpp's converter: the current one, and one that crashes.
test-converters: $(READY)
	test -d .venv-converters || $(UV) pip install --quiet --no-deps --python $(BIN)/python \
		--target .venv-converters xllamacpp==2026.8.10229
	$(BIN)/python -m pytest tests/dialects -m llamacpp -s

# Random texts and files for so many seconds each; atheris has wheels for Linux only.
SECONDS_EACH ?= 600
fuzz: $(READY)
	test -d .venv-fuzz/atheris || $(UV) pip install --quiet --target .venv-fuzz atheris==3.0.0
	for harness in json:json_text yaml:yaml_files; do \
		mkdir -p .venv-fuzz/$${harness%:*} && PYTHONPATH=.venv-fuzz $(BIN)/python \
			fuzz/$${harness#*:}.py -max_total_time=$(SECONDS_EACH) -rss_limit_mb=4096 \
			-artifact_prefix=.venv-fuzz/ .venv-fuzz/$${harness%:*} fuzz/seeds/$${harness%:*} \
			|| exit 1; \
	done
	$(BIN)/python -m pytest -m hypothesis --hypothesis-profile=fuzz --timeout=0

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive $(SOURCES)

# Our code, then users' code: expected types and errors, the pages' Python, the public symbols.
types: $(READY)
	$(BIN)/mypy $(SOURCES)
	tests/typing/check.sh

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Writes tables and the commands' reference into the pages, then builds docs/_build/html.
COG := $(BIN)/cog -P -I docs -p "from tables import *"
COGGED := docs/engines.md docs/runs.md docs/writing-a-backend.md docs/backends/*.md docs/reference/cli.md docs/reference/fields.md
SITE := docs/_build/html
docs: $(READY)
	$(COG) -r $(COGGED)
	$(BIN)/python docs/schemas.py
	$(BIN)/sphinx-build -W --keep-going --quiet -b html docs $(SITE)

# What `make docs` would change is stale, and a page with a warning is not built.
docs-check: $(READY)
	$(COG) --check $(COGGED)
	$(BIN)/sphinx-build -W --keep-going --quiet -E -b html docs $(SITE)

# Needs npm. The script and the style of a run's report, which are committed as they are built.
report-assets:
	cd chainette-core/report-assets && npm ci --silent && npm run --silent build

# Asks every address that the pages link to; needs the internet.
docs-links: $(READY)
	$(BIN)/sphinx-build -W --keep-going --quiet -b linkcheck docs docs/_build/linkcheck

# The programs of other libraries in coming-from.md, each in an environment of its own (1 GB).
docs-peers: $(READY)
	$(BIN)/python docs/peers.py .bench/docs

# Needs nginx. Against the bare loop and three peers, in minutes; the figures go into RESULTS.md.
bench: $(READY)
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/compare.py
	$(BIN)/python benchmarks/report.py

# Against every peer, each in an environment of its own under .bench (2 GB).
bench-full: $(READY)
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/compare.py --full
	$(BIN)/python benchmarks/report.py
	$(BIN)/python benchmarks/memory.py

# The same model over HTTP and in process, on the real vLLM.
bench-vllm:
	tests/vllm/setup.sh .venv-vllm
	.venv-vllm/venv/bin/python benchmarks/parity.py

build: $(READY)
	rm -rf dist
	for package in $(PACKAGES); do \
		$(BIN)/python -m build --no-isolation --outdir dist $$package || exit 1; \
	done

# Resolve for every supported Python and platform, then write pins and hashes.
lock: $(READY)
	$(UV) lock --upgrade
	$(UV) export --frozen --all-packages --all-extras --all-groups --no-emit-workspace \
		--no-emit-package vllm --no-header --quiet --output-file requirements.lock

clean:
	rm -rf $(VENV) .venv-* .bench dist docs/_build runs

$(READY): requirements.lock $(addsuffix /pyproject.toml,$(PACKAGES))
	$(PYTHON) -c 'import sys; sys.exit("Chainette needs Python 3.10 or newer: make PYTHON=/path/to/python3") if sys.version_info < (3, 10) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	command -v $(UV) >/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation \
		$(addprefix --editable ,$(PACKAGES))
	touch $@

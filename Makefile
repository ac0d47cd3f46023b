# make serve     run the gateway on ./data (more flags: make serve ARGS="--http 127.0.0.1:9090")
# make test      everything: the checks, then all tests on real servers (some of them: make test ARGS="-k stow")
# make representations  every file in every form that it can be had in, pixels compared (a quarter of an hour)
# make torture  the tests of faults at length (some hours; a part of that: make torture SHARE=5, in percent), with a report
# make check     format, lint, strict types, import contract (make lint), known vulnerabilities (make audit)
# make sbom      a bill of materials of the default installation (CycloneDX), artifacts/sbom.json
# make pictures  renew the pictures of the page in docs/images
# make format    put the code into its format
# make bench     the benchmarks, into docs/performance.md (a look: make bench ARGS="--size small --out /tmp/bench"; a piece:
#                make bench ARGS="--only qido --keep /tmp/kept")
# make constraints  renew constraints.txt
# make clean     remove what the above made; ./data stays
#
# Everything lives in this folder; only Debian packages are installed elsewhere, with apt-get, by `make test`.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
PY := $(VENV)/bin/python
INPUTS := pyproject.toml constraints.txt
ARGS ?=
# Processes that run tests: two more than there are cores, since some tests wait, but not many, since each starts servers of its
# own. Files are dealt out whole, so that what a file's tests share is made once.
TEST_WORKERS ?= $(shell n=$$(($$(nproc 2>/dev/null || echo 2) + 2)); echo $$((n > 6 ? 6 : n)))

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# The tests start some hundreds of processes: none of them should compile the sources anew.
unexport PYTHONDONTWRITEBYTECODE

# Install the distribution from this folder with extras, as pinned, its build tool too; once more if a download failed.
define install
	@echo "installing Gantry$(1) into $(VENV)"
	@pip() { $(PY) -m pip install -q -c constraints.txt $(2) "$$@"; }; \
	all() { pip setuptools && pip --no-build-isolation -e '.$(1)'; }; \
	all || { echo "that failed; once more" >&2; sleep 5; all; }
endef

.PHONY: help
help:
	@sed -n '/^# make/s/^# //p; /^#   /s/^# //p' Makefile

# A Python of 3.11 or newer that can make environments; Debian keeps that part in python3-venv.
$(PY):
	@find_python() { \
	  for p in $${PYTHON:-} python3 python3.13 python3.12 python3.11; do \
	    if "$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$$p"; return; fi; \
	  done; }; \
	p=$$(find_python); \
	if [ -z "$$p" ] && command -v apt-get >/dev/null; then \
	  sudo=; [ "$$(id -u)" = 0 ] || sudo='sudo -n'; \
	  if $$sudo true 2>/dev/null; then \
	    echo "installing Debian packages: python3 python3-venv"; \
	    $$sudo apt-get update -qq; \
	    $$sudo env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends \
	      python3 python3-venv >/dev/null; \
	    p=$$(find_python); \
	  fi; \
	fi; \
	if [ -z "$$p" ]; then \
	  echo "Python 3.11 or newer with its venv module is missing. As root: apt-get install python3 python3-venv" >&2; \
	  echo "(or name one: make PYTHON=/path/to/python3.12 ...)" >&2; \
	  exit 1; \
	fi; \
	"$$p" -m venv --clear $(VENV)

# What is installed is as old as these stamps; a second run finds them newer than what they are made from.
$(VENV)/serve.stamp: $(INPUTS) | $(PY)
	$(call install,)
	@touch $@

# Compiled at need: much of what the tests bring along is never used.
$(VENV)/test.stamp: $(INPUTS) | $(PY)
	$(call install,[dev],--no-compile)
	@touch $@ $(VENV)/serve.stamp

.PHONY: serve
serve: $(VENV)/serve.stamp
	@exec $(VENV)/bin/gantry serve --data ./data $(ARGS)

# What is installed from elsewhere waits for the network much of the time, the checks need the cores: side by side.
.PHONY: test
test:
	@$(MAKE) --no-print-directory -j2 parts lint compiled
	@GANTRY_TESTS=all $(PY) -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS) || { status=$$?; [ $$status = 1 ] || exit $$status; \
	  echo "what failed is run once more, alone: only what fails again is wrong"; \
	  GANTRY_TESTS=all $(PY) -m pytest --last-failed --last-failed-no-failures none $(ARGS); }

# Without the Debian packages, OHIF, axe-core, or the JavaScript clients, the tests that need them fail and say so; the others are
# worth running all the same.
# The tests as Python runs them, made once: otherwise each process that runs some makes them all at the same time.
.PHONY: compiled
compiled: $(VENV)/test.stamp
	@$(PY) -m pytest --collect-only -q >/dev/null 2>&1 || true

.PHONY: debian
debian: | $(PY)
	@$(PY) tests/parts/debian.py || true

.PHONY: parts
parts: $(VENV)/test.stamp debian
	@for part in ohif axe browser_clients dimse_client provider; do $(PY) -m tests.parts.$$part || true; done

.PHONY: representations
representations: $(VENV)/test.stamp
	GANTRY_REPRESENTATIONS=all $(PY) -m pytest -n $(TEST_WORKERS) tests/gateway/dicomweb/test_representations.py $(ARGS)

SHARE ?= 1
FIGURES := artifacts/torture

# One after the other: what is measured should not be another test. The report is made whatever came out.
.PHONY: torture
torture: $(VENV)/test.stamp debian
	@mkdir -p artifacts && rm -f $(FIGURES).jsonl && touch $(FIGURES).jsonl
	@GANTRY_TESTS=all GANTRY_TORTURE=$(SHARE) GANTRY_TORTURE_FIGURES=$(CURDIR)/$(FIGURES).jsonl \
	  $(PY) -m pytest tests/faults -o timeout=7200 $(ARGS); status=$$?; \
	$(PY) -m tests.parts.torture $(FIGURES).jsonl $(FIGURES).md && echo "the report is $(FIGURES).md"; exit $$status

.PHONY: check
check: lint audit

# Known vulnerabilities in what is installed by default; skipped, with a word, where no list of them can be reached.
.PHONY: audit
audit: $(VENV)/test.stamp
	@deploy/audit.sh audit

.PHONY: sbom
sbom: $(VENV)/test.stamp
	@deploy/audit.sh sbom

.PHONY: lint
lint: $(VENV)/test.stamp
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo

# Those that are in docs/images already are renewed; a new one is put there by hand first.
.PHONY: pictures
pictures: $(VENV)/test.stamp
	@GANTRY_TESTS=all $(PY) -m pytest tests/gateway/ui/test_states.py tests/gateway/ui/test_viewer_ohif.py tests/gateway/ui/test_share.py tests/gateway/ui/test_oidc.py
	@for picture in docs/images/*.png; do \
	  made=artifacts/page-$$(basename "$$picture"); if [ -f "$$made" ]; then cp "$$made" "$$picture"; fi; done

.PHONY: format
format: $(VENV)/test.stamp
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

.PHONY: bench
bench: $(VENV)/test.stamp
	@$(PY) -m benchmarks $(ARGS)

.PHONY: constraints
constraints: | $(PY)
	@set -e; work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; \
	$(PY) -m venv "$$work/venv"; \
	"$$work/venv/bin/python" -m pip install -q '.[dev]'; \
	sed '/^[^#]/d' constraints.txt >"$$work/new"; \
	"$$work/venv/bin/python" -m pip freeze --all --exclude gantry --exclude pip >>"$$work/new"; \
	cp "$$work/new" constraints.txt

.PHONY: clean
clean:
	rm -rf $(VENV) build dist *.egg-info artifacts node_modules .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find gateway storage tests -name __pycache__ -prune -exec rm -rf {} +

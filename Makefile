# make serve   run the store from this checkout      ARGS="--flag ..." go to `kvstore serve`
# make test    everything a change must pass         ARGS="-k name ..." go to pytest
# make check   its quick part: format, lint, types, import directions
# make proto   the modules of kvstore.proto, from protos/
# make kubernetes       the programs of Kubernetes, built with Go (a quarter of an hour, once)
# make example-kubernetes  a control plane, an operator and GitOps on the store, told line by line
# make test-kubernetes  the proofs with them, which are not part of `make test`
# make bench   the benchmarks                        ARGS go to `python -m bench`
# make clean   remove what the others made
#
# Everything is installed into .venv; a stamp file in it stands for each step that is done.

VENV := .venv
BIN := $(VENV)/bin
PACKAGE := $(VENV)/.package-installed
DEV := $(VENV)/.dev-installed
KUBERNETES := $(VENV)/.kubernetes-installed
PIP := $(BIN)/python -m pip --disable-pip-version-check

# The first Python that is new enough; looked up only when .venv is made.
PYTHON = $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		&& echo $$python && break; done)
SUDO = $(shell test "$$(id -u)" = 0 || echo sudo)

.PHONY: serve test check proto kubernetes example-kubernetes test-kubernetes bench clean etcd

serve: $(PACKAGE)
	@$(BIN)/kvstore serve $(ARGS)

test: check etcd
	$(BIN)/python -m pytest -n auto $(ARGS)

check: $(DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

proto: $(DEV)
	$(BIN)/python protos/generate.py

kubernetes: $(DEV)
	$(BIN)/python -m tests.kubernetes.build

# It builds the one version that it needs, as `make kubernetes` builds them all.
example-kubernetes: $(KUBERNETES)
	@$(BIN)/python -m examples.kubernetes.story $(ARGS)

test-kubernetes: kubernetes $(KUBERNETES)
	CI=true $(BIN)/python -m pytest tests/kubernetes $(ARGS)

bench: $(DEV)
	$(BIN)/python -m bench $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info
	rm -rf .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "kvstore needs Python 3.11 or newer" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(PACKAGE): pyproject.toml | $(BIN)/python
	$(PIP) install --quiet --editable .
	@touch $@

# Dependency groups came to pip with 25.1.
$(DEV): pyproject.toml $(PACKAGE) | $(BIN)/python
	$(PIP) install --quiet --upgrade 'pip>=25.1'
	$(PIP) install --quiet --group dev
	@touch $@

$(KUBERNETES): pyproject.toml $(DEV)
	$(PIP) install --quiet --group kubernetes
	@touch $@

# The tests compare with a real etcd and drive the store with etcd's own etcdctl. Debian starts a
# service when its package is installed, unless a policy says no; ours lasts as long as the install.
etcd:
	@command -v etcd >/dev/null && command -v etcdctl >/dev/null || { \
		command -v apt-get >/dev/null || { echo "tests need etcd and etcdctl on PATH" >&2; exit 1; }; \
		$(SUDO) apt-get update -q && $(SUDO) sh -c ' \
			policy=/usr/sbin/policy-rc.d; \
			test -e $$policy || { \
				trap "rm -f $$policy" EXIT; \
				printf "#!/bin/sh\nexit 101\n" >$$policy; chmod 755 $$policy; }; \
			DEBIAN_FRONTEND=noninteractive apt-get install -y -q etcd-server etcd-client'; }

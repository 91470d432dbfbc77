# `make run` starts a demo server, `make test` runs every check. Both need only make and Python >= 3.11.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BUILD_FILES := setup.cfg pyproject.toml
# command:package of what the end-to-end tests start
E2E_COMMANDS := nginx:nginx apache2:apache2 chromium:chromium node:nodejs npm:npm promtool:prometheus mandoc:mandoc \
	prosody:prosody ejabberdctl:ejabberd fail2ban-regex:fail2ban biboumi:biboumi
# module:package of what they import in the system's own Python, as it is for no virtual environment
E2E_MODULES := nbxmpp:python3-nbxmpp

.PHONY: run test lint bench soak docs clean system-packages node-packages

run: $(VENV)/.installed
	$(BIN)/xmppws serve --demo

test: $(VENV)/.installed-dev system-packages node-packages lint
	$(BIN)/pytest -n 3 --dist worksteal -m "not soak" --cov --cov-report=term

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.installed-dev
	PYTHONPATH=tests $(BIN)/python -m bench $(ARGS)

soak: $(VENV)/.installed-dev
	$(BIN)/pytest -m soak --timeout 0

docs: $(VENV)/.installed-dev
	$(BIN)/python -c "import xmppws.config; print(xmppws.config.render_example(), end='')" > conf/xmppws.toml.new
	mv conf/xmppws.toml.new conf/xmppws.toml
	$(BIN)/python -c "import sys, xmppws.config; print(xmppws.config.render_manual(sys.stdin.read()), end='')" \
		< man/xmppws.toml.5.in > man/xmppws.toml.5.new
	mv man/xmppws.toml.5.new man/xmppws.toml.5
	$(BIN)/python tests/dialogue.py > tests/dialogues/README.md.new
	mv tests/dialogues/README.md.new tests/dialogues/README.md

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
	rm -rf tests/e2e/js/node_modules
	find xmppws tests -name __pycache__ -type d -prune -exec rm -rf {} +

# ensurepip is what Debian leaves out of python3; without it `venv` stops half-way.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is too old or missing: xmppws needs Python 3.11; try make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) has no venv; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BUILD_FILES) | $(BIN)/pip
	$(BIN)/pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-dev: $(BUILD_FILES) | $(BIN)/pip
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.installed

# Only root can install them; for everybody else the tests that need them are skipped by name.
# The tests start them themselves: as long as this file says so, packages do not start their services.
POLICY := /usr/sbin/policy-rc.d
system-packages:
	@missing=; for pair in $(E2E_COMMANDS); do \
		PATH="$$PATH:/usr/sbin" command -v "$${pair%%:*}" >/dev/null || missing="$$missing $${pair#*:}"; \
	done; \
	for pair in $(E2E_MODULES); do \
		/usr/bin/python3 -c "import $${pair%%:*}" 2>/dev/null || missing="$$missing $${pair#*:}"; \
	done; \
	test -z "$$missing" && exit 0; \
	install="apt-get install -y --no-install-recommends$$missing"; \
	if test "$$(id -u)" = 0 && command -v apt-get >/dev/null; then \
		test -e $(POLICY) || { \
			trap 'rm -f $(POLICY)' EXIT INT TERM; \
			printf '#!/bin/sh\nexit 101\n' >$(POLICY); chmod 755 $(POLICY); \
		}; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$install; \
	else \
		echo "some end-to-end tests will be skipped; to run them: sudo $$install" >&2; \
	fi

node-packages: system-packages
	@if test -f tests/e2e/js/package.json && command -v npm >/dev/null; then \
		cd tests/e2e/js && npm ci --no-audit --no-fund; \
	fi

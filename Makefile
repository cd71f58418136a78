# Each target makes the virtual environment it needs by itself.
PYTHON ?= python3
VENV := .venv
ROOT := .run
EDITOR_SERVER := .editor/node_modules/.bin/yaml-language-server
PARTS := test-cluster test-cli test-others

.PHONY: run test $(PARTS) hard-times packages-test browser-test editor-test check completion schema man bench sim chaos foresee systemd lab clean

$(VENV)/.made: setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --editable ".[test,check]"
	touch $@

# vcsd on the shipped units under a private root, in the foreground; Ctrl-C stops it and leaves runs alone.
run: $(VENV)/.made
	install -d -m 755 $(ROOT)/usr/share/vcs/units $(ROOT)/etc/vcs/services.d
	install -m 644 units/*.yaml $(ROOT)/usr/share/vcs/units
	install -m 644 *.schema.json $(ROOT)/usr/share/vcs
	$(VENV)/bin/vcsd --root $(ROOT)

# Two of three parts at a time, since most tests wait for something; the output of each comes when it is over. Not by threads
# of one process or by pytest-xdist: what the tests fork has one thread, as in vcsd. TESTS=tests/cli runs some alone.
test: $(VENV)/.made
	$(if $(TESTS),$(VENV)/bin/python -m pytest $(TESTS),$(MAKE) --no-print-directory --keep-going --jobs=2 --output-sync=target $(PARTS))

test-cluster: $(VENV)/.made
	$(VENV)/bin/python -m pytest tests/cluster
test-cli: $(VENV)/.made
	$(VENV)/bin/python -m pytest tests/cli
test-others: $(VENV)/.made
	$(VENV)/bin/python -m pytest tests --ignore=tests/cluster --ignore=tests/cli

# A thousand launches in a row and two hundred kills of vcsd; `make test` does a quarter of each.
hard-times: $(VENV)/.made
	VCS_LAUNCHES=1000 VCS_KILLS=200 $(VENV)/bin/python -m pytest tests/cluster/test_hard_times.py -k "again_and_again or random_instants"

# The examples with the distribution's FreeRADIUS and Kamailio under a real vcsd, as root; installs them where they are missing.
packages-test: $(VENV)/.made
	PATH=$$PATH:/usr/sbin; for program in freeradius radclient kamailio; do command -v $$program >/dev/null || missing=1; done; \
	test -z "$$missing" || { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends freeradius freeradius-utils kamailio; }
	$(VENV)/bin/python -m pytest tests/packages

# The page of `vcsctl timeline --html` in Debian's chromium, as root; installs it where it is missing.
browser-test: $(VENV)/.made
	command -v chromium >/dev/null || { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends chromium; }
	$(VENV)/bin/python -m pytest tests/cli/test_timeline_page.py

# The schema in an editor's language server, and the hook for pre-commit; installs what is missing, by apt-get and npm.
editor-test: $(VENV)/.made
	command -v node >/dev/null && command -v npm >/dev/null || { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends nodejs npm; }
	command -v yaml-language-server >/dev/null || $(MAKE) --no-print-directory $(EDITOR_SERVER)
	$(VENV)/bin/python -m pytest tests/editor

$(EDITOR_SERVER):
	npm install --silent --no-audit --no-fund --prefix .editor yaml-language-server@1.25.0

check: $(VENV)/.made
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

# What completion must know of the commands, after one got an option or an argument.
completion: $(VENV)/.made
	$(VENV)/bin/python -m vcsctl.cli.shaping

# The schemas for editors and the table of keys in docs/unit-file.md, after the model or its texts changed.
schema: $(VENV)/.made
	$(VENV)/bin/python -m vcsctl.cli.schema_files

# The man pages, from the text of --help, and the scripts for shells, in build/man; `man -l build/man/vcsctl.1` shows one.
man: $(VENV)/.made
	$(VENV)/bin/python -m vcsctl.cli.manual build/man

# All measures, or some: make bench ONLY="dispatch idle" ARGS="--samples 5 --json results.json"
bench: $(VENV)/.bench
	$(VENV)/bin/python -m benchmarks $(ONLY) $(ARGS)

$(VENV)/.bench: $(VENV)/.made
	$(VENV)/bin/pip install --quiet --editable ".[bench]"
	touch $@

# The protocol in virtual time, with faults (docs/testing.md): make sim SEEDS=20000 FIRST=0, or one with its trace: SEED=123
sim: $(VENV)/.made
	$(VENV)/bin/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),300) --first $(or $(FIRST),0))

# Four nodes, forty services and faults at random, then the checker's verdict: make chaos MINUTES=10 SEED=1
chaos: $(VENV)/.made
	PYTHONPATH=tests:tests/cluster $(VENV)/bin/python tests/cluster/chaos.py --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED))

# A forecast of the next minutes beside what a real vcsd makes of them (docs/forecast.md)
foresee: $(VENV)/.made
	PYTHONPATH=.:tests $(VENV)/bin/python tests/cluster/foresee.py --minutes $(or $(MINUTES),10)

# vcsd.service under a systemd of the tests' own, as root; also part of `make test` (docs/testing.md)
systemd: $(VENV)/.made
	$(VENV)/bin/python -m pytest tests/systemd

# Emulated machines on a real network file system, as root: make lab ONLY="cut power-off" ARGS=--keep (docs/lab.md)
lab: $(VENV)/.made
	$(VENV)/bin/python -m lab $(ONLY) $(ARGS)

clean:
	rm -rf $(VENV) $(ROOT) .lab .editor build dist *.egg-info

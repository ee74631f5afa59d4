# `make demo` and `make test` work on a fresh Debian or Ubuntu machine with python3 and make.
SHELL := /bin/sh
VENV ?= .venv
# A checkout has no bytecode of its own, and the tests start a thousand interpreters.
unexport PYTHONDONTWRITEBYTECODE
PY := $(VENV)/bin/python
# Tests wait more than they work. `loadgroup` deals them out one by one, so that none queues behind a
# long one. The slowest are listed at the end.
PARALLEL := --numprocesses=4 --dist=loadgroup --durations=20

.PHONY: demo unit test check test-conformance test-engines test-stream test-grading test-hub test-scale test-slurm test-kubernetes fuzz lint clean

demo: $(VENV)/.demo
	@sh .ci/need bwrap:bubblewrap
	@$(PY) -m moat_nb demo

# What needs nothing but python3, and no rights.
unit: check
	$(VENV)/bin/pytest tests/unit -m "not machine" $(PARALLEL)

test: check
	@sh .ci/need bwrap:bubblewrap chromium:chromium dockerd:docker.io mmdebstrap:mmdebstrap slirp4netns:slirp4netns ip:iproute2 nsenter:util-linux curl:curl git:git node:nodejs npm:npm ssh:openssh-client sshd:openssh-server
	MOAT_TEST_ATTACKS=docs/security.md $(VENV)/bin/pytest --ignore=tests/conformance --ignore=tests/grading --ignore=tests/hub --ignore=tests/slurm --ignore=tests/kubernetes $(PARALLEL)

check: $(VENV)/.test
	@$(PY) -m compileall -q moat_nb
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

test-conformance: $(VENV)/.test
	@sh .ci/need bwrap:bubblewrap dockerd:docker.io mmdebstrap:mmdebstrap slirp4netns:slirp4netns ip:iproute2
	MOAT_TEST_TABLE=docs/conformance.md $(VENV)/bin/pytest tests/conformance

test-engines: $(VENV)/.test
	@sh .ci/need bwrap:bubblewrap mmdebstrap:mmdebstrap ip:iproute2 unshare:util-linux setpriv:util-linux
	MOAT_TEST_TABLE=docs/engines.md $(VENV)/bin/pytest tests/engines/matrix.py

# All of tests/integration/ once more, with no directory of sockets shared; STREAM takes a part of it.
STREAM ?= tests/integration
test-stream: $(VENV)/.test
	@sh .ci/need bwrap:bubblewrap dockerd:docker.io mmdebstrap:mmdebstrap slirp4netns:slirp4netns ip:iproute2 nsenter:util-linux curl:curl git:git node:nodejs npm:npm ssh:openssh-client sshd:openssh-server
	MOAT_TEST_TRANSPORT=stream $(VENV)/bin/pytest $(STREAM) $(PARALLEL)

# A class of forty, and ways to earn points without an answer, on each runtime.
test-grading: $(VENV)/.test $(VENV)/.nbgrader
	@sh .ci/need bwrap:bubblewrap chromium:chromium dockerd:docker.io mmdebstrap:mmdebstrap slirp4netns:slirp4netns ip:iproute2
	$(VENV)/bin/pytest tests/grading --numprocesses=2

# A JupyterHub with three system users, which are made and removed: as root.
test-hub: $(VENV)/.test
	@sh .ci/need bwrap:bubblewrap chromium:chromium node:nodejs npm:npm useradd:passwd setpriv:util-linux unshare:util-linux hostname:hostname
	$(VENV)/bin/pytest tests/hub

# A Slurm with two nodes, of its own: as root.
test-slurm: $(VENV)/.test
	@sh .ci/need bwrap:bubblewrap slurmctld:slurmctld slurmd:slurmd srun:slurm-client munged:munge ip:iproute2 nsenter:util-linux setpriv:util-linux
	$(VENV)/bin/pytest tests/slurm

# A Kubernetes with two nodes, of its own, built from Debian's source package: as root.
test-kubernetes: $(VENV)/.test
	@sh .ci/need dockerd:docker.io mmdebstrap:mmdebstrap slirp4netns:slirp4netns ip:iproute2 nsenter:util-linux go:golang-go /usr/share/gocode/src/github.com/modern-go/reflect2:golang-github-modern-go-reflect2-dev dpkg-source:dpkg-dev etcd:etcd-server containerd:containerd /usr/lib/cni/ptp:containernetworking-plugins curl:curl
	$(VENV)/bin/pytest tests/kubernetes

# Leaks that 60 kernels one after another do not show.
test-scale: $(VENV)/.test
	@sh .ci/need bwrap:bubblewrap dockerd:docker.io mmdebstrap:mmdebstrap slirp4netns:slirp4netns ip:iproute2
	MOAT_TEST_ROW=200 $(VENV)/bin/pytest tests/integration/test_scale.py --numprocesses=2

# What reads a sandbox's words, on any input; FUZZ_SECONDS in all.
FUZZ_SECONDS ?= 600
fuzz: $(VENV)/.test
	$(PY) -m tests.fuzz $(FUZZ_SECONDS)

$(PY):
	@sh .ci/venv $(VENV)

$(VENV)/.demo: $(PY) pyproject.toml
	$(PY) -m pip install --quiet --editable .
	@touch $@

$(VENV)/.test: $(PY) pyproject.toml
	$(PY) -m pip install --quiet --editable '.[test]'
	@touch $@

# Beside the environment and not in it: its extensions would be those of every JupyterLab there.
$(VENV)/.nbgrader: $(VENV)/.test
	$(PY) -m pip install --quiet --upgrade --no-deps --target $(VENV)/nbgrader 'nbgrader>=0.9.5' alembic mako rapidfuzz
	@touch $@

lint: $(VENV)/.test
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis artifacts

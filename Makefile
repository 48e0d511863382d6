# make demo   speak test_input.json with the small model that ships with the code, or with F5_MODEL=f5-tiny-fr -> out/demo.wav
# make test   everything that CI runs
# make fast   the tests that need no model, in seconds
# make serve  RunPod's local API on port 8000
# make serve-http  the HTTP server on port 8000: docs/http.md
# make page-test   the page of the HTTP server in Chromium (apt-get install chromium) -> out/page/
# make quality    how well the small model speaks, or the one that F5_MODEL names: a quarter of an hour on two CPU cores
# make quality-fr  the same of the small French model, by a recogniser of 146 MB that this installs
# make bench-gpu  the engine beside f5-tts on this machine's GPU, into docs/performance.md: some minutes
# make bench-gpus  1, 2, 4 GPUs of this machine compared, into bench/results
# make bench-http  64 clients of the HTTP server for ten minutes: docs/http.md
# make bench-scale  endpoints of RunPod simulated, for loads of 1 to 10,000 audio seconds a second: docs/scaling.md
# make bench-verified  word errors of the small model with and without `verify`, by two recognisers: half an hour
# make bench-verify  planted faults that are found in speech, and false alarms
# make soak     2,000 mixed jobs through the SDK's loop: docs/reliability.md, as all of the following
# make hostile  inputs made to harm, two at a time beside honest jobs
# make fuzz     everything that reads what a caller sent
# make chaos    kills at random moments; disks, APIs, clocks and GPUs that fail
# make resume   20 kills of a batch, a part of make chaos
# make agents   pipecat's and livekit's plug-ins for ElevenLabs against the HTTP server
# make mutants  mutation testing of the critical files: half an hour
# make fresh-machine  the README's commands on bare Debian 12, Debian 13 and Ubuntu 24.04: root, debootstrap, an hour
# make lock       the locked requirements from pyproject.toml; LOCK="--upgrade-package av": with the newest av
# make sbom       the bill of materials of the image -> out/sbom.json (CycloneDX)
# make audit      the locks against a database of vulnerabilities; Error 3 where none can be reached
# make image-test  build the image on stand-in bases and start it: buildah, runc and debootstrap; half an hour
# make pin-base   the digest of the base image into the Dockerfile, from its registry (docker buildx)
SHELL := /bin/bash
VENV := .venv
VENV_OLD := .venv-torch24
VENV_AGENTS := .venv-agents
UV := $(VENV)/bin/uv
# The Hub builds one image for all its GPUs, and those of the Blackwell generation need CUDA 12.8.
HUB_BASE := pytorch/pytorch:2.8.0-cuda12.8-cudnn9-runtime
PY := $(VENV)/bin/python
FAST := not model and not e2e and not slow and not gpu

.DEFAULT_GOAL := help
.PHONY: help demo test fast lint types old-torch on-old-torch serve serve-http quality quality-fr bench-gpu bench-gpus bench-http bench-scale
.PHONY: bench-verified bench-verify lock sbom audit pin-base docs clean soak hostile fuzz chaos resume mutants fresh-machine image-test page-test

help:
	@sed -n 's/^# make/make/p' Makefile

demo: $(VENV)/.local
	@$(PY) scripts/demo.py

serve: $(VENV)/.local
	F5_MODEL=$${F5_MODEL:-f5-tiny} $(PY) -u handler.py --rp_serve_api --rp_api_host 127.0.0.1

serve-http: $(VENV)/.local
	F5_MODEL=$${F5_MODEL:-f5-tiny} F5_HTTP_HOST=$${F5_HTTP_HOST:-127.0.0.1} $(PY) -u http_server.py

quality: $(VENV)/.test
	F5_MODEL=$${F5_MODEL:-f5-tiny} $(PY) bench/quality.py

quality-fr: $(VENV)/.test
	$(UV) pip install -q --python $(PY) --no-deps --group judge-fr
	F5_MODEL=$${F5_MODEL:-f5-tiny-fr} $(PY) bench/quality.py
	$(PY) scripts/document.py

# Against f5-tts on this machine's GPU. Random weights of F5TTS_v1_Base, unless F5_MODEL names a checkpoint: they take
# as long.
bench-gpu: $(VENV)/.test
	test -n "$$F5_MODEL" || test -d out/random-base || $(PY) bench/random_checkpoint.py out/random-base
	F5_MODEL=$${F5_MODEL:-$(CURDIR)/out/random-base} $(PY) bench/engine.py --cases gpu
	$(PY) scripts/document.py
	F5_MODEL=$${F5_MODEL:-$(CURDIR)/out/random-base} $(PY) bench/batch.py
	F5_MODEL=$${F5_MODEL:-$(CURDIR)/out/random-base} $(PY) bench/edge.py --gpu

# 1, 2, 4, ... GPUs of this machine, each number compared with one.
bench-gpus: $(VENV)/.test
	test -n "$$F5_MODEL" || test -d out/random-base || $(PY) bench/random_checkpoint.py out/random-base
	F5_MODEL=$${F5_MODEL:-$(CURDIR)/out/random-base} $(PY) bench/devices.py

bench-http: $(VENV)/.test
	$(PY) bench/http_load.py
	$(PY) scripts/document.py

bench-scale: $(VENV)/.test
	$(PY) bench/scale.py
	$(PY) scripts/document.py

bench-verified: $(VENV)/.test
	$(UV) pip install -q --python $(PY) --no-deps --group judge
	F5_MODEL=$${F5_MODEL:-f5-tiny} $(PY) bench/verified.py

bench-verify: $(VENV)/.test
	$(PY) bench/verify.py

soak hostile fuzz chaos: $(VENV)/.test
	$(PY) bench/$@.py
	$(PY) scripts/document.py

chaos: resume
resume: $(VENV)/.test
	RESUME_KILLS=20 $(PY) -m pytest -q tests/e2e/test_resume.py

# In no lock, nor beside it: their requirements are others.
agents: $(VENV)/.test
	$(UV) venv -q --python $(PY) $(VENV_AGENTS) --clear
	$(UV) pip install -q --python $(VENV_AGENTS)/bin/python pipecat-ai==1.14.0 livekit-plugins-elevenlabs==1.8.9
	AGENTS_PYTHON=$(CURDIR)/$(VENV_AGENTS)/bin/python $(PY) -m pytest tests/http/test_agents.py

page-test: $(VENV)/.test
	$(UV) pip install -q --python $(PY) --no-deps --group browser
	$(PY) -m pytest -n 0 tests/http/test_browser.py

# mutmut is in no lock: only this uses it.
mutants: $(VENV)/.test
	$(UV) pip install -q --python $(PY) mutmut==3.8.1
	$(PY) bench/mutants.py
	$(PY) scripts/document.py

fresh-machine: $(VENV)/.local
	$(PY) bench/fresh_machine.py
	$(PY) scripts/document.py

# Two processes for the slow tests, too: 13 minutes on two cores instead of 23. A file's tests share its servers.
test: lint types
	$(PY) -m pytest -q -n 2 -m "$(FAST)"
	$(PY) -m pytest -q -n 2 --dist loadfile -m "(model or e2e or slow) and not gpu" --durations=8
	$(MAKE) --no-print-directory old-torch

fast: $(VENV)/.test
	$(PY) -m pytest -q -n 2 -m "$(FAST)"

lint: $(VENV)/.test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(VENV)/.test
	$(VENV)/bin/mypy

# The f5-tts image has torch 2.4; the code must run there as well. It was not published for Python 3.13.
old-torch: $(UV)
	@if $(PY) -c 'import sys; sys.exit(sys.version_info < (3, 13))'; then \
	  echo "old-torch: SKIPPED, torch 2.4 has no wheels for this Python; 3.11 and 3.12 run it (make clean test PYTHON=python3.12)"; \
	else $(MAKE) --no-print-directory on-old-torch; fi

on-old-torch: $(VENV_OLD)/.installed
	$(VENV_OLD)/bin/python -m pytest -q -n 2 -m "$(FAST)" -p no:cacheprovider

docs: $(VENV)/.local .runpod/Dockerfile
	$(PY) scripts/document.py

.runpod/Dockerfile: Dockerfile Makefile
	sed 's|^ARG BASE_IMAGE=.*|ARG BASE_IMAGE=$(HUB_BASE)|' Dockerfile > $@

lock: $(UV)
	scripts/lock.sh $(UV) $(LOCK)

sbom: $(VENV)/.test
	@$(PY) scripts/sbom.py out/sbom.json

audit: $(VENV)/.test
	@$(PY) scripts/audit.py

image-test: $(VENV)/.test
	$(PY) scripts/image_test.py
	$(PY) scripts/document.py

pin-base:
	@scripts/pin_base.sh $(BASE_IMAGE)

clean:
	rm -rf $(VENV) $(VENV_OLD) $(VENV_AGENTS) out .mypy_cache .pytest_cache .ruff_cache

# Installing: each stamp is newer than the lock that it was made from, so a second run has nothing to do. A lock is
# complete and has the hash of every file.
LOCKED := --no-deps --require-hashes
$(UV):
	@scripts/venv.sh $(VENV) $(PYTHON)
	@$(VENV)/bin/pip install -q --disable-pip-version-check uv==0.13.9

$(VENV)/.local: requirements-local.txt $(VENV)/share/f5-worker/grammars | $(UV)
	@echo "installing what the worker needs (torch is large, a few minutes the first time) ..."
	@$(UV) pip install -q --python $(PY) $(LOCKED) -r requirements-local.txt
	@touch $@

# The grammars that read numbers aloud, compiled once for each version of their library.
$(VENV)/share/f5-worker/grammars: requirements-grammars.txt scripts/build_grammars.py | $(UV)
	@echo "compiling the grammars of eight languages (some minutes, once) ..."
	@rm -rf $@ $(VENV)/.compiler && $(UV) venv -q --python $(PY) $(VENV)/.compiler
	@$(UV) pip install -q --python $(VENV)/.compiler/bin/python $(LOCKED) -r requirements-grammars.txt
	@$(VENV)/.compiler/bin/python scripts/build_grammars.py $@ && rm -rf $(VENV)/.compiler && touch $@

$(VENV)/.test: requirements-test.txt requirements-upstream.txt $(VENV)/.local
	@command -v git > /dev/null || { echo "make: git is missing; as root: apt-get install git"; exit 1; }
	@echo "installing what the tests need ..."
	@$(UV) pip install -q --python $(PY) $(LOCKED) -r requirements-test.txt -r requirements-upstream.txt
	@touch $@

$(VENV_OLD)/.installed: requirements-torch24.txt $(VENV)/share/f5-worker/grammars | $(UV)
	@echo "installing torch 2.4 for the second run of the fast tests ..."
	@$(UV) venv -q --python $(PY) $(VENV_OLD) --clear
	@$(UV) pip install -q --python $(VENV_OLD)/bin/python $(LOCKED) -r requirements-torch24.txt
	@mkdir -p $(VENV_OLD)/share && cp -r $(VENV)/share/f5-worker $(VENV_OLD)/share/
	@touch $@

#!/usr/bin/env bash
# Write the locked requirements from pyproject.toml: `make lock`. Each lock is complete and has the hash of every file,
# so installing needs no resolver and takes nothing else (--no-deps --require-hashes).
set -euo pipefail
cd "$(dirname "$0")/.."
uv=${1:-uv}

lock() { # output, then arguments
  local output=$1
  shift
  "$uv" pip compile -q --generate-hashes --no-emit-index-url --no-emit-find-links --python-version 3.11 \
    --python-platform x86_64-manylinux_2_28 --custom-compile-command "make lock" --no-annotate -o "$output" "$@"
}

# Without what faster-whisper and runpod would use onnxruntime and boto3 for: voice detection, uploads. Tests use both.
lock_serving() {
  lock "$@" --excludes <(printf 'onnxruntime\nboto3\n')
}

# For the image. numpy is the base's (docs/deploy.md); of huggingface-hub, the worker uses what needs neither of the
# others.
lock_serving requirements.txt pyproject.toml \
  --no-emit-package numpy --no-emit-package fsspec --no-emit-package packaging
lock_serving requirements-local.txt pyproject.toml -c requirements.txt --extra local
lock requirements-test.txt pyproject.toml -c requirements-local.txt \
  --extra local --extra check --extra upstream --extra listen
lock requirements-torch24.txt pyproject.toml -c requirements.txt --extra check --extra local \
  --overrides <(echo torch==2.4.1) --excludes <(echo onnxruntime)
lock requirements-upstream.txt --no-deps --group pyproject.toml:upstream
lock requirements-grammars.txt --no-deps --group pyproject.toml:grammars

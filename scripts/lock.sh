#!/usr/bin/env bash
# Write the locked requirements from pyproject.toml: `make lock`. Each lock is complete and has the hash of every file,
# so installing needs no resolver and takes nothing else (--no-deps --require-hashes). One lock serves every Python that
# pyproject.toml allows, with the same version of a package (fewest forks); what only some of them need has a marker.
# Versions that are locked stay, unless further arguments ask `uv pip compile` for newer ones: --upgrade, or
# --upgrade-package NAME.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=${1:-uv}
asked=("${@:2}")
empty=$(mktemp -d)
trap 'rm -rf "$empty"' EXIT

lock() { # output, then arguments
  local output=$1
  shift
  "$uv" pip compile -q --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-annotate \
    --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" "${asked[@]}" -o "$output" "$@"
}

# Without what faster-whisper and runpod would use onnxruntime and boto3 for: voice detection, uploads. Tests use both.
lock_serving() {
  lock "$@" --excludes <(printf 'onnxruntime\nboto3\n')
}

# What a universal lock does not ask: whether there is a file for each Python, on Linux with glibc 2.28 and later.
has_wheels() { # Python's versions, lock, then arguments
  local python
  for python in $1; do
    "$uv" pip install -q --dry-run --no-deps --require-hashes --only-binary :all: "${@:3}" \
      --python-version "$python" --python-platform x86_64-manylinux_2_28 --target "$empty" -r "$2"
  done
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

has_wheels "3.11 3.12 3.13" requirements.txt
has_wheels "3.11 3.12 3.13" requirements-local.txt
has_wheels "3.11 3.12 3.13" requirements-test.txt --no-binary srt # published as source, in Python alone
has_wheels "3.11 3.12" requirements-torch24.txt --no-binary srt
has_wheels "3.11 3.12 3.13" requirements-upstream.txt --no-binary encodec # as srt

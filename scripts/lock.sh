#!/usr/bin/env bash
# Write the locked requirements from pyproject.toml: `make lock`. Each lock is complete, so installing needs no resolver.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=${1:-uv}

lock() { # output, then arguments
  local output=$1
  shift
  "$uv" pip compile -q --no-emit-index-url --no-emit-find-links --python-version 3.11 \
    --python-platform x86_64-manylinux_2_28 --custom-compile-command "make lock" \
    --no-annotate -o "$output" pyproject.toml "$@"
}

lock requirements.txt
lock requirements-local.txt -c requirements.txt --extra local
lock requirements-test.txt -c requirements-local.txt --extra local --extra check --extra upstream --extra listen
lock requirements-torch24.txt -c requirements.txt --extra check --override <(echo "torch==2.4.1") --extra local

#!/usr/bin/env bash
# Pin the base image of the Dockerfile to the digest that its registry has now: `make pin-base`. With a name and tag, to
# that image instead. Needs docker with buildx, and no daemon.
set -euo pipefail
cd "$(dirname "$0")/.."

image=${1:-$(sed -n 's/^ARG BASE_IMAGE=\([^@]*\).*/\1/p' Dockerfile)}
digest=$(docker buildx imagetools inspect "$image" --format '{{.Manifest.Digest}}')
if [[ ! $digest =~ ^sha256:[0-9a-f]{64}$ ]]; then
  echo "pin-base: the registry names no digest for $image" >&2
  exit 1
fi
sed -i "s|^ARG BASE_IMAGE=.*|ARG BASE_IMAGE=$image@$digest|" Dockerfile
grep '^ARG BASE_IMAGE=' Dockerfile

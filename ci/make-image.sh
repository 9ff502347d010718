#!/bin/sh
# Builds the image of a flavor and prints its digest: make-image.sh STACK FLAVOR [BASE_IMAGE]
# With WHEEL in the environment, of that wheel; else it is built.
# Without BASE_IMAGE it stands on Docker's official Python. Where that is not here and cannot be
# pulled, it stands on a base made of Debian packages, and what it needs is fetched beforehand.
set -eu
stack=$1
flavor=$2
base=${3:-}
OFFICIAL=python:3.12-slim-bookworm
DEBIAN=vllm-patchkit-base:bookworm
root=$(cd "$(dirname "$0")/.." && pwd)
bin=$root/.venv/bin

# The command says what is wrong: no engine, no such image, no Python in it.
ask() {
    "$bin/vllm-patchkit" image --print-python --base-image "$1"
}

if [ -z "$base" ]; then
    if python=$(ask "$OFFICIAL"); then
        base=$OFFICIAL
    elif docker version >/dev/null 2>&1; then
        echo "nothing is to be done: the base is $DEBIAN instead, made of Debian packages" >&2
        base=$DEBIAN
    else
        exit 3
    fi
fi
if [ "$base" = "$DEBIAN" ]; then "$root/ci/base-image.sh" "$DEBIAN"; fi
[ -n "${python:-}" ] || python=$(ask "$base")

set -- --stack "$stack" --flavor "$flavor" --out "$root/wheels/out"
[ "$flavor" != cpu ] || set -- "$@" --python-tag "cp$(echo "$python" | tr -d .)"
wheel=${WHEEL:-}
[ -n "$wheel" ] || wheel=$("$bin/vllm-patchkit" wheel "$@")

set -- --base-image "$base" --wheel "$wheel" --requirements "$root/wheels/requirements-$flavor.lock"
if [ "$base" = "$DEBIAN" ]; then
    wheelhouse=$root/build/wheelhouse-$flavor
    "$bin/python" "$root/ci/fetch-wheels.py" --python "$python" --out "$wheelhouse" \
        "$root/wheels/requirements-$flavor.lock"
    set -- "$@" --wheelhouse "$wheelhouse"
fi
"$bin/vllm-patchkit" image "$@"

#!/bin/sh
# Makes /rootfs/opt/vllm: a virtual environment with the locked requirements and fixed dates.
#   environment.sh LOCK FLASH_ATTN_WHEEL|none
# Runs inside the build. LOCK has a sha256 for every file that may be installed.
set -eu
lock=$1
flash_attn=$2

fail() {
    echo "error: $1" >&2
    exit 1
}

python3 -m venv /opt/vllm || fail "the base image needs a Python with venv (Debian: python3-venv)"
set -- --quiet --no-cache-dir --no-compile --no-deps --disable-pip-version-check
sources=""
if ls /wheels/*.whl >/dev/null 2>&1; then
    sources="--no-index --find-links /wheels"
fi
# shellcheck disable=SC2086
/opt/vllm/bin/python -m pip install "$@" $sources --only-binary=:all: --require-hashes \
    --requirement "$lock"

if [ "$flash_attn" != none ]; then
    wheel=/flash-attn/$flash_attn
    [ -f "$wheel" ] || fail "FLASH_ATTN_WHEEL is not in the build context: $flash_attn"
    [ -n "${FLASH_ATTN_SHA256:-}" ] || fail "give the sha256 of $flash_attn as FLASH_ATTN_SHA256"
    echo "$FLASH_ATTN_SHA256  $wheel" | sha256sum --check --status \
        || fail "$flash_attn: expected sha256 $FLASH_ATTN_SHA256, found $(sha256sum < "$wheel")"
    /opt/vllm/bin/python -m pip install "$@" --no-index "$wheel"
fi

sh /in/fix.sh /opt/vllm
mkdir -p /rootfs/opt
mv /opt/vllm /rootfs/opt/vllm
find /rootfs -exec touch -h -d "@${SOURCE_DATE_EPOCH}" {} +

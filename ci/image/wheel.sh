#!/bin/sh
# Installs the built wheel and splits it into /split/base and /split/stack, inside the image's build:
#   wheel.sh WHEEL FLASH_ATTN_WHEEL
# FLASH_ATTN_WHEEL need not exist. Runs on top of the requirements that environment.sh installed.
set -eu
wheel=$1
flash_attn=$2
fix=/usr/local/share/vllm-patchkit/fix.sh
export PYTHONDONTWRITEBYTECODE=1

check_sha256() {
    echo "$2  $1" | sha256sum --check --status && return
    echo "error: $(basename "$1"): expected sha256 $2, found $(sha256sum < "$1" | cut -d' ' -f1)" >&2
    exit 1
}

install_wheel() {
    /opt/vllm/bin/python -m pip install --quiet --no-cache-dir --no-compile --no-deps --no-index \
        --disable-pip-version-check "$1"
}

[ -z "${WHEEL_SHA256:-}" ] || check_sha256 "$wheel" "$WHEEL_SHA256"
install_wheel "$wheel"
if [ "$(basename "$flash_attn")" != none ]; then
    [ -f "$flash_attn" ] || { echo "error: $(basename "$flash_attn") is not in the build context" >&2; exit 1; }
    [ -n "${FLASH_ATTN_SHA256:-}" ] || { echo "error: give the wheel's sha256 as FLASH_ATTN_SHA256" >&2; exit 1; }
    check_sha256 "$flash_attn" "$FLASH_ATTN_SHA256"
    install_wheel "$flash_attn"
fi
/opt/vllm/bin/python -m pip check --disable-pip-version-check
python3 /in/sbom.py /tmp/image.cdx.json /opt/vllm/lib/python3*/site-packages
python3 /in/split.py /opt/vllm /split
install -D -m 0644 /tmp/image.cdx.json /split/stack/opt/vllm/share/vllm-patchkit/image.cdx.json
install -D -m 0644 /in/healthcheck.py /split/stack/opt/vllm/share/vllm-patchkit/healthcheck.py
sh "$fix" /split/base /split/base
sh "$fix" /split/stack /split/stack

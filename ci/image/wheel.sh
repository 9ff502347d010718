#!/bin/sh
# Installs the built wheel and splits it into /split/base and /split/stack: wheel.sh WHEEL
# Runs inside the build, on top of the requirements that environment.sh installed.
set -eu
wheel=$1
requirements=$(echo /rootfs/opt/vllm/lib/python3*/site-packages)

if [ -n "${WHEEL_SHA256:-}" ]; then
    echo "$WHEEL_SHA256  $wheel" | sha256sum --check --status || {
        echo "error: $(basename "$wheel"): expected sha256 $WHEEL_SHA256, found $(sha256sum < "$wheel")" >&2
        exit 1
    }
fi
python3 -m venv /opt/vllm
/opt/vllm/bin/python -m pip install --quiet --no-cache-dir --no-compile --no-deps --no-index \
    --disable-pip-version-check "$wheel"
PYTHONPATH=$requirements /opt/vllm/bin/python -m pip check --disable-pip-version-check
python3 /in/split.py /opt/vllm /split
python3 /in/sbom.py /split/stack/opt/vllm/share/vllm-patchkit/image.cdx.json "$requirements" \
    /split/stack/opt/vllm/lib/python3*/site-packages
install -D -m 0644 /in/healthcheck.py /split/stack/opt/vllm/share/vllm-patchkit/healthcheck.py
sh /in/fix.sh /split/base /split/base
sh /in/fix.sh /split/stack /split/stack

#!/bin/sh
# Makes /opt/vllm, a virtual environment with the locked requirements, inside the image's build.
# The lock has a sha256 for every file that may be installed; pip takes no other.
set -eu
here=$(dirname "$0")
export PYTHONDONTWRITEBYTECODE=1

# File times have the resolution of a clock tick.
stamp=$(mktemp)
sleep 0.1
python3 -m venv /opt/vllm || {
    echo "error: the base image needs a Python with venv (Debian: python3-venv)" >&2
    exit 1
}
/opt/vllm/bin/python -m pip install --quiet --no-cache-dir --no-compile --no-deps \
    --disable-pip-version-check --only-binary=:all: --require-hashes \
    --retries 1 --requirement "$here/requirements.lock" || {
    echo "error: the locked requirements cannot be installed; if no space is left: a build takes" \
        "17 GB where the engine keeps its images; if no index can be reached from the" \
        "build: vllm-patchkit image --wheelhouse DIR installs from a folder of this machine," \
        "PIP_INDEX_URL=... as a build argument names a mirror" >&2
    exit 1
}
sh "$here/fix.sh" /opt/vllm
# Folders that were written to, and left as they were, have a new date too.
find / -xdev -newer "$stamp" ! -path /proc ! -path /sys ! -path '/dev*' \
    -exec touch -h -d "@${SOURCE_DATE_EPOCH}" {} +
rm "$stamp"
touch -d "@${SOURCE_DATE_EPOCH}" /tmp

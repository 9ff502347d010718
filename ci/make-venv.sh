#!/bin/sh
# Makes a virtual environment with pip: make-venv.sh PYTHON FOLDER
# Debian's python3 comes without ensurepip; root gets python3-venv installed, others are told.
set -eu
python=$1
folder=$2
if ! "$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info)'; then
    echo "error: $("$python" --version) is too old: vllm-patchkit needs Python 3.10 or later (make PYTHON=...)" >&2
    exit 3
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv
    else
        echo "error: $python has no ensurepip (Debian: sudo apt-get install python3-venv)" >&2
        exit 3
    fi
fi
"$python" -m venv "$folder"

#!/bin/sh
# Prints the first interpreter of the releases asked for: find-python.sh 3.12 3.11
# Looks on PATH, then at pyenv's and uv's. A pyenv shim without its release does not run and is passed over.
set -u
for release in "$@"; do
    for python in "python$release" \
        "${PYENV_ROOT:-$HOME/.pyenv}/versions/$release".*/bin/"python$release" \
        "${UV_PYTHON_INSTALL_DIR:-$HOME/.local/share/uv/python}/cpython-$release".*/bin/"python$release" \
        python3; do
        found=$(command -v "$python" 2>/dev/null) || continue
        code='import sys; print("%d.%d" % sys.version_info[:2], sys.executable)'
        answer=$("$found" -I -c "$code" 2>/dev/null) || continue
        if [ "${answer%% *}" = "$release" ]; then
            echo "${answer#* }"
            exit 0
        fi
    done
done
wanted=$(echo "$*" | sed 's/ / or /g')
echo "no Python $wanted on PATH, of pyenv or of uv; uv brings one: uv python install $1" >&2
exit 3

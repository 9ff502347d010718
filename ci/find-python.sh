#!/bin/sh
# Prints the first interpreter of the releases asked for: find-python.sh 3.12 3.11
# Looks on PATH, then at pyenv's. A pyenv shim without its release does not run and is passed over.
set -u
for release in "$@"; do
    for python in "python$release" \
        "${PYENV_ROOT:-$HOME/.pyenv}/versions/$release".*/bin/"python$release" python3; do
        found=$(command -v "$python" 2>/dev/null) || continue
        code='import sys; print("%d.%d" % sys.version_info[:2], sys.executable)'
        answer=$("$found" -I -c "$code" 2>/dev/null) || continue
        if [ "${answer%% *}" = "$release" ]; then
            echo "${answer#* }"
            exit 0
        fi
    done
done
echo "no Python $(echo "$*" | sed 's/ / or /g') on PATH or in pyenv: the CPU build of vLLM has an extension for no other release" >&2
exit 3

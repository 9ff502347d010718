#!/bin/sh
# Runs a command with a container engine: with-engine.sh COMMAND ...
# One that runs already is used and left alone. Otherwise, as root, the checkout's own is started
# for the command and stopped after it; as another user the command runs without one.
set -u
here=$(dirname "$0")

if docker version >/dev/null 2>&1; then
    exec "$@"
fi
if ! "$here/engine.sh" start; then
    echo "no container engine: the container tests will be skipped" >&2
    exec "$@"
fi
trap '"$here/engine.sh" stop' EXIT
trap 'exit 130' INT TERM
eval "$("$here/engine.sh" env)"
"$@"

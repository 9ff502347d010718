#!/bin/sh
# Runs a command with a container engine: with-engine.sh COMMAND ...
# One that runs already is used and left alone. Otherwise, as root, the checkout's own is started
# for the command and stopped after it; as another user, or with ENGINE=no in the environment, the
# command runs without one.
#
# The command and its children hold a pipe open, whose other end a process of its own session reads:
# it stops the engine when the last of them has ended, however they ended (Ctrl-C, kill -9).
set -u
here=$(cd "$(dirname "$0")" && pwd)

without() {
    echo "$1: the container tests will be skipped" >&2
    shift
    exec "$@"
}

if docker version >/dev/null 2>&1; then
    exec "$@"
fi
[ "${ENGINE:-yes}" != no ] || without "no container engine is started (ENGINE=no)" "$@"

folder=$(mktemp -d)
mkfifo "$folder/held"
# shellcheck disable=SC2016
setsid sh -c '
    cat "$1/held" >/dev/null
    rm -r "$1"
    exec "$2/engine.sh" stop
' sh "$folder" "$here" &
exec 9>"$folder/held"
release() {
    exec 9>&-
    wait
}
if ! "$here/engine.sh" start 9>&-; then
    release
    without "no container engine" "$@"
fi
trap release EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
eval "$("$here/engine.sh" env)"
"$@"

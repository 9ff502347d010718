#!/bin/sh
# Starts the server; where it listens on a Unix socket, that goes when the server has ended.
# A socket that a killed server left is taken away first: the next one could not listen there.
set -u

socket=""
previous=""
for word in "$@"; do
    case $word in --uds=*) socket=${word#--uds=} ;; esac
    [ "$previous" != --uds ] || socket=$word
    previous=$word
done
[ -n "$socket" ] || exec vllm serve "$@"

if [ -S "$socket" ]; then rm -f "$socket"; fi
vllm serve "$@" &
server=$!
trap 'kill -TERM "$server" 2>/dev/null' TERM INT
status=0
while kill -0 "$server" 2>/dev/null; do
    # A signal ends the wait before the server has ended.
    wait "$server"
    status=$?
done
if [ -S "$socket" ]; then rm -f "$socket"; fi
exit "$status"

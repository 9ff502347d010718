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
# From before the start, so that no signal comes too early to be passed on.
server=""
stopped=""
trap 'stopped=yes; [ -z "$server" ] || kill -TERM "$server" 2>/dev/null' TERM INT
vllm serve "$@" &
server=$!
[ -z "$stopped" ] || kill -TERM "$server" 2>/dev/null
status=0
while kill -0 "$server" 2>/dev/null; do
    # A signal ends the wait before the server has ended.
    wait "$server"
    status=$?
done
if [ -S "$socket" ]; then rm -f "$socket"; fi
exit "$status"

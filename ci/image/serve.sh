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
# From before the start, so that no signal comes too early to be passed on; and each goes on once.
early=""
trap early=yes TERM INT
vllm serve "$@" &
server=$!
trap 'interrupted=yes; kill -TERM "$server" 2>/dev/null' TERM INT
[ -z "$early" ] || kill -TERM "$server" 2>/dev/null
# The status of a wait during which a signal came may be the signal's, even where the server has
# ended. Waiting again is safe: this shell knows the status until it starts something else.
while :; do
    interrupted=""
    wait "$server"
    status=$?
    [ -n "$interrupted" ] || break
done
if [ -S "$socket" ]; then rm -f "$socket"; fi
exit "$status"

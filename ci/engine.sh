#!/bin/sh
# Starts a container engine of this checkout's own, where none is running: engine.sh start|stop|env
#   start   starts dockerd (as root) unless an engine answers already
#   env     prints the DOCKER_HOST line for the shell, if an engine was started here
#   stop    ends it and removes its data
# Images lie in build/engine. The sockets lie in /run: a socket's path holds 107 bytes at most.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
data=$root/build/engine
run=/run/vllm-patchkit-$(printf %s "$root" | cksum | cut -d' ' -f1)
socket=$run/docker.sock
START_S=180
STOP_S=30

answers() {
    docker ${1:+--host "$1"} version >/dev/null 2>&1
}

# dockerd's id is in "own" before there is a dockerd, that of its containerd in the other file.
pids() {
    cat "$run/own" "$run/exec/containerd/containerd.pid" 2>/dev/null
}

is_running() {
    [ -f "$run/own" ] && kill -0 "$(cat "$run/own")" 2>/dev/null
}

start() {
    command -v docker >/dev/null || { echo "docker is not installed (Debian: docker.io)" >&2; exit 3; }
    if answers ""; then
        echo "an engine is running already" >&2
        return
    fi
    if answers "unix://$socket"; then
        return
    fi
    [ "$(id -u)" = 0 ] || { echo "dockerd needs root: sudo $0 start" >&2; exit 3; }
    command -v dockerd >/dev/null || { echo "dockerd is not installed (Debian: docker.io)" >&2; exit 3; }
    mkdir -p "$data" "$run"
    # shellcheck disable=SC2016
    setsid sh -c 'echo $$ >"$1" && shift && exec "$@"' sh "$run/own" \
        dockerd --host "unix://$socket" --data-root "$data/data" --exec-root "$run/exec" \
        --pidfile "$run/pid" >"$data/dockerd.log" 2>&1 </dev/null &
    waited=0
    until answers "unix://$socket"; do
        if [ "$waited" -ge "$START_S" ]; then
            echo "dockerd did not start within $START_S s; its last words:" >&2
            tail -n 5 "$data/dockerd.log" >&2
            exit 3
        fi
        sleep 1
        waited=$((waited + 1))
    done
    echo "started dockerd: export DOCKER_HOST=unix://$socket" >&2
}

stop() {
    for pid in $(pids); do
        kill "$pid" 2>/dev/null || continue
        waited=0
        while kill -0 "$pid" 2>/dev/null && [ "$waited" -lt "$((STOP_S * 10))" ]; do
            sleep 0.1
            waited=$((waited + 1))
        done
        kill -9 "$pid" 2>/dev/null || true
    done
    # The network namespace of a container that was running stays mounted, and after kill -9 the
    # folder of its images.
    awk '{print $2}' /proc/mounts | sort -r | while read -r mounted; do
        case $mounted in "$run"/* | "$data"/*) umount "$mounted" 2>/dev/null || true ;; esac
    done
    [ -d "$run" ] && said="stopped dockerd" || said=""
    rm -rf "$run" "$data"
    # Last, since nobody may be there to read it.
    if [ -n "$said" ]; then echo "$said" >&2; fi
}

case ${1:-} in
start) start ;;
stop) stop ;;
env) if is_running; then echo "DOCKER_HOST=unix://$socket; export DOCKER_HOST"; fi ;;
*)
    echo "usage: $0 start|stop|env" >&2
    exit 2
    ;;
esac

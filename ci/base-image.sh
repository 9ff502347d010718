#!/bin/sh
# Makes a base image out of Debian packages, where no registry of images can be reached:
#   base-image.sh NAME
# Debian 12 has Python 3.11. Needs root (debootstrap) and an engine. Does nothing if NAME exists.
set -eu
name=${1:-vllm-patchkit-base:bookworm}
SUITE=bookworm
PACKAGES=ca-certificates,g++,libnuma1,python3,python3-dev,python3-venv,tini
DATE=@1759276800

if docker image inspect "$name" >/dev/null 2>&1; then
    exit 0
fi
for entry in debootstrap:debootstrap docker:docker.io; do
    command -v "${entry%:*}" >/dev/null || {
        echo "error: ${entry%:*} is not installed (Debian: apt-get install ${entry#*:})" >&2
        exit 3
    }
done
[ "$(id -u)" = 0 ] || { echo "error: debootstrap needs root" >&2; exit 3; }
docker version >/dev/null || exit 3
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$root/build"
folder=$(mktemp -d "$root/build/base.XXXXXX")
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
echo "making $name with debootstrap; this takes two minutes" >&2
debootstrap --variant=minbase --include="$PACKAGES" "$SUITE" "$folder/rootfs" >"$folder/log" 2>&1 || {
    tail -n 5 "$folder/log" >&2
    exit 1
}
rm -rf "$folder/rootfs/var/cache/apt" "$folder/rootfs/var/lib/apt/lists" "$folder/rootfs/var/log" \
    "$folder/rootfs/var/cache/ldconfig" "$folder/rootfs/dev"
mkdir -p "$folder/rootfs/dev" "$folder/rootfs/var/log" "$folder/rootfs/var/lib/apt/lists/partial"
tar --create --sort=name --mtime="$DATE" --numeric-owner --directory "$folder/rootfs" . \
    | docker import - "$name" >/dev/null

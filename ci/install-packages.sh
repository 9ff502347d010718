#!/bin/sh
# Installs the Debian packages whose programs the tests use, those that are missing.
# Each test that cannot find its program says so and is skipped; this keeps that from happening.
# INSTALL=no says what is missing and installs nothing.
set -u
missing=""
while read -r program package; do
    command -v "$program" >/dev/null 2>&1 || missing="$missing $package"
done <<'LIST'
dockerd docker.io
docker docker-cli
debootstrap debootstrap
quilt quilt
patch patch
g++ g++
strace strace
openssl openssl
shellcheck shellcheck
chromium chromium
chromedriver chromium-driver
LIST
# A library, not a program: the CPU build of vLLM is linked with it.
ldconfig -p 2>/dev/null | grep -q 'libnuma\.so\.1' || missing="$missing libnuma1"
# Debian 12 has the docker client in docker.io, later releases have it apart.
case $missing in *docker.io*) missing=$(echo "$missing" | sed 's/ docker-cli//') ;; esac
[ -n "$missing" ] || exit 0
if [ "${INSTALL:-yes}" = no ]; then
    echo "not installed (INSTALL=no):$missing" >&2
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "not installed (not root, or not Debian):$missing" >&2
    exit 0
fi
echo "the tests use these Debian packages, which are installed now:$missing"
echo "(INSTALL=no make test installs nothing and skips the tests that use them)"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing >/dev/null && exit 0
# One name that this release lacks must not cost the others.
for package in $missing; do
    apt-get install -y -qq --no-install-recommends "$package" >/dev/null || echo "cannot install $package" >&2
done

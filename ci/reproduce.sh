#!/bin/sh
# Builds a wheel in surroundings that have nothing in common and compares the bytes:
#     reproduce.sh STACK FLAVOR
# One build for each Python that this machine has (3.10 to 3.13; at least two builds), every other
# one under another umask, time zone, locale, hash seed, home, user, folder and file times.
set -eu
stack=$1
flavor=$2
root=$(cd "$(dirname "$0")/.." && pwd)
work=$root/build/reproduce
cache=${VLLM_PATCHKIT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/vllm-patchkit}

rm -rf "$work"
mkdir -p "$work/home" "$work/a folder"
trap 'rm -rf "$work/out"' EXIT
# What a build imports beside the standard library, in forms for any Python.
"$root/.venv/bin/python" -m pip install --quiet --no-deps --only-binary :all: --platform any \
    --implementation py --abi none --python-version 3.10 --target "$work/lib" \
    packaging tomli tomlkit

# Each prints the path of the wheel; the first argument is the Python.
build_here() (
    cd "$root"
    umask 022
    env TZ=UTC LC_ALL=C PYTHONHASHSEED=0 \
        VLLM_PATCHKIT_CACHE="$cache" PYTHONPATH="$root/tooling:$work/lib" \
        "$1" -m vllm_patchkit wheel --quiet --stack "$root/patches/$stack" --flavor "$flavor" \
        --out "$work/out"
)

build_elsewhere() (
    copy="$work/a folder/copy of the stack"
    rm -rf "$copy"
    cp -R "$root/patches/$stack" "$copy"
    find "$copy" -type f -exec chmod 600 {} + -exec touch -t 199912312359 {} +
    cd "$work/a folder"
    umask 077
    env TZ=Pacific/Chatham LC_ALL=tr_TR.UTF-8 PYTHONHASHSEED=4242 SOURCE_DATE_EPOCH=1 \
        HOME="$work/home" USER=somebody LOGNAME=somebody PYTHONOPTIMIZE=2 PYTHONUTF8=0 \
        VLLM_PATCHKIT_CACHE="$cache" PYTHONPATH="$root/tooling:$work/lib" \
        "$1" -m vllm_patchkit wheel --quiet --stack "$copy" --flavor "$flavor" --out "$work/out"
)

run() {
    wheel=$("$1" "$2")
    digest=$(sha256sum "$wheel" | cut -d' ' -f1)
    version=$("$2" -c 'import platform, zlib; print(platform.python_version(), "zlib", zlib.ZLIB_RUNTIME_VERSION)')
    echo "$digest  $(basename "$wheel")  Python $version  $1"
    echo "$digest" >>"$work/digests"
    rm "$wheel"
}

run build_here "$root/.venv/bin/python"
run build_elsewhere "$root/.venv/bin/python"
way=build_here
for release in 3.10 3.11 3.12 3.13; do
    python=$("$root/ci/find-python.sh" "$release" 2>/dev/null) || continue
    run $way "$python"
    [ $way = build_here ] && way=build_elsewhere || way=build_here
done

if [ "$(sort -u "$work/digests" | wc -l)" -ne 1 ]; then
    echo "the builds differ" >&2
    exit 1
fi
echo "$(wc -l <"$work/digests") builds, one wheel"

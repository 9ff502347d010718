#!/bin/sh
# Gives a tree the same bytes and dates in every build: fix.sh TREE [ROOT]
# ROOT is the part of TREE's path that the image will not have.
#
# Bytecode is compiled here, once: the image's file system is read-only when it runs, and compiling
# 15,000 modules at every start takes minutes. It is checked by its source's hash, not its date, so
# it never hides an edited source. Order and hash seed are fixed because both show in it.
set -eu
find "$1" -name __pycache__ -type d -prune -exec rm -rf {} +
PYTHONHASHSEED=0 python3 -m compileall -q -j 1 --invalidation-mode checked-hash \
    ${2:+-s "$2" -p /} "$1" > /tmp/compile.log 2>&1 \
    || echo "no bytecode for $(grep -c '^\*\*\*' /tmp/compile.log) files that are not Python of this version"
find "$1" -exec touch -h -d "@${SOURCE_DATE_EPOCH}" {} +

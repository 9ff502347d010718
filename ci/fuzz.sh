#!/usr/bin/env bash
# Run every fuzzing harness RUNS times, guided by coverage, in an environment with atheris.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
runs=${1:?usage: fuzz.sh RUNS}
environment=build/env-fuzz
mkdir -p build/fuzz

if [ ! -e "$environment/.ready" ]; then
    .venv/bin/uv venv --quiet --clear --python "$(ci/find-python.sh 3.11 3.12)" "$environment"
    .venv/bin/uv pip install --quiet --python "$environment" --editable . atheris==3.0.0
    touch "$environment/.ready"
fi
for harness in $(PYTHONPATH=tests "$environment/bin/python" -c 'from fuzz.harness import HARNESSES; print(*HARNESSES)'); do
    echo "$harness:"
    PYTHONPATH=tests "$environment/bin/python" -m fuzz "$harness" -runs="$runs" -max_len=4096 \
        -max_total_time=600 -artifact_prefix="build/fuzz/$harness-" -print_final_stats=1 2>&1 |
        grep --extended-regexp '^Done|number_of_executed|Uncaught|Error' || true
    if compgen -G "build/fuzz/$harness-*"; then
        exit 1
    fi
done

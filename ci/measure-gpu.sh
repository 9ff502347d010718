#!/bin/sh
# Proves and measures a patched vLLM on a GPU host, step by step: measure-gpu.sh PYTHON OUT [STEP ...]
#   PYTHON  the interpreter that has the patched vLLM
#   OUT     a folder: STEP.json and STEP.log of each step, written when the step ends
#   SIZE    in the environment: of the images in visual tokens, HEIGHTxWIDTH, 32x32 by default
#   TOKENS  likewise: how many tokens of each image, 0 (all) by default
# A step whose JSON is there is not repeated, so that a host that is taken away costs one step. Steps
# for two GPUs are passed over, with a line, where there is one. Exits with 1 if a step failed.
set -u
[ $# -ge 2 ] || { sed -n '2,8s/^# *//p' "$0" >&2; exit 2; }
root=$(cd "$(dirname "$0")/.." && pwd)
python=$1
out=$2
shift 2
steps="smoke bench bench-async bench-async-full bench-mixed window window-full bench-fp8 \
bench-fp8-async bench-fp8-marlin bench-fp8-marlin-async profile-fp8 smoke-two-gpus bench-two-gpus profile"
# shellcheck disable=SC2086
[ $# -gt 0 ] || set -- $steps
for step; do
    case " $steps " in
    *" $step "*) ;;
    *) echo "there is no step $step, but: $steps" >&2; exit 2 ;;
    esac
done
export PYTHONPATH="$root/tooling" HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 VLLM_NO_USAGE_STATS=1
gpus=$(nvidia-smi --list-gpus 2>/dev/null | wc -l)
failed=0
mkdir -p "$out"

patchkit() {
    python3 -m vllm_patchkit "$@" --python "$python" --device cuda --timeout 580
}

measure() {
    patchkit bench generate --full-size --size "${SIZE:-32x32}" --tokens "${TOKENS:-0}" \
        --rounds 1 "$@"
}

for step; do
    result=$out/$step.json
    [ -e "$result" ] && { echo "$step: done before"; continue; }
    case $step in
    *two-gpus) [ "$gpus" -ge 2 ] || { echo "$step: passed over, $gpus GPU(s) here"; continue; } ;;
    esac
    new=$out/$step.new
    case $step in
    smoke) patchkit smoke --out "$new" ;;
    smoke-two-gpus) patchkit smoke --tp 2 --out "$new" ;;
    bench) measure --images 1,8,32 --stagger 0,7 --out "$new" ;;
    # Against the fastest that plain sequences can do.
    bench-async) measure --images 1,8,32 --stagger 0,7 --async-scheduling --plain-top-k 0 --out "$new" ;;
    bench-async-full) measure --images 1,8,32 --stagger 0,7 --async-scheduling --sides guided \
        --cudagraph-mode FULL --out "$new" ;;
    bench-mixed) measure --images 8 --beside 8 --top-p 0.9 --plain-top-k 0 --out "$new" ;;
    window) "$python" "$root/ci/measure-window.py" "$new" ;;
    window-full) "$python" "$root/ci/measure-window.py" "$new" FULL ;;
    # The guided step alone, but for the best.
    bench-fp8) measure --images 1 --quantization fp8 --sides guided --out "$new" ;;
    bench-fp8-async) measure --images 1 --quantization fp8 --sides guided --async-scheduling \
        --out "$new" ;;
    bench-fp8-marlin) VLLM_TEST_FORCE_FP8_MARLIN=1 measure --images 1 --quantization fp8 \
        --sides guided --out "$new" ;;
    bench-fp8-marlin-async) VLLM_TEST_FORCE_FP8_MARLIN=1 measure --images 1 --quantization fp8 \
        --async-scheduling --plain-top-k 0 --out "$new" ;;
    profile-fp8) measure --images 1 --quantization fp8 --sides guided \
        --profile "$out/profile-fp8.txt" --out "$new" ;;
    bench-two-gpus) measure --images 1,32 --tp 2 --out "$new" ;;
    profile) measure --images 1 --profile "$out/profile.txt" --out "$new" ;;
    esac >"$out/$step.log" 2>&1
    status=$?
    if [ -d "$new" ]; then
        rm -rf "${out:?}/$step"
        mv "$new" "$out/$step"
        new=$out/$step/smoke.json
    fi
    if [ $status -eq 0 ]; then
        cp "$new" "$result"
        echo "$step: done"
    else
        failed=1
        echo "$step: FAILED with status $status; the end of $out/$step.log:"
        tail -n 5 "$out/$step.log"
    fi
done
exit $failed

"""``python -m vllm_patchkit.smoke`` is ``vllm-patchkit smoke``."""

import sys

from vllm_patchkit.cli import main

raise SystemExit(main(["smoke", *sys.argv[1:]]))

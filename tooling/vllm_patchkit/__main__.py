"""``python -m vllm_patchkit``."""

from vllm_patchkit.cli import main

raise SystemExit(main())

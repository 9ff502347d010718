"""Explain what is wrong with an environment, and the command that mends it.

Looks without importing vllm or torch: versions and state of vLLM, every file that it, torch and
what they need installed, modules that hide them, torch and CUDA, flash-attn, requirements, GPUs,
memory for a model, limits.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from vllm_patchkit.cli import options
from vllm_patchkit.cli.parser import positive, take_inputs, whole
from vllm_patchkit.errors import ExitCode
from vllm_patchkit.host.terminal import Console

if TYPE_CHECKING:
    from vllm_patchkit.doctor.model import Diagnosis

EXAMPLES = """\
  vllm-patchkit doctor --python ENV/bin/python
  vllm-patchkit doctor --image my/vllm:latest
  vllm-patchkit doctor --model /models/large --tensor-parallel-size 2
"""


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``doctor``."""
    subject = parser.add_mutually_exclusive_group()
    subject.add_argument("--python", type=Path, help="interpreter to look at (default: this one)")
    subject.add_argument("--image", help="container image to look into, with docker")
    parser.add_argument(
        "--hashes", action="store_true", help="read every installed file; takes minutes"
    )
    parser.add_argument("--cwd", type=Path, help="folder from which vLLM would be started")
    options.add_stack_option(parser, "the stack whose state is checked (default: the only one)")
    parser.add_argument("--model", type=Path, help="checkpoint (or config.json) that should fit")
    parser.add_argument(
        "--tensor-parallel-size", "--tp", type=whole(1), default=1, metavar="N", help="default: 1"
    )
    parser.add_argument(
        "--gpu-memory-utilization",
        type=positive(1),
        default=0.9,
        metavar="FRACTION",
        help="default: 0.9",
    )
    parser.add_argument("--quantization", choices=["fp8"], help="of the weights")
    parser.add_argument(
        "--max-model-len", type=whole(1), metavar="N", help="as vllm serve takes it"
    )
    options.add_json_option(parser, "the diagnosis")
    take_inputs(parser, "python", "cwd", "model")


def execute(args: argparse.Namespace, console: Console) -> int:
    """Diagnose and render; 1 if something stops vLLM."""
    from vllm_patchkit.doctor.checkpoint import check_architecture, read_checkpoint
    from vllm_patchkit.doctor.diagnose import diagnose
    from vllm_patchkit.doctor.facts import collect_facts, collect_image_facts
    from vllm_patchkit.doctor.model import ModelNeed
    from vllm_patchkit.doctor.patches import check_patches
    from vllm_patchkit.doctor.remote_code import check_remote_code
    from vllm_patchkit.stack.read import find_stack

    if args.image:
        facts, subject = collect_image_facts(args.image, hashes=args.hashes), args.image
        more = []
    else:
        python = args.python or Path(sys.executable)
        facts = collect_facts(python, cwd=args.cwd, hashes=args.hashes)
        subject = str(python)
        more = check_patches(find_stack(args.stack) if args.stack else None, python)
    need = None
    if args.model:
        checkpoint = read_checkpoint(args.model)
        more += [*checkpoint.findings, *check_architecture(facts, checkpoint)]
        more += check_remote_code(facts, args.model, checkpoint.config)
        if checkpoint.has_dimensions:
            need = ModelNeed(
                name=checkpoint.name,
                config=checkpoint.config,
                tensor_parallel_size=args.tensor_parallel_size,
                gpu_memory_utilization=args.gpu_memory_utilization,
                dtype_bytes=1.0 if args.quantization == "fp8" else 2.0,
                max_model_len=args.max_model_len,
            )
    diagnosis = diagnose(facts, subject=subject, need=need, more=more)
    document = {
        "subject": diagnosis.subject,
        "healthy": diagnosis.healthy,
        "summary": dict(diagnosis.summary),
        "findings": [asdict(finding) for finding in diagnosis.findings],
    }
    if not options.print_document(args, console, document):
        _render(diagnosis, console)
    return ExitCode.OK if diagnosis.healthy else ExitCode.FAILED


def _render(diagnosis: Diagnosis, console: Console) -> None:
    colours = {"error": "red", "warning": "yellow", "note": "cyan"}
    for name, value in diagnosis.summary:
        console.result(f"{console.style(f'{name:>13}', 'dim')}  {value}")
    for finding in diagnosis.findings:
        severity = finding.severity.value
        console.result("")
        console.result(
            f"{console.style(severity, colours[severity])}[{finding.code}]: {finding.what}"
        )
        console.result(f"     why: {finding.why}")
        console.result(f"  remedy: {console.style(finding.remedy, 'bold')}")
    console.result("")
    errors = sum(finding.severity.value == "error" for finding in diagnosis.findings)
    others = len(diagnosis.findings) - errors
    console.result(f"{errors} error(s), {others} other finding(s)")

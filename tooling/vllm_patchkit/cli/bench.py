"""Measure guided generation: steps of N images against steps of 2N plain sequences."""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vllm_patchkit.cli import options
from vllm_patchkit.cli.parser import parse_size, positive, take_inputs, whole
from vllm_patchkit.errors import UsageError
from vllm_patchkit.host.terminal import Console

if TYPE_CHECKING:
    from vllm_patchkit.bench.generate import BenchReport
    from vllm_patchkit.launch.subject import Event

EXAMPLES = """\
  vllm-patchkit bench generate --python .venv/bin/python --images 1,8,32 --size 8x8
  vllm-patchkit bench generate --python /tmp/venv --device cuda --full-size --size 16x16
  vllm-patchkit bench generate --python /tmp/venv --device cuda --full-size --images 1 \\
      --profile profile.txt
"""


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("what", choices=("generate",), help="what to measure")
    parser.add_argument(
        "--python", type=Path, default=Path(sys.executable), metavar="PATH", help="the environment"
    )
    parser.add_argument(
        "--images", default="1,8,32", metavar="N,N", help="images at once, default: %(default)s"
    )
    parser.add_argument(
        "--size",
        type=parse_size,
        default="32x32",
        metavar="HxW",
        help="in visual tokens, default: %(default)s",
    )
    parser.add_argument(
        "--stagger",
        default="0",
        metavar="STEPS,STEPS",
        help="between arrivals; the default, 0: all at once",
    )
    parser.add_argument(
        "--tokens", type=whole(0), default=0, metavar="N", help="of each image; the default, 0: all"
    )
    parser.add_argument(
        "--beside",
        type=whole(0),
        default=0,
        metavar="N",
        help="plain requests beside the images, default: 0",
    )
    parser.add_argument(
        "--top-p", type=positive(1), default=1.0, metavar="P", help="of plain requests, default: 1"
    )
    parser.add_argument(
        "--sides", choices=("both", "guided", "plain"), default="both", help="default: both"
    )
    parser.add_argument("--async-scheduling", action="store_true", help="of both engines")
    parser.add_argument("--cudagraph-mode", metavar="MODE", help="such as FULL (vLLM's default)")
    parser.add_argument("--full-size", action="store_true", help="the published 34 B dimensions")
    options.add_engine_options(parser, "of the small model (float32 on a CPU, else bfloat16)")
    parser.add_argument(
        "--rounds", type=whole(1), default=3, help="repetitions, default: 3; medians count"
    )
    parser.add_argument(
        "--top-k", type=whole(0), metavar="K", help="of both sides (5120, small model 160; 0: none)"
    )
    parser.add_argument(
        "--plain-top-k", type=whole(0), metavar="K", help="of plain requests instead"
    )
    parser.add_argument("--in-process", action="store_true", help="engine core in one process")
    parser.add_argument(
        "--timeout",
        dest="timeout_s",
        type=positive(),
        default=590.0,
        metavar="SECONDS",
        help="of the whole, default: 590",
    )
    parser.add_argument(
        "--against",
        metavar="BASE",
        help="plain sequences here and on another environment, or on the release: base",
    )
    parser.add_argument("--profile", type=Path, metavar="FILE", help="write the top costs there")
    options.add_json_option(parser, "the results")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the JSON there")
    take_inputs(parser, "python")


def execute(args: argparse.Namespace, console: Console) -> int:
    """Measure, print each result as it comes, and return the exit code."""
    from vllm_patchkit.bench.generate import (
        BenchOptions,
        compare_general,
        describe_event,
        measure_generate,
    )
    from vllm_patchkit.host.files import replace_file
    from vllm_patchkit.launch.base_environment import describe_base, find_base
    from vllm_patchkit.launch.session import find_packages
    from vllm_patchkit.launch.subject import find_environment
    from vllm_patchkit.smoke.report import format_json

    images = parse_numbers("--images", args.images, least=1)
    staggers = parse_numbers("--stagger", args.stagger, least=0, of="numbers of steps")
    check_stagger(max(staggers), max(images), args.size)
    check_sides(args)
    given = {field.name: getattr(args, field.name, None) for field in fields(BenchOptions)}
    made: dict[str, Any] = {
        "images": images,
        "staggers": staggers,
        "profile": args.profile is not None,
        "own": True,
        "unpatched": False,
    }
    wanted = BenchOptions(**{**given, **made})

    def observe(event: Event) -> None:
        if (text := describe_event(event)) is not None:
            console.note(text)

    subject = find_environment(args.python)
    if args.against is None:
        report = measure_generate(subject, wanted, observe, find_packages())
    else:
        wanted = replace(wanted, own=False)
        with find_base(args.against, subject, console) as base:
            report = measure_generate(subject, wanted, observe)
            console.note(describe_base(args.against, base))
            release = replace(wanted, unpatched=True)
            compare_general(report, measure_generate(base, release, observe))
    data = format_json(report.to_json())
    if args.out:
        replace_file(args.out, data)
    if args.profile and report.profile:
        replace_file(args.profile, report.profile.encode())
        console.note(f"wrote {args.profile}")
    if not options.print_document(args, console, report.to_json()):
        console.result(_render(report, console))
    return int(report.exit_code)


def _render(report: BenchReport, console: Console) -> str:
    from vllm_patchkit.bench.generate import GENERAL_HEADER, HEADER, format_general, format_result

    if report.general:
        lines = [GENERAL_HEADER, *map(format_general, report.general)]
    else:
        lines = [HEADER, *(format_result(result, report.floor) for result in report.results)]
    if report.problem:
        console.error(report.problem["message"], report.problem.get("hint"))
        if report.problem.get("log"):
            console.note(report.problem["log"])
    return "\n".join(lines)


def parse_numbers(option: str, text: str, *, least: int, of: str = "numbers") -> tuple[int, ...]:
    """Return the numbers in ``1,8,32``.

    :raises UsageError: they are not numbers from ``least`` on.
    """
    words = text.split(",")
    if not all(word.isdecimal() and int(word) >= least for word in words):
        raise UsageError(f"{option} {text!r} is no list of {of}", hint=f"such as {least},7")
    return tuple(int(word) for word in words)


def check_sides(args: argparse.Namespace) -> None:
    """See that this device can measure what is asked for.

    :raises UsageError: it cannot.
    """
    if args.device == "cpu" and args.async_scheduling:
        raise UsageError("--async-scheduling needs --device cuda: vLLM's CPU backend lacks it")
    if args.device == "cpu" and args.sides != "both":
        raise UsageError(f"--sides {args.sides} needs --device cuda: on a CPU both take turns")


def check_stagger(stagger: int, images: int, size: tuple[int, int]) -> None:
    """See that all images are there together for half of the steps that the first one takes.

    :raises UsageError: they are not, or ``stagger`` is negative.
    """
    largest = size[0] * size[1] // 2 // max(images - 1, 1)
    if not 0 <= stagger <= largest:
        raise UsageError(
            f"--stagger {stagger}: {images} images of {size[0]}*{size[1]} tokens would hardly be "
            "there at the same time",
            hint=f"0 to {largest}, or larger images",
        )

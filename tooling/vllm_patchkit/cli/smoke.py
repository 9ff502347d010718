"""Run the artifact: prove that it is the artifact, then generate text and images with it."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vllm_patchkit.cli import options
from vllm_patchkit.cli.parser import parse_size, positive, take_inputs, whole
from vllm_patchkit.errors import UsageError
from vllm_patchkit.host.terminal import Console

if TYPE_CHECKING:
    from vllm_patchkit.launch.session import Packages
    from vllm_patchkit.smoke import SmokeOptions, Subject
    from vllm_patchkit.smoke.options import UpstreamTests

EXAMPLES = """\
  vllm-patchkit smoke wheels/out/vllm-0.11.0+myfork.3.cpu-cp312-cp312-manylinux_2_32_x86_64.whl
  vllm-patchkit smoke --python .venv/bin/python --scenario t2i --out smoke/
  vllm-patchkit smoke --image vllm-myfork:cpu
"""


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from vllm_patchkit.smoke.options import DEFAULT_TIMEOUT_S, UPSTREAM_TIMEOUT_S

    what = parser.add_argument_group("the artifact (one of these)")
    what.add_argument("wheel", nargs="?", type=Path, help="a patched wheel")
    what.add_argument("--python", type=Path, metavar="PATH", help="an environment")
    what.add_argument("--image", metavar="NAME", help="a container image")
    what.add_argument(
        "--interpreter", type=Path, metavar="PATH", help="Python to make a wheel's environment with"
    )
    what.add_argument(
        "--requirements", type=Path, metavar="FILE", help="lock of a wheel's environment"
    )
    options.add_stack_option(what, "the artifact must hold this very stack")
    run = parser.add_argument_group("the run")
    run.add_argument(
        "--scenario",
        dest="scenarios",
        action="append",
        default=[],
        metavar="NAME",
        help="run this one only; may be repeated (an unknown name lists them)",
    )
    run.add_argument(
        "--architecture",
        dest="architectures",
        action="append",
        default=[],
        metavar="NAME",
        help="of the general scenarios' tiny models, such as LlamaForCausalLM; may be repeated",
    )
    run.add_argument(
        "--no-own-scenarios",
        dest="own_scenarios",
        action="store_false",
        help="do not run what the artifact's stacks declare of their own, which is their code",
    )
    run.add_argument(
        "--unpatched",
        action="store_true",
        help="the artifact may be a release without a stack",
    )
    run.add_argument(
        "--against",
        metavar="BASE",
        help="compare with another environment (or image), or with the release: base",
    )
    _add_upstream_options(parser)
    run.add_argument("--checks-only", action="store_true", help="no model, only the cheap checks")
    options.add_engine_options(run, "of the weights (float32 with the tiny checkpoint)")
    run.add_argument("--port", type=whole(1, 65535), help="of vllm serve (default: any free one)")
    run.add_argument(
        "--timeout",
        dest="timeout_s",
        type=positive(),
        metavar="SECONDS",
        help=f"of the whole run, default: {DEFAULT_TIMEOUT_S:g}, of upstream's tests "
        f"{UPSTREAM_TIMEOUT_S:g} on each side",
    )
    real = parser.add_argument_group("a real checkpoint instead of the tiny one")
    real.add_argument("--model", metavar="PATH", help="folder of the checkpoint")
    real.add_argument("--prompt", metavar="TEXT", help="what the images show")
    real.add_argument(
        "--image-size", type=parse_size, metavar="HxW", help="in visual tokens (default 16x16)"
    )
    real.add_argument("--vision-tokenizer", metavar="PATH", help="decode images to PNG with it")
    real.add_argument(
        "--vision-factory", metavar="MODULE:FUNCTION", help="how to load the vision tokenizer"
    )
    real.add_argument(
        "--trust-remote-code", action="store_true", help="run the code that the checkpoint brings"
    )
    out = parser.add_argument_group("output")
    options.add_json_option(out, "smoke.json instead of the table")
    out.add_argument("--out", type=Path, metavar="DIR", help="write smoke.json and pictures there")
    take_inputs(
        parser,
        "wheel",
        "python",
        "interpreter",
        "requirements",
        "model",
        "vision_tokenizer",
        "sdist",
    )


def execute(args: argparse.Namespace, console: Console) -> int:
    """Run the smoke and return its exit code."""
    from vllm_patchkit.launch.base_environment import BASE, describe_base
    from vllm_patchkit.launch.session import find_packages
    from vllm_patchkit.launch.subject import find_environment
    from vllm_patchkit.smoke import SmokeOptions, run_against, run_smoke
    from vllm_patchkit.smoke.options import DEFAULT_TIMEOUT_S, UPSTREAM_TIMEOUT_S
    from vllm_patchkit.smoke.table import Watch, render
    from vllm_patchkit.smoke.upstream import run_upstream
    from vllm_patchkit.stack.read import find_stack

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    stack = find_stack(args.stack) if args.stack else None
    given = {field.name: getattr(args, field.name, None) for field in fields(SmokeOptions)}
    made: dict[str, Any] = {
        "scenarios": tuple(args.scenarios),
        "architectures": tuple(args.architectures),
        "timeout_s": args.timeout_s
        or (UPSTREAM_TIMEOUT_S if args.upstream_tests else DEFAULT_TIMEOUT_S),
        "digests": _digests(stack),
    }
    wanted = SmokeOptions(**{**given, **made})
    # Now, not after the minutes that the run takes.
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
    if args.against not in (None, BASE) and not args.image:
        find_environment(Path(args.against))
    packages = find_packages(stack) if wanted.own_scenarios else {}
    subject = _find_subject(args, wanted, packages, console)
    if args.upstream_tests:
        args.against = args.against or BASE
        wanted = replace(wanted, upstream=_find_upstream(args, subject, console))
    with Watch(console) as watch, _find_base(args, subject, console) as base:
        if base is not None and wanted.upstream:
            report = run_upstream(subject, base, wanted, watch)
        else:
            report = run_smoke(subject, wanted, watch, packages)
            if base is not None and report.plan is None:
                console.note("not compared: what was to be compared did not get so far")
            elif base is not None:
                console.note(describe_base(args.against, base))
                report.against = run_against(report, base, watch)
    for problem in report.problems:
        if problem["kind"] == "usage":
            raise UsageError(problem["message"], hint=problem["hint"])
        if problem.get("log"):
            console.note(f"--- end of the log of stage {problem['stage']}\n{problem['log']}---")
    if args.out:
        for path in report.write(args.out):
            console.note(f"wrote {path}")
    if not options.print_document(args, console, report.to_json()):
        console.result(render(report))
    return int(report.exit_code)


def _add_upstream_options(parser: argparse.ArgumentParser) -> None:
    from vllm_patchkit.smoke.options import FILE_LIMIT_S

    group = parser.add_argument_group("upstream's own tests instead of scenarios")
    group.add_argument(
        "--upstream-tests",
        action="store_true",
        help="run the release's tests of what the stack touches, patched and not, and compare",
    )
    group.add_argument(
        "--upstream-file",
        action="append",
        default=[],
        metavar="NAME",
        help="only this test file (the end of its path); may be repeated",
    )
    group.add_argument(
        "--upstream-limit",
        type=positive(),
        default=FILE_LIMIT_S,
        metavar="SECONDS",
        help="of one test file, default: %(default)g",
    )
    group.add_argument("--sdist", type=Path, metavar="FILE", help="the tests are in this sdist")


def _find_upstream(args: argparse.Namespace, subject: Subject, console: Console) -> UpstreamTests:
    """Return which of the release's tests to run, and from where."""
    from vllm_patchkit.host.files import file_sha256
    from vllm_patchkit.launch.base_environment import find_place, touched_files
    from vllm_patchkit.launch.supply import find_supply
    from vllm_patchkit.smoke.options import UpstreamTests
    from vllm_patchkit.stack.propose import module_name
    from vllm_patchkit.wheel.sdist import fetch_sdist

    if not subject.local:
        raise UsageError(
            "upstream's tests run in an environment, not in an image",
            hint="give the wheel that the image was built with",
        )
    base, names = touched_files(find_place(subject.argv[0]))
    sdist = args.sdist or fetch_sdist(base.distribution, base.version, console)
    supply = find_supply(subject.argv[0], console)
    return UpstreamTests(
        sdist=str(sdist.resolve()),
        sha256=file_sha256(sdist),
        touched=tuple(sorted(module_name(name) for name in names if name.endswith(".py"))),
        only=tuple(args.upstream_file),
        supply=str(supply) if supply else None,
        limit_s=args.upstream_limit,
    )


@contextmanager
def _find_base(
    args: argparse.Namespace, subject: Subject, console: Console
) -> Iterator[Subject | None]:
    """Give the other side of ``--against``; None without it."""
    from vllm_patchkit.launch.base_environment import BASE, find_base
    from vllm_patchkit.launch.subject import make_image_subject

    if args.against is None:
        yield None
    elif args.image and args.against != BASE:
        yield make_image_subject(args.against, gpus=_wants_gpus(args))
    else:
        with find_base(args.against, subject, console) as base:
            yield base


def _digests(stack: Path | None) -> dict[str, str]:
    from vllm_patchkit.stack.lock import stack_digest
    from vllm_patchkit.stack.read import read_stack

    if stack is None:
        return {}

    found = read_stack(stack)
    return {found.name: stack_digest(found)}


def _wants_gpus(args: argparse.Namespace) -> bool:
    """Return whether the run needs GPUs: the cheap checks do not."""
    return args.device == "cuda" and not args.checks_only


def _find_subject(
    args: argparse.Namespace, wanted: SmokeOptions, packages: Packages, console: Console
) -> Subject:
    from vllm_patchkit.launch.beforehand import require_possible
    from vllm_patchkit.launch.subject import (
        find_environment,
        make_image_subject,
        make_wheel_subject,
        read_locks,
    )
    from vllm_patchkit.launch.wheel_environment import find_interpreter, make_environment

    given = [word for word in (args.wheel, args.python, args.image) if word]
    if len(given) != 1:
        raise UsageError(
            "give one artifact: a wheel, --python or --image",
            hint="vllm-patchkit smoke --help shows examples",
        )
    if args.python:
        return find_environment(args.python)
    if args.image:
        paths = (args.model, args.vision_tokenizer)
        mounts = tuple(Path(path) for path in paths if path)
        return make_image_subject(args.image, gpus=_wants_gpus(args), mounts=mounts)
    if args.wheel.suffix != ".whl":
        # An environment's folder or interpreter, given where a wheel goes.
        return find_environment(args.wheel)

    # A wheel that was never patched is refused first.
    read_locks(args.wheel)
    python = args.interpreter or find_interpreter(args.wheel.name)
    require_possible(args.wheel, python, wanted.to_job({}), packages)
    python = make_environment(args.wheel, python, args.requirements, console)
    return make_wheel_subject(args.wheel, python)

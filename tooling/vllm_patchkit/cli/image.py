"""Build a container image from a patched wheel.

The wheel is taken as it is; nothing is patched again. The image serves vLLM's API as a user
without rights, with the wheel's provenance and SBOM inside. Equal inputs give an equal image id.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from vllm_patchkit.cli import options
from vllm_patchkit.cli.parser import take_inputs
from vllm_patchkit.errors import ExitCode, UsageError
from vllm_patchkit.host.terminal import Console

if TYPE_CHECKING:
    from vllm_patchkit.container.build import BuiltImage
    from vllm_patchkit.container.image import ImagePlan

EXAMPLES = """\
  vllm-patchkit image --flavor cuda
  vllm-patchkit image --wheel wheels/out/vllm-0.11.0+myfork.3-cp38-abi3-manylinux1_x86_64.whl \\
      --flash-attn flash_attn-2.8.3+cu12torch2.8cxx11abiTRUE-cp312-cp312-linux_x86_64.whl
  docker build -f ci/Dockerfile $(vllm-patchkit image --flavor cuda --print-args) .
"""


def configure_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``image``."""
    from vllm_patchkit.container.image import DEFAULT_BASE

    parser.add_argument("--flavor", choices=["cuda", "cpu"], help="default: the wheel's, or cuda")
    parser.add_argument(
        "--wheel", type=Path, help="default: that of the stack as it is now, in wheels/out"
    )
    parser.add_argument("--base-image", default=DEFAULT_BASE, help="default: %(default)s")
    parser.add_argument("--requirements", type=Path, help="hash-locked requirements of the flavor")
    parser.add_argument(
        "--wheelhouse",
        type=Path,
        help="folder with every required wheel; the build then fetches nothing",
    )
    parser.add_argument("--flash-attn", type=Path, help="prebuilt flash-attn wheel to install")
    parser.add_argument("--files", type=Path, help="folder with Dockerfile and image/ (ci/)")
    parser.add_argument("--tag", action="append", help="name:tag (repeatable)")
    parser.add_argument("--network", help="network of the build's steps, such as none or host")
    parser.add_argument("--no-cache", action="store_true", help="run every step again")
    parser.add_argument("--no-pull", action="store_true", help="take only a base that is here")
    options.add_json_option(parser, "what was built")
    parser.add_argument(
        "--print-python", action="store_true", help="print the version of the base's Python"
    )
    parser.add_argument(
        "--print-args", action="store_true", help="print `docker build` arguments and build nothing"
    )
    take_inputs(parser, "wheel", "requirements", "wheelhouse", "flash_attn", "files")


def execute(args: argparse.Namespace, console: Console) -> int:
    """Plan, build, and print the digest."""
    from vllm_patchkit.container.build import build_image
    from vllm_patchkit.container.engine import connect

    if args.print_python:
        return _print_python(args, console)
    plan = _make_plan(args)
    if args.print_args:
        plan.require_context()
        for name, value in plan.build_args().items():
            console.result(f"--build-arg {name}={value}")
        return ExitCode.OK
    image = build_image(
        connect(),
        plan,
        args.tag or [plan.name],
        console,
        wheelhouse=args.wheelhouse,
        use_cache=not args.no_cache,
        network=args.network,
        pull=not args.no_pull,
    )
    _report(args, image, console)
    return ExitCode.OK


def _make_plan(args: argparse.Namespace) -> ImagePlan:
    from vllm_patchkit.container import image
    from vllm_patchkit.container.wheelfacts import read_wheel_facts

    files = args.files or image.find_files(Path.cwd())
    # Beside the Dockerfile of a checkout; an installed toolkit writes wheels where it is called.
    outputs = [place / "wheels" / "out" for place in (files.parent, Path.cwd())]
    out = next(filter(Path.is_dir, outputs), outputs[-1])
    wheel = read_wheel_facts(args.wheel or _find_wheel(args, out))
    if args.flavor not in (None, wheel.flavor):
        raise UsageError(
            f"{wheel.path.name} is a {wheel.flavor} wheel, and --flavor {args.flavor} was given",
            hint=f"leave --flavor out, or give the {args.flavor} wheel",
        )
    return image.ImagePlan(
        files=files,
        base_image=args.base_image,
        wheel=wheel,
        requirements=args.requirements
        or image.find_requirements(wheel.flavor, wheel.version, files),
        flash_attn=args.flash_attn,
        revision=image.find_revision(files),
        epoch=image.source_epoch(),
    )


def _find_wheel(args: argparse.Namespace, folder: Path) -> Path:
    """Return the wheel that was built from the stack as it is now, where there are several."""
    import re

    from vllm_patchkit.container.wheelfacts import find_wheel
    from vllm_patchkit.operations.stacks import current_label

    python = re.search(r"python:(\d+)\.(\d+)", args.base_image)
    return find_wheel(
        folder,
        args.flavor or "cuda",
        label=current_label(),
        python=f"cp{python[1]}{python[2]}" if python else None,
    )


def _print_python(args: argparse.Namespace, console: Console) -> int:
    from vllm_patchkit.container.base import ask_python
    from vllm_patchkit.container.engine import connect, require_image

    client = connect()
    require_image(client, args.base_image, on_pull=None if args.no_pull else lambda line: None)
    console.result("{}.{}".format(*ask_python(client, args.base_image)))
    return ExitCode.OK


def _report(args: argparse.Namespace, image: BuiltImage, console: Console) -> None:
    from vllm_patchkit.container.seal import OWN_LAYERS

    document = {
        "digest": image.digest,
        "tags": list(image.tags),
        "reproducible_id": image.sealed,
        "layers": [asdict(layer) for layer in image.layers],
    }
    if options.print_document(args, console, document):
        return
    for layer, name in zip(image.layers, OWN_LAYERS, strict=True):
        console.note(f"layer {layer.digest[7:19]} {layer.size_bytes / 1e6:9.1f} MB  {name}")
    if not image.sealed:
        console.note(
            "this engine keeps the build's dates in the image: the layers are reproducible, "
            "the image id is not"
        )
    console.note(f"tagged {', '.join(image.tags)}; steps from the cache: {image.cached_steps}")
    console.result(image.digest)

"""Calls of every command on what may not be read; run as a program without the right of root.

``python denied.py FOLDER`` prints one line of JSON for each: the call, what was denied, the exit
code, and what was said.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

# Root reads everything by these two.
RIGHTS = "-dac_override,-dac_read_search"
ORDINARY = ["setpriv", f"--bounding-set={RIGHTS}", f"--inh-caps={RIGHTS}"]
SITE = "lib/python3.12/site-packages"
WHEEL = "wheel/vllm-0.11.0-py3-none-any.whl"
# What of it is denied: the thing itself ("" for its folder), or a part that a command needs.
ENV = ("", SITE, f"{SITE}/vllm")
TREE = ("", "vllm", "vllm/engine.py")
STACK = ("", "stack.toml", "series", "lock.json", "0001-Return-three.patch")
PATCHES = ("", "stack.toml", "series", "0001-Return-three.patch")
LOCKED = ("", "stack.toml", "lock.json")
FILE = ("", "vllm-0.11.0-py3-none-any.whl")
CALLS: dict[str, dict[str, tuple[str, ...]]] = {
    "verify --stack stack env": {"env": (*ENV, f"{SITE}/vllm/engine.py"), "stack": LOCKED},
    "verify --stack stack tree": {"tree": TREE},
    f"verify --stack stack {WHEEL}": {"wheel": FILE},
    "status --stack stack env": {"env": (*ENV, f"{SITE}/vllm/engine.py"), "stack": LOCKED},
    "status --stack stack tree": {"tree": TREE},
    f"status --stack stack {WHEEL}": {"wheel": FILE},
    "apply --stack stack env": {"env": (*ENV, f"{SITE}/vllm/engine.py"), "stack": STACK},
    "apply --stack stack tree": {"tree": TREE},
    "revert --stack stack env": {"env": (*ENV, f"{SITE}/vllm/engine.py"), "stack": LOCKED},
    "revert --stack stack tree": {"tree": TREE},
    "identify env": {"env": ENV},
    "identify tree": {"tree": ("", "vllm")},
    f"identify {WHEEL}": {"wheel": FILE},
    "lint stack": {"stack": STACK},
    f"lint stack --base {WHEEL}": {"wheel": FILE},
    f"lock stack --base {WHEEL}": {"stack": PATCHES, "wheel": FILE},
    f"wheel --stack stack --base {WHEEL} --out out": {"stack": STACK, "wheel": FILE},
    f"wheel --check {WHEEL}": {"wheel": FILE},
    f"image --wheel {WHEEL}": {"wheel": FILE},
    "flash-attn --python env": {"env": ("", SITE)},
    f"smoke {WHEEL}": {"wheel": FILE},
    "smoke --stack stack --python env": {"env": ("", "bin"), "stack": ("", "stack.toml")},
    "checkpoint --python env made": {"env": ("", "bin")},
    "bench generate --python env": {"env": ("", "bin")},
    "base diffs": {"diffs": ("", "a.patch", "more")},
    f"import diffs --base {WHEEL} --name n --author x<y@z>": {
        "diffs": ("", "a.patch"),
        "wheel": FILE,
    },
    "edit stack": {"stack": STACK},
    "split stack --patch 0001": {"stack": ("",)},
    "refresh stack": {"stack": ("", "stack.toml")},
    f"new stack --from env -m x --base {WHEEL}": {"env": ENV, "stack": STACK},
    "undo stack": {"stack": ("", "stack.toml")},
    "diff stack": {"stack": STACK},
    "range-diff stack --rev HEAD": {"stack": STACK},
    "rebase stack --onto 0.11.1": {"stack": STACK},
    "compose stack stack --name z": {"stack": STACK},
    "matrix stack": {"stack": STACK},
    "bisect stack -- true": {"stack": STACK},
    "export stack": {"stack": STACK},
    "report stack --markdown": {"stack": STACK},
    "report stack --markdown --target env": {"env": ENV},
    "doctor --python env": {"env": ("", "bin")},
    "doctor --model model": {"model": ("",)},
    f"release --out made {WHEEL}": {"wheel": FILE},
    "verify-release release": {"release": ("", "SHA256SUMS")},
}


def main() -> None:
    """Make everything anew in a folder for each call, deny one part, and call."""
    from vllm_patchkit.cli import main as run

    root = Path(sys.argv[1])
    os.chdir(root)
    for call, things in CALLS.items():
        for thing, parts in things.items():
            for part in parts:
                with made(root):
                    denied = root / thing / part
                    denied.chmod(0)
                    out, err = io.StringIO(), io.StringIO()
                    try:
                        with redirect_stdout(out), redirect_stderr(err):
                            code = run(call.split())
                    except BaseException as error:
                        code, err = -1, io.StringIO(repr(error))
                    denied.chmod(0o755)
                row = [call, str(denied), code, out.getvalue()[-2000:], err.getvalue()]
                print("called " + json.dumps(row), flush=True)


class made:
    """The things that calls name, while the block runs."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __enter__(self) -> None:
        from support.checkpoints import write_checkpoint
        from support.environments import RELEASE, install, make_stack, write_wheel
        from support.stacks import write_tree

        root = self.root
        install(root / "env")
        (root / "env/bin").mkdir()
        (root / "env/bin/python").symlink_to(sys.executable)
        make_stack(root / "stack")
        write_wheel(root / "wheel")
        write_tree(root / "tree", RELEASE)
        (root / "diffs").mkdir()
        (root / "diffs/more").mkdir()
        shutil.copy(root / "stack/0001-Return-three.patch", root / "diffs/a.patch")
        write_checkpoint(root / "model")
        (root / "release").mkdir()
        (root / "release/SHA256SUMS").write_text("")

    def __exit__(self, *_: object) -> None:
        for entry in self.root.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    main()

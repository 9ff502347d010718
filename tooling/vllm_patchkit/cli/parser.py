"""The grammar that every command shares: what is refused, and which word was probably meant."""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from vllm_patchkit.errors import UsageError

INTERPRETERS = ("python", "interpreter")
HEADING = "examples:\n"
# What other programs call what a command here does.
OTHER_WORDS = {
    "help": "--help",
    "version": "--version",
    "install": "apply",
    "patch": "apply",
    "push": "apply",
    "unapply": "revert",
    "uninstall": "revert",
    "remove": "revert",
    "pop": "revert",
    "check": "verify",
    "list": "status",
    "show": "status",
    "info": "status",
    "test": "smoke",
    "run": "smoke",
    "build": "wheel",
    "docker": "image",
    "container": "image",
    "create": "import",
    "init": "import",
    "update": "rebase",
    "upgrade": "rebase",
    "merge": "compose",
    "publish": "release",
    "log": "undo --list",
}
# Of anything that is timed, in seconds: infinity and what no clock takes are above it.
LARGEST = 1e9


class Parser(argparse.ArgumentParser):
    """Refuses as the commands do: one message and a hint, raised instead of printed."""

    def _print_message(self, message: str, file: Any = None) -> None:
        # argparse takes no notice of an output that is full.
        (file or sys.stdout).write(message)

    def error(self, message: str) -> NoReturn:
        """Raise the mistake that was found.

        :raises UsageError: always.
        """
        raise UsageError(message, hint=f"{self.prog} --help")

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        if action.nargs == argparse.PARSER:
            # The command and all of its words, which its own parser looks at.
            return super()._get_value(action, arg_string)
        # An empty one is mostly a variable that was not set; as a path it would mean this folder.
        if not arg_string.strip():
            raise argparse.ArgumentError(action, "its value is empty")
        if action.type is not Path and not arg_string.isascii():
            _require_utf_8(action, arg_string)
        return super()._get_value(action, arg_string)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            names = [str(name) for name in action.choices]
            meant = guess(str(value), names)
            ending = f"; did you mean {meant}?" if meant else ""
            raise argparse.ArgumentError(
                action, f"{str(value)!r} is none of {', '.join(names)}{ending}"
            )


def whole(low: int, high: float = math.inf) -> Callable[[str], int]:
    """Return a reader of whole numbers from ``low`` to ``high``."""
    most = f" to {high:g}" if high < math.inf else " or more"
    return _reader(int, lambda value: low <= value <= high, f"a whole number, {low}{most}")


def positive(high: float = math.inf) -> Callable[[str], float]:
    """Return a reader of finite numbers above 0, up to ``high``."""
    most = f", at most {high:g}" if high < math.inf else ""
    return _reader(float, lambda value: 0 < value <= min(high, LARGEST), f"a number above 0{most}")


def _reader(kind: type[Any], is_meant: Callable[[Any], bool], wanted: str) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not is_meant(value):
            raise argparse.ArgumentTypeError(f"expected {wanted}; found {text!r}")
        return value

    return read


def parse_size(text: str) -> tuple[int, int]:
    """Return height and width of ``HxW``.

    :raises UsageError: it is not that.
    """
    found = re.fullmatch(r"([1-9]\d*)[x*]([1-9]\d*)", text)
    if not found:
        raise UsageError(f"{text!r} is no image size", hint="height x width, such as 32x32")
    return int(found[1]), int(found[2])


def _require_utf_8(action: argparse.Action, text: str) -> None:
    """Refuse bytes that are no text; only the name of a file that is there may hold them."""
    if os.path.lexists(text):
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentError(action, f"{text!r} is no UTF-8") from None


def guess(word: str, names: Iterable[str]) -> str | None:
    """Return the one name that ``word`` is probably a slip of, or None.

    >>> guess("verfy", ["verify", "status"])
    'verify'
    """
    from difflib import get_close_matches

    return next(iter(get_close_matches(word, list(names), n=1)), None)


def refuse_command(word: str, names: Iterable[str]) -> UsageError:
    """Return what is said of a command that there is not."""
    meant = OTHER_WORDS.get(word) or guess(word, names)
    hint = f"did you mean {meant}?" if meant else "vllm-patchkit --help lists the commands"
    return UsageError(f"there is no command {word!r}", hint=hint)


def refuse_words(words: Sequence[str], parser: argparse.ArgumentParser) -> UsageError:
    """Return what is said of words that a command's parser left over."""
    options = [name for action in parser._actions for name in action.option_strings]
    word = words[0].partition("=")[0]
    meant = guess(word, options) if word.startswith("-") else None
    kind = "option" if word.startswith("-") else "further argument"
    hint = f"did you mean {meant}?" if meant else f"{parser.prog} --help"
    return UsageError(f"{parser.prog} takes no {kind} {word!r}", hint=hint)


def take_inputs(parser: argparse.ArgumentParser, *names: str) -> None:
    """Declare the arguments that name a file, folder or interpreter which has to be there."""
    parser.set_defaults(inputs=(*(parser.get_default("inputs") or ()), *names))


def require_inputs(args: argparse.Namespace) -> None:
    """See that everything which the call reads is there, before any work begins.

    :raises UsageError: something is not; the same message and code for every command.
    :raises HostError: something is, and may not be read.
    """
    from vllm_patchkit.host.permission import require_readable

    for name in getattr(args, "inputs", ()):
        value = getattr(args, name)
        for one in value if isinstance(value, list) else [value]:
            if one is None:
                continue
            require_readable(Path(one), runs=name in INTERPRETERS)
            if not _is_there(str(one), name):
                raise UsageError(f"there is no {one}", hint=_hint(Path(one), name))


def _is_there(text: str, name: str) -> bool:
    # A link that leads nowhere is there; who follows it says where it leads.
    if os.path.lexists(text):
        return True
    if name not in INTERPRETERS or os.sep in text:
        return False
    from shutil import which

    return which(text) is not None


def _hint(path: Path, name: str) -> str:
    if name in INTERPRETERS:
        return "give the path of a python, such as .venv/bin/python"
    if name == "model" and path.parent != Path() and path.parent.parent == Path():
        return f"a checkpoint's folder is asked for; hf download {path} prints that of a hub's"
    if name == "target" and _is_stack(str(path)):
        return f"{path} is a stack: --stack {path}, and the target beside it"
    folder = next(place for place in path.parents if place.is_dir())
    names = [one.name for one in folder.iterdir()] if os.access(folder, os.R_OK) else []
    meant = guess(path.name, names)
    if meant and folder == path.parent:
        return f"did you mean {folder / meant}?"
    return f"the nearest folder that is there: {folder}"


def _is_stack(text: str) -> bool:
    from vllm_patchkit.stack.read import find_stack

    try:
        return bool(find_stack(text))
    except UsageError:
        return False

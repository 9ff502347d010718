"""The front door: ``python -m vllm_patchkit``, and the installed command."""

import sys


def run() -> int:
    """Run the command line with Python's own modules, whatever PYTHONPATH and this folder hold.

    A file ``random.py`` there would take the place of Python's; what the interpreter imported
    before this line, it still does.
    """
    try:
        _put_own_modules_first()
        from vllm_patchkit.cli import main

        return main()
    except KeyboardInterrupt:
        # Between two lines of the command's own, which says the same.
        sys.stderr.write("vllm-patchkit: error: interrupted\n")
        return 130


def _put_own_modules_first() -> None:
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    own = {
        f"{prefix}/{lib}/{name}{end}"
        for prefix in (sys.base_prefix, sys.base_exec_prefix)
        for lib in ("lib", sys.platlibdir)
        for end in ("", "/lib-dynload")
    }
    # A stable sort: what is Python's own keeps its order, and so does the rest.
    sys.path.sort(key=lambda place: place not in own)


if __name__ == "__main__":
    raise SystemExit(run())

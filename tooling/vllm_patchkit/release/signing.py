"""Optional signatures through sigstore's own client, which need the network."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from vllm_patchkit.errors import HostError
from vllm_patchkit.host.process import isolated, run

BUNDLE_SUFFIX = ".sigstore.json"
TIMEOUT_S = 300.0


def bundle_of(path: Path) -> Path:
    """Return where the signature of ``path`` lies: beside it."""
    return path.with_name(path.name + BUNDLE_SUFFIX)


def require_sigstore() -> None:
    """Make sure that sigstore is installed.

    :raises HostError: it is not.
    """
    if find_spec("sigstore") is None:
        raise HostError("sigstore is not installed", hint="pip install sigstore")


def sign(paths: Sequence[Path]) -> None:
    """Sign files with the identity that sigstore finds (a CI job's token, or a browser)."""
    require_sigstore()
    run([*isolated(sys.executable, "sigstore"), "sign", *paths], timeout_s=TIMEOUT_S)


def verify_signature(path: Path, *, identity: str, issuer: str) -> None:
    """Check the signature beside ``path``.

    :raises CommandFailed: it is not by that identity, or not of these bytes.
    """
    require_sigstore()
    options: list[str | Path] = ["--bundle", bundle_of(path), "--cert-identity", identity]
    options += ["--cert-oidc-issuer", issuer, path]
    argv = [*isolated(sys.executable, "sigstore"), "verify", "identity", *options]
    run(argv, timeout_s=TIMEOUT_S)

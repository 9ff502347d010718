"""What was there before a target was patched in place. Pure.

It lies beside ``applied.json``: the originals bring files back that were edited since, ``RECORD``
and ``METADATA`` come back byte for byte. A wheel that was built patched has none of them: its
base is another wheel.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

ORIGINALS = "originals.zip"
RECORD_BEFORE = "RECORD.before"
METADATA_BEFORE = "METADATA.before"
ZIP_TIME = (1980, 1, 1, 0, 0, 0)


def pack_originals(originals: Mapping[str, bytes]) -> bytes:
    """Return the files that were there before as a zip file; the same input, the same bytes."""
    import zipfile

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path in sorted(originals):
            archive.writestr(zipfile.ZipInfo(path, ZIP_TIME), originals[path])
    return stream.getvalue()


def unpack_originals(data: bytes) -> dict[str, bytes]:
    """Return the files that ``pack_originals`` packed.

    :raises ValueError: they are damaged.
    """
    import zipfile

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    except zipfile.BadZipFile as error:
        raise ValueError(str(error)) from error

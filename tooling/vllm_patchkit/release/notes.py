"""Release notes out of a changelog. Pure."""

from __future__ import annotations

import re

from vllm_patchkit.errors import UsageError

HEADING = re.compile(r"^## +\[?(?P<title>[^\]\n(]+?)\]?(?: +\(.*\))? *$", re.M)


def changelog_sections(text: str) -> dict[str, str]:
    """Return the second-level sections of a changelog by title, newest first.

    >>> changelog_sections("# Changelog\\n\\n## 1.1 (2026-01-02)\\n- b\\n\\n## 1.0\\n- a\\n")
    {'1.1': '- b', '1.0': '- a'}
    """
    found = list(HEADING.finditer(text))
    ends = [match.start() for match in found[1:]] + [len(text)] if found else []
    return {
        match["title"].strip(): text[match.end() : end].strip()
        for match, end in zip(found, ends, strict=True)
    }


def release_notes(changelog: str, version: str) -> str:
    """Return the notes of ``version``: its section, or "Unreleased" while it has none.

    :raises UsageError: neither section has any text.
    """
    sections = changelog_sections(changelog)
    text = sections.get(version) or sections.get("Unreleased")
    if not text:
        raise UsageError(
            f"CHANGELOG.md says nothing about {version}",
            hint=f'write a section "## {version}", or something under "## Unreleased"',
        )
    return f"# vllm-patchkit {version}\n\n{text}\n"

"""Write a CycloneDX list of every Python distribution and Debian package of the image.

    sbom.py OUT SITE_PACKAGES...

The wheel's own SBOM and provenance stay where the wheel has them, in vLLM's dist-info. This list
covers the rest. It holds no time and no random serial number, so equal images have equal lists.

Runs inside the image's build, so it uses the standard library only.
"""

import json
import re
import sys
from importlib import metadata
from pathlib import Path

DPKG_STATUS = Path("/var/lib/dpkg/status")


def list_python(site_packages: "list[str]") -> "list[dict[str, str]]":
    """Return a component for each distribution installed in the folders."""
    components = []
    for distribution in metadata.distributions(path=site_packages):
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()
        version = distribution.version
        purl = f"pkg:pypi/{name}@{version.replace('+', '%2B')}"
        components.append(_component(name, version, purl))
    return components


def list_debian(status: Path) -> "list[dict[str, str]]":
    """Return a component for each installed Debian package; none where there is no dpkg."""
    if not status.is_file():
        return []
    components = []
    for stanza in status.read_text(encoding="utf-8").split("\n\n"):
        fields = dict(re.findall(r"^(Package|Version|Architecture|Status): (.*)$", stanza, re.M))
        if fields.get("Status") == "install ok installed":
            name, version = fields["Package"], fields["Version"]
            quoted = version.replace("+", "%2B").replace(":", "%3A")
            purl = f"pkg:deb/debian/{name}@{quoted}?arch={fields['Architecture']}"
            components.append(_component(name, version, purl))
    return components


def _component(name: str, version: str, purl: str) -> "dict[str, str]":
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def format_bom(components: "list[dict[str, str]]") -> str:
    """Return the CycloneDX 1.6 document, components sorted by package URL."""
    unique = {component["purl"]: component for component in components}
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "components": [unique[purl] for purl in sorted(unique)],
    }
    return json.dumps(bom, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    out = Path(sys.argv[1])
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(
        format_bom(list_python(sys.argv[2:]) + list_debian(DPKG_STATUS)), encoding="utf-8"
    )

"""Print one closing line for several test runs: ``N passed, N failed, N skipped``.

    total.py FOLDER

``FOLDER`` holds a JUnit XML file a run. An error in a fixture counts as a failure.
"""

import sys
from pathlib import Path
from xml.etree import ElementTree


def count(folder: Path) -> "dict[str, int]":
    """Return the totals of every report in the folder."""
    totals = {"passed": 0, "failed": 0, "skipped": 0}
    for report in sorted(folder.glob("*.xml")):
        for suite in ElementTree.parse(report).getroot().iter("testsuite"):
            failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            skipped = int(suite.get("skipped", 0))
            totals["failed"] += failed
            totals["skipped"] += skipped
            totals["passed"] += int(suite.get("tests", 0)) - failed - skipped
    return totals


if __name__ == "__main__":
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**count(Path(sys.argv[1]))))

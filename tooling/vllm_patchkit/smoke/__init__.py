"""Does this artifact generate? Answered for a wheel, an environment or a container image.

``run_smoke`` starts the target's own interpreter (``vllm_patchkit.worker`` runs there), listens,
and returns a report.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from vllm_patchkit.errors import UsageError
from vllm_patchkit.launch.session import Packages, listen
from vllm_patchkit.launch.subject import Event, Subject
from vllm_patchkit.smoke.against import Comparison, compare
from vllm_patchkit.smoke.options import SmokeOptions
from vllm_patchkit.smoke.report import Report

__all__ = ["Report", "SmokeOptions", "Subject", "run_against", "run_smoke"]


def run_smoke(
    subject: Subject,
    options: SmokeOptions,
    observe: Callable[[Event, Report], None],
    packages: Packages | None = None,
) -> Report:
    """Run the smoke in ``subject`` and return its report.

    :param packages: see ``find_packages``.
    :param observe: called after every event with the event and the report so far.
    :raises HostError: the target's interpreter cannot be started.
    """
    report = Report(subject=subject.describe(), options=options)
    started = time.monotonic()
    with listen(subject, options.to_job(subject.expected), packages) as events:
        for event in events:
            report.add(event)
            observe(event, report)
    report.seconds = round(time.monotonic() - started, 2)
    return report


def run_against(
    report: Report, base: Subject, observe: Callable[[Event, Report], None]
) -> Comparison:
    """Run the general scenarios of ``report`` on a release without its patches, and compare.

    :raises UsageError: only scenarios of the stack's own were asked for.
    """
    own = report.plan["own"] if report.plan is not None else ()
    names = tuple(name for name in report.selected if name not in own)
    if own and not names:
        raise UsageError(
            "--against has nothing to compare: the release has no scenarios of the stack's own",
            hint="ask for a general one too, or for none by name, which is all",
        )
    options = replace(
        report.options, own_scenarios=False, unpatched=True, digests={}, scenarios=names
    )
    if report.plan is not None:
        options = replace(options, architectures=tuple(report.plan["architectures"]))
    return compare(report, run_smoke(base, options, observe), own=own)

"""The doctor: looks for what makes tasks silently not run, and changes nothing.

Each check stands for itself: what one of them meets keeps no other from being made.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from keiji.doctor import patient, places, runs, tasks
from keiji.errors import KeijiError
from keiji.findings import Check, Finding, Severity, note, warning
from keiji.folders import Folders
from keiji.host import Host

__all__ = ["Report", "checks", "examine"]


@dataclass
class Report:
    """What was found: errors, warnings, notes, each in the order of the checks.

    `unmade`: the checks that were not made, each with the one that has to be in order before.
    """

    findings: list[Finding] = field(default_factory=list)
    made: int = 0
    unmade: dict[str, str] = field(default_factory=dict)

    def count(self, severity: Severity) -> int:
        return sum(finding.severity is severity for finding in self.findings)


def checks(folders: Folders, host: Host) -> list[Check]:
    """All checks of this keiji, each after those that it needs."""
    seen = patient.Patient(folders, host)
    return [*places.checks(seen), *host.checks(), *tasks.checks(seen), *runs.checks(seen)]


def examine(to_make: Iterable[Check]) -> Report:
    """Make the checks one after the other."""
    report = Report()
    faulty: set[str] = set()
    for check in to_make:
        causes = (report.unmade.get(name, name) for name in check.needs)
        before = next((name for name in causes if name in faulty), None)
        if before:
            report.unmade[check.name] = before
            report.findings.append(_named(check, note(f"not checked before `{before}` is in order")))
            continue
        report.made += 1
        found = [_named(check, finding) for finding in _made(check)]
        report.findings += found
        if any(finding.severity is Severity.ERROR for finding in found):
            faulty.add(check.name)
    report.findings.sort(key=lambda finding: [*Severity].index(finding.severity))
    return report


def _made(check: Check) -> list[Finding]:
    try:
        return list(check.look())
    except (KeijiError, OSError) as problem:
        said = problem.message if isinstance(problem, KeijiError) else str(problem)
    except Exception as problem:  # a fault of the check's own must not hide what the others find
        said = f"unexpected {type(problem).__name__}: {problem}"
    return [warning(f"could not be checked: {said}", "mend that, then `keiji doctor` again")]


def _named(check: Check, finding: Finding) -> Finding:
    return replace(finding, check=check.name)

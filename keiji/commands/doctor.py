"""`keiji doctor`: what makes tasks silently not run, and the remedy."""

from __future__ import annotations

from collections.abc import Iterable

from keiji import output
from keiji.doctor import Report, checks, examine
from keiji.findings import Finding, Severity
from keiji.folders import Folders
from keiji.host import Host

_NAMED = 3  # tasks that share a finding


def doctor(folders: Folders, host: Host, as_json: bool) -> int:
    """Print what is found; the exit status: 1 when there is an error."""
    report = examine(checks(folders, host))
    if as_json:
        output.dump([_as_dict(finding) for finding in report.findings])
    else:
        _tell(report)
    return 1 if report.count(Severity.ERROR) else 0


def _tell(report: Report) -> None:
    for group in _grouped(it for it in report.findings if it.check not in report.unmade):
        output.say(f"{output.marked(str(group.first.severity))}: {group.said()}")
        if group.first.remedy:
            output.say(f"  remedy: {group.remedy()}")
    for before in dict.fromkeys(report.unmade.values()):
        waiting = [name for name, cause in report.unmade.items() if cause == before]
        output.say(f"not checked before `{before}` is in order: {', '.join(waiting)}")
    output.say(_summary(report))


class _Group:
    """Findings that say the same of several tasks."""

    def __init__(self, first: Finding) -> None:
        self.first = first
        self.tasks: list[str] = []
        self.remedies: set[str] = set()

    def add(self, finding: Finding) -> None:
        self.remedies.add(finding.remedy)
        if finding.task is not None:
            self.tasks.append(finding.task)

    def said(self) -> str:
        if not self.tasks:
            return self.first.message
        more = f" and {len(self.tasks) - _NAMED} more" if len(self.tasks) > _NAMED else ""
        return f"{', '.join(self.tasks[:_NAMED])}{more}: {self.first.message}"

    def remedy(self) -> str:
        return self.first.remedy + (", and so for each" if len(self.remedies) > 1 else "")


def _grouped(findings: Iterable[Finding]) -> list[_Group]:
    groups: dict[tuple[str, str, bool], _Group] = {}
    for finding in findings:
        key = (finding.check, finding.message, finding.task is None)
        groups.setdefault(key, _Group(finding)).add(finding)
    return list(groups.values())


def _summary(report: Report) -> str:
    errors, warnings = report.count(Severity.ERROR), report.count(Severity.WARNING)
    if not errors and not warnings:
        return f"everything is fine: {report.made} checks"
    return f"{_many(errors, 'error')}, {_many(warnings, 'warning')} in {report.made} checks"


def _as_dict(finding: Finding) -> dict[str, str | None]:
    return {
        "check": finding.check,
        "severity": finding.severity.value,
        "message": finding.message,
        "remedy": finding.remedy,
        "task": finding.task,
    }


def _many(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"

"""The doctor in tests: a keiji in good health, and what is found once something is broken."""

from __future__ import annotations

from commanding import Place

from keiji.doctor import Report, checks, examine
from keiji.findings import Finding


def report(place: Place) -> Report:
    return examine(checks(place.folders, place.host))


def findings(place: Place) -> list[Finding]:
    return report(place).findings


def finding(place: Place, check: str, severity: str) -> Finding:
    """The only finding of a check that was made, which must be of that name and that severity."""
    seen = report(place)
    found = [it for it in seen.findings if it.check not in seen.unmade]
    assert [(it.check, it.severity.value) for it in found] == [(check, severity)], found
    return found[0]


def names(found: list[Finding]) -> set[str]:
    return {it.check for it in found}

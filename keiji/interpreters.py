"""Names of a Python that are still there after its next upgrade."""

from __future__ import annotations

import os
from pathlib import Path


def lasting(path: str) -> str:
    """The same file by Homebrew's ``opt``, where `path` lies in its Cellar; else `path`.

    A folder of the Cellar is called by the version and is gone after an upgrade; the link ``opt/FORMULA``
    then names the next one.
    """
    before, cellar, inside = path.rpartition("/Cellar/")
    formula, _, rest = inside.partition("/")
    version, _, rest = rest.partition("/")
    linked = Path(before, "opt", formula)
    if not (cellar and rest) or os.path.realpath(linked) != os.path.realpath(
        f"{before}/Cellar/{formula}/{version}"
    ):
        return path
    return str(linked / rest)

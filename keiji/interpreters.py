"""Names of a Python that are still there after its next upgrade."""

from __future__ import annotations

import os
import re

# A folder that is called by its version, and how a link to it is called that the next version gets, too.
_FOLDERS = (
    (r"(.*)/Cellar/([^/]+)/[^/]+", r"\1/opt/\2"),  # Homebrew's: the old folder is gone after an upgrade
    (r"(.*/[a-z]+-\d+\.\d+)\.\d+[a-z\d]*([+-][^/]+)", r"\1\2"),  # uv's: a link for each minor version
)


def lasting(path: str) -> str:
    """The same file by a link without the version, where Homebrew or uv has one to it; else `path`."""
    for folder, link in _FOLDERS:
        found = re.match(f"{folder}(?=/.)", path)
        if found and os.path.realpath(found[0]) == os.path.realpath(found.expand(link)):
            return found.expand(link) + path[found.end() :]
    return path

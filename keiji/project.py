"""The workspace's ``pyproject.toml``: what the author's tasks import."""

from __future__ import annotations

import sys
from pathlib import Path

from keiji.errors import InvalidProject, NotInitialised

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_dependencies(path: Path) -> list[str]:
    """The requirements listed there; raises `InvalidProject` with file and place."""
    try:
        project = tomllib.loads(path.read_text(encoding="utf-8")).get("project", {})
    except FileNotFoundError:
        raise NotInitialised(f"{path} is missing: `keiji init` makes it") from None
    except UnicodeDecodeError:
        raise InvalidProject(f"{path} is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise InvalidProject(f"{path}: {error}") from None
    except OSError as error:
        raise InvalidProject(f"{path} cannot be read: {error.strerror}") from None
    listed = project.get("dependencies", []) if isinstance(project, dict) else None
    if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
        raise InvalidProject(f'{path}: [project] dependencies must be a list such as ["requests>=2"]')
    for item in listed:
        if not item.strip() or item.lstrip().startswith("-") or "\n" in item:
            raise InvalidProject(f"{path}: {item!r} is not a requirement such as 'requests>=2'")
    return [item.strip() for item in listed]

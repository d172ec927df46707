"""The Jinja environment, and the one place that knows where the templates lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from keiji.errors import KeijiError

if TYPE_CHECKING:
    import jinja2

Wing = Literal["units", "launchd"]


class TemplatesMissing(KeijiError):
    """keiji's templates are missing: this installation is incomplete, install it again."""


def templates(wing: Wing) -> Path:
    """The folder of a wing's templates, in an installed package, an editable install or a checkout.

    Raises `TemplatesMissing`.
    """
    package = Path(__file__).resolve().parent
    # A package carries them inside; only then may a neighbour of the package be meant (in
    # site-packages that would be a stranger's).
    for folder in (package / "_templates" / wing, package.parent / wing):
        if folder.is_dir():
            return folder
    raise TemplatesMissing


def render(
    wing: Wing, name: str, *, filters: Mapping[str, Callable[..., object]] | None = None, **values: object
) -> str:
    """The text of a wing's template, which may use the wing's own filters.

    Raises Jinja's `UndefinedError` where a value is missing.
    """
    environment = _environment(wing)
    environment.filters.update(filters or {})
    return environment.get_template(name).render(**values)


@cache
def _environment(wing: Wing) -> jinja2.Environment:
    import jinja2  # heavy, and most commands render nothing

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates(wing)),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )

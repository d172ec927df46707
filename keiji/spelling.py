"""The original spelling of the commands, translated into today's before anything reads them.

`keiji task --build --name=X --restart` is `keiji task build X --restart`. What is spelled today's way
passes through unchanged, so that both do exactly the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from keiji.errors import UsageError

_TASK_VERBS = ("create", "build", "get", "logs", "enable", "disable", "resolve", "delete", "restart")
_SYSTEM_VERBS = ("start", "stop", "restart", "status", "logs", "update", "uninstall")
_EDITORS = ("code", "vim", "nano")
# Which flags go with which verb, besides the verb itself.
_TASK_WITH = {
    "create": ("name", "desc", "force"),
    "build": ("name", "restart"),
    "get": ("name", "json"),
    "logs": ("name", *_EDITORS),
}
_SYSTEM_WITH = {"logs": ("bus", "scheduler", *_EDITORS), "update": ("cc",), "uninstall": ()}
_PARTS = ("bus", "scheduler")
_VALUED = ("name", "desc")
# In today's spelling these are options of a verb, not verbs: `build --restart`.
_OPTIONAL_NAME = ("get",)


def translate(arguments: Sequence[str]) -> list[str]:
    """Today's spelling of a command line; raises `UsageError` naming two flags that clash."""
    words = list(arguments)
    for at, group in enumerate(words):
        if group in ("task", "system"):
            rest = words[at + 1 :]
            if rest and rest[0].startswith("--") and rest[0] not in ("--help", "--version"):
                return [*words[: at + 1], *_translate(group, rest)]
            if group == "system" or rest[:1] == ["logs"]:
                _check_rivals([word[2:] for word in rest if word.startswith("--")])
            return words
        if not group.startswith("-"):
            return words
    return words


def _translate(group: str, rest: Sequence[str]) -> list[str]:
    flags = _read(group, rest)
    if "help" in flags:
        return ["--help"]
    verbs = _TASK_VERBS if group == "task" else _SYSTEM_VERBS
    verb = _verb(flags, verbs)
    others = [flag for flag in flags if flag != verb]
    _check_together(group, verb, others)
    return [verb, *_options(group, verb, flags)]


def _read(group: str, rest: Sequence[str]) -> dict[str, str]:
    """The flags in their order: name → value, empty for those without one."""
    known = {*_TASK_VERBS, *_VALUED, "force", "json", *_EDITORS, "help"}
    if group == "system":
        known = {*_SYSTEM_VERBS, *_PARTS, *_EDITORS, "cc", "help"}
    flags: dict[str, str] = {}
    words = iter(rest)
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or name not in known:
            raise UsageError(f"{group}: {word!r} does not go with the flags before it; see --help")
        if group == "task" and name in _VALUED:
            flags[name] = value if equals else next(words, "")
            if not flags[name] and name == "name":
                raise UsageError("task: --name needs a task's name")
        elif equals:
            raise UsageError(f"{group}: --{name} takes no value")
        else:
            flags[name] = ""
    return flags


def _verb(flags: dict[str, str], verbs: Sequence[str]) -> str:
    found = [flag for flag in flags if flag in verbs]
    if not found:
        allowed = ", ".join("--" + verb for verb in verbs)
        raise UsageError(f"what is to be done? One of {allowed} is missing")
    if "build" in found and set(found) == {"build", "restart"}:
        return "build"
    if len(found) > 1:
        raise UsageError(f"--{found[0]} and --{found[1]} cannot go together")
    return found[0]


def _check_together(group: str, verb: str, others: Sequence[str]) -> None:
    allowed = _TASK_WITH.get(verb, ("name",)) if group == "task" else _SYSTEM_WITH.get(verb, _PARTS)
    for flag in others:
        if flag not in allowed:
            raise UsageError(f"--{verb} and --{flag} cannot go together")
    _check_rivals(others)


def _check_rivals(flags: Sequence[str]) -> None:
    """Raise `UsageError` where two flags each name the one editor, or the one part, that is meant."""
    for rivals in (_EDITORS, _PARTS):
        both = [flag for flag in dict.fromkeys(flags) if flag in rivals]
        if len(both) > 1:
            raise UsageError(f"--{both[0]} and --{both[1]} cannot go together")


def _options(group: str, verb: str, flags: dict[str, str]) -> list[str]:
    words = []
    if group == "task" and verb not in _OPTIONAL_NAME and "name" not in flags:
        raise UsageError(f"task --{verb}: --name=NAME is missing")
    for flag, value in flags.items():
        if flag == "desc":
            words.append(f"--desc={value}")
        elif flag not in ("name", verb):
            words.append(f"--{flag}")
    if "name" in flags:
        words += ["--", flags["name"]]
    return words

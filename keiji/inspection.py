"""What can be told of a task's Python files without running them; they are byte-compiled on the way.

Run by the workspace's interpreter: standard library only, and no import that every build would pay for.
"""

from __future__ import annotations

import ast
import marshal
import os
import sys
import warnings
from collections.abc import Iterator
from importlib import machinery, util
from types import CodeType
from typing import NamedTuple

_UNCHECKED = (1).to_bytes(4, "little")  # PEP 552: named by a hash, which is not compared
_Function = (ast.FunctionDef, ast.AsyncFunctionDef)
_Comprehension = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_Values = (ast.Constant, ast.JoinedStr, ast.List, ast.Tuple, ast.Set, ast.Dict, *_Comprehension)

_installed: dict[str, bool] = {}  # module → whether the environment has it


class Mistake(Exception):
    """Something in the author's files; the message is one line that names the file."""


class Places(NamedTuple):
    """A build that is being made (`task`, `shared`), and what was copied there (`folder`, `workspace`)."""

    task: str
    shared: str
    folder: str
    workspace: str

    def authors(self, path: str) -> str:
        """The author's own path of a file in the build; any other path as it is."""
        for copy, original in ((self.task, self.folder), (self.shared, self.workspace)):
            if path.startswith(copy + "/"):
                return original + path[len(copy) :]
        return path


def inspect(places: Places) -> CodeType:
    """Compile all that was copied, check ``function.py``, and return the code of ``schedule.py``.

    Raises `Mistake`.
    """
    by_hand = os.path.join(places.task, "main.py")  # no run imports it
    compiled = {path: _compile(path, places) for path in _python_files(places.task) if path != by_hand}
    for path in _python_files(places.shared):
        if not os.path.exists(byte_code_path(path)):
            _compile(path, places)
    schedule = _own(places, "schedule.py", "schedule()", compiled)
    _own(places, "function.py", "function()", compiled)
    _check_function(places)
    _check_imports(os.path.join(places.task, "function.py"), places, set())
    return schedule


def _own(places: Places, name: str, what: str, compiled: dict[str, CodeType | None]) -> CodeType:
    path = os.path.join(places.task, name)
    if path not in compiled:
        raise Mistake(f"{places.authors(path)} is missing: it must define {what}")
    return compiled[path] or code_of(path, places)


def _python_files(folder: str) -> Iterator[str]:
    for parent, _, names in os.walk(folder):
        yield from (os.path.join(parent, name) for name in names if name.endswith(".py"))


# compiling


def _compile(path: str, places: Places) -> CodeType | None:
    """Write a file's byte code; None for what does not compile, which may be no module of the task's."""
    try:
        code = code_of(path, places)
    except Mistake:
        return None
    target = byte_code_path(path)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target, "wb") as file:
        file.write(byte_code(_read(path), code))
    return code


def byte_code_path(path: str) -> str:
    """Where the importer looks, unless it is told to look elsewhere (``PYTHONPYCACHEPREFIX``)."""
    folder, name = os.path.split(path)
    return os.path.join(folder, "__pycache__", f"{name[:-3]}.{sys.implementation.cache_tag}.pyc")


def byte_code(source: bytes, code: CodeType) -> bytes:
    """What a ``.pyc`` holds that is taken without a look at its source."""
    return util.MAGIC_NUMBER + _UNCHECKED + util.source_hash(source) + marshal.dumps(code)


def code_of(path: str, places: Places) -> CodeType:
    """The compiled file; raises `Mistake` where it doesn't compile."""
    name = places.authors(path)
    try:
        return compile(_read(path), name, "exec", dont_inherit=True, optimize=0)
    except SyntaxError as error:
        raise Mistake(f"{name}:{error.lineno or 1}: syntax error: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        raise Mistake(f"{name}:1: it does not compile: {error}") from None


def _tree(path: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # compiling has said it
        return ast.parse(_read(path))


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


# function()


def _check_function(places: Places) -> None:
    path = os.path.join(places.task, "function.py")
    name = places.authors(path)
    module = _tree(path).body
    bindings = [s for s in _statements(module) if _binds(s, "function")]
    if not bindings:
        raise Mistake(f"{name}: it must define function(), by `def function():` or `async def function():`")
    last = bindings[-1]
    other = _no_function(last)
    if other and last in module:  # elsewhere it may stand in for one that is bound before
        raise Mistake(f"{name}:{last.lineno}: `function` is {other}: write `def function():`")
    if not isinstance(last, _Function) or last.decorator_list:
        return  # whatever it is, only a run can tell
    required = _required(last.args)
    if required:
        raise Mistake(f"{name}:{last.lineno}: function() is called without arguments, but needs {required}")
    if any(isinstance(node, (ast.Yield, ast.YieldFrom)) for node in _own_nodes(last)):
        raise Mistake(f"{name}:{last.lineno}: function() has a `yield`: calling a generator runs nothing")


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when the module is imported, those within `if`, `try`, `with` too."""
    for statement in body:
        yield statement
        if not isinstance(statement, (*_Function, ast.ClassDef)):
            for field in ("body", "orelse", "finalbody", "handlers", "cases"):
                for inner in getattr(statement, field, ()):
                    yield from _statements([inner] if isinstance(inner, ast.stmt) else inner.body)


def _binds(statement: ast.stmt, name: str) -> bool:
    if isinstance(statement, (*_Function, ast.ClassDef)):
        return statement.name == name
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return any((alias.asname or alias.name) in (name, "*") for alias in statement.names)
    if isinstance(statement, ast.AnnAssign) and statement.value is None:
        return False
    targets = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
    return any(isinstance(n, ast.Name) and n.id == name for t in targets if t for n in ast.walk(t))


def _no_function(binding: ast.stmt) -> str:
    """What `function` is where it is plainly no function, else ""."""
    if isinstance(binding, ast.ClassDef):
        return "" if binding.decorator_list else "a class"
    if isinstance(binding, ast.Assign) and all(isinstance(target, ast.Name) for target in binding.targets):
        return "a value" if isinstance(binding.value, _Values) else ""
    if isinstance(binding, ast.AnnAssign):
        return "a value" if isinstance(binding.value, _Values) else ""
    return ""


def _required(arguments: ast.arguments) -> str:
    positional = [*arguments.posonlyargs, *arguments.args]
    needed = positional[: len(positional) - len(arguments.defaults)]
    named = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    needed += [argument for argument, default in named if default is None]
    return ", ".join(argument.arg for argument in needed)


def _own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function's body, but not those of functions within it."""
    for node in ast.iter_child_nodes(function):
        if not isinstance(node, (*_Function, ast.Lambda, ast.ClassDef)):
            yield node
            yield from _own_nodes(node)


# imports


def _check_imports(path: str, places: Places, seen: set[str]) -> None:
    """Whether a file's imports outside `try` and `if` would be found, and those of local files they name."""
    seen.add(path)
    for statement in _tree(path).body:
        for name in _imported(statement, places.authors(path)):
            local = _local_file(name, places)
            if local is None:
                if not _is_installed(name):
                    raise Mistake(
                        f"{places.authors(path)}:{statement.lineno}: there is no module {name!r} here; "
                        f"list what provides it in {os.path.join(places.workspace, 'pyproject.toml')}"
                    )
            elif local.endswith(".py") and local not in seen:
                code_of(local, places)
                _check_imports(local, places, seen)


def _imported(statement: ast.stmt, where: str) -> list[str]:
    """The top-level modules that a statement imports."""
    if isinstance(statement, ast.Import):
        return [alias.name.partition(".")[0] for alias in statement.names]
    if not isinstance(statement, ast.ImportFrom):
        return []
    if not statement.level:
        return [str(statement.module).partition(".")[0]]
    if os.path.basename(where) == "__init__.py":
        return []
    module = statement.module or statement.names[0].name
    raise Mistake(f"{where}:{statement.lineno}: `from .` works in packages only: write `import {module}`")


def _local_file(name: str, places: Places) -> str | None:
    """Where a module comes from when it is the author's own; a folder without ``__init__.py`` is ``""``."""
    if name in sys.builtin_module_names:
        return None
    spec = machinery.PathFinder.find_spec(name, [places.task, places.shared])
    return None if spec is None else spec.origin or ""


def _is_installed(name: str) -> bool:
    if name not in _installed:
        try:
            _installed[name] = util.find_spec(name) is not None
        except (ImportError, ValueError):
            _installed[name] = name in sys.modules
    return _installed[name]

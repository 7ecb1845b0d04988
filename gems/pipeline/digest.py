"""Digest of code: a hash of the syntax trees of a module and of the modules that it imports.

Comments, docstrings and formatting do not count, so that editing them makes no result stale. Nor
do modules that affect results only through option values, which provenance records separately
(``IGNORED``), nor the declarations in a method's file: labels, looks, descriptions of options.

Modules of other packages count if they belong to an extension (``gems.extensions``). A CSV file
beside a module and with its name is part of the module, without comment lines:
``reference_values.csv`` for ``reference_values.py``.
"""

import ast
import hashlib
import importlib.util
import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# Modules, and packages with everything in them.
IGNORED = (
    *("gems.config", "gems.errors", "gems.extensions", "gems.gym", "gems.methods.base"),
    *("gems.envs.definitions", "gems.envs.environments", "gems.pretraining.models"),
    *("gems.pipeline", "gems.sections"),
    *(f"gems.runtime.{name}" for name in ("attempt", "files", "interrupt", "job", "progress")),
    *("gems.runtime.templates", "gems.runtime.tracking"),
)
# Ignored without their submodules: the public names of the package, and the list of all methods, of
# which a run executes only one.
LISTS = ("gems", "gems.methods")
# Calls of these and their subclasses are declarations: recorded as option values, not as code.
DECLARATIONS = ("Method", "Pretrained", "Section")


def code_digest(*modules: str) -> str:
    """Digest of the named modules and of all modules that they import from the same packages."""
    seen: set[str] = set()
    pending = list(modules)
    packages = frozenset({"gems", *(module.split(".")[0] for module in modules)})
    while pending:
        module = pending.pop()
        if module not in seen:
            seen.add(module)
            pending.extend(_parse(module, packages)[1])
    text = "\n".join(f"{module} {_parse(module, packages)[0]}" for module in sorted(seen))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def value_digest(value: Any) -> str:
    """Digest of a value made of plain JSON types."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


@cache
def _parse(module: str, packages: frozenset[str]) -> tuple[str, tuple[str, ...]]:
    """Digest of one module's own code, and its imports from ``packages``."""
    path = _file(module)
    assert path is not None
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    tree.body = [node for node in tree.body if not _declares(node)]
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.update(f"{node.module}.{alias.name}" for alias in node.names)
            imported.add(node.module)
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            _drop_docstring(node)
    counted = sorted(name for name in imported if _counts(name, packages))
    text = ast.dump(tree) + _data(path.with_suffix(".csv"))
    return hashlib.sha256(text.encode()).hexdigest(), tuple(counted)


def _counts(module: str, packages: frozenset[str]) -> bool:
    if module.split(".")[0] not in packages or _file(module) is None:
        return False
    ignored = any(module == name or module.startswith(f"{name}.") for name in IGNORED)
    return not ignored and module not in LISTS


def _declares(node: ast.stmt) -> bool:
    if isinstance(node, ast.ClassDef):
        names = {base.id for base in node.bases if isinstance(base, ast.Name)}
    elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
        names = {node.value.func.id} if isinstance(node.value.func, ast.Name) else set()
    else:
        return False
    return not names.isdisjoint(DECLARATIONS)


def _data(path: Path) -> str:
    """Contents of a data file without comment lines; "" if there is no file."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))


def _drop_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> None:
    if ast.get_docstring(node, clean=False) is not None:
        node.body = node.body[1:] or [ast.Pass()]


@cache
def _file(module: str) -> Path | None:
    """Source file of a module, found without importing it; None if there is none."""
    first, *rest = module.split(".")
    if first == ROOT.name:
        path = ROOT.joinpath(*rest)
    elif first in sys.modules and not rest:
        return Path(str(sys.modules[first].__file__))
    else:
        spec = importlib.util.find_spec(first)
        if spec is None or spec.origin is None:
            return None
        path = Path(spec.origin).parent.joinpath(*rest) if rest else Path(spec.origin)
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return source if source.is_file() else None

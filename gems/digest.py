"""Digest of code by meaning: of the syntax trees of a module and all it imports from the package.

Comments, docstrings and layout do not count, so that editing them makes no result stale. Nor do
modules that reach a result only by values that are declared beside the digest, or not at all.

A CSV file with the name of a module, beside it, is data of the module and counts as part of it,
without its comment lines: ``reference_values.csv`` for ``reference_values.py``.
"""

import ast
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent
IGNORED = {
    f"gems.{name}"
    for name in (
        *("attempt", "config", "digest", "errors", "files", "interrupt", "paths", "progress"),
        *("provenance", "registry", "sections", "tracking", "variants", "verify"),
    )
}


def code_digest(*modules: str) -> str:
    """Digest of the named modules of this package and of every module that they import."""
    seen: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting.extend(_parse(module)[1])
    text = "\n".join(f"{module} {_parse(module)[0]}" for module in sorted(seen))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def value_digest(value: Any) -> str:
    """Digest of a value made of plain JSON types."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


@cache
def _parse(module: str) -> tuple[str, tuple[str, ...]]:
    """Digest of one module's own code, and the modules of the package that it imports."""
    path = _file(module)
    tree = ast.parse(path.read_text(), filename=str(path))
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.update(f"{node.module}.{alias.name}" for alias in node.names)
            imported.add(node.module)
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            _drop_docstring(node)
    package = ROOT.name + "."
    ours = sorted(m for m in imported - IGNORED if m.startswith(package) and _file(m).is_file())
    text = ast.dump(tree) + _data(path.with_suffix(".csv"))
    return hashlib.sha256(text.encode()).hexdigest(), tuple(ours)


def _data(path: Path) -> str:
    """Contents of a data file without its comment lines; nothing if there is none."""
    lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
    return "".join(line for line in lines if not line.startswith("#"))


def _drop_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> None:
    first = node.body[0] if node.body else None
    if (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    ):
        node.body = node.body[1:] or [ast.Pass()]


def _file(module: str) -> Path:
    path = ROOT.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")

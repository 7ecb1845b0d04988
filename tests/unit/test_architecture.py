"""Imports within the package point one way (docs/architecture.md)."""

import ast
from pathlib import Path

import gems

ROOT = Path(gems.__file__).parent
# Packages and modules from the lowest to the highest: each imports only from those before it.
LAYERS = (
    *("errors", "runtime", "sections", "kernels", "envs", "data", "pretraining", "agents"),
    *("methods", "extensions", "config", "gym", "training", "collection", "analysis", "pipeline"),
    "cli",
)


def imports(path: Path) -> set[str]:
    """First part below ``gems`` of what a module imports, for type checkers alone excepted."""
    found = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("gems.")}
        waiting.extend(ast.iter_child_nodes(node))
    return found


def test_every_package_has_its_place():
    parts = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert parts - {"__init__", "__pycache__"} == set(LAYERS)


def test_no_import_points_upwards():
    upwards = []
    for place, layer in enumerate(LAYERS):
        files = (
            [ROOT / f"{layer}.py"]
            if (ROOT / f"{layer}.py").exists()
            else (ROOT / layer).rglob("*.py")
        )
        for path in files:
            wrong = imports(path) & set(LAYERS[place + 1 :])
            upwards += [f"{path.relative_to(ROOT)} imports gems.{name}" for name in sorted(wrong)]
    assert upwards == []


def test_numba_is_imported_by_kernels_only():
    for path in ROOT.rglob("*.py"):
        if "kernels" not in path.parts:
            text = path.read_text(encoding="utf-8")
            assert "import numba" not in text, path
            assert "from numba" not in text, path

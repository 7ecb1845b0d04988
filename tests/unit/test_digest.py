"""The digest of code changes with what a stage computes, and with nothing else."""

import ast
import json
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from learners import save_models

from gems.analysis import catalogue
from gems.config import build, paper
from gems.methods import METHODS
from gems.pipeline import digest, stages
from gems.pipeline.digest import code_digest, value_digest
from gems.pretraining.models import PRETRAINED

PACKAGE, HELPERS = digest.ROOT, Path(__file__).parents[1] / "helpers"
CONFIG, WHERE = build({}), ("focused_mix", 1)
TABLE = catalogue.TABLES["table2"]
# Modules of each stage; those of runs by the name of their method.
STAGES = {
    "items": stages.items_job(CONFIG, "focused").modules,
    "dataset": stages.dataset_job(CONFIG, WHERE[0]).modules,
    **{n: stages.pretrained_job(CONFIG, PRETRAINED[n], *WHERE).modules for n in ("vae", "mf")},
    **{name: stages.run_job(CONFIG, name, *WHERE).modules for name in paper.METHODS},
    "table": catalogue.modules(TABLE),
}
SAC = {"SAC+TopK-ideal", "SAC+WkNN", "SAC+TopK-MF", "SAC+GeMS"}
RUNS = set(paper.METHODS)

CODE = '''
"""A module."""

from gems.other import constant


class Model:
    """A class."""

    def double(self, x):
        """Twice x."""
        return 2 * x + constant
'''


def forget():
    """As in a new process, which has read no module yet."""
    digest._parse.cache_clear()
    digest._file.cache_clear()


@pytest.fixture(autouse=True)
def no_module_parsed_before():
    forget()
    yield
    forget()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A tiny package, module by module; gives the digest of ``gems.main`` after each writing."""
    root = tmp_path / "gems"
    root.mkdir()
    monkeypatch.setattr(digest, "ROOT", root)
    for name, text in {"main": CODE, "other": "constant = 1\n", "unused": "x = 1\n"}.items():
        (root / f"{name}.py").write_text(text)

    def write(**modules: str) -> str:
        for name, text in modules.items():
            path = root.joinpath(*name.split("__")).with_suffix(".py")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        forget()
        return code_digest("gems.main")

    return write


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """A copy of the project's package."""
    root = tmp_path_factory.mktemp("copied") / "gems"
    return shutil.copytree(PACKAGE, root, ignore=shutil.ignore_patterns("__pycache__"))


@pytest.fixture(scope="module")
def parse():
    """As ``digest._parse``, but files whose contents are known are not parsed again."""
    original = digest._parse.__wrapped__

    @cache
    def parsed(contents, module, packages):
        return original(module, packages)

    def parse(module, packages):
        source = digest._file(module)
        files = [path for path in (source, source.with_suffix(".csv")) if path.is_file()]
        return parsed(tuple(path.read_text() for path in files), module, packages)

    return parse


@pytest.fixture
def changed(copied, parse, monkeypatch):
    """The stages whose digest changes when a statement is added to a module of the project."""
    monkeypatch.setattr(digest, "ROOT", copied)
    monkeypatch.setattr(digest, "_parse", parse)

    def digests():
        return {stage: code_digest(*modules) for stage, modules in STAGES.items()}

    def change(module: str, statement: str = "added = 1\n") -> set[str]:
        before = digests()
        path = copied / module
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        text = path.read_text()
        path.write_text(text + "\n\n" + statement)
        after = digests()
        path.write_text(text)
        return {stage for stage in STAGES if after[stage] != before[stage]}

    return change


@pytest.mark.parametrize(
    "text",
    [
        CODE + "# the end\n",
        CODE.replace('"""A module."""', '"""Another text."""'),
        CODE.replace('    """A class."""\n', ""),
        CODE.replace('"""Twice x."""', "'''Two times x.\n\n        And more.\n        '''"),
        CODE.replace(
            "2 * x + constant", "(\n            (2 * x)\n            + constant\n        )"
        ),
        CODE.replace("\n\n", "\n\n\n"),
        CODE.replace("return", "# Why.\n        return"),
        ast.unparse(ast.parse(CODE)),
    ],
    ids=["comment", "docstring", "no docstring", "longer", "brackets", "lines", "why", "layout"],
)
def test_comments_docstrings_and_layout_change_no_digest(package, text):
    assert package(main=text) == package(main=CODE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("2 * x", "3 * x"),
        ("2 * x", "2.0 * x"),
        ("double(self, x)", "double(self, x=1)"),
        ("class Model", "class Other"),
        ("return", 'y = """A class."""\n        return'),
        ("    def", "    @staticmethod\n    def"),
    ],
)
def test_code_changes_the_digest(package, old, new):
    assert old in CODE
    assert package(main=CODE.replace(old, new)) != package(main=CODE)


def test_a_docstring_alone_is_as_good_as_pass(package):
    assert package(main='def f():\n    """Nothing."""\n') == package(main="def f():\n    pass\n")


@pytest.mark.parametrize(
    "statement",
    [
        "from gems.other import constant",
        "from gems import other",
        "import gems.other",
        "import gems.other as o",
        "def f():\n    from gems import other",
        "if x:\n    import gems.other",
    ],
)
def test_an_imported_module_counts_however_it_is_imported(package, statement):
    before = package(main=statement)
    assert package(other="constant = 2\n") != before
    assert package(other="constant = 1  # one\n") == before


def test_what_an_imported_module_imports_counts_too(package):
    before = package(other="from gems.deep.part import x\n", deep__part="x = 1\n")
    assert package(deep__part="x = 2\n") != before


def test_modules_that_import_each_other_have_a_digest(package):
    before = package(other="import gems.main\n")
    assert package(other="import gems.main\nx = 1\n") != before


def test_a_module_that_is_not_imported_does_not_count(package):
    before = package()
    assert package(unused="x = 2\n") == before


def test_the_data_file_of_a_module_counts_without_its_comments(package, tmp_path):
    data = tmp_path / "gems" / "other.csv"
    digests = []
    for text in ("x,y\n1,2\n", "# A comment.\nx,y\n1,2\n", "x,y\n1,3\n"):
        data.write_text(text)
        digests.append(package())
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("module", [*sorted(digest.IGNORED), "gems.config.deep"])
def test_an_ignored_module_does_not_count(package, module):
    file = module.removeprefix("gems.").replace(".", "__")
    before = package(main=f"from {module} import x\nimport {module}\n", **{file: "x = 1\n"})
    assert package(**{file: "x = 2\nfrom gems import unused\n"}) == before


@pytest.mark.parametrize(
    ("declared", "otherwise"),
    [
        ('METHOD = Method("a", build)', 'METHOD = Method("b", build, label="B")'),
        ('vae = Pretrained("vae", fit)', 'vae = Pretrained("vae", fit, minutes=3)'),
        ("class Mine(Section):\n    x = 1", 'class Mine(Section):\n    x = Field(2, "Text.")'),
    ],
    ids=["method", "model", "section"],
)
def test_what_counts_by_value_does_not_count_as_code(package, declared, otherwise):
    assert package(main=f"{declared}\n{CODE}") == package(main=f"{otherwise}\n{CODE}")


def test_the_code_of_an_extension_counts_with_what_it_imports(package, tmp_path, monkeypatch):
    extension = ModuleType("gems_extension_mine")
    extension.__file__ = str(tmp_path / "mine.py")
    monkeypatch.setitem(sys.modules, extension.__name__, extension)

    def of(text):
        Path(extension.__file__).write_text(text)
        forget()
        return code_digest(extension.__name__)

    before = of("from gems.other import constant\n")
    assert of("from gems.other import constant  # one\n") == before
    assert of("from gems.other import constant as c\n") != before
    package(other="constant = 2\n")
    assert of("from gems.other import constant\n") != before


def test_the_order_of_modules_does_not_count(package):
    assert code_digest("gems.main", "gems.unused") == code_digest("gems.unused", "gems.main")


@pytest.mark.parametrize(
    ("module", "stale"),
    [
        ("agents/sac", SAC),
        ("agents/sac_wknn", {"SAC+WkNN"}),
        ("agents/topk", {"SAC+TopK-ideal", "SAC+TopK-MF"}),
        ("agents/slateq", {"SlateQ"}),
        ("agents/reinforce", {"REINFORCE+SoftMax"}),
        ("agents/fixed", {"Random", "ShortTermOracle"}),
        ("agents/belief", SAC | {"SlateQ", "REINFORCE+SoftMax"}),
        ("pretraining/vae", {"vae", "SAC+GeMS"}),
        ("pretraining/vae_training", {"vae"}),
        ("pretraining/mf", {"mf"}),
        ("data/logging_policy", {"dataset"}),
        ("envs/simulator", {"dataset"} | RUNS),
        ("training/loop", RUNS),
        (TABLE.module.removeprefix("gems.").replace(".", "/"), {"table"}),
        ("analysis/statistics", {"table"}),
        *((f"methods/{METHODS[m].build.__module__.split('.')[-1]}", {m}) for m in paper.METHODS),
        *((name, set()) for name in ("methods", "sections", "config/variants")),
        *((name, set()) for name in ("cli", "cli/commands", "pipeline/stages")),
        *((f"runtime/{name}", set()) for name in ("attempt", "files", "progress", "tracking")),
    ],
)
def test_a_change_makes_stale_the_stages_that_run_the_code_and_no_others(changed, module, stale):
    assert changed(module) == stale


@pytest.mark.parametrize("module", ["agents/sac", "envs/simulator", "training/run"])
def test_a_comment_makes_nothing_stale(changed, module):
    assert changed(module, "# A comment.\n") == set()


LOADED = """
import importlib, json, sys
from pathlib import Path
for name in {modules}: importlib.import_module(name)
from learners import learner_of
learner_of({method!r}, Path({folder!r}))
print(json.dumps([name for name in sys.modules if name.startswith("gems.")]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["SAC+GeMS", "SlateQ"])
def test_every_module_that_a_run_loads_counts(changed, method, tmp_path):
    save_models(tmp_path)
    script = LOADED.format(modules=STAGES[method], method=method, folder=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(HELPERS)!r})\n{script}"],
        check=True,
        capture_output=True,
        text=True,
    )
    own = METHODS[method].build.__module__
    loaded = {
        name
        for name in json.loads(done.stdout)
        if not any(name == i or name.startswith(f"{i}.") for i in digest.IGNORED)
        # All methods are imported to be listed, but the run executes one.
        and (not name.startswith("gems.methods") or name == own)
    }
    modules = [name.removeprefix("gems.").replace(".", "/") for name in loaded]
    files = [name for name in modules if (PACKAGE / name).with_suffix(".py").exists()]
    assert len(files) > 10
    assert [name for name in files if method not in changed(name)] == []


@pytest.mark.parametrize("module", ["", "gym/registration", "gym/env"])
def test_public_names_and_gymnasium_environments_change_no_stage(changed, module):
    assert changed(module) == set()


def test_no_module_is_imported_in_a_way_that_the_digest_cannot_see():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.ImportFrom) and node.level), path


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.text(), values))
def test_the_digest_of_values_does_not_depend_on_the_order_of_keys(value):
    assert value_digest(value) == value_digest(dict(reversed(value.items())))


@given(values, values)
def test_different_values_have_different_digests(a, b):
    same = json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)
    assert (value_digest(a) == value_digest(b)) == same

"""Only what is stale: which jobs of the real workflow a change makes run again, and no others.

The project is copied, a tiny Table 2 is built once, and each case edits a copy of its own and asks
Snakemake for a dry run on the same results.
"""

import ast
import os
import random
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import options
import pytest
import workflow_runs
import yaml
from workflow_runs import ROOT, environment

from gems.analysis.catalogue import TABLES
from gems.config import build
from gems.config.variants import with_options
from gems.pipeline import digest
from gems.pipeline.stages import pretrained_job, run_job
from gems.pretraining.models import PRETRAINED

ENV = "focused_mix"
SEEDS = (1, 2)
TINY = options.TINY | {
    "results": "results",
    "methods": ["SAC+TopK-MF", "SAC+GeMS", "SlateQ", "REINFORCE+SoftMax", "Random"],
    "environments": [ENV],
    "seeds": list(SEEDS),
}
# Stages that cost hours at the paper's scale; all other rules only read results.
COSTLY = {"items", "dataset", "vae", "mf", "train"}


def snakemake(project, folder, *arguments, configuration=None):
    """Run the workflow of ``project``, the original or a copy, in ``folder``."""
    configuration = configuration or project / "tiny.yaml"
    arguments = "--configfile", configuration, *arguments
    return workflow_runs.snakemake(*arguments, cwd=folder, project=project)


def dry_run(project, folder, *options):
    """What would run: every job as its rule and what it makes, or "" of a table."""
    output = snakemake(project, folder, "-n", "--cores", "1", *options)
    jobs = set()
    for rule, body in re.findall(r"^(?:local)?rule (\w+):\n((?: .*\n)+)", output, re.MULTILINE):
        made = re.search(r"wildcards: \w+=(\S*)", body)
        jobs.add((rule, made[1] if made else ""))
    assert jobs or "Nothing to be done" in output, output
    return jobs


def split(jobs):
    """The costly jobs, and whether the table is made anew."""
    return {job for job in jobs if job[0] in COSTLY}, ("table2", "") in jobs


CONFIG = build(TINY)
METHODS = CONFIG.methods


def runs(*methods, seeds=SEEDS, config=CONFIG):
    return {("train", run_job(config, m, ENV, seed).name) for m in methods for seed in seeds}


def models(name, seeds=SEEDS, config=CONFIG):
    return {(name, pretrained_job(config, PRETRAINED[name], ENV, seed).name) for seed in seeds}


OTHER_BETA = with_options(CONFIG, {"vae.beta": 0.5})
ITEMS, DATASET = {("items", "focused")}, {("dataset", ENV)}
VAES, MF = models("vae"), models("mf")
ALL = ITEMS | DATASET | VAES | MF | runs(*METHODS)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A copy of the project and a folder in which its tiny Table 2 has been built from nothing."""
    folder = tmp_path_factory.mktemp("stale")
    project = folder / "project"
    for name in ("gems", "workflow", "config"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, project / name, ignore=ignored)
    (project / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    # Built by the original, whose code is the same and compiled already; the copies only ask.
    snakemake(ROOT, folder, "--cores", "2", configuration=project / "tiny.yaml")
    return folder


def append(name, text):
    def change(project):
        path = project / name
        path.write_text(path.read_text() + text)

    return change


def replace(name, old, new):
    def change(project):
        text = (project / name).read_text()
        assert old in text
        (project / name).write_text(text.replace(old, new))

    return change


def configure(**options):
    def change(project):
        values = yaml.safe_load((project / "tiny.yaml").read_text())
        for name, value in options.items():
            values[name] = {**values.get(name, {}), **value} if isinstance(value, dict) else value
        (project / "tiny.yaml").write_text(yaml.safe_dump(values))

    return change


def comment_everywhere(project):
    """A comment in every file, and another docstring for every module, class and function."""
    for path in project.glob("gems/**/*.py"):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                docstring = ast.get_docstring(node, clean=False)
                if docstring:
                    first = docstring.splitlines()[0]
                    text = text.replace(f'"""{first}', f'"""In other words: {first}', 1)
        path.write_text(f"# A comment.\n{text}\n\n# Another.\n")
    for path in [*project.glob("workflow/**/*.smk"), project / "workflow" / "Snakefile"]:
        path.write_text(f"# A comment.\n{path.read_text()}\n# Another.\n")


CODE = "\n\nCHANGED = True\n"


def path_of(module):
    """The source of a module, within the project."""
    return f"{module.replace('.', '/')}.py"


def change_what_does_not_count(project):
    """Code that reaches a result by values only, or not at all."""
    for module in (*digest.IGNORED, "gems.cli"):
        path = project / path_of(module)
        for file in [path] if path.is_file() else path.with_suffix("").glob("*.py"):
            file.write_text(file.read_text() + CODE)


# Name: (change, costly jobs that run again, whether the table is made anew).
CASES = {
    "nothing": (lambda project: None, set(), False),
    "comments and docstrings in every file": (comment_everywhere, set(), False),
    "code of SAC": (append("gems/agents/sac.py", CODE), runs("SAC+TopK-MF", "SAC+GeMS"), True),
    "code of SlateQ": (append("gems/agents/slateq.py", CODE), runs("SlateQ"), True),
    "code of REINFORCE": (
        append("gems/agents/reinforce.py", CODE),
        runs("REINFORCE+SoftMax"),
        True,
    ),
    "code of the training loop": (
        append("gems/training/loop.py", CODE),
        runs(*METHODS),
        True,
    ),
    "code of the VAE's training": (
        append("gems/pretraining/vae_training.py", CODE),
        VAES | runs("SAC+GeMS"),
        True,
    ),
    "code of the VAE": (append("gems/pretraining/vae.py", CODE), VAES | runs("SAC+GeMS"), True),
    "code of matrix factorisation": (
        append("gems/pretraining/mf.py", CODE),
        MF | runs("SAC+TopK-MF"),
        True,
    ),
    "code of a method": (
        append("gems/methods/slateq.py", CODE),
        runs("SlateQ"),
        True,
    ),
    "a method in the list of methods": (append("gems/methods/__init__.py", CODE), set(), False),
    "code of the table": (append(path_of(TABLES["table2"].module), CODE), set(), True),
    "code of the items": (append("gems/envs/items.py", CODE), ALL, True),
    "code of the simulator": (append("gems/envs/simulator.py", CODE), ALL - ITEMS, True),
    "code that changes no result": (change_what_does_not_count, set(), False),
    "simulator's options": (
        configure(simulator={"influence": 0.2}),
        DATASET | VAES | MF | runs(*METHODS),
        True,
    ),
    "beta": (
        configure(vae={"beta": 0.5}),
        models("vae", config=OTHER_BETA) | runs("SAC+GeMS", config=OTHER_BETA),
        True,
    ),
    "learning rate of SAC": (
        configure(sac={"policy_lr": 1e-3}),
        runs("SAC+TopK-MF", "SAC+GeMS"),
        True,
    ),
    "patience of matrix factorisation": (
        configure(mf={"patience": 2}),
        MF | runs("SAC+TopK-MF"),
        True,
    ),
    "another environment's item table from a file": (
        configure(mf={"files": {"focused_topdown": "other.npy"}}),
        set(),
        False,
    ),
    "a new seed": (
        configure(seeds=[*SEEDS, 3]),
        models("vae", seeds=[3]) | runs(*METHODS, seeds=[3]),
        True,
    ),
    "a seed removed": (configure(seeds=[1]), set(), True),
    "a method removed": (configure(methods=METHODS[1:]), set(), True),
    "tracking, device": (
        configure(device="auto", tracking={"mode": "offline", "project": "other"}),
        set(),
        False,
    ),
}


@pytest.fixture(scope="module")
def found(finished):
    """Of every case, the costly jobs and whether the table is made anew; two at a time."""

    def of(case):
        project = finished / "cases" / re.sub(r"\W+", "_", case)
        shutil.copytree(finished / "project", project)
        CASES[case][0](project)
        return split(dry_run(project, finished))

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(CASES, pool.map(of, CASES), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_a_change_reruns_what_it_concerns_and_nothing_else(found, case):
    costly, table = found[case]
    assert costly == CASES[case][1]
    assert table == CASES[case][2]


@pytest.mark.parametrize(
    "options",
    [("--cores", "7", "--quiet"), ("--printshellcmds", "--verbose"), ("--resources", "mem_mb=9")],
    ids=lambda options: options[0],
)
def test_cores_and_logging_of_snakemake_make_nothing_stale(finished, options):
    assert dry_run(finished / "project", finished, *options) == set()


def copied(source, target, rng):
    """Copy file after file in random order, each with the time of its copying."""
    files = [path for path in source.rglob("*") if path.is_file()]
    rng.shuffle(files)
    clock = 1_700_000_000
    for path in files:
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
        clock += 10
        os.utime(place, (clock, clock))


def test_results_copied_with_other_file_times_run_nothing_after_a_touch(finished, tmp_path):
    """As the README says: verify them, touch them, and go on."""
    project = finished / "project"
    copied(finished / "results", tmp_path / "results", random.Random(3))
    assert split(dry_run(project, tmp_path))[0]
    verify = [sys.executable, "-m", "gems.cli", "verify", "--config", str(project / "tiny.yaml")]
    options = {"cwd": tmp_path, "env": environment(project)}
    done = subprocess.run(verify, **options, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    before = {path: path.read_bytes() for path in tmp_path.rglob("result.json")}
    snakemake(project, tmp_path, "--touch", "--cores", "1")
    assert dry_run(project, tmp_path) == set()
    assert {path: path.read_bytes() for path in tmp_path.rglob("result.json")} == before
    configure(sac={"q_lr": 0.5})(shutil.copytree(project, tmp_path / "project"))
    costly, _ = split(dry_run(tmp_path / "project", tmp_path))
    assert costly == runs("SAC+TopK-MF", "SAC+GeMS")

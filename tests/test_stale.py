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
from pathlib import Path

import pytest
import yaml

from gems import registry

ROOT = Path(__file__).parents[1]
SEEDS = (1, 2)
TINY = {
    "results": "results",
    "methods": ["SAC+TopK-MF", "SAC+GeMS", "SlateQ", "REINFORCE+SoftMax", "Random"],
    "environments": ["focused_mix"],
    "seeds": list(SEEDS),
    "items": {"count": 60},
    "simulator": {"turns": 6},
    "logging": {"users": 20},
    "vae": {"epochs": 1, "batch_slates": 32},
    "mf": {"validate_every": 5, "patience": 1},
    "training": {
        "episodes": 4,
        "random_episodes": 2,
        "validate_every": 2,
        "validation_users": 2,
        "test_users": 3,
        "batch_episodes": 2,
    },
    "device": "cpu",
    "tracking": {"mode": "disabled"},
}
# Stages that cost hours at the paper's scale; all other rules only read results.
COSTLY = {"items", "dataset", "vae", "mf", "train"}


def snakemake(project, folder, *arguments, configuration=None):
    """Run the workflow of ``project``, the original or a copy, in ``folder``."""
    command = [sys.executable, "-m", "snakemake", "--nolock"]
    command += ["--snakefile", project / "workflow" / "Snakefile"]
    command += ["--workflow-profile", project / "workflow" / "profiles" / "default"]
    command += ["--configfile", configuration or project / "tiny.yaml", *arguments]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def dry_run(project, folder, *options):
    """What would run: (rule, method or None, seed or None) of every job."""
    output = snakemake(project, folder, "-n", "--cores", "1", *options)
    jobs = set()
    for rule, body in re.findall(r"^(?:local)?rule (\w+):\n((?: .*\n)+)", output, re.MULTILINE):
        wildcards = dict(re.findall(r"(\w+)=([^,\n]*)", "".join(re.findall("wildcards: .*", body))))
        seed = wildcards.get("seed")
        jobs.add((rule, wildcards.get("method"), int(seed) if seed else None))
    assert jobs or "Nothing to be done" in output, output
    return jobs


def split(jobs):
    """The costly jobs, and whether the table is made anew."""
    return {job for job in jobs if job[0] in COSTLY}, ("table2", None, None) in jobs


def runs(*methods, seeds=SEEDS):
    return {("train", registry.slug(method), seed) for method in methods for seed in seeds}


ITEMS, DATASET, MF = ({(rule, None, None)} for rule in ("items", "dataset", "mf"))
VAES = {("vae", None, seed) for seed in SEEDS}
TRAINED = [name for name in TINY["methods"] if name != "Random"]
ALL = ITEMS | DATASET | VAES | MF | runs(*TINY["methods"])


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
        runs(*TINY["methods"]),
        True,
    ),
    "code of the VAE's training": (
        append("gems/rankers/vae_training.py", CODE),
        VAES | runs("SAC+GeMS"),
        True,
    ),
    "code of the VAE": (append("gems/rankers/vae.py", CODE), VAES | runs("SAC+GeMS"), True),
    "code of matrix factorisation": (
        append("gems/embeddings/mf.py", CODE),
        MF | runs("SAC+TopK-MF"),
        True,
    ),
    "code of the table": (append("gems/analysis/tables.py", CODE), set(), True),
    "code of the simulator's turns": (append("gems/simulator/kernels.py", CODE), ALL, True),
    "code of the simulator": (
        append("gems/simulator/simulator.py", CODE),
        ALL - ITEMS,
        True,
    ),
    "code that changes no result": (
        lambda project: [
            append(f"gems/{name}.py", CODE)(project)
            for name in (
                *("attempt", "cli", "commands", "files", "progress", "provenance", "tracking"),
                "verify",
            )
        ],
        set(),
        False,
    ),
    "simulator's options": (
        configure(simulator={"influence": 0.2}),
        DATASET | VAES | MF | runs(*TINY["methods"]),
        True,
    ),
    "beta": (
        configure(vae={"beta": 0.5}),
        VAES | runs("SAC+GeMS"),
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
        {("vae", None, 3)} | runs(*TINY["methods"], seeds=[3]),
        True,
    ),
    "a seed removed": (configure(seeds=[1]), set(), True),
    "a method removed": (configure(methods=TINY["methods"][1:]), set(), True),
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
    environment = {**os.environ, "PYTHONPATH": str(project)}
    done = subprocess.run(verify, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    before = {path: path.read_bytes() for path in tmp_path.rglob("result.json")}
    snakemake(project, tmp_path, "--touch", "--cores", "1")
    assert dry_run(project, tmp_path) == set()
    assert {path: path.read_bytes() for path in tmp_path.rglob("result.json")} == before
    configure(sac={"q_lr": 0.5})(shutil.copytree(project, tmp_path / "project"))
    costly, _ = split(dry_run(tmp_path / "project", tmp_path))
    assert costly == runs("SAC+TopK-MF", "SAC+GeMS")

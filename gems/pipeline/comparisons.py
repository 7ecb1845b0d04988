"""The runs that each table and figure reads: the main runs, and variants where it needs them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gems.analysis.catalogue import Entry
from gems.analysis.reference_values import find
from gems.config import Config
from gems.config.variants import (
    BASELINES,
    LATENT_DIMS,
    MYOPIC,
    apply_variant,
    audited,
    preset_of_baseline,
    with_options,
)
from gems.methods import METHODS, NORMALISE_HIGH, NORMALISE_LOW, REFERENCE_METHOD, method
from gems.pipeline.job import Job
from gems.pipeline.stages import analysis_job, run_job, run_values


def _runs(
    config: Config,
    names: Iterable[str],
    environments: Iterable[str],
    seeds: Iterable[int],
    variant: str = "",
) -> list[Job]:
    """Runs of ``variant``; a run that equals the main run is replaced by the main run."""
    environments, seeds = list(environments), list(seeds)
    return [
        run_job(config, name, env, seed, _needed(config, name, env, variant))
        for name in names
        for env in environments
        for seed in seeds
    ]


def _needed(config: Config, name: str, env: str, variant: str) -> str:
    """``variant``, or "" if it leaves the options of the main run unchanged."""
    varied = run_values(apply_variant(config, name, variant), method(name), env)
    return "" if varied == run_values(config, method(name), env) else variant


def main(config: Config) -> list[Job]:
    return _runs(config, config.methods, config.environments, config.seeds)


def normalised(config: Config) -> list[Job]:
    """Main runs, and runs of the two methods that normalise returns."""
    names = dict.fromkeys([*config.methods, NORMALISE_LOW, NORMALISE_HIGH])
    return _runs(config, names, config.environments, config.seeds)


def main_and_myopic(config: Config) -> list[Job]:
    """Main runs, and SAC+GeMS with gamma = 0 where the published value is known."""
    if REFERENCE_METHOD not in config.methods:
        return main(config)
    values = apply_variant(config, REFERENCE_METHOD, MYOPIC).model_dump()

    def option(section: str, name: str) -> list[object]:
        return [values[section][name]]

    known = [e for e in config.environments if find("published", REFERENCE_METHOD, e, option)]
    return main(config) + _runs(config, [REFERENCE_METHOD], known, config.seeds, MYOPIC)


def figure2(config: Config) -> list[Job]:
    where = [config.analysis.figure2_environment], _seeds(config)[:1]
    myopic = _runs(config, [REFERENCE_METHOD], *where, MYOPIC)
    return _runs(config, ["ShortTermOracle", REFERENCE_METHOD], *where) + myopic


def figure3(config: Config) -> list[Job]:
    """SAC+GeMS for each latent dimension: beta varied at fixed lambda, and lambda at fixed beta."""
    settings = [{"vae.beta": beta} for beta in config.analysis.betas]
    settings += [{"vae.lambda_click": click} for click in config.analysis.lambdas]
    where = config.analysis.figure3_environments, _seeds(config)
    sweep = [
        job
        for dim in LATENT_DIMS
        for options in settings
        for job in _runs(
            with_options(config, options), [REFERENCE_METHOD], *where, f"latentdim{dim}"
        )
    ]
    return list({job.output: job for job in sweep}.values())


def audit(config: Config) -> list[Job]:
    """The faulty baselines as released and corrected, and SAC+GeMS."""
    where = config.analysis.audit_environments or [], _seeds(config)
    baselines = [job for side in BASELINES for job in _runs(config, audited(), *where, side)]
    return baselines + _runs(config, [REFERENCE_METHOD], *where)


def _seeds(config: Config) -> Sequence[int]:
    return config.analysis.seeds or config.seeds


RUN_SETS: dict[str, Callable[[Config], list[Job]]] = {
    "main": main,
    "main+normalisers": normalised,
    "main+myopic": main_and_myopic,
    "figure2": figure2,
    "figure3": figure3,
    "audit": audit,
    "none": lambda config: [],
}


def job_of_entry(config: Config, entry: Entry) -> Job:
    """The job of a table or figure of ``config``, with the runs that it reads."""
    runs = list({job.output: job for job in RUN_SETS[entry.runs](config)}.values())
    output = Path(config.results) / entry.path
    job = analysis_job(entry, [run.output for run in runs], output, config)
    return replace(job, values=_shown_values(entry, runs), needs=tuple(runs))


def _shown_values(entry: Entry, runs: list[Job]) -> dict[str, Any]:
    """Values that a table or figure shows and that do not come from its runs."""
    names = dict.fromkeys(run.identity["method"] for run in runs)
    values: dict[str, Any] = {}
    if "methods" in entry.depends_on:
        values["methods"] = [[method(n).label, method(n).disclosed, method(n).look] for n in names]
    if "presets" in entry.depends_on:
        values["presets"] = [
            [preset_of_baseline(m, side) for side in BASELINES.values()] for m in audited().values()
        ]
    if "assumptions" in entry.depends_on:
        values["assumptions"] = [[m.label, m.assumptions] for m in METHODS.values()]
    return values

# Configuration, paths and what the stages depend on; the rules only put these together.
import json
import math
import re
import sys
from dataclasses import asdict
from typing import get_args

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir).parent))

from gems import config as options
from gems import registry, variants
from gems.digest import code_digest
from gems.errors import GemsError
from gems.paths import Layout, mf_suffix, run_name
from gems.sections import Validation

try:
    CONFIG = options.build(config)
except GemsError as error:
    raise WorkflowError(str(error)) from None
validate(CONFIG.model_dump(mode="json"), "../schemas/config.schema.yaml")

LAYOUT = Layout(Path(CONFIG.results))
LOGS = LAYOUT.root / "logs"
BENCHMARKS = LAYOUT.root / "benchmarks"
MF = LAYOUT.mf("{env}", "{suffix}")
IMPORTED = LAYOUT.mf("{env}", mf_suffix(None, imported=True))
VALIDATIONS = {mf_suffix(name): name for name in get_args(Validation)}
RUN = LAYOUT.run("{method}_{env}{vae}_seed{seed}{variant}")
TABLE2 = LAYOUT.root / "table2.csv"
SLUGS = {registry.slug(name): name for name in registry.METHODS}

# Milliseconds on one core, measured (docs/cluster.md): what time limits follow from.
SLATE_MS = 0.003
MF_BATCH_MS = 1.5
MF_VALIDATIONS = 100
VAE_BATCH_MS = 11
EPISODE_MS = {"SAC+WkNN": 80}
OTHER_EPISODE_MS = 25


wildcard_constraints:
    env="|".join(registry.ENVIRONMENTS),
    embedding="|".join(registry.EMBEDDINGS),
    method="|".join(SLUGS),
    seed=r"\d+",
    latent_dim=r"\d+",
    beta=r"\d+\.\d+",
    click=r"\d+\.\d+",
    suffix="|".join(VALIDATIONS),
    vae=r"|_KL\d+\.\d+_click\d+\.\d+",
    variant="|".join(["", *(f"_{re.escape(name)}" for name in variants.VARIANTS)]),


def stage_config(*sections):
    """The named sections of the configuration as JSON: the stage depends on nothing else."""
    return json.dumps(CONFIG.sections(*sections), sort_keys=True)


def items_config(wildcards):
    """What one embedding reads of the configuration: not what is said of the other."""
    return json.dumps(options.items_values(wildcards.embedding, CONFIG), sort_keys=True)


def vae_config(wildcards):
    """What a VAE reads of the configuration and of its own name."""
    values = CONFIG.sections("vae")
    values["vae"] |= vae_options(wildcards.latent_dim, wildcards.beta, wildcards.click)
    return json.dumps(values, sort_keys=True)


def imported_table(wildcards):
    """The file that the configuration names for the item table of an environment."""
    source = CONFIG.mf.files.get(wildcards.env)
    if source is None:
        raise WorkflowError(f"mf.files names no item table for {wildcards.env}.")
    if not Path(source).is_file():
        raise WorkflowError(
            f"The item table {source}, which mf.files names for {wildcards.env}, does not exist."
        )
    return source


def imported_config(wildcards):
    """What the import of an item table reads of the configuration."""
    return json.dumps(options.imported_values(wildcards.env, CONFIG), sort_keys=True)


def mf_config(wildcards):
    """What a factorisation reads of the configuration and of its own name."""
    values = options.factorised_values(CONFIG)
    values["mf"]["validation"] = VALIDATIONS[wildcards.suffix]
    return json.dumps(values, sort_keys=True)


def runtime_options(wildcards, threads):
    """Options that change no result, as JSON.

    It takes the threads because Snakemake does not count what derives from them as something that
    a job depends on.
    """
    values = {
        "results": CONFIG.results,
        "logs": CONFIG.logs,
        "device": CONFIG.device,
        **CONFIG.sections("tracking"),
    }
    return json.dumps(values, sort_keys=True)


def methods_of_table2():
    """Labels and groups of the methods, in the order of the table, and those it compares with."""
    compared = [registry.OURS, registry.ZERO, registry.ONE]
    return [[m.label, m.disclosed] for m in registry.METHODS.values()] + [compared]


def environment_values(env):
    """What an environment is made of, by value."""
    return json.dumps(asdict(registry.environment(env)), sort_keys=True)


def items_of(wildcards):
    """Item embeddings of an environment."""
    return LAYOUT.items(registry.environment(wildcards.env).embedding)


def vae_options(latent_dim, beta, click):
    """Options of a slate VAE that are part of its name."""
    return {
        "latent_dim": int(latent_dim),
        "beta": float(beta),
        "lambda_click": float(click),
    }


def variant_of_run(wildcards):
    """The variant that the name of a run tells; "" for a main run."""
    return wildcards.variant.removeprefix("_")


def varied(wildcards):
    """The configuration of a run: that of the workflow, with the overrides of its variant."""
    try:
        return variants.apply(
            CONFIG, SLUGS[wildcards.method], variant_of_run(wildcards)
        )
    except GemsError as error:
        raise WorkflowError(str(error)) from None


def vae_of_run(wildcards):
    """Options of the VAE that the name of a run tells: KL and click weights, if it has one."""
    weights = re.findall(r"[\d.]+", wildcards.vae)
    if bool(weights) != ("vae" in registry.method(SLUGS[wildcards.method]).needs):
        raise WorkflowError(
            "The name of a run has a part _KL<beta>_click<lambda> if its method uses a VAE, and "
            f"only then: {RUN.name}".format(**wildcards)
        )
    return vae_options(varied(wildcards).vae.latent_dim, *weights) if weights else None


def inputs_of_run(wildcards):
    """Item embeddings, and the pretrained models that the method acts with."""
    inputs = {"embeddings": items_of(wildcards)}
    needs = options.needs(SLUGS[wildcards.method], varied(wildcards))
    if vae := vae_of_run(wildcards):
        inputs["vae"] = LAYOUT.vae(wildcards.env, *vae.values(), wildcards.seed)
        inputs["vae_config"] = inputs["vae"].with_suffix(".json")
    if "mf" in needs:
        mf = varied(wildcards).mf
        suffix = mf_suffix(mf.validation, wildcards.env in mf.files)
        inputs["mf"] = LAYOUT.mf(wildcards.env, suffix)
    return inputs


def config_of_run(wildcards):
    """What the run reads of the configuration."""
    values = options.run_values(
        SLUGS[wildcards.method], varied(wildcards), wildcards.env
    )
    if vae := vae_of_run(wildcards):
        values["vae"] |= vae
    return json.dumps(values, sort_keys=True)


def minutes(milliseconds, attempt):
    """Time limit of a job: ten minutes and three times what it should take; more at each retry."""
    return attempt * (10 + math.ceil(3 * milliseconds / 60_000))


def slates_logged():
    """Slates of one logged dataset."""
    return CONFIG.logging.users * CONFIG.simulator.turns


def dataset_minutes(wildcards, attempt):
    """Time limit of a dataset."""
    return minutes(slates_logged() * SLATE_MS, attempt)


def mf_minutes(wildcards, attempt):
    """Time limit of a factorisation: so many validations, each as good as a pass over its users."""
    mf = CONFIG.mf
    validation = slates_logged() * mf.validation_fraction / mf.batch_pairs
    batches = MF_VALIDATIONS * (mf.validate_every + validation)
    return minutes(batches * MF_BATCH_MS, attempt)


def vae_minutes(wildcards, attempt):
    """Time limit of the pretraining of a VAE."""
    batches = slates_logged() / CONFIG.vae.batch_slates * CONFIG.vae.epochs
    return minutes(batches * VAE_BATCH_MS, attempt)


def run_minutes(wildcards, attempt):
    """Time limit of a run."""
    name = SLUGS[wildcards.method]
    episodes = CONFIG.training.episodes if registry.method(name).trained else 0
    turns = CONFIG.simulator.turns / 100
    return minutes(episodes * turns * EPISODE_MS.get(name, OTHER_EPISODE_MS), attempt)

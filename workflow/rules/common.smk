# The configuration, and functions through which rules read the stages (gems/pipeline/stages.py).
import json
import re
import sys

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.current_basedir).parents[1]))

from gems import config as configuration
from gems.analysis import catalogue
from gems.config.reference import as_yaml
from gems.errors import GemsError
from gems.pipeline import comparisons, naming, stages
from gems.pipeline.digest import code_digest, value_digest
from gems.pipeline.job import COLLECTION, DATASET
from gems.pretraining.models import PRETRAINED
from gems.runtime.files import written_whole

try:
    CONFIG = configuration.build(config)
    stages.check_dataset(CONFIG)
except GemsError as error:
    raise WorkflowError(str(error)) from None

RESULTS = Path(CONFIG.results)
LOGS = RESULTS / "logs"
BENCHMARKS = RESULTS / "benchmarks"
# The configuration that commands read: every option, resolved.
CONFIG_FILE = (
    RESULTS / ".config" / f"{value_digest(CONFIG.model_dump(mode='json'))}.yaml"
)


def cached_job(make):
    """The job for some wildcards, made once; an error in them is shown as a sentence."""

    known = {}

    def job(wildcards):
        name = tuple(wildcards)
        try:
            known[name] = known.get(name) or make(wildcards)
        except GemsError as error:
            raise WorkflowError(str(error)) from None
        return known[name]

    return job


def inputs_of(job):
    """Input files of a job.

    Large files only have to exist (`ancient`): the small file that is written with them changes
    when they do, and Snakemake compares its contents.
    """

    def inputs(wildcards):
        current, files = job(wildcards), []
        for name, path in current.inputs.items():
            if name in PRETRAINED:
                files += [ancient(path), path.with_suffix(".json")]
            elif name != "policy":  # `result.json` of its run changes with it
                files.append(path)
        for need in current.needs:
            if need.stage in (DATASET, COLLECTION):
                arrays = [path for path in need.files if path.suffix == ".npy"]
                files += map(ancient, arrays)
        return files

    return inputs


def only(names):
    """A constraint of a wildcard to ``names``; nothing matches if there are none."""
    return "|".join(map(re.escape, names)) or "(?!)"


def depends_on(job):
    """The options that a job depends on, as JSON."""
    return lambda wildcards: json.dumps(job(wildcards).values, sort_keys=True)


def code_of(job):
    """Digest of the code that a job executes."""
    return lambda wildcards: job(wildcards).code()


def config_file():
    """The file of the configuration, which commands read; written unless this is a dry run."""
    if not workflow.dryrun and not CONFIG_FILE.exists():
        with written_whole(CONFIG_FILE) as temporary:
            temporary.write_text(as_yaml(CONFIG), encoding="utf-8")
    return str(CONFIG_FILE)


def command_of(job):
    """The command that a job runs.

    The parameter `threads` keeps the command out of the rerun trigger: Snakemake ignores changes of
    params that derive from it.
    """

    def command(wildcards, threads):
        return job(wildcards).command(CONFIG, config_file(), paths=True)

    return command


def minutes_of(job):
    """Time limit: ten minutes plus three times the estimate; longer with each retry."""
    return lambda wildcards, attempt: attempt * (10 + round(3 * job(wildcards).minutes))

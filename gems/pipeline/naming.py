"""Jobs from the names of their files and folders."""

from typing import Any

from gems import methods
from gems.config import Config
from gems.config.variants import with_options
from gems.errors import GemsError
from gems.pipeline.job import Job
from gems.pipeline.stages import pretrained_job, run_job
from gems.pretraining.models import PRETRAINED, Pretrained
from gems.runtime import templates


def pretrained_named(config: Config, model: Pretrained, stem: str) -> Job:
    """The job of the pretrained model whose file has the name ``stem``.

    Raises:
        GemsError: ``stem`` is not the name of such a file.
    """
    parsed = model.parse_stem(stem)
    if parsed is None:
        raise GemsError(f"{stem!r} is not the name of a pretrained model ({model.name}).")
    data, seed, options = parsed
    return pretrained_job(with_options(config, options), model, data, seed)


def run_named(config: Config, name: str) -> Job:
    """The run with the name METHOD_ENV[_KLbeta_clicklambda][_on_DATASET]_seedSEED[_VARIANT].

    Raises:
        GemsError: ``name`` does not have this form, or names an unknown method or environment.
    """
    head, _, tail = name.rpartition("_seed")
    seed, _, variant = tail.partition("_")
    method, rest = _starts_with({methods.slug(m): m for m in methods.METHODS}, head)
    env, tag = _starts_with(
        {env: env for env in config.known_environments()}, rest.removeprefix("_")
    )
    if not (method and env and seed.isdecimal()):
        raise GemsError(f"{name!r} is not the name of a run: METHOD_ENV_seedSEED[_VARIANT].")
    tag, _, dataset = tag.partition("_on_")
    prerequisites = methods.method(method).prerequisites(config)
    models = [PRETRAINED[need] for need in prerequisites if PRETRAINED[need].run_tag]
    options: dict[str, Any] = {"dataset": dataset or None} if prerequisites else {}
    for model in models:
        parsed = templates.parse(model.run_tag, tag) or {}
        options |= {f"{model.options.section}.{option}": text for option, text in parsed.items()}
    named = len(options) > 1
    if bool(tag) != bool(models) or bool(models) != named or (dataset and not prerequisites):
        needed = f"the part {models[0].run_tag}" if models else "nothing"
        raise GemsError(
            f"{name!r} is not the name of a run: {method} needs {needed} between the environment "
            "and the seed."
        )
    return run_job(with_options(config, options), method, env, int(seed), variant)


def _starts_with(names: dict[str, str], text: str) -> tuple[str, str]:
    """The value of the longest key that ``text`` starts with (a whole word), and the rest."""
    for start in sorted(names, key=len, reverse=True):
        if f"{text}_".startswith(f"{start}_"):
            return names[start], text[len(start) :]
    return "", text

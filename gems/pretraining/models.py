"""Registry of pretrained models: names of files and logs, options and training functions."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from gems.errors import GemsError
from gems.runtime import templates
from gems.sections import MFConfig, Section, VAEConfig, Validation

if TYPE_CHECKING:
    from gems.config import Config

# Suffix of the names of imported item tables.
IMPORTED = "_file"
# Milliseconds per batch on one core, and an upper bound of the validations of a factorisation.
VAE_BATCH_MS, MF_BATCH_MS, MF_VALIDATIONS = 11, 1.5, 100


@dataclass(frozen=True)
class Pretrained:
    """A model that is pretrained on the logged data of an environment.

    Attributes:
        name: name of its folder of results, and value of ``gems pretrain --model``.
        options: section of the configuration that it reads.
        fit: function, or ``module:function``, that trains the model and saves it. It is called with
            the dataset, the options, the seed, the .safetensors file to write, and the
            ``runtime.job.JobRuntime``.
        by_seed: whether each seed of the runs has its own model; otherwise ``options`` has a
            ``seed``.
        minutes: estimated training time on one core under a configuration.
        label: its name in logs and in the tracker.
        file_name: template of the name of its file, without suffix, with the fields ``{env}``,
            ``{seed}`` and options.
        log_tag: template of the part of the name of its log after the environment.
        run_tag: template of the part of the names of runs that identifies the model.
        reports: suffixes of further files that ``fit`` writes beside the weights.
    """

    name: str
    options: type[Section]
    fit: "str | Callable[..., None]"
    by_seed: bool = False
    minutes: "Callable[[Config], float]" = lambda config: 30.0
    label: str = ""
    file_name: str = ""
    log_tag: str = ""
    run_tag: str = ""
    reports: tuple[str, ...] = ()

    def stem(self, config: "Config", env: str, run_seed: int) -> str:
        values = config.of(self.options).model_dump() | {"env": env, "seed": run_seed}
        return templates.fill(self._template(), values)

    def _template(self) -> str:
        return self.file_name or ("{env}_seed{seed}" if self.by_seed else "{env}")

    def parse_stem(self, stem: str) -> tuple[str, int, dict[str, Any]] | None:
        """Environment, seed and options in the name of its file; None if it has another form."""
        values: dict[str, Any] | None = templates.parse(self._template(), stem)
        if values is None or not values.get("seed", "0").isdecimal():
            return None
        env, seed = values.pop("env"), int(values.pop("seed", "0"))
        return env, seed, self._full_names(values)

    def tag(self, config: "Config") -> str:
        return templates.fill(self.run_tag, config.of(self.options).model_dump())

    def options_of_name(self, config: "Config", env: str) -> dict[str, Any]:
        """Options in the name of its file, by full name."""
        named = [name for name in templates.fields(self.file_name) if name not in ("env", "seed")]
        values = config.of(self.options).model_dump()
        return self._full_names({name: values[name] for name in named})

    def options_of_tag(self, config: "Config") -> dict[str, Any]:
        """Options in the names of runs, by full name."""
        values = config.of(self.options).model_dump()
        return self._full_names({name: values[name] for name in templates.fields(self.run_tag)})

    def _full_names(self, values: dict[str, Any]) -> dict[str, Any]:
        return {f"{self.options.section}.{name}": value for name, value in values.items()}

    def log_name(self, config: "Config", env: str) -> str:
        """Name of its log, without date; the folder has the seed and the label."""
        return env + templates.fill(self.log_tag, config.of(self.options).model_dump())

    def seed(self, config: "Config", run_seed: int) -> int:
        """Seed to train it with for runs with ``run_seed``."""
        return run_seed if self.by_seed else int(getattr(config.of(self.options), "seed", 0))

    def source(self, config: "Config", env: str) -> Path | None:
        return None

    def values(self, config: "Config", env: str) -> dict[str, Any]:
        return config.sections(self.options.section)

    def module(self, config: "Config", env: str) -> str:
        return self.fit.split(":")[0] if isinstance(self.fit, str) else self.fit.__module__

    def function(self) -> Callable[..., None]:
        if callable(self.fit):
            return self.fit
        module, name = self.fit.split(":")
        function: Callable[..., None] = getattr(import_module(module), name)
        return function


class _MatrixFactorisation(Pretrained):
    def stem(self, config: "Config", env: str, run_seed: int) -> str:
        validation = config.of(MFConfig).validation
        if self.source(config, env):
            return f"{env}{IMPORTED}"
        return env if validation == "learns" else f"{env}_{validation}"

    def parse_stem(self, stem: str) -> tuple[str, int, dict[str, Any]] | None:
        if stem.endswith(IMPORTED):
            return stem.removesuffix(IMPORTED), 0, {}
        for validation in get_args(Validation):
            if stem.endswith(f"_{validation}"):
                env = stem.removesuffix(f"_{validation}")
                return env, 0, {"mf.validation": validation, "mf.files": {}}
        return stem, 0, {"mf.validation": "learns", "mf.files": {}}

    def options_of_name(self, config: "Config", env: str) -> dict[str, Any]:
        if self.source(config, env):
            return {}
        return {"mf.validation": config.of(MFConfig).validation, "mf.files": {}}

    def log_name(self, config: "Config", env: str) -> str:
        return self.stem(config, env, 0)

    def source(self, config: "Config", env: str) -> Path | None:
        file = config.of(MFConfig).files.get(env)
        return Path(file) if file else None

    def values(self, config: "Config", env: str) -> dict[str, Any]:
        """Options of the factorisation, without files; of an imported table, only its file."""
        values = config.sections("mf")["mf"]
        files = {name: file for name, file in values["files"].items() if name == env}
        return {"mf": {"files": files} if files else values | {"files": {}}}

    def module(self, config: "Config", env: str) -> str:
        imported = self.source(config, env) is not None
        return "gems.pretraining.imported" if imported else super().module(config, env)


def _minutes_of_vae(config: "Config") -> float:
    vae, slates = config.of(VAEConfig), config.logging.users * config.simulator.turns
    return slates / vae.batch_slates * vae.epochs * VAE_BATCH_MS / 60_000


def _minutes_of_mf(config: "Config") -> float:
    mf, slates = config.of(MFConfig), config.logging.users * config.simulator.turns
    batches = mf.validate_every + slates * mf.validation_fraction / mf.batch_pairs
    return MF_VALIDATIONS * batches * MF_BATCH_MS / 60_000


PRETRAINED: dict[str, Pretrained] = {}


def register(added: Pretrained) -> None:
    """Add a pretrained model.

    Raises:
        GemsError: another one has the same name.
    """
    if PRETRAINED.get(added.name, added) != added:
        raise GemsError(f"Two pretrained models are named {added.name}; rename one.")
    PRETRAINED[added.name] = added


register(
    Pretrained(
        name="vae",
        options=VAEConfig,
        fit="gems.pretraining.vae_training:pretrain",
        by_seed=True,
        minutes=_minutes_of_vae,
        label="GeMS_VAE",
        file_name="GeMS_{env}_latentdim{latent_dim}_beta{beta}_lambdaclick{lambda_click}"
        "_lambdaprior0.0_scratch_seed{seed}",
        log_tag="_latentdim{latent_dim}_KL{beta}_click{lambda_click}",
        run_tag="_KL{beta}_click{lambda_click}",
        reports=(".held_out.csv",),
    )
)
register(
    _MatrixFactorisation(
        name="mf",
        options=MFConfig,
        fit="gems.pretraining.mf:factorise",
        minutes=_minutes_of_mf,
        label="MF",
    )
)

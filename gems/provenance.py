"""Where a result came from: a JSON record beside it, and what it would have to say today.

Imports neither torch nor numpy, so that hundreds of records are checked in seconds.
"""

import hashlib
import platform
import socket
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from gems import registry, variants
from gems.attempt import now
from gems.config import Config, factorised_values, imported_values, items_values, run_values
from gems.digest import code_digest
from gems.errors import GemsError, unknown
from gems.files import relative, write_json

Stage = Literal["items", "dataset", "vae", "mf", "run", "table", "figure"]
MODULES: dict[Stage, tuple[str, ...]] = {
    "items": ("gems.simulator.items",),
    "dataset": ("gems.data.logging_policy",),
    "vae": ("gems.rankers.vae_training",),
    "mf": ("gems.embeddings.mf",),
}
PACKAGES = (
    *("gems", "numba", "numpy", "pandas", "pydantic", "pytorch-lightning"),
    *("safetensors", "scipy", "snakemake", "swanlab", "torch"),
)
NAME = "provenance.json"


@dataclass(frozen=True)
class Subject:
    """What a result is of; what does not apply to its stage is None.

    Attributes:
        stage: the command that makes it.
        embedding: item embeddings, for items.
        environment: key of ``registry.ENVIRONMENTS``.
        method: key of ``registry.METHODS``, for runs.
        seed: of a run or a slate VAE.
        vae: options of the slate VAE that are part of the name of the result.
        validation: of a factorised item table: option that is part of its name; "" for one that
            is imported.
        variant: key of ``variants.VARIANTS``, for a run that is no main run.
        name: of a table or figure of ``analysis.catalogue``.
    """

    stage: Stage
    embedding: str | None = None
    environment: str | None = None
    method: str | None = None
    seed: int | None = None
    vae: dict[str, float] = field(default_factory=dict)
    validation: str = ""
    variant: str = ""
    name: str = ""

    @property
    def _imported(self) -> bool:
        return self.stage == "mf" and not self.validation

    @classmethod
    def of_mf(cls, environment: str, config: Config) -> "Subject":
        """An item table, factorised or imported."""
        imported = environment in config.mf.files
        validation = "" if imported else str(config.mf.validation)
        return cls("mf", environment=environment, validation=validation)

    @classmethod
    def of_vae(cls, environment: str, seed: int, config: Config) -> "Subject":
        """A slate VAE."""
        named = ("latent_dim", "beta", "lambda_click")
        vae = {name: getattr(config.vae, name) for name in named}
        return cls("vae", None, environment, None, seed, vae)

    @classmethod
    def of_run(
        cls, method: str, environment: str, seed: int, config: Config, variant: str = ""
    ) -> "Subject":
        """A run."""
        named = ("beta", "lambda_click") if "vae" in registry.method(method).needs else ()
        vae = {name: getattr(config.vae, name) for name in named}
        return cls("run", None, environment, method, seed, vae, variant=variant)

    def code(self) -> str:
        """Digest of the code that makes it.

        Raises:
            GemsError: its method, or its name, is unknown.
        """
        if self.stage in ("table", "figure"):
            from gems.analysis import catalogue

            named = catalogue.TABLES if self.stage == "table" else catalogue.FIGURES
            if self.name not in named:
                raise GemsError(unknown(self.stage, self.name, named))
            return code_digest(*catalogue.modules(named[self.name]))
        if self.method is not None:
            return code_digest(*registry.run_modules(registry.method(self.method)))
        if self._imported:
            return code_digest("gems.embeddings.imported")
        return code_digest(*MODULES[self.stage])

    def values(self, config: Config) -> dict[str, Any]:
        """All that it depends on, by value, under ``config``; tables and figures on nothing.

        Raises:
            GemsError: its method, environment or variant is unknown.
        """
        if self.name:
            return {}
        if self.embedding is not None:
            return items_values(self.embedding, config)
        if self.method is not None:
            varied = variants.apply(config, self.method, self.variant)
            values = run_values(self.method, varied, str(self.environment))
        elif self.stage == "dataset":
            values = config.sections("simulator", "logging")
        elif self._imported:
            values = imported_values(str(self.environment), config)
        elif self.stage == "mf":
            values = factorised_values(config)
        else:
            values = config.sections(self.stage)
        if self.vae:
            values["vae"] |= self.vae
        if self.validation:
            values["mf"]["validation"] = self.validation
        if self.environment is not None and self.stage in ("dataset", "run"):
            values["environment"] = asdict(registry.environment(self.environment))
        return values


def record_of(result: Path) -> Path:
    """The record of a result: in its folder, or beside its file.

    Those of a table and a figure of one name may lie in one folder.
    """
    if result.is_dir():
        return result / NAME
    drawn = result.suffix in (".csv", ".pdf")
    return result.with_name(f"{result.name}.{NAME}") if drawn else result.with_suffix(f".{NAME}")


def sha256(path: Path) -> str:
    """Digest of a file's contents."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(
    result: Path,
    subject: Subject,
    config: Config | None,
    *,
    inputs: Iterable[Path],
    outputs: Iterable[Path],
    started: str,
    tries: int = 1,
    device: str = "cpu",
    logged_users: int | None = None,
) -> None:
    """Write the record of a result that is whole.

    Args:
        result: its folder or its one file.
        subject: what it is of.
        config: the configuration; None for a table or figure, which reads none.
        inputs: files that it was made from.
        outputs: files that it is made of.
        started: when its first try started.
        tries: how often it was started until it was done.
        device: where networks were trained.
        logged_users: users that the pretrained models of a run have seen, if it has any.

    Raises:
        GemsError: the record cannot be written.
    """
    path = record_of(result)

    def digests(files: Iterable[Path]) -> dict[str, str]:
        return {relative(file, path.parent): sha256(file) for file in files}

    record = {
        **asdict(subject),
        "code": subject.code(),
        "config": subject.values(config) if config else {},
        "inputs": digests(inputs),
        "outputs": digests(outputs),
        "started": started,
        "ended": now(),
        "tries": tries,
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "device": device,
        "logged_users": logged_users,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
    }
    write_json(path, record)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None

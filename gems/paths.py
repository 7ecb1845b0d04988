"""Where everything lies under the results folder; the workflow and the command line agree on it.

Every function takes values or Snakemake wildcards such as ``"{seed}"`` alike.
"""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from gems.registry import METHODS, slug


@dataclass(frozen=True)
class Layout:
    """Paths under the folder ``root``."""

    root: Path

    def items(self, embedding: str) -> Path:
        """Item embeddings, .npy."""
        return self.root / "items" / f"{embedding}.npy"

    def dataset(self, env: str) -> Path:
        """Folder of a logged dataset."""
        return self.root / "datasets" / env

    def vae(
        self,
        env: str,
        latent_dim: int | str,
        beta: float | str,
        click: float | str,
        seed: int | str,
    ) -> Path:
        """Weights of a pretrained slate VAE, .safetensors."""
        name = (
            f"GeMS_{env}_latentdim{latent_dim}_beta{plain(beta)}_lambdaclick{plain(click)}"
            f"_lambdaprior0.0_scratch_seed{seed}"
        )
        return self.root / "vae" / f"{name}.safetensors"

    def mf(self, env: str, suffix: str) -> Path:
        """Item table of matrix factorisation, .safetensors; ``suffix`` is that of ``mf_suffix``."""
        return self.root / "mf" / f"{env}{suffix}.safetensors"

    def run(self, name: str) -> Path:
        """Folder of one run's result, named by ``run_name``."""
        return self.root / "runs" / name

    def state(self, kind: str, name: str) -> Path:
        """Folder of the training state of an unfinished job."""
        return self.root / ".state" / kind / name


def mf_suffix(validation: str | None, imported: bool = False) -> str:
    """What follows the environment in the name of an item table.

    ``_file`` if it was imported, else how it was validated, if not by a validation that learns.
    """
    if imported:
        return "_file"
    return "" if validation == "learns" else f"_{validation}"


def plain(weight: float | str) -> str:
    """A weight in a name: 1.0 or 0.00001, never 1e-05."""
    if isinstance(weight, str):
        return weight
    digits = format(Decimal(repr(weight)), "f")
    return digits if "." in digits else f"{digits}.0"


def run_name(
    method: str,
    env: str,
    seed: int | str,
    beta: float | str,
    click: float | str,
    variant: str = "",
) -> str:
    """Name of a run: METHOD_ENV[_KLbeta_clicklambda]_seedSEED[_VARIANT].

    Methods that use a VAE have the middle part, variants of a main run the last one.
    """
    vae = f"_KL{plain(beta)}_click{plain(click)}" if "vae" in METHODS[method].needs else ""
    suffix = f"_{variant}" if variant else ""
    return f"{slug(method)}_{env}{vae}_seed{seed}{suffix}"

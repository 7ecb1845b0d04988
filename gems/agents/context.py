"""What an agent is built from."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from gems.config import Config
from gems.embeddings.table import load_items
from gems.errors import GemsError
from gems.simulator.simulator import Simulator


@dataclass(frozen=True)
class Context:
    """What the builder of an agent may use.

    Attributes:
        config: the configuration; a builder reads its method's sections only.
        simulator: the environment, for disclosed methods.
        environment: name of the environment.
        vae: file of the pretrained slate VAE, if given.
        mf: file of the item table of matrix factorisation, if given.
    """

    config: Config
    simulator: Simulator
    environment: str = ""
    vae: Path | None = None
    mf: Path | None = None

    @property
    def n_items(self) -> int:
        """Number of items of the environment."""
        return len(self.simulator.items.embeddings)

    def item_table(self) -> Tensor:
        """The item table of matrix factorisation, (items, dim).

        Raises:
            GemsError: as ``require`` and ``load_items``.
        """
        mf = self.config.mf
        return load_items(self.require("mf"), self.n_items, mf, mf.files.get(self.environment))

    def require(self, name: str) -> Path:
        """The file of a pretrained model.

        Raises:
            GemsError: it was not given.
        """
        path: Path | None = getattr(self, name)
        if path is None:
            raise GemsError(f"This method needs a pretrained model: give --{name} FILE.")
        return path

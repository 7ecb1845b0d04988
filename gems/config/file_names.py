"""Names of files that several packages read or write, and names that are parts of them."""

import re
from collections.abc import Collection

from gems.envs.definitions import check_part_of_file_names


def kept_policy(episode: int) -> str:
    """Name of the file of a policy that ``training.keep`` kept, in the folder of its run."""
    return f"policy_{episode}.safetensors"


def minari_id(name: str) -> str:
    """Id of the Minari dataset of a collection; Minari takes letters, digits, - and _ only."""
    return "gems/" + re.sub(r"[^-A-Za-z0-9_]", "_", name) + "-v0"


def collected_files(name: str) -> tuple[str, ...]:
    """Files of a collected dataset in its folder, the one that is written last at the end."""
    minari = f"minari/{minari_id(name)}/data/main_data.hdf5"
    return "slates.npy", "clicks.npy", "d4rl.npz", minari, "dataset.json"


def check_dataset_name(name: str, environments: Collection[str]) -> None:
    """Refuse a name for a collected or imported dataset that is taken or ambiguous.

    Raises:
        ValueError: one sentence without a full stop.
    """
    where = f"the dataset name {name!r}"
    if name in environments:
        raise ValueError(f"{where} is that of an environment, for its logged data")
    check_part_of_file_names(name, where, "_(seed|KL|on_|latentdim|file$|held_out$|learns$)")

"""Store each array of recorded updates once: ``python pack_updates.py FULL.npz PACKED.npz``.

Many arrays of a recording are equal: target networks equal their critics, and methods share item
tables and initial weights. The packed file keeps the first of them, and ``same_as`` lists the
others as rows (key, key of the equal array). Nothing is rounded or left out:
``replay_updates.load`` returns the full recording, bit for bit.
"""

import sys

import numpy as np
from replay_updates import SAME_AS, load


def pack(source: str, target: str) -> None:
    """Write the recording at ``source`` to ``target``, without its repeated arrays."""
    first: dict[tuple[np.dtype, tuple[int, ...], bytes], str] = {}
    kept, repeated = {}, []
    for key, array in load(source).items():
        original = first.setdefault((array.dtype, array.shape, array.tobytes()), key)
        if original == key:
            kept[key] = array
        else:
            repeated.append((key, original))
    kept[SAME_AS] = np.array(repeated, dtype=np.str_).reshape(-1, 2)
    np.savez_compressed(target, **kept)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python pack_updates.py FULL.npz PACKED.npz")
    pack(*sys.argv[1:])

"""Runtime environment of training code."""

from dataclasses import dataclass
from pathlib import Path

from gems.runtime.tracking import Tracker


@dataclass(frozen=True)
class JobRuntime:
    """Where training code saves its state and logs its metrics; nothing here changes a result.

    Attributes:
        state: folder for training states; it survives if the job is killed.
        fingerprint: digest of code, options and inputs; only a state with the same one is resumed.
        device: ``auto``, ``cpu`` or ``cuda``.
        tracker: receives metrics.
    """

    state: Path
    fingerprint: str
    device: str
    tracker: Tracker

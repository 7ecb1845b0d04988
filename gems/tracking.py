"""Experiment tracking: SwanLab behind a small interface that can never stop a run."""

import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gems.config import TrackingConfig


class Tracker:
    """Tracks one run; a failure warns once and ends the tracking, not the run."""

    def __init__(
        self, config: TrackingConfig, name: str, tags: list[str], described: dict[str, Any]
    ) -> None:
        """Open the run ``name``; ``described`` is its resolved configuration."""
        self._run: Any = None
        if config.mode == "disabled":
            return
        try:
            Path(config.folder).mkdir(parents=True, exist_ok=True)
            import swanlab

            self._run = swanlab.init(
                project=config.project,
                workspace=config.workspace,
                experiment_name=name,
                description=config.description or None,
                tags=tags,
                config=described,
                logdir=config.folder,
                mode=config.mode,
            )
        except Exception as error:
            self._warn(error)

    def log(self, values: dict[str, float], step: int) -> None:
        """Track figures of one step."""
        if self._run is not None:
            try:
                self._run.log(values, step=step)
            except Exception as error:
                self._warn(error)

    def __enter__(self) -> Self:  # noqa: D105
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the tracked run, as crashed if an error ends it."""
        if self._run is not None:
            try:
                self._run.finish("crashed" if error else "success", str(error) if error else None)
            except Exception as failure:
                self._warn(failure)

    def _warn(self, error: Exception) -> None:
        self._run = None
        print(f"Tracking stopped, the run goes on: {error}", file=sys.stderr, flush=True)

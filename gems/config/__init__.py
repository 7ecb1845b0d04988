"""The configuration: its sections, how it is loaded, variants of runs, its reference page."""

from gems.config.loading import build, load
from gems.config.model import Config

__all__ = ["Config", "build", "load"]

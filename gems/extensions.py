"""Methods, pretrained models and click models from outside this package.

A package declares a module with the entry point ``gems.methods``; a configuration lists Python
files under ``extensions``. Every ``Method`` and ``Pretrained`` object and every named subclass of
``ClickModel`` that such a module defines is registered.
"""

import importlib.util
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from gems.errors import GemsError


def load(files: Iterable[str]) -> None:
    """Register what installed packages and the Python files ``files`` define.

    Raises:
        GemsError: a file is missing or cannot be imported, or a name is already in use.
    """
    _load_entry_points()
    for file in files:
        _load_file(_resolved(file))


@cache
def _load_entry_points() -> None:
    for entry in entry_points(group="gems.methods"):
        try:
            loaded = entry.load()
        except Exception as error:
            raise GemsError(
                f"The package {entry.module} cannot be imported: {_described(error)}."
            ) from error
        _register(loaded if isinstance(loaded, ModuleType) else sys.modules[entry.module])


def _resolved(file: str) -> Path:
    with suppress(OSError, ValueError):  # a name that no file can have
        if Path(file).is_file():
            return Path(file).resolve()
    raise GemsError(f"In the configuration, extensions: the file {file!r} does not exist.")


@cache
def _load_file(path: Path) -> None:
    name = f"gems_extension_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise GemsError(f"The extension {path} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    if name in sys.modules:
        raise GemsError(f"Two extensions are named {path.name}; rename {path}.")
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except GemsError:
        del sys.modules[name]
        raise
    except Exception as error:
        del sys.modules[name]
        raise GemsError(f"The extension {path} cannot be imported: {_described(error)}.") from error
    _register(module)


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".rstrip(".")


def _register(module: ModuleType) -> None:
    from gems import methods
    from gems.envs import click_models
    from gems.pretraining import models

    for value in vars(module).values():
        if isinstance(value, methods.Method):
            methods.register(value)
        elif isinstance(value, models.Pretrained):
            models.register(value)
        elif click_models.is_new(value):
            click_models.register(value)

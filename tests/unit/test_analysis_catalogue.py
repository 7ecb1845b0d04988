"""The catalogue says of each table and figure what the workflow and the command line need."""

import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from gems.analysis import catalogue
from gems.analysis.catalogue import ENTRIES
from gems.pipeline.digest import code_digest

REPORT = Path(__file__).parents[2] / "workflow" / "report"


def test_the_catalogue_loads_none_of_the_large_libraries():
    code = "import sys, gems.analysis.catalogue; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    large = {"matplotlib", "pandas", "pydantic", "scipy", "torch", "gems.pipeline"}
    assert not large & set(done.stdout.split())


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.rule)
def test_every_entry_has_a_module_a_caption_and_a_category(entry):
    assert callable(import_module(entry.module).make)
    assert (REPORT / f"{entry.name}.rst").is_file()
    assert entry.category.startswith(entry.number[0])
    assert all(find_spec(module) for module in catalogue.modules(entry))
    assert code_digest(*catalogue.modules(entry))


def test_no_two_entries_share_a_file_a_rule_or_a_place_in_the_report():
    for values in (
        [path for entry in ENTRIES for path in entry.files],
        [entry.rule for entry in ENTRIES],
        [entry.number for entry in ENTRIES],
    ):
        assert len(set(values)) == len(values)


def test_entries_are_in_the_order_of_the_report():
    numbers = [tuple(map(int, entry.number.split("."))) for entry in ENTRIES]
    assert numbers == sorted(numbers)

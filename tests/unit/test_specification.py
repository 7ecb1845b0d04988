"""What the code cites exists in docs/specification.md, and its Section 9 is that of the presets."""

import json
import re
from pathlib import Path

import pytest
from options import presets

from gems.config import paper
from gems.config.model import CORE
from gems.methods import METHODS
from gems.pretraining.models import PRETRAINED

ROOT = Path(__file__).parents[2]
SPECIFICATION = (ROOT / "docs" / "specification.md").read_text()
# "Section 6", "Sections 3 and 4", "Sections 5 to 7"; a line may end within it.
CITATION = re.compile(r"\bSections?\s+(\d+)(?:,?\s+(?:and|or|to)\s+(\d+))?")


def headings() -> list[int]:
    return [int(number) for number in re.findall(r"^## (\d+)\. ", SPECIFICATION, re.MULTILINE)]


def cited(folder: str) -> dict[int, str]:
    """Cited sections, each with a file that cites it."""
    found = {}
    for path in sorted((ROOT / folder).rglob("*")):
        if path.suffix in {".py", ".smk", ".yaml", ".rst"} or path.name == "Snakefile":
            for numbers in CITATION.findall(path.read_text()):
                found.update({int(n): str(path.relative_to(ROOT)) for n in numbers if n})
    return found


def presets_of_section_9() -> dict[str, tuple[str, str]]:
    """Values under ``released`` and ``paper`` of every option in the table of Section 9."""
    section = re.split(r"^## \d+\. ", SPECIFICATION, flags=re.MULTILINE)[9]
    rows = re.findall(r"^\| `(\w+\.\w+)` \| `([^`]+)` \| `([^`]+)` \|", section, re.MULTILINE)
    assert len({name for name, *_ in rows}) == len(rows)
    return {name: (released, paper) for name, released, paper in rows}


def test_sections_are_numbered_from_1_to_10():
    assert headings() == list(range(1, 11))


@pytest.mark.parametrize("folder", ["gems", "workflow"])
def test_every_section_that_code_cites_exists(folder):
    citations = cited(folder)
    assert citations
    assert {n: path for n, path in citations.items() if n not in headings()} == {}


def sections_of_the_paper() -> set[str]:
    """Sections that every configuration has, and those of the paper's methods and models."""
    kinds = [kind for name in paper.METHODS for kind in METHODS[name].options]
    models = [PRETRAINED[name].options for name in ("vae", "mf")]
    return {kind.section for kind in (*CORE, *kinds, *models)}


def test_section_9_has_every_option_of_the_papers_presets_with_its_values():
    def written(value: object) -> str:
        return value if isinstance(value, str) else json.dumps(value)

    expected = {
        f"{section}.{option}": (written(values["released"]), written(values["paper"]))
        for (section, option), values in presets().items()
        if section in sections_of_the_paper()
    }
    assert presets_of_section_9() == expected

"""What a job asks of its process."""

import os
import subprocess
import sys
from pathlib import Path

import torch

from gems.kernels import compiled
from gems.runtime.process import set_up_process


def test_denormals_are_taken_for_zero():
    tiny = torch.tensor([1e-30])
    assert tiny * 1e-10 != 0
    set_up_process()
    assert tiny * 1e-10 == 0


def test_where_nothing_can_be_written_compiled_code_has_a_folder_of_the_process(tmp_path):
    script = """
import os
from pathlib import Path
writable = Path(os.environ.get("WRITABLE", ""))
os.access = lambda path, mode: Path(path) == writable
from gems.kernels import compiled
print(compiled._settings.CACHE_DIR)
"""

    def folder(**changed):
        bare = {k: v for k, v in os.environ.items() if k not in ("HOME", "NUMBA_CACHE_DIR")}
        environment = bare | {"TMPDIR": str(tmp_path), "HOME": "/nonexistent"} | changed
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        return Path(done.stdout.strip()).parent

    package = compiled._PACKAGE
    assert folder(WRITABLE=str(package)) == package / "__pycache__"
    home = tmp_path / "home"
    home.mkdir()
    assert folder(WRITABLE=str(home), HOME=str(home)) == home / ".cache" / "gems"
    assert folder().parent == tmp_path
    assert [path.name for path in tmp_path.iterdir()] == ["home"]

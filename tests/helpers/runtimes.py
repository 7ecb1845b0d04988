"""What a job gives to a training, for tests: nothing is tracked, networks are on the CPU."""

from gems.config import build
from gems.runtime.job import JobRuntime
from gems.runtime.tracking import Tracker

UNTRACKED = Tracker({"mode": "disabled"}, "test", [], {})


def runtime(state, fingerprint="test", tracker=UNTRACKED):
    """The runtime of a job whose state is in the folder ``state``."""
    return JobRuntime(state, fingerprint, "cpu", tracker)


def tracker(name="test", **options):
    """A tracker under these options of ``tracking``."""
    return Tracker(build({"tracking": options}).sections("tracking")["tracking"], name, [], {})

"""A real SLURM cluster of this one machine, on the loopback interface, for tests.

Debian and Ubuntu: ``apt-get install slurm-wlm munge``. It is started as root, and only where no
SLURM is configured. All its files are in a temporary folder, but for /etc/slurm/slurm.conf: steps
of a job do not pass SLURM_CONF on, so the configuration must be where SLURM looks by itself.
"""

import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

CONFIGURATION = Path("/etc/slurm/slurm.conf")
MARK = "# Of the tests of gems; may be removed.\n"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
SECONDS_TO_START = 60


class NoClusterError(Exception):
    """Why no cluster can be started here."""


@contextlib.contextmanager
def cluster(cpus: int) -> Iterator[Path]:
    """Run a cluster of one node with ``cpus`` processors; give the folder of its logs.

    Raises:
        NoClusterError: this is not a machine on which a cluster can be started.
    """
    if os.geteuid() != 0:
        raise NoClusterError("SLURM's daemons need root")
    os.environ["PATH"] += f"{os.pathsep}/usr/sbin{os.pathsep}/sbin"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        raise NoClusterError(f"SLURM is not installed (apt-get install slurm-wlm munge): {missing}")
    with contextlib.ExitStack() as stack:
        _only_one(stack)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slurm-")))
        folder.chmod(0o755)  # munged insists on it
        stack.callback(CONFIGURATION.unlink, missing_ok=True)
        _configure(folder, cpus)
        _start(stack, folder)
        yield folder


def _only_one(stack: contextlib.ExitStack) -> None:
    """Wait for a cluster of another test; refuse to touch one that is not of a test."""
    lock = stack.enter_context((Path(tempfile.gettempdir()) / "gems-slurm-test.lock").open("w"))
    fcntl.flock(lock, fcntl.LOCK_EX)
    if CONFIGURATION.exists() and not CONFIGURATION.read_text().startswith(MARK):
        raise NoClusterError(f"a SLURM is configured here already, in {CONFIGURATION}")


def _configure(folder: Path, cpus: int) -> None:
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    host = socket.gethostname().split(".")[0]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    options = {
        "ClusterName": "test",
        "SlurmctldHost": f"{host}(127.0.0.1)",
        "SlurmctldPort": _free_port(),
        "SlurmdPort": _free_port(),
        "AuthType": "auth/munge",
        # How long a requeued job waits: two minutes, unless the credentials expire earlier.
        "AuthInfo": f"socket={folder}/munge.socket,cred_expire=5",
        "CredType": "cred/munge",
        "SlurmUser": "root",
        "StateSaveLocation": folder / "state",
        "SlurmdSpoolDir": folder / "spool",
        "SlurmctldPidFile": folder / "slurmctld.pid",
        "SlurmdPidFile": folder / "slurmd.pid",
        "SlurmctldLogFile": folder / "slurmctld.log",
        "SlurmdLogFile": folder / "slurmd.log",
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core_Memory",
        "JobAcctGatherType": "jobacct_gather/none",
        "AccountingStorageType": "accounting_storage/none",
        "MpiDefault": "none",
        "MinJobAge": 3600,
        "KillWait": 60,
        "SchedulerParameters": "sched_interval=2,sched_min_interval=0,bf_interval=2",
    }
    lines = [f"{name}={value}\n" for name, value in options.items()]
    lines.append(
        f"NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory * 9 // 10}\n"
        f"PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP\n"
    )
    CONFIGURATION.parent.mkdir(exist_ok=True)
    CONFIGURATION.write_text(MARK + "".join(lines))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _start(stack: contextlib.ExitStack, folder: Path) -> None:
    """Start the daemons in the foreground, as children, and wait for an idle node."""
    munge = [f"--key-file={folder}/munge.key", f"--socket={folder}/munge.socket"]
    munge += [f"--{name}-file={folder}/munge.{name}" for name in ("log", "pid", "seed")]
    commands = (
        ["munged", "--foreground", "--force", *munge],
        ["slurmctld", "-D"],
        ["slurmd", "-D"],
    )
    for command in commands:
        log = stack.enter_context((folder / f"{command[0]}.out").open("w"))
        daemon = subprocess.Popen(command, stdout=log, stderr=log)
        stack.callback(_stop, daemon)
    deadline = time.monotonic() + SECONDS_TO_START
    while "idle" not in (seen := slurm("sinfo", "--noheader", "--format=%T", check=False)):
        if time.monotonic() > deadline:
            logs = "".join(f"{p.name}:\n{p.read_text()[-1500:]}\n" for p in folder.glob("*.log"))
            raise NoClusterError(f"SLURM does not start: {seen}\n{logs}")
        time.sleep(0.5)
    stack.callback(_end_jobs)


def _stop(daemon: subprocess.Popen) -> None:
    daemon.terminate()
    try:
        daemon.wait(timeout=20)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def _end_jobs() -> None:
    """No process of a job outlives the cluster."""
    slurm("scancel", "--user=root", check=False)
    deadline = time.monotonic() + 30
    while slurm("squeue", "--noheader", check=False) and time.monotonic() < deadline:
        time.sleep(0.5)


def slurm(*command: str, check: bool = True) -> str:
    """The output of one of SLURM's commands."""
    done = subprocess.run(command, capture_output=True, text=True, check=check)
    return done.stdout.strip()

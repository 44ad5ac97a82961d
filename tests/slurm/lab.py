"""A real Slurm cluster on one machine: its own munged and slurmctld, and nodes in network namespaces.

Each node has an address, a host name, a /tmp, a /dev/shm and process ids of its own, so that two nodes
are as far from each other as two machines but for their clock and disk. GPUs are symlinks to /dev/null,
which Slurm counts and gives out as it does real ones. Needs root. Several labs can be up at once.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.sweeps import wait_until

NEEDS = ("slurmctld", "slurmd", "sbatch", "munged", "ip", "unshare")
PORT = 17000  # of all labs: each has addresses of its own
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"

CONF = """
ClusterName=lab
SlurmctldHost={host}({network}.1)
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/%n.log
CommunicationParameters=NoCtldInAddrAny
SwitchType=switch/none
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout={slurmd_timeout}
MessageTimeout=10
TCPTimeout=2
KillWait=10
MinJobAge=86400
JobRequeue=1
GresTypes=gpu
{extra}
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE DefaultTime=10 State=UP
{partitions}
"""


def missing() -> str:
    """What this machine lacks for a lab, in words; empty where it has all."""
    lacking = [name for name in NEEDS if not shutil.which(name, path=PATH)]
    if lacking:
        return f"no Slurm to test with: {', '.join(lacking)} not found (apt-get install slurm-wlm munge iproute2)"
    return "" if os.geteuid() == 0 else "a Slurm cluster in network namespaces needs root"


@dataclass
class Lab:
    """A cluster; up within `with`, and gone without a trace after it.

    Attributes:
        shared: Folders below /tmp that the nodes share; all outside /tmp is shared anyway.
        slurmd_timeout: Seconds after which a node that does not answer is down.
        extra: More lines of slurm.conf; ``partitions`` likewise, below the nodes.
    """

    num_nodes: int = 2
    cpus: int = 4
    memory_mb: int = 4000
    gpus: int = 2
    shared: Sequence[Path] = ()
    slurmd_timeout: int = 10
    extra: str = ""
    partitions: str = ""
    folder: Path = field(init=False)
    bridge: str = field(init=False)
    _network: str = field(init=False)
    _nodes: dict[str, subprocess.Popen[bytes]] = field(init=False, default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The nodes."""
        return [f"node{number}" for number in range(1, self.num_nodes + 1)]

    @property
    def environment(self) -> dict[str, str]:
        """What makes Slurm's commands speak to this cluster."""
        own = {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": PATH}
        others = ("SLURM_", "TORCH")  # torch puts a folder of this process there, once it has trained
        return {name: value for name, value in os.environ.items() if not name.startswith(others)} | own

    def __enter__(self) -> Lab:
        self.folder = Path(tempfile.mkdtemp(prefix="lab-", dir="/tmp"))  # short: socket paths end at 107 characters
        self.folder.chmod(0o755)
        self._add_bridge()
        try:
            self._write()
            self._start_controller()
            for name in self.names:
                self.start_node(name)
            assert wait_until(lambda: len(self.idle()) == self.num_nodes, 60), self._logs()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._nodes):
            self.kill_node(name)
        for daemon in ("slurmctld", "munged"):
            _end(self.folder / "run" / f"{daemon}.pid")
        _run("ip", "link", "delete", self.bridge)
        shutil.rmtree(self.folder)

    def run(self, *command: object) -> str:
        """The output of a command on the login node, which is this machine."""
        ended = subprocess.run(
            [str(word) for word in command], env=self.environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, f"{command}: {ended.stderr}"
        return ended.stdout

    def idle(self) -> list[str]:
        """The nodes that wait for work."""
        states = subprocess.run(
            ["sinfo", "-h", "-N", "-o", "%N %t"], env=self.environment, capture_output=True, text=True, check=False
        )
        return sorted({line.split()[0] for line in states.stdout.splitlines() if line.endswith(" idle")})

    def job(self, job_id: str) -> dict[str, str]:
        """What Slurm says of a job, by name."""
        said = self.run("scontrol", "-o", "show", "job", job_id)
        return {name: value for word in said.split() for name, equals, value in [word.partition("=")] if equals}

    def wait_for(self, job_id: str, *states: str, timeout_s: float = 90) -> str:
        """The state of a job once it is one of some."""
        reached = wait_until(lambda: self.job(job_id)["JobState"] in states, timeout_s)
        assert reached, f"job {job_id} is {self.job(job_id)['JobState']}, not {states}\n{self._logs()}"
        return self.job(job_id)["JobState"]

    def wait_for_end(self, job_id: str, timeout_s: float = 120) -> str:
        """The state of a job once it has ended."""
        ends = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY")
        return self.wait_for(job_id, *ends, timeout_s=timeout_s)

    def start_node(self, name: str) -> None:
        """Boot a node, with an empty /tmp; it is idle, or its jobs are found missing, soon after."""
        (own := self.folder / "nodes" / name).mkdir(exist_ok=True)
        for left in self.files(name):
            shutil.rmtree(own / left)
        ready = self.folder / "run" / f"{name}.ready"
        ready.unlink(missing_ok=True)
        words = [str(self.folder), name, self._address(name), f"{self._network}.1", *map(str, self.shared)]
        script = str(Path(__file__).with_name("node.sh"))
        with (self.folder / "log" / f"{name}.out").open("ab") as log:
            node = subprocess.Popen(
                ["unshare", "--net", "--uts", "--mount", "--ipc", "bash", script, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=self.environment,
            )
        self._nodes[name] = node
        assert wait_until(ready.exists, 30), (self.folder / "log" / f"{name}.out").read_text()
        link = self._link(name)
        _run("ip", "link", "delete", link)  # that of a node before it goes late
        _check("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(node.pid))
        _check("ip", "link", "set", link, "master", self.bridge, "up")

    def kill_node(self, name: str) -> None:
        """Crash a node: everything in it dies at once."""
        node = self._nodes.pop(name)
        node.kill()
        node.wait()

    def unplug(self, name: str) -> None:
        """Cut a node from the network; its processes go on, and nobody is told."""
        _check("ip", "link", "set", self._link(name), "down")

    def plug(self, name: str) -> None:
        """Put a node that was unplugged back."""
        _check("ip", "link", "set", self._link(name), "up")

    @contextmanager
    def wall(self, name: str, other: str) -> Iterator[None]:
        """Let no connection come about between two nodes, as a firewall does; both still talk with Slurm."""
        inside = ("nsenter", "--net", f"--target={self._first(name)}")
        route = ("unreachable", f"{self._address(other)}/32")
        _check(*inside, "ip", "route", "add", *route)
        try:
            yield
        finally:
            _check(*inside, "ip", "route", "delete", *route)

    def kill_slurmd(self, name: str) -> None:
        """End Slurm's own process on a node, which can say no more; what it has started goes on."""
        for process, line in self._there(name).items():
            if line.startswith("slurmd -D"):  # it has forked where it was about to start something
                os.kill(int(process.name), signal.SIGKILL)

    def hide(self, name: str, folder: Path) -> None:
        """Have a node see an empty folder in the place of a shared one."""
        mount = ("mount", "-n", "-t", "tmpfs", "none", str(folder))
        _check("nsenter", "--mount", f"--target={self._first(name)}", *mount)

    def power_off(self, name: str) -> None:
        """End a node without a last word to its peers, as a loss of power does."""
        self.unplug(name)
        self.kill_node(name)

    def processes(self, name: str) -> dict[Path, str]:
        """What runs on a node beside its slurmd: folders in /proc, and command lines."""
        own = ("slurmd -D", "bash -c slurmd")
        return {process: line for process, line in self._there(name).items() if line and not line.startswith(own)}

    def files(self, name: str) -> list[str]:
        """What lies in a node's own /tmp, but for the shared folders."""
        top = self.folder / "nodes" / name
        shared = [path.parts[2] for path in (self.folder, *self.shared) if path.is_relative_to("/tmp")]
        return sorted(path.name for path in top.iterdir() if path.name not in shared)

    def _there(self, name: str) -> dict[Path, str]:
        """All that runs on a node, with command lines."""
        space = _namespace(Path(f"/proc/{self._first(name)}"))
        there = [process for process in Path("/proc").glob("[0-9]*") if _namespace(process) == space]
        return {process: _command_line(process) for process in there}

    def _first(self, name: str) -> int:
        """The process with which a node ends."""
        pid = self._nodes[name].pid
        (first,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(first)

    def _address(self, name: str) -> str:
        return f"{self._network}.{10 + int(name.removeprefix('node'))}"

    def _link(self, name: str) -> str:
        return f"{self.bridge}n{name.removeprefix('node')}"

    def _add_bridge(self) -> None:
        for number in range(100):  # the first that no other lab has: adding one that is there fails
            self.bridge, self._network = f"slab{number}", f"10.77.{number}"
            if _run("ip", "link", "add", "name", self.bridge, "type", "bridge") == 0:
                break
        _check("ip", "address", "add", f"{self._network}.1/24", "dev", self.bridge)
        _check("ip", "link", "set", self.bridge, "up")

    def _write(self) -> None:
        for name in ("munge", "state", "spool", "log", "run", "dev", "nodes"):
            (self.folder / name).mkdir()
        host = socket.gethostname().partition(".")[0]
        nodes = [
            f"NodeName={name} NodeAddr={self._address(name)} Port={PORT + 1} CPUs={self.cpus} "
            f"RealMemory={self.memory_mb} Gres=gpu:{self.gpus} State=UNKNOWN"
            for name in self.names
        ]
        conf = CONF.format(
            host=host,
            network=self._network,
            port=PORT,
            folder=self.folder,
            slurmd_timeout=self.slurmd_timeout,
            extra=self.extra,
            nodes="\n".join(nodes),
            partitions=self.partitions,
        )
        (self.folder / "slurm.conf").write_text(conf)
        for number in range(self.gpus):
            (self.folder / "dev" / f"nvidia{number}").symlink_to("/dev/null")
        (self.folder / "gres.conf").write_text(f"Name=gpu File={self.folder}/dev/nvidia[0-{self.gpus - 1}]\n")
        hosts = ["127.0.0.1 localhost", f"{self._network}.1 {host}"]
        hosts += [f"{self._address(name)} {name}" for name in self.names]
        (self.folder / "hosts").write_text("".join(f"{line}\n" for line in hosts))

    def _start_controller(self) -> None:
        munge, run = self.folder / "munge", self.folder / "run"
        munge.chmod(0o711)
        key = munge / "key"
        key.touch(0o600)
        key.write_bytes(os.urandom(128))
        places = [f"--socket={munge}/socket", f"--key-file={key}", f"--seed-file={munge}/seed"]
        logs = [f"--pid-file={run}/munged.pid", f"--log-file={munge}/log"]
        _check("munged", "--force", *places, *logs)
        # The controller listens where its host's name leads: in a mount namespace of its own, to the bridge.
        started = "mount --make-rprivate /; mount -n --bind $0/hosts /etc/hosts; exec slurmctld -c -f $0/slurm.conf"
        _check("unshare", "--mount", "bash", "-c", started, str(self.folder))

    def _logs(self) -> str:
        return "\n".join(f"{path}:\n{path.read_text()[-2000:]}" for path in sorted((self.folder / "log").iterdir()))


def _run(*command: str) -> int:
    return subprocess.run(command, env={**os.environ, "PATH": PATH}, capture_output=True, check=False).returncode


def _check(*command: str) -> None:
    ended = subprocess.run(command, env={**os.environ, "PATH": PATH}, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{command}: {ended.stdout}{ended.stderr}"


def _end(pid_file: Path) -> None:
    """End a daemon by the id that it wrote."""
    if not pid_file.exists() or not re.fullmatch(r"\d+\s*", text := pid_file.read_text()):
        return
    process = Path(f"/proc/{int(text)}")
    os.kill(int(text), signal.SIGTERM)
    if not wait_until(lambda: not process.exists(), 10):
        os.kill(int(text), signal.SIGKILL)


def _namespace(process: Path) -> str:
    try:
        return str((process / "ns" / "pid").readlink())
    except OSError:
        return ""


def _command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""

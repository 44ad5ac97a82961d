"""What a node says of itself: one function a question, each with a plain record as its answer.

The source of this file is run on the node by `python -c`, whichever Python that is: so it loads the standard library
alone, in what older versions have of it too, and torch in a process of its own. Every answer is printed when it is
there: one that never comes, as from a disk that hangs, is known by its name. A question that fails is answered with
its error.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MARK = "bilin-node"
"""What a line of an answer begins with: set-up commands may print lines of their own."""

PIECE = 400
"""Characters of an answer in a line: Slurm may mix the lines of two nodes where they are longer."""

SOCKET_PATH = 63
"""Characters that Ray's sockets add to its temporary folder."""

TORCH_S = 180
"""How long torch may take to load from a slow disk, and to wake the GPUs."""

REPLACEMENTS = 20

GATHER_S = 45.0
"""How long the nodes of a step wait for each other: a network file system may show a new file late."""

CONNECT_S = 5.0

TORCH = """
import json, os, sys, warnings
stdout = os.dup(1)
os.dup2(2, 1)  # what libraries print while they are loaded is no answer
found = {}
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    import torch
    found.update(version=torch.__version__, cuda=torch.version.cuda or torch.version.hip, names=[], error="")
    try:
        for number in range(torch.cuda.device_count()):
            found["names"].append(torch.cuda.get_device_name(number))
            assert torch.ones(2, device=f"cuda:{number}").sum().item() == 2
        driver = torch._C._cuda_getDriverVersion() if torch.version.cuda and found["names"] else 0
        found["driver"] = f"{driver // 1000}.{driver % 1000 // 10}" if driver else ""
    except Exception as error:
        found["error"] = str(error) or type(error).__name__
found["error"] = found["error"] or " ".join(str(each.message) for each in said if "CUDA" in str(each.message))
os.write(stdout, json.dumps(found).encode())
"""


def main(text: str) -> None:
    """Answer questions.

    Args:
        text: JSON: by the name of a question its arguments, and ``place``, the name of this node among the others;
            in a Slurm step its number there.
    """
    questions = json.loads(text)
    place = questions.pop("place", None) or os.environ.get("SLURM_NODEID", "0")
    for name, arguments in questions.items():
        try:
            answer = QUESTIONS[name](**arguments)
        except Exception as error:  # whatever it is, it is the answer
            answer = {"error": reason(error)}
        say(place, name, answer)


def say(place: str, name: str, answer: dict[str, Any]) -> None:
    """Print an answer: ``+`` before all of its pieces but the last."""
    text = json.dumps([name, answer])
    starts = range(0, len(text), PIECE)
    for start in starts:
        print(MARK, place, ("." if start == starts[-1] else "+") + text[start : start + PIECE], flush=True)


def reason(error: BaseException) -> str:
    """An error in a line."""
    if isinstance(error, OSError) and error.errno:
        said = os.strerror(error.errno)
        return f"{said}: {error.filename}" if error.filename else said
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]


def versions(packages: list[str]) -> dict[str, Any]:
    """The version of Python, major and minor, and of packages; null for those that are not there."""
    import importlib.metadata

    found: dict[str, Any] = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in packages:
        try:  # of a checkout the file says more than what was written when it was installed
            own = __import__("bilin.version").version.__version__ if name == "bilin" else None
            found[name] = own or importlib.metadata.version(name)
        except ImportError:
            found[name] = None
    return found


def room() -> dict[str, Any]:
    """The node's name, the CPUs and GPUs that Slurm gave here, and on how many nodes; without Slurm what there is."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    gpus = os.environ.get("SLURM_GPUS_ON_NODE") or len(visible_gpus())
    return {
        "name": os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
        "cpus": int(os.environ.get("SLURM_CPUS_ON_NODE") or allowed),
        "gpus": int(gpus),
        "num_nodes": int(os.environ.get("SLURM_NNODES") or 1),
    }


def visible_gpus() -> list[str]:
    """The GPUs that CUDA_VISIBLE_DEVICES names."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return [] if visible in ("", "-1", "NoDevFiles") else visible.split(",")


def memory(asked: int = 0) -> dict[str, Any]:
    """Bytes of memory: of the machine, and how much of it is to be had within the limits of this process.

    Args:
        asked: Of Slurm for the node, in units of 2²⁰ bytes; 0: what Slurm says itself, if it does.
    """
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    total, available = (int(lines[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    left = [available, *group_memory()]
    if given := asked or int(os.environ.get("SLURM_MEM_PER_NODE") or 0):
        left.append(given * 2**20)
    return {"total": total, "available": min(left)}


def group_memory() -> list[int]:
    """What the control groups of this process leave it, those that have a limit."""
    found = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        mount = Path("/sys/fs/cgroup") / controllers
        of_version_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes")
        names = of_version_1 if controllers else ("memory.max", "memory.current")
        group = mount / path.lstrip("/")
        for folder in (group, *group.parents):
            if mount in (folder, *folder.parents) and (folder / names[0]).exists():
                limit, used = ((folder / name).read_text().strip() for name in names)
                if limit != "max" and int(limit) < 2**60:  # version 1 writes a huge number for none
                    found.append(int(limit) - int(used) + cached(folder))
    return found


def cached(group: Path) -> int:
    """Bytes of files that a control group's use counts, and that the kernel gives back when memory is wanted."""
    try:
        lines = (group / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    found = dict(line.split() for line in lines)
    return int(found.get("total_inactive_file") or found.get("inactive_file") or 0)


def temporary(root: str | None) -> dict[str, Any]:
    """Whether Ray's folder can be made in one for temporary files, with sockets in it; and the bytes that are free.

    Args:
        root: That folder; null: the one that this process would use.
    """
    with tempfile.TemporaryDirectory(prefix="bilin-", dir=root) as folder:
        free = free_bytes(folder)
        name = f"{folder}/ray"
        length = len(name) + SOCKET_PATH
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.bind(name + "-" * SOCKET_PATH)
            except OSError as error:
                return {"path": str(Path(folder).parent), "free": free, "length": length, "error": reason(error)}
    return {"path": str(Path(folder).parent), "free": free, "length": length}


def shared_memory(path: str) -> dict[str, Any]:
    """Bytes that are free in shared memory, where something can be written there."""
    with tempfile.TemporaryFile(dir=path) as file:
        file.write(b"0")
    return {"path": path, "free": free_bytes(path)}


def ports(host: str, wanted: list[int]) -> dict[str, Any]:
    """Whether ports can be bound, all at once; 0 is any that is free."""
    held, errors = [], []
    for port in wanted:
        probe = socket.socket()
        held.append(probe)
        try:
            probe.bind((host, port))
        except OSError as error:
            errors.append(f"port {port or 'any'}: {reason(error)}")
    for probe in held:
        probe.close()
    return {"host": host, "num_bound": len(wanted) - len(errors), "error": "; ".join(errors[:3])}


def reach(folder: str) -> dict[str, Any]:
    """Whether this node can connect to the others of its Slurm step, at ports that the system chose, as for Ray.

    Args:
        folder: Of the store; by files there each says where it listens, and when it has tried the others.
    """
    own, num_nodes = os.environ["SLURM_NODEID"], int(os.environ["SLURM_STEP_NUM_NODES"])
    home = Path(folder)
    if num_nodes == 1 or not home.is_dir():
        return {"num_nodes": num_nodes, "met": 1, "failed": []}
    with socket.socket() as listener:
        listener.bind(("", 0))
        listener.listen(num_nodes)
        leave(home / f"at-{own}", json.dumps([socket.gethostname(), own_address(), listener.getsockname()[1]]))
        met = gather(home, "at-", num_nodes)
        places = [json.loads(text) for name, text in met.items() if name != f"at-{own}"]
        failed = [f"{name} ({host}): {fault}" for name, host, port in places if (fault := refusal(host, port))]
        leave(home / f"tried-{own}", own)
        gather(home, "tried-", len(met))  # they may still want to connect
    return {"num_nodes": num_nodes, "met": len(met), "failed": failed}


def own_address() -> str:
    """This node's address on the way to the machine where srun was called."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((os.environ["SLURM_LAUNCH_NODE_IPADDR"], 9))  # nothing is sent
        return str(probe.getsockname()[0])


def leave(path: Path, text: str) -> None:
    """Write a file that is seen whole or not at all."""
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(text)
    beside.replace(path)


def gather(home: Path, prefix: str, count: int) -> dict[str, str]:
    """The files that begin so, by name, when there are so many of them; those that there are after `GATHER_S`."""
    until = time.monotonic() + GATHER_S
    while True:
        found = [path for path in home.glob(f"{prefix}*") if path.suffix != ".new"]
        if len(found) >= count or time.monotonic() > until:
            return {path.name: path.read_text() for path in found}
        time.sleep(0.1)


def refusal(host: str, port: int) -> str:
    """Why no connection to a port comes about; empty where one does."""
    try:
        socket.create_connection((host, port), timeout=CONNECT_S).close()
    except socket.timeout:  # noqa: UP041 - the same as TimeoutError since Python 3.10 only
        return f"no answer within {CONNECT_S:g} s"
    except OSError as error:
        return reason(error)
    return ""


def torch(everything: bool) -> dict[str, Any]:
    """What torch says of itself and the GPUs; a small sum is computed on each.

    Args:
        everything: Of all GPUs of the node; otherwise of those that this process was given.
    """
    hidden = "CUDA_VISIBLE_DEVICES" if everything else ""
    environment = {name: value for name, value in os.environ.items() if name != hidden}
    command = [sys.executable, "-c", TORCH]
    found: dict[str, Any] = {"smi": nvidia_driver()}
    try:
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TORCH_S, check=False)
    except subprocess.TimeoutExpired:
        return dict(found, failed=f"it was not loaded within {TORCH_S} s")
    if ended.returncode:
        lines = ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"]
        return dict(found, failed=lines[-1][:500])
    return dict(found, **json.loads(ended.stdout))


def nvidia_driver() -> str:
    """The version of the driver that nvidia-smi reaches; empty where it reaches none."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    return said.decode().split("\n")[0].strip()


def store(folder: str, content: str, name: str = "") -> dict[str, Any]:
    """Whether a folder of the store is here what it is there, and does what a store needs.

    Args:
        folder: One that was made for this, with a file ``here`` and a ``lock`` that the other side holds.
        content: What ``here`` has.
        name: The file to leave there, replaced several times; by default the number of this node in a Slurm step.
    """
    home = Path(folder)
    if home.parent.is_dir() and not home.exists():
        return {"error": "", "is_same": False}
    is_same = (home / "here").read_text() == content
    num_torn = replace_often(home / (name or os.environ.get("SLURM_NODEID", "0")))
    found = lock(home / "lock")
    return {"error": "", "is_same": is_same, "num_torn": num_torn, "lock": found, "free": free_bytes(home)}


def replace_often(path: Path) -> int:
    """Replace a file again and again, as results are written; how often a reader found none, or half of one."""
    whole, torn, ended = path.name * 1000, [], threading.Event()
    path.write_text(whole)

    def read() -> None:
        while not ended.is_set():
            try:
                found = path.read_text()
            except OSError as error:
                found = reason(error)
            if found != whole:
                torn.append(found)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(REPLACEMENTS):
            beside = path.with_name(f"{path.name}.new")
            with beside.open("w") as file:
                file.write(whole)
                if number == 0:
                    file.flush()
                    os.fsync(file.fileno())
            beside.replace(path)
    finally:
        ended.set()
        reader.join()
    return len(torn)


def lock(path: Path) -> str:
    """What became of a lock that another process holds: ``held``, as it should be, ``taken``, or why there is none."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return "held"
        except OSError as error:
            return reason(error)
    return "taken"


def clock() -> dict[str, Any]:
    """Seconds since the epoch, by the clock of this node."""
    return {"now": time.time()}


def free_bytes(path: Any) -> int:
    """Bytes that one who is not root may still write on the disk of a path."""
    found = os.statvfs(str(path))
    return found.f_bavail * found.f_frsize


QUESTIONS: dict[str, Callable[..., dict[str, Any]]] = {
    "room": room,
    "versions": versions,
    "memory": memory,
    "temporary": temporary,
    "shared_memory": shared_memory,
    "ports": ports,
    "reach": reach,
    "torch": torch,
    "store": store,
    "clock": clock,
}

if __name__ == "__main__":
    main(sys.argv[1])

"""A node answers questions: one function a question, each with a plain record as its answer.

The program runs on the node with `python -P -m bilin.machine.probe`. It prints each answer as soon as it has it: a
question without an answer, such as one about a disk that hangs, is known by its name. A question that fails has its
error as the answer. torch is loaded in a process of its own. `bilin.orchestrator.clusters.inquiry` asks.
"""

from __future__ import annotations

import fcntl
import importlib.metadata
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
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bilin.machine.host import (
    connection_error,
    free_bytes,
    memory_bytes,
    num_cpus,
    num_gpus,
    own_address,
    reason,
)
from bilin.version import __version__

MARK = "bilin-node"  # first word of a line of an answer: set-up commands may print lines of their own
PIECE = 400  # characters of an answer in one line: Slurm may mix longer lines of two nodes
SOCKET_PATH = 63  # characters that Ray's sockets add to its temporary folder
TORCH_S = 180  # how long torch may take to load from a slow disk and to initialise the GPUs

REPLACEMENTS = 20

GATHER_S = 45.0  # how long the nodes of a step wait for each other: a network file system may show a new file late

CONNECT_S = 5.0

TORCH = """
import json, os, warnings
stdout = os.dup(1)
os.dup2(2, 1)  # what libraries print while they load is no answer
answer = {}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import torch
    answer.update(version=torch.__version__, cuda=torch.version.cuda or torch.version.hip, names=[], error="")
    try:
        for number in range(torch.cuda.device_count()):
            answer["names"].append(torch.cuda.get_device_name(number))
            assert torch.ones(2, device=f"cuda:{number}").sum().item() == 2
        driver = torch._C._cuda_getDriverVersion() if torch.version.cuda and answer["names"] else 0
        answer["driver"] = f"{driver // 1000}.{driver % 1000 // 10}" if driver else ""
    except Exception as error:
        answer["error"] = str(error) or type(error).__name__
answer["error"] = answer["error"] or " ".join(str(each.message) for each in caught if "CUDA" in str(each.message))
os.write(stdout, json.dumps(answer).encode())
"""


def main(text: str) -> None:
    """Answer questions.

    Args:
        text: JSON: the arguments of each question by its name, and ``place``, which identifies this node; in a Slurm
            step, its number there.
    """
    questions = json.loads(text)
    place = questions.pop("place", None) or os.environ.get("SLURM_NODEID", "0")
    for name, arguments in questions.items():
        try:
            answer = QUESTIONS[name](**arguments)
        except Exception as error:  # of any kind: the asker reports it
            answer = {"error": reason(error)}
        print_answer(place, name, answer)


def print_answer(place: str, name: str, answer: dict[str, Any]) -> None:
    """Print an answer in pieces: ``+`` before all but the last, which has ``.``."""
    text = json.dumps([name, answer])
    starts = range(0, len(text), PIECE)
    for start in starts:
        print(MARK, place, ("." if start == starts[-1] else "+") + text[start : start + PIECE], flush=True)


def versions(packages: list[str]) -> dict[str, str | None]:
    """Return the versions of Python (major and minor) and of packages; None for those that are not installed."""
    found: dict[str, str | None] = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in packages:
        try:  # a checkout's metadata is as old as its installation
            found[name] = __version__ if name == "bilin" else importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def room() -> dict[str, Any]:
    """Return the name of the node, the CPUs and GPUs that Slurm or the system gives, and the number of nodes."""
    return {
        "name": os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
        "cpus": int(os.environ.get("SLURM_CPUS_ON_NODE") or num_cpus()),
        "gpus": num_gpus(),
        "num_nodes": int(os.environ.get("SLURM_NNODES") or 1),
    }


def memory(limit: int = 0) -> dict[str, int]:
    """Return the bytes of memory of the machine, and those that this process can get.

    Args:
        limit: What the job asks Slurm for, in units of 2²⁰ bytes; 0: what Slurm says itself, if it does.
    """
    total, available = memory_bytes()
    if given := limit or int(os.environ.get("SLURM_MEM_PER_NODE") or 0):
        available = min(available, given * 2**20)
    return {"total": total, "available": available}


def temporary(root: str | None) -> dict[str, Any]:
    """Return whether Ray's folder, with sockets in it, can be made in a temporary folder, and the bytes that are free.

    Args:
        root: The temporary folder; None: that of this process.
    """
    with tempfile.TemporaryDirectory(prefix="bilin-", dir=root) as folder:
        answer: dict[str, Any] = {"path": str(Path(folder).parent), "free": free_bytes(folder)}
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.bind(f"{folder}/ray{'-' * SOCKET_PATH}")
            except OSError as error:
                answer["error"] = reason(error)
    return answer


def shared_memory(path: str) -> dict[str, Any]:
    """Return the bytes that are free in shared memory, if it can be written."""
    with tempfile.TemporaryFile(dir=path) as file:
        file.write(b"0")
    return {"path": path, "free": free_bytes(path)}


def ports(host: str, count: int) -> dict[str, Any]:
    """Return whether so many ports can be bound at once."""
    answer = {"host": host, "count": count, "error": ""}
    with ExitStack() as sockets:
        for number in range(count):
            try:
                sockets.enter_context(socket.socket()).bind((host, 0))
            except OSError as error:
                return answer | {"error": f"{number} of {count} ports could be bound: {reason(error)}"}
    return answer


def reach(folder: str) -> dict[str, Any]:
    """Return whether this node can connect to the others of its Slurm step, at free ports, as Ray does.

    Args:
        folder: In the store. By files there, each node says where it listens, and when it has tried the others.
    """
    own, num_nodes = os.environ["SLURM_NODEID"], int(os.environ["SLURM_STEP_NUM_NODES"])
    home = Path(folder)
    if num_nodes == 1 or not home.is_dir():
        return {"num_nodes": num_nodes, "met": 1, "failed": []}
    with socket.socket() as listener:
        listener.bind(("", 0))
        listener.listen(num_nodes)
        address = own_address(os.environ["SLURM_LAUNCH_NODE_IPADDR"])
        _leave(home / f"at-{own}", json.dumps([socket.gethostname(), address, listener.getsockname()[1]]))
        met = _gather(home, "at-", num_nodes)
        places = [json.loads(text) for name, text in met.items() if name != f"at-{own}"]
        failed = [
            f"{name} ({host}): {fault}"
            for name, host, port in places
            if (fault := connection_error(host, port, CONNECT_S))
        ]
        _leave(home / f"tried-{own}", own)
        _gather(home, "tried-", len(met))  # the others may still want to connect
    return {"num_nodes": num_nodes, "met": len(met), "failed": failed}


def _leave(path: Path, text: str) -> None:
    """Write a file that others see whole or not at all."""
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(text)
    beside.replace(path)


def _gather(home: Path, prefix: str, count: int) -> dict[str, str]:
    """Return the texts of the files with a prefix, as soon as there are so many, or after `GATHER_S`."""
    until = time.monotonic() + GATHER_S
    while True:
        paths = [path for path in home.glob(f"{prefix}*") if path.suffix != ".new"]
        if len(paths) >= count or time.monotonic() > until:
            return {path.name: path.read_text() for path in paths}
        time.sleep(0.1)


def torch(all_gpus: bool) -> dict[str, Any]:
    """Return what torch says about itself and the GPUs; it computes a small sum on each.

    Args:
        all_gpus: Look at all GPUs of the node; otherwise at those that this process was given.
    """
    hidden = "CUDA_VISIBLE_DEVICES" if all_gpus else ""
    environment = {name: value for name, value in os.environ.items() if name != hidden}
    answer: dict[str, Any] = {"smi": nvidia_driver()}
    try:
        command = [sys.executable, "-P", "-c", TORCH]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TORCH_S, check=False)
    except subprocess.TimeoutExpired:
        return answer | {"failed": f"it did not load within {TORCH_S} s"}
    if ended.returncode:
        lines = ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"]
        return answer | {"failed": lines[-1][:500]}
    answer.update(json.loads(ended.stdout))
    return answer


def nvidia_driver() -> str:
    """Return the version of the driver that nvidia-smi reports; empty if it reports none."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return ended.stdout.split("\n")[0].strip()


def store(folder: str, content: str, name: str = "") -> dict[str, Any]:
    """Return whether a folder of the store is the asker's, and works as a store must.

    Args:
        folder: A folder made for this question, with a file ``here`` and a ``lock`` that the asker holds.
        content: What ``here`` contains.
        name: The file to leave there, replaced several times; by default the number of this node in a Slurm step.
    """
    home = Path(folder)
    if home.parent.is_dir() and not home.exists():
        return {"error": "", "is_same": False}
    is_same = (home / "here").read_text() == content
    num_torn = _replace_often(home / (name or os.environ.get("SLURM_NODEID", "0")))
    return {
        "error": "",
        "is_same": is_same,
        "num_torn": num_torn,
        "lock": try_lock(home / "lock"),
        "free": free_bytes(home),
    }


def _replace_often(path: Path) -> int:
    """Replace a file many times, as results are written. Return how often a reader found none, or half of one."""
    whole, torn, ended = path.name * 1000, [], threading.Event()
    path.write_text(whole)

    def read() -> None:
        while not ended.is_set():
            try:
                text = path.read_text()
            except OSError as error:
                text = reason(error)
            if text != whole:
                torn.append(text)

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


def try_lock(path: Path) -> str:
    """Try to take a lock that another process holds: ``held`` is right, ``taken`` or an error is wrong."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return "held"
        except OSError as error:
            return reason(error)
    return "taken"


def clock() -> dict[str, float]:
    """Return the seconds since the epoch by the clock of this node."""
    return {"now": time.time()}


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

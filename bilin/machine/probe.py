"""A node answers questions about itself: one function a question, which yields verdicts.

The program runs on the node with `python -P -m bilin.machine.probe`. It prints each answer as soon as it has it: a
question without an answer, such as one about a disk that hangs, is known by its name. torch is loaded in a process of
its own. `bilin.orchestrator.clusters.inquiry` asks.
"""

from __future__ import annotations

import fcntl
import importlib.metadata
import json
import math
import os
import platform
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bilin.machine.host import (
    connection_error,
    free_bytes,
    memory_bytes,
    num_cpus,
    num_fitting,
    num_gpus,
    own_address,
    reason,
)
from bilin.machine.ray_node import OBJECT_STORE_BYTES
from bilin.version import __version__

MARK = "bilin-node"  # first word of a line of an answer: set-up commands may print lines of their own
PIECE = 400  # characters of an answer in one line: Slurm may mix longer lines of two nodes
SOCKET_PATH = 63  # characters that Ray's sockets add to its temporary folder
TORCH_S = 180  # how long torch may take to load from a slow disk and to initialise the GPUs
GATHER_S = 45.0  # how long the nodes of a step wait for each other: a network file system may show a new file late
CONNECT_S = 5.0
REPLACEMENTS = 20

WORKER_BYTES = 300 * 2**20  # a worker with torch loaded, without its model
LOW_DISK_BYTES, LEAST_DISK_BYTES = 2**30, 100 * 2**20  # free disk space below which there is a warning, an error

LEASE = "two launches then know each other by their lease alone: taking over from one that died takes a minute"

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

Level = Literal["ok", "warning", "error"]

Verdict = tuple[Level, str, str]
"""How bad it is, what was found, and what to do; the last is empty if nothing is to be done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """This node.

    Attributes:
        place: What identifies it to the asker; in a Slurm step, its number there.
        has: How much it has of each of Ray's resources.
        num_trials: How many trials it has room for at once, at most.
    """

    place: str
    has: Mapping[str, float]
    num_trials: int

    @property
    def num_gpus(self) -> float:
        """How many GPUs Ray or Slurm gives out here."""
        return self.has.get("GPU", 0.0)


def main(text: str) -> None:
    """Answer questions.

    Args:
        text: JSON: ``questions`` with the arguments of each by its name and, if the asker knows them, the ``place`` of
            this node and what it ``has``; ``demand``: how much of each of Ray's resources single trials take;
            ``max_trials``: how many run at once at most.
    """
    asked = json.loads(text)
    has = asked.get("has") or {
        "CPU": float(os.environ.get("SLURM_CPUS_ON_NODE") or num_cpus()),
        "GPU": float(num_gpus()),
    }
    count = max((num_fitting(has, amounts) for amounts in asked.get("demand", ())), default=0)
    count = asked.get("max_trials") or int(count if math.isfinite(count) else has.get("CPU", 0))
    here = Here(place=asked.get("place") or os.environ.get("SLURM_NODEID", "0"), has=has, num_trials=count)
    facts = {
        "name": os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
        "has": has,
        "num_trials": count,
        "num_nodes": int(os.environ.get("SLURM_NNODES") or 1),
    }
    print_answer(here.place, "node", facts)
    for name, arguments in asked["questions"].items():
        try:
            verdicts = list(QUESTIONS[name](here, **arguments))
        except Exception as error:  # of any kind: the asker reports it
            verdicts = [("error", reason(error), "correct this on that node")]
        print_answer(here.place, name, verdicts)
    print_answer(here.place, "clock", time.time())  # last: it is compared with the time at which it arrives


def print_answer(place: str, name: str, answer: object) -> None:
    """Print an answer in pieces: ``+`` before all but the last, which has ``.``."""
    text = json.dumps([name, answer])
    starts = range(0, len(text), PIECE)
    for start in starts:
        print(MARK, place, ("." if start == starts[-1] else "+") + text[start : start + PIECE], flush=True)


def room(here: Here) -> Iterator[Verdict]:
    """How many trials this node has room for."""
    given = f"{here.has.get('CPU', 0):g} CPUs, {here.num_gpus:g} GPUs"
    if here.num_trials:
        yield "ok", f"{given}: {here.num_trials if here.num_trials > 1 else 'one trial'} at once", ""
    else:
        yield "warning", f"{given}: no trial has room", "it would stay idle"


def versions(_: Here, own: Mapping[str, str], may_differ: Mapping[str, str]) -> Iterator[Verdict]:
    """Whether this node has the asker's versions.

    Args:
        own: The asker's `installed_versions`.
        may_differ: What to say of packages whose versions may differ, by their names.
    """
    there = installed_versions(own)
    for name, version in own.items():
        if there[name] is None:
            yield "error", f"has no {name}; here: {version}", "Install it there too"
        elif there[name] != version:
            level: Level = "warning" if name in may_differ else "error"
            advice = may_differ.get(name, "Use the same version on all nodes and here")
            yield level, f"has {name} {there[name]}; here: {version}", advice
    if same := [f"{name} {version}" for name, version in own.items() if there[name] == version]:
        yield "ok", f"{', '.join(same)}, as on this machine", ""


def installed_versions(packages: Iterable[str]) -> dict[str, str | None]:
    """Return the versions of Python (major and minor) and of packages; None for those that are not installed."""
    found: dict[str, str | None] = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in packages:
        if name != "python":
            try:  # a checkout's metadata is as old as its installation
                found[name] = __version__ if name == "bilin" else importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                found[name] = None
    return found


def memory(here: Here, limit: int, ray_bytes: int, advice: str) -> Iterator[Verdict]:
    """Whether there is memory for Ray and as many workers as this node has room for.

    ``limit`` is what the job asks Slurm for, in units of 2²⁰ bytes; 0: what Slurm says itself, if it does.
    """
    total, free = memory_bytes()
    if given := limit or int(os.environ.get("SLURM_MEM_PER_NODE") or 0):
        free = min(free, given * 2**20)
    needed = ray_bytes + here.num_trials * WORKER_BYTES
    found = f"{size(free)} free of {size(total)}"
    trials = "1 trial" if here.num_trials == 1 else f"{here.num_trials} trials"
    purpose = f"{'Ray and ' if ray_bytes else ''}{trials} need {size(needed)} without their models"
    if free >= needed:
        yield "ok", f"{found}; {purpose}", ""
    elif free < (least := ray_bytes + WORKER_BYTES):
        yield "error", f"{found}; one trial holds {size(least)}", "free some, or ask for more"
    else:
        enough = f"there is enough for {(free - ray_bytes) // WORKER_BYTES}"
        yield "warning", f"{found}; {purpose}", f"{enough}: {advice}"


def temporary(_: Here, root: str | None) -> Iterator[Verdict]:
    """Whether Ray's sockets, and other temporary files, have a place.

    Args:
        root: The temporary folder of a Ray that a launch starts; None: that of this process, without sockets.
    """
    with tempfile.TemporaryDirectory(prefix="bilin-", dir=root) as folder:
        path, free = Path(folder).parent, free_bytes(folder)
        if root:
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.bind(f"{folder}/ray{'-' * SOCKET_PATH}")
                except OSError as error:
                    found = f"{path}: Ray cannot make a socket there: {reason(error)}"
                    yield "error", found, "a shorter path is needed"
                    return
    level = disk_level(free)
    advice = "" if level == "ok" else "make room on its disk: Ray writes its logs there"
    yield level, f"{path}: {size(free)} free", advice


def shared_memory(_: Here, path: str, needed: int = OBJECT_STORE_BYTES) -> Iterator[Verdict]:
    """Whether Ray's object store has room in shared memory."""
    with tempfile.TemporaryFile(dir=path) as file:
        file.write(b"0")
    free = free_bytes(path)
    found = f"{path}: {size(free)} free; Ray's object store takes {size(needed)}"
    if free > needed:
        yield "ok", found, ""
    else:
        yield "warning", found, "Ray uses a disk instead: give it more (docker: --shm-size=1g)"


def ports(_: Here, host: str, count: int) -> Iterator[Verdict]:
    """Whether so many ports can be bound at once, as Ray needs."""
    where = host or "all interfaces"
    with ExitStack() as sockets:
        for number in range(count):
            try:
                sockets.enter_context(socket.socket()).bind((host, 0))
            except OSError as error:
                found = f"{number} of {count} ports could be bound: {reason(error)}, on {where}"
                yield "error", found, "see what takes them: ss -lntp"
                return
    yield "ok", f"{count} bound at once on {where}", ""


def reach(here: Here, folder: str) -> Iterator[Verdict]:
    """Whether this node can connect to the others of its Slurm step, at free ports, as Ray does.

    By files in a folder of the store, each node says where it listens, and when it has tried the others.
    """
    num_nodes, home = int(os.environ["SLURM_STEP_NUM_NODES"]), Path(folder)
    if num_nodes == 1:
        return
    num_met, failed = 1, []
    if home.is_dir():
        with socket.socket() as listener:
            listener.bind(("", 0))
            listener.listen(num_nodes)
            address = own_address(os.environ["SLURM_LAUNCH_NODE_IPADDR"])
            _leave(home / f"at-{here.place}", json.dumps([socket.gethostname(), address, listener.getsockname()[1]]))
            met = _gather(home, "at-", num_nodes)
            num_met = len(met)
            places = [json.loads(text) for name, text in met.items() if name != f"at-{here.place}"]
            failed = [
                f"{name} ({host}): {fault}"
                for name, host, port in places
                if (fault := connection_error(host, port, CONNECT_S))
            ]
            _leave(home / f"tried-{here.place}", here.place)
            _gather(home, "tried-", num_met)  # the others may still want to connect
    if failed:
        found = f"no connection to {', '.join(failed[:3])}{', …' * (len(failed) > 3)}"
        yield "error", found, "check the firewall between the nodes: Ray needs every port above 1024 in both directions"
    elif num_met < num_nodes:
        found = f"{num_met - 1} of {num_nodes - 1} reached; the others left nothing in the store"
        yield "warning", found, "see their own lines, and those about the store"
    else:
        yield "ok", f"{num_nodes - 1} reached, at a port that was free there", ""


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


def torch(here: Here, all_gpus: bool, wants_gpus: bool) -> Iterator[Verdict]:
    """Whether torch loads on this node, and computes a small sum on each GPU that Ray or Slurm gives out here.

    With ``all_gpus``, it sees all GPUs of the node, otherwise those that this process was given.
    """
    hidden = "CUDA_VISIBLE_DEVICES" if all_gpus else ""
    environment = {name: value for name, value in os.environ.items() if name != hidden}
    command = [sys.executable, "-P", "-c", TORCH]
    fault = ""
    try:
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TORCH_S, check=False)
        if ended.returncode:
            fault = (ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"])[-1][:500]
    except subprocess.TimeoutExpired:
        fault = f"it did not load within {TORCH_S} s"
    if fault:
        yield "error", f"cannot be loaded: {fault}", "reinstall it there"
    else:
        yield judge_torch(json.loads(ended.stdout), nvidia_driver(), here.num_gpus, wants_gpus=wants_gpus)


def judge_torch(report: Mapping[str, Any], driver: str, num_gpus: float, *, wants_gpus: bool) -> Verdict:
    """Return the verdict about what `TORCH` printed; ``driver`` is empty if nvidia-smi reports none."""
    names = report["names"]
    build = f"torch {report['version']}" + (f", CUDA {report['cuda']}" if report["cuda"] else ", CPU only")
    if not num_gpus:
        unused = "no GPU is given out" if names or driver else "no GPU"
        return "ok", f"{unused}; {build}: trials compute on the CPU", ""
    if len(names) >= num_gpus and not report["error"]:
        gpus = ", ".join(f"{names.count(name)} × {name}" for name in dict.fromkeys(names))  # noqa: RUF001
        supports = f", driver {driver or '?'} for CUDA up to {report['driver']}" if report["driver"] else ""
        return "ok", f"{gpus}; {build}{supports}", ""
    if not driver:
        advice = "nvidia-smi finds no driver there: see that the node has one, and this job its devices"
    elif not report["cuda"]:
        advice = f"install a CUDA build of torch there (driver {driver})"
    else:
        advice = f"install a build of torch for the driver there ({driver}), or a newer driver"
    why = f": {report['error'][:300]}" if report["error"] else ""
    found = f"sees {len(names)} of {num_gpus:g} GPUs; {build}{why}"
    if wants_gpus:
        return "error", found, advice
    return "warning", found, f"trials without GPUs run; for others: {advice}"


def nvidia_driver() -> str:
    """Return the version of the driver that nvidia-smi reports; empty if it reports none."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return ended.stdout.split("\n")[0].strip()


def store(here: Here, folder: str, content: str, thorough: bool) -> Iterator[Verdict]:
    """Whether this node sees the asker's store and can write there; it leaves a file named after its place.

    The folder was made for this question, with a file ``here`` of this content and a ``lock`` that the asker holds.
    With ``thorough``, say also whether the file system works as a store needs it.
    """
    home = Path(folder)
    try:
        is_other = (home.parent.is_dir() and not home.exists()) or (home / "here").read_text() != content
        num_torn = 0 if is_other else _replace_often(home / here.place)
        lock, free = ("", 0) if is_other else (try_lock(home / "lock"), free_bytes(home))
    except OSError as error:
        advice = "All nodes must see it at this path, and be able to write"
        yield "error", f"cannot use the store, {home.parent}: {reason(error)}", advice
        return
    if is_other:
        yield other_store(home.parent)
    elif thorough:
        if num_torn:
            found = f"a file that was replaced many times was missing or torn {num_torn} times"
            yield "error", found, "use a file system on which a rename is atomic"
        if lock == "taken":
            yield "warning", "a lock that this machine holds was granted there again", LEASE
        elif lock != "held":
            yield "warning", f"its file system has no locks ({lock})", LEASE
        if (level := disk_level(free)) != "ok":
            yield level, f"{size(free)} free", "make room: a checkpoint of a wide trial holds 200 MB"
        if not num_torn and level != "error":
            yield "ok", f"readable and writable from here and there; {size(free)} free", ""


def other_store(path: Path) -> Verdict:
    """Return the verdict that a node sees another folder in place of the store."""
    found = f"sees another folder at {path}: all nodes must see the same store"
    return "error", found, "Mount the same file system there"


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


def disk_level(free: float) -> Level:
    """Return how bad it is that a disk has so few bytes left."""
    return "error" if free < LEAST_DISK_BYTES else "warning" if free < LOW_DISK_BYTES else "ok"


def size(num_bytes: float) -> str:
    """Return bytes with a unit."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if abs(num_bytes) < 1000:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.3g} TB"


QUESTIONS: Mapping[str, Callable[..., Iterator[Verdict]]] = {
    "room": room,
    "versions": versions,
    "memory": memory,
    "temporary": temporary,
    "shared_memory": shared_memory,
    "ports": ports,
    "reach": reach,
    "torch": torch,
    "store": store,
}

if __name__ == "__main__":
    main(sys.argv[1])

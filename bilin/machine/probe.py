"""A node checks itself: one function a check, which yields what it found.

The program runs on the node with `python -P -m bilin.machine.probe`. It prints each finding at once, so a check that
hangs, such as one of a disk, is known by what is missing. `bilin.orchestrator.clusters.inquiry` asks.
"""

from __future__ import annotations

import fcntl
import importlib.metadata
import json
import math
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from bilin.errors import ClusterError
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
from bilin.machine.ray_node import OBJECT_STORE_BYTES, SHARED_MEMORY, shared_memory_fault, temp_root
from bilin.units import plural
from bilin.version import __version__

MARK = "bilin-node"  # first word of a line of an answer: set-up commands and libraries may print lines of their own
LONGEST = 600  # characters of a finding: Slurm may mix lines of two nodes that have more than 1,024 bytes
ANSWER_S = 240  # how long a node may take to load what it needs, from a slow disk too, and to answer
GATHER_S = 45.0  # how long the nodes of a step wait for each other: a network file system may show a new file late
CONNECT_S = 5.0
REPLACEMENTS = 20
RATE_S = 0.5  # how long the rate of training steps of a GPU is measured
NOT_INSTALLED = "none"

WORKER_BYTES = 300 * 2**20  # a worker with torch loaded, without its model
LOW_DISK_BYTES, LEAST_DISK_BYTES = 2**30, 100 * 2**20  # free disk space below which there is a warning, an error

LEASE = "two launches then know each other by their lease alone: taking over from one that died takes a minute"

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
        num_nodes: How many nodes its Slurm job has.
    """

    place: str
    name: str
    has: Mapping[str, float]
    num_trials: int
    num_nodes: int = 1

    @property
    def num_gpus(self) -> float:
        """How many GPUs Ray or Slurm gives out here."""
        return self.has.get("GPU", 0.0)


def main(text: str) -> None:
    """Print the findings of this node.

    Args:
        text: JSON: ``checks`` with the arguments of each by its name and, if the asker knows them, the ``place`` of
            this node and what it ``has``; ``demand``: how much of each of Ray's resources single trials take;
            ``max_trials``: how many run at once at most.
    """
    asked = json.loads(text)
    signal.alarm(ANSWER_S)  # ends this process, even where it waits for a disk
    cpus = float(os.environ.get("SLURM_CPUS_ON_NODE") or num_cpus())
    has = asked.get("has") or {"CPU": cpus, "GPU": float(num_gpus())}
    num_trials = max((num_fitting(has, amounts) for amounts in asked.get("demand", ())), default=0)
    here = Here(
        place=asked.get("place") or os.environ.get("SLURM_NODEID", "0"),
        name=os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
        has=has,
        num_trials=asked.get("max_trials") or int(num_trials if math.isfinite(num_trials) else has.get("CPU", 0)),
        num_nodes=int(os.environ.get("SLURM_NNODES") or 1),
    )
    print_answer(here.place, "node", asdict(here))
    for name, arguments in asked["checks"].items():
        try:
            for level, found, advice in CHECKS[name](here, **arguments):
                print_answer(here.place, name, (level, found[:LONGEST], advice))
        except Exception as error:  # of any kind: the asker reports it
            print_answer(here.place, name, ("error", reason(error), "correct this on that node"))
    print_answer(here.place, "clock", time.time())  # last: it is compared with the time at which it arrives


def print_answer(place: str, name: str, answer: object) -> None:
    """Print a line of an answer."""
    print(MARK, place, json.dumps([name, answer]), flush=True)


def room(here: Here) -> Iterator[Verdict]:
    """How many trials this node has room for."""
    given = f"{here.has.get('CPU', 0):g} CPUs, {here.num_gpus:g} GPUs"
    if here.num_trials:
        yield "ok", f"{given}: {here.num_trials if here.num_trials > 1 else 'one trial'} at once", ""
    else:
        yield "warning", f"{given}: no trial has room", "lower the resources of a trial, or leave this node out"


def versions(_: Here, own: Mapping[str, str], may_differ: Mapping[str, str]) -> Iterator[Verdict]:
    """Whether this node has the asker's versions.

    Args:
        own: The asker's `installed_versions`.
        may_differ: What to say of packages whose versions may differ, by their names.
    """
    there = installed_versions(own)
    for name, version in own.items():
        if there[name] == NOT_INSTALLED != version:
            yield "error", f"has no {name}; here: {version}", "install it there too"
        elif there[name] != version:
            level: Level = "warning" if name in may_differ else "error"
            advice = may_differ.get(name, "use the same version on all nodes and here")
            yield level, f"has {name} {there[name]}; here: {version}", advice
    if same := [f"{name} {version}" for name, version in own.items() if there[name] == version]:
        yield "ok", f"{', '.join(same)}, as on this machine", ""


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of Python (major and minor) and of packages; `NOT_INSTALLED` for those that are missing."""
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in packages:
        if name != "python":
            try:  # a checkout's metadata is as old as its installation
                found[name] = __version__ if name == "bilin" else importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                found[name] = NOT_INSTALLED
    return found


def memory(here: Here, limit: int, ray_bytes: int, advice: str) -> Iterator[Verdict]:
    """Whether there is memory for Ray and as many workers as this node has room for.

    ``limit`` is the memory of the job in MiB; 0: what SLURM_MEM_PER_NODE says, if it is set.
    """
    total, free = memory_bytes()
    if given := limit or int(os.environ.get("SLURM_MEM_PER_NODE") or 0):
        free = min(free, given * 2**20)
    needed = ray_bytes + here.num_trials * WORKER_BYTES
    found = f"{size(free)} free of {size(total)}"
    purpose = (
        f"{'Ray and ' if ray_bytes else ''}{plural(here.num_trials, 'trial')} need {size(needed)} without their models"
    )
    if free >= needed:
        yield "ok", f"{found}; {purpose}", ""
    elif free < (least := ray_bytes + WORKER_BYTES):
        yield "error", f"{found}; one trial holds {size(least)}", "free some, or ask for more"
    else:
        enough = f"there is enough for {(free - ray_bytes) // WORKER_BYTES}"
        yield "warning", f"{found}; {purpose}", f"{enough}: {advice}"


def temp_directory(_: Here, for_ray: bool) -> Iterator[Verdict]:
    """Whether temporary files have a place, and Ray's sockets if a launch starts a Ray."""
    try:
        path = temp_root() if for_ray else tempfile.gettempdir()
    except (ClusterError, FileNotFoundError) as error:
        yield "error", str(error), "a launch would fail with the same message"
        return
    free = free_bytes(path)
    level = disk_level(free)
    advice = (
        ""
        if level == "ok"
        else "make room on its disk, or set TMPDIR to a folder on another: Ray writes its logs there"
    )
    yield level, f"{path}: {size(free)} free", advice


def shared_memory(_: Here, needed: int = OBJECT_STORE_BYTES) -> Iterator[Verdict]:
    """Whether Ray's object store has room in shared memory."""
    if fault := shared_memory_fault():
        yield "warning", f"{SHARED_MEMORY} cannot be written: {fault}", "Ray uses a disk instead: mount it for writing"
        return
    free = free_bytes(SHARED_MEMORY)
    found = f"{SHARED_MEMORY}: {size(free)} free; Ray's object store takes {size(needed)}"
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


def other_nodes(here: Here, folder: str) -> Iterator[Verdict]:
    """Whether this node can connect to the others of its Slurm step, at free ports, as Ray does.

    Each node leaves two files in a folder of the store: where it listens, and that it has tried the others.
    """
    num_nodes, num_met, failed = int(os.environ["SLURM_STEP_NUM_NODES"]), 1, []
    if num_nodes > 1 and Path(folder).is_dir():
        with socket.socket() as listener:
            listener.bind(("", 0))
            listener.listen(num_nodes)
            address = own_address(os.environ["SLURM_LAUNCH_NODE_IPADDR"])
            own = json.dumps([socket.gethostname(), address, listener.getsockname()[1]])
            met = _exchange(Path(folder), f"at-{here.place}", own, num_nodes)
            num_met = len(met)
            failed = [
                f"{name} ({host}): {fault}"
                for name, host, port in map(json.loads, met - {own})
                if (fault := connection_error(host, port, CONNECT_S))
            ]
            _exchange(Path(folder), f"tried-{here.place}", here.place, num_met)  # the others may still want to connect
    if failed:
        found = f"no connection to {', '.join(failed[:3])}{', …' * (len(failed) > 3)}"
        yield "error", found, "check the firewall between the nodes: Ray needs every port above 1024 in both directions"
    elif num_met < num_nodes:
        found = f"{num_met - 1} of {num_nodes - 1} reached; the others left nothing in the store"
        yield "warning", found, "see their own lines, and those about the store"
    elif num_nodes > 1:
        yield "ok", f"{num_nodes - 1} reached, at a port that was free there", ""
    else:
        yield "ok", "there are none", ""


def _exchange(folder: Path, name: str, text: str, count: int) -> set[str]:
    """Leave a text in a folder, and return those of all nodes once there are ``count``, or after `GATHER_S`."""
    beside = folder / f"new-{name}"
    beside.write_text(text)
    beside.replace(folder / name)  # others see it whole or not at all
    until = time.monotonic() + GATHER_S
    while True:
        paths = list(folder.glob(f"{name.partition('-')[0]}-*"))
        if len(paths) >= count or time.monotonic() > until:
            return {path.read_text() for path in paths}
        time.sleep(0.1)


def torch(here: Here, all_gpus: bool, wants_gpus: bool) -> Iterator[Verdict]:
    """Whether torch loads on this node, and trains a small network on each GPU that Ray or Slurm gives out here.

    With ``all_gpus``, it sees all GPUs of the node, otherwise those that this process was given.
    """
    if all_gpus:
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    try:
        report = _torch_report()
    except Exception as error:  # of any kind: libraries may be missing or broken
        yield "error", f"cannot be loaded: {reason(error)}", "reinstall it there"
    else:
        yield judge_torch(report, nvidia_driver(), here.num_gpus, wants_gpus=wants_gpus)


def _torch_report() -> dict[str, Any]:
    """Load torch, and return its version, the version of CUDA, the GPUs that it sees and what is wrong with them."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        import torch

        names, rates = list[str](), list[float]()
        error = driver = ""
        try:
            for number in range(torch.cuda.device_count()):
                properties = torch.cuda.get_device_properties(number)
                rates.append(steps_per_s(f"cuda:{number}", RATE_S))
                names.append(f"{properties.name} ({size(properties.total_memory)})")
            if torch.version.cuda and names:
                supported = torch._C._cuda_getDriverVersion()  # type: ignore[attr-defined]
                driver = f"{supported // 1000}.{supported % 1000 // 10}"
        except Exception as fault:  # of any kind
            error = str(fault) or type(fault).__name__
    return {
        "version": torch.__version__,
        "cuda": torch.version.cuda or torch.version.hip,
        "names": names,
        "rates": rates,
        "error": error or " ".join(str(each.message) for each in caught if "CUDA" in str(each.message)),
        "driver": driver,
    }


def steps_per_s(device: str, seconds: float) -> float:
    """Return how many training steps a second a small recurrent network takes on a device, over ``seconds``.

    64 sequences of 8 tokens, 64 units, Adam, one kernel after the other. A lone trial on a GPU is limited by how fast
    kernels are launched; packs take many more steps (`make gpu-check`).
    """
    import torch

    table = torch.zeros(64, 64, device=device).requires_grad_()
    matrices = torch.eye(64, device=device).repeat(8, 1, 1).requires_grad_()
    optimizer = torch.optim.Adam([table, matrices])

    def step() -> float:
        state = table
        for matrix in matrices:
            state = torch.tanh(state @ matrix)
        loss = (state - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    assert step() == 1  # the first step loads kernels
    began, num_steps = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        num_steps += 1
        step()
    return num_steps / (time.perf_counter() - began)


def judge_torch(report: Mapping[str, Any], driver: str, num_gpus: float, *, wants_gpus: bool) -> Verdict:
    """Return the verdict about a report of torch; ``driver`` is empty if nvidia-smi reports none."""
    names = report["names"]
    build = f"torch {report['version']}" + (f", CUDA {report['cuda']}" if report["cuda"] else ", CPU only")
    if not num_gpus:
        unused = "no GPU is given out" if names or driver else "no GPU"
        return "ok", f"{unused}; {build}: trials compute on the CPU", ""
    if len(names) >= num_gpus and not report["error"]:
        gpus = ", ".join(f"{names.count(name)} × {name}" for name in dict.fromkeys(names))  # noqa: RUF001
        supports = f", driver {driver or '?'} for CUDA up to {report['driver']}" if report["driver"] else ""
        rate = f", at least {min(report['rates']):.3g} training steps/s each" if report["rates"] else ""
        return "ok", f"{gpus}{rate}; {build}{supports}", ""
    if not driver:
        advice = "nvidia-smi finds no driver there: check that the node has one, and this job its devices"
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


def store(here: Here, folder: str, thorough: bool) -> Iterator[Verdict]:
    """Whether this node sees the asker's store and can write there; it leaves a file named after its place.

    The folder was made for this question, and has a ``lock`` that the asker holds. With ``thorough``, say also whether
    the file system works as a store needs it.
    """
    home = Path(folder)
    try:
        if home.parent.is_dir() and not home.exists():
            yield other_store(home.parent)
            return
        num_torn = _replace_often(home / here.place)
        lock, free = try_lock(home / "lock"), free_bytes(home)
    except OSError as error:
        advice = "all nodes must see it at this path, and be able to write"
        yield "error", f"cannot use the store, {home.parent}: {reason(error)}", advice
        return
    level = disk_level(free)
    if thorough:
        if num_torn:
            found = f"a file that was replaced many times was missing or torn {num_torn} times"
            yield "error", found, "use a file system on which a rename is atomic"
        if lock == "taken":
            yield "warning", "a lock that this machine holds was granted there again", LEASE
        elif lock != "held":
            yield "warning", f"its file system has no locks ({lock})", LEASE
        if level != "ok":
            yield level, f"{size(free)} free", "make room: a checkpoint of a wide trial holds 200 MB"
    if not thorough or not (num_torn or level == "error"):
        yield "ok", f"readable and writable from here and there; {size(free)} free", ""


def other_store(path: Path) -> Verdict:
    """Return the verdict that a node sees another folder in place of the store."""
    found = f"sees another folder at {path}: all nodes must see the same store"
    return "error", found, "mount the same file system there"


def _replace_often(path: Path) -> int:
    """Replace a file many times, as results are written. Return how often a reader found none, or half of one."""
    whole, num_torn = path.name * 1000, 0

    def replace() -> None:
        for _ in range(REPLACEMENTS):
            beside = path.with_name(f"{path.name}.new")
            with beside.open("w") as file:
                file.write(whole)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)

    path.write_text(whole)
    with ThreadPoolExecutor() as threads:
        replaced = threads.submit(replace)
        while not replaced.done():
            try:
                num_torn += path.read_text() != whole
            except OSError:
                num_torn += 1
    replaced.result()
    return num_torn


def try_lock(path: Path) -> str:
    """Try to take a lock that another process holds. Return ``held``, as expected, ``taken``, or the error."""
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


CHECKS: Mapping[str, Callable[..., Iterator[Verdict]]] = {
    "room": room,
    "versions": versions,
    "temp directory": temp_directory,
    "memory": memory,
    "shared memory": shared_memory,
    "ports": ports,
    "other nodes": other_nodes,
    "store": store,
    "torch": torch,  # last: the process ends here if torch crashes
}
"""What a node checks, by the names that reports use."""

if __name__ == "__main__":
    main(sys.argv[1])

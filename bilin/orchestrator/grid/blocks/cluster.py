"""What a sweep asks a cluster's scheduler for: the block ``cluster`` of a grid, and a profile file."""

from __future__ import annotations

from dataclasses import dataclass

from bilin.fields import Form, option

_NAME = Form(r"[^\s'\"\\#]+", "text without spaces, quotes, # and \\")
_NODES = Form(r"[1-9][0-9]{0,6}(-[1-9][0-9]{0,6})?", "a whole number of at least 1, or a least and a greatest, as 1-8")
_GPUS = Form(r"([A-Za-z0-9_.-]+:)?[0-9]{1,4}", "a whole number of at least 0, or a type and a number, as a100:4")
_MEMORY = Form(r"[0-9]{1,12}[KMGTkmgt]?", "megabytes, or a number with K, M, G or T, as 16G")
_TIME = Form(
    r"[0-9]{1,8}(:[0-9]{1,2}){0,2}|[0-9]{1,6}-[0-9]{1,2}(:[0-9]{1,2}){0,2}",
    "minutes, minutes:seconds, hours:minutes:seconds or days-hours:minutes, as 90, 4:00:00 or 1-12:00",
)
_OPTION = Form(
    r"(#SBATCH[ \t]+)?-[^\r\n\x00]+", "an option of sbatch, as --exclusive", "options of sbatch, as --exclusive"
)
_COMMAND = Form(r"[^\r\x00]+", "a shell command", "shell commands")
_PYTHON = Form(r"[^\r\n\x00]+", "a path or the name of a command")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """What the job of a sweep asks for, and how its nodes are set up. No part of any trial's identity."""

    partition: str | None = option(None, form=_NAME, doc="partition, or several with commas")
    account: str | None = option(None, form=_NAME, doc="account that is charged")
    qos: str | None = option(None, form=_NAME, doc="quality of service")
    nodes: str = option("1", form=_NODES, doc="nodes, or with how many to begin and how many to take")
    gpus: str = option("0", form=_GPUS, doc="GPUs on each node")
    cpus: int | None = option(None, at_least=1, doc="CPUs on each node; null: what the cluster gives unasked")
    memory: str | None = option(None, form=_MEMORY, doc="memory on each node; 0: all that it has")
    time: str | None = option(None, form=_TIME, doc="time limit of the job")
    constraint: str | None = option(None, form=_NAME, doc="features that the nodes must have")
    requeue: bool = option(True, doc="whether the job goes back to the queue when a node fails or it is preempted")
    warning: int = option(
        120,
        at_least=0,
        doc="seconds before its time limit at which the job ends itself and goes on in another; 0: never",
    )
    patience: int = option(3, at_least=1, doc="jobs in a row without progress after which none follows by itself")
    extra: tuple[str, ...] = option((), form=_OPTION, doc="more options of sbatch, one an item")
    setup: tuple[str, ...] = option((), form=_COMMAND, doc="shell commands to run first, such as module load cuda")
    python: str | None = option(None, form=_PYTHON, doc="the Python that has bilin there; null: the one that launches")

    @property
    def min_nodes(self) -> int:
        """The least number of nodes."""
        return int(self.nodes.partition("-")[0])

    @property
    def max_nodes(self) -> int:
        """The greatest number of nodes."""
        return int(self.nodes.rpartition("-")[2])

    @property
    def warning_s(self) -> int:
        """How long before its end a job is warned: half of its time where that is less."""
        return min(self.warning, seconds(self.time) // 2) if self.time else self.warning

    def problems(self) -> dict[str, str]:
        """The fields whose values cannot be used, and what is accepted."""
        found = {}
        if self.min_nodes > self.max_nodes:
            found["nodes"] = "the least, then the greatest number of nodes"
        for name, lines in (("extra", self.extra), ("setup", self.setup)):
            if len(set(lines)) < len(lines):
                found[name] = "each item once"
        return found


def seconds(time: str) -> int:
    """The seconds of a time limit as Slurm reads it: 90 are minutes, 1-12 days and hours."""
    days, dash, rest = time.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    first = 0 if dash or len(parts) == 3 else 1  # hours or minutes come first
    units = (3600, 60, 1)[first:]
    return int(days or 0) * 86400 + sum(part * unit for part, unit in zip(parts, units, strict=False))


def megabytes(memory: str) -> int:
    """The memory on a node as Slurm reads it, in units of 2²⁰ bytes."""
    unit = memory[-1].upper()
    scale = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024**2}
    return int(int(memory.rstrip("KMGTkmgt")) * scale.get(unit, 1))

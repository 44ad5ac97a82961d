"""Blocks of a grid that only the orchestrator reads, and the keys of a grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bilin.fields import Form, list_problems, option
from bilin.machine.slurm import seconds
from bilin.orchestrator.grid.ranges import Range
from bilin.spec import Resources, TestSpec, TrainSpec, ValidateSpec

_NAME = Form(r"[^\s'\"\\#]+", "text without spaces, quotes, # and \\")
_NODES = Form(r"[1-9][0-9]{0,6}(-[1-9][0-9]{0,6})?", "a whole number of at least 1, or a range such as 1-8")
_GPUS = Form(r"([A-Za-z0-9_.-]+:)?[0-9]{1,4}", "a whole number of at least 0, or a type with a number, such as a100:4")
_MEMORY = Form(r"[0-9]{1,12}[KMGTkmgt]?", "a number of megabytes, or a number with K, M, G or T, such as 16G")
_TIME = Form(
    r"[0-9]{1,8}(:[0-9]{1,2}){0,2}|[0-9]{1,6}-[0-9]{1,2}(:[0-9]{1,2}){0,2}",
    "minutes, minutes:seconds, hours:minutes:seconds or days-hours:minutes, such as 90, 4:00:00 or 1-12:00",
)
_OPTION = Form(
    r"(#SBATCH[ \t]+)?-[^\r\n\x00]+",
    "an option of sbatch, such as --exclusive",
    "options of sbatch, such as --exclusive",
)
_COMMAND = Form(r"[^\r\x00]+", "a shell command", "shell commands")
_PYTHON = Form(r"[^\r\n\x00]+", "a path or the name of a command")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """``learning_rate`` with listed learning rates, each of which is tried."""

    choices: tuple[float, ...] = option((1e-3, 1e-4, 1e-5), above=0, doc="the learning rates; each is tried")
    until_solved: bool = option(
        False,
        doc="try one learning rate after the other, as listed, each on all seeds, until one has solved the cell on "
        "every seed",
    )

    def problems(self) -> Mapping[str, str]:
        """See `bilin.models.Tier.problems`."""
        return list_problems("choices", self.choices, "learning rate")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogUniform:
    """``learning_rate`` with a search between two bounds, on a logarithmic scale."""

    log_uniform: tuple[float, ...] = option(above=0, length=2, doc="lowest and highest learning rate of a search")
    trials: int = option(at_least=1, doc="number of learning rates to try; of points, if fields are searched too")
    round: int = option(4, at_least=1, doc="number of them that are tried at a time")
    sampler: str = option(
        "gaussian_process",
        choices=("gaussian_process", "optuna_gp", "optuna_tpe"),
        doc="what proposes the rates after the first round: bilin's Gaussian process, or a sampler of Optuna",
    )

    @property
    def range(self) -> Range:
        """The range of the learning rates; bounds close together have fewer of them than ``trials``."""
        low, high = self.log_uniform
        return Range(name="lr", low=low, high=high)

    def problems(self) -> Mapping[str, str]:
        """See `bilin.models.Tier.problems`."""
        low, high = self.log_uniform
        return {} if low <= high else {"log_uniform": "the lowest learning rate, then the highest"}


LearningRate = Choices | LogUniform


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeds:
    """``seeds``, a top-level key."""

    seeds: tuple[int, ...] = option(
        (0,), at_least=0, doc="each learning rate of a cell is trained once with each of them"
    )

    def problems(self) -> Mapping[str, str]:
        """See `bilin.models.Tier.problems`."""
        return list_problems("seeds", self.seeds, "seed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """``keep_weights``, a top-level key. Not part of the identity of a trial."""

    keep_weights: str = option(
        "selected",
        choices=("none", "selected", "all"),
        doc="trials whose final weights are kept; selected: those at the learning rate that the cell selects",
    )

    def problems(self) -> Mapping[str, str]:
        """See `bilin.models.Tier.problems`."""
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruner:
    """``pruner``, which stops the trials of a cell early whose learning rates fall behind. Not part of their identity.

    Source: successive halving, Jamieson and Talwalkar (2016), arXiv 1502.07943, algorithm 1; asynchronous: Li et al.
    (2020), arXiv 1810.05934, algorithm 2; median: Golovin et al. (2017), section 3.2.2.
    """

    kind: str = option(
        "none",
        choices=("none", "halving", "median"),
        doc="which learning rates go on at a rung; halving: the best 1/reduction; median: those not below the median",
    )
    first: int = option(500, at_least=1, doc="training steps at the first rung; a multiple of validate.every")
    reduction: int = option(
        3,
        at_least=2,
        doc="factor between the steps of a rung and the next; with halving, also between their learning rates",
    )
    asynchronous: bool = option(
        False,
        doc="whether a rung compares the learning rates that have reached it, without waiting for the others",
    )

    def rungs(self, steps: int) -> tuple[int, ...]:
        """Return the steps at which the trials of a cell are compared, of a training with so many steps."""
        if self.kind == "none":
            return ()
        found, step = [], self.first
        while step < steps:
            found.append(step)
            step *= self.reduction
        return tuple(found)

    def problems(self) -> Mapping[str, str]:
        """See `bilin.models.Tier.problems`."""
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """What the job of a sweep requests, and how its nodes are set up. Not part of the identity of a trial."""

    partition: str | None = option(None, form=_NAME, doc="partition, or several with commas")
    account: str | None = option(None, form=_NAME, doc="account that is charged")
    qos: str | None = option(None, form=_NAME, doc="quality of service")
    nodes: str = option("1", form=_NODES, doc="number of nodes; a range starts with the first number and grows")
    gpus: str = option("0", form=_GPUS, doc="GPUs on each node")
    cpus: int | None = option(None, at_least=1, doc="CPUs on each node; null: the default of the cluster")
    memory: str | None = option(None, form=_MEMORY, doc="memory on each node; 0: all that it has")
    time: str | None = option(None, form=_TIME, doc="time limit of the job")
    constraint: str | None = option(None, form=_NAME, doc="features that the nodes must have")
    requeue: bool = option(True, doc="whether the job returns to the queue when a node fails or it is preempted")
    warning: int = option(
        120,
        at_least=0,
        doc="seconds before its time limit at which the job ends itself and continues in a new job; 0: never",
    )
    patience: int = option(3, at_least=1, doc="jobs in a row without progress after which no new job follows")
    extra: tuple[str, ...] = option((), form=_OPTION, doc="more options of sbatch, one an item")
    setup: tuple[str, ...] = option((), form=_COMMAND, doc="shell commands to run first, such as module load cuda")
    python: str | None = option(
        None, form=_PYTHON, doc="the Python that has bilin on the nodes; null: the one that launches"
    )

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
        """How long before its end a job is warned: at most half of its time limit."""
        return min(self.warning, seconds(self.time) // 2) if self.time else self.warning

    def problems(self) -> dict[str, str]:
        """See `bilin.models.Tier.problems`."""
        found = {}
        if self.min_nodes > self.max_nodes:
            found["nodes"] = "the least number of nodes, then the greatest"
        for name, lines in (("extra", self.extra), ("setup", self.setup)):
            if len(set(lines)) < len(lines):
                found[name] = "each item once"
        return found


BLOCKS: Mapping[str, tuple[type, ...]] = {
    "train": (TrainSpec,),
    "validate": (ValidateSpec,),
    "test": (TestSpec,),
    "learning_rate": (Choices, LogUniform),
    "pruner": (Pruner,),
    "resources": (Resources,),
    "cluster": (ClusterSettings,),
}
"""The settings of each block; of two, the grid has one."""

DOCUMENT_KEYS = (
    "tasks",
    "models",
    *(key for key in BLOCKS if key != "cluster"),
    "seeds",
    "keep_weights",
    "zip",
    "exclude",
)
TOP_KEYS = ("name", *DOCUMENT_KEYS, "cluster", "grids")

"""A launch request: one object that the plan, the launch, jobs and the doctor take.

It reads and checks the grid once. To another process it goes as JSON, never as an argument list.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Self, TypedDict

from bilin.errors import InputError, nearest
from bilin.failures import RETRYABLE
from bilin.fields import fields_of
from bilin.folder import SweepFolder
from bilin.machine.host import num_gpus
from bilin.orchestrator.clusters import ClusterSpec
from bilin.orchestrator.clusters.capacity import ADVICE, job_shortfalls, machine_shortfalls
from bilin.orchestrator.grid import ClusterSettings, Counts, Grid, read_grid, read_profile, resolved, restore_grid
from bilin.orchestrator.planning.asked import read_asked
from bilin.orchestrator.planning.plan import Plan, make_plan
from bilin.orchestrator.planning.reasons import Explanation
from bilin.record import Status
from bilin.results import DEFAULT_STORE, last_wanted, shared_trials, stored, stored_grid

VERSION = 1
"""Version of the JSON form."""

NO_GRID = Grid(
    name="",
    cells=(),
    all_cells=(),
    counts=Counts(axes=(), combinations=0, after_exclusion=0, after_deduplication=0),
    documents=(),
    cluster={},
)
"""The grid of a request that names none, as the doctor takes."""


GridSource = Grid | Mapping[str, object] | Path | str
"""A grid, the path of a grid.yaml, or a dict with the keys of one."""


class RequestOptions(TypedDict, total=False):
    """Options of a launch beside its grid; see `LaunchRequest.read`."""

    store: Path | str
    cluster: ClusterSpec | None
    profile: Path | str | None
    nodes: str | None
    overrides: Collection[str]
    only: Collection[str]
    retry: Collection[str]
    rerun_stale: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchRequest:
    """A launch request: what to run, where, and which stored failures to run again.

    Attributes:
        grid: What to run, with every default written out; its ``cluster`` includes the profile's settings.
        store: Directory of the store.
        cluster: Where to run, with how many workers, and how often running trials are checkpointed.
        only: The conditions that have narrowed the grid's cells.
        retry: Classes of failure whose trials run again.
        rerun_stale: Whether trials run again that were run with other versions than the installed ones.
    """

    grid: Grid
    store: Path
    cluster: ClusterSpec
    only: tuple[str, ...] = ()
    retry: frozenset[Status] = frozenset()
    rerun_stale: bool = False

    @classmethod
    def read(
        cls,
        grid: GridSource | None,
        *,
        store: Path | str = DEFAULT_STORE,
        cluster: ClusterSpec | None = None,
        profile: Path | str | None = None,
        nodes: str | None = None,
        overrides: Collection[str] = (),
        only: Collection[str] = (),
        retry: Collection[str] = (),
        rerun_stale: bool = False,
    ) -> Self:
        """Read and check a request.

        Args:
            grid: The path of a grid.yaml, a dict with the keys of one, or a grid that was read; None for none.
            store: Directory of the store; it need not exist.
            cluster: Where to run; by default a local Ray.
            profile: File with settings for the Slurm job. The grid's ``cluster`` overrides it.
            nodes: Number of nodes of the Slurm job, or a range such as ``1-8``.
            overrides: Values to set in the grid first, such as ``train.steps=500``.
            only: Conditions that narrow the cells of the grid, such as ``tier=full,m=2``.
            retry: Classes of failure whose trials run again, of `bilin.failures.RETRYABLE`.
            rerun_stale: Run trials again that were run with another version of torch or of the package of their task
                or tier than the installed one.

        Raises:
            InputError: The grid or another argument cannot be used.
        """
        statuses, cluster = _statuses(retry), cluster or ClusterSpec()
        if isinstance(grid, Grid):
            if overrides or only:
                raise InputError("overrides and only change a file or a dict: read the grid with them instead")
        else:
            grid = NO_GRID if grid is None else read_grid(grid, overrides=tuple(overrides), only=tuple(only))
        settings = {**(read_profile(profile) if profile else {}), **grid.cluster}
        if nodes is not None:
            try:
                settings["nodes"] = fields_of(ClusterSettings)["nodes"].convert(nodes)
            except ValueError as error:
                raise InputError(f'cluster.nodes: found "{nodes}"; accepted: {error}') from error
        request = cls(
            grid=_on_gpus(replace(grid, cluster=settings), cluster),
            store=Path(store),
            cluster=cluster,
            only=tuple(only),
            retry=statuses,
            rerun_stale=rerun_stale,
        )
        if problems := request.job.problems():  # of settings from several places
            found = (f"cluster.{name}: found {settings[name]!r}; accepted: {problems[name]}" for name in problems)
            raise InputError("\n".join(found))
        return request

    @property
    def job(self) -> ClusterSettings:
        """The settings of the Slurm job."""
        return ClusterSettings(**self.grid.cluster)  # type: ignore[arg-type]

    @property
    def folder(self) -> SweepFolder:
        """The folder of the sweep. Raises StoreError if the store is a file."""
        return SweepFolder.of(self.store, self.grid.name)

    def plan(self, *, unreadable: Collection[str] = ()) -> Plan:
        """Compare the grid with the stored results: what has a result, and what is to run.

        Results that this sweep lacks are looked up in the other sweeps of the store, except the ``unreadable`` ones.

        Raises:
            StoreError: The stored results cannot be read.
        """
        trials, asked = stored(self.store, self.grid.name), read_asked(self.folder)
        compare = partial(make_plan, self.grid, trials, asked=asked, retry=self.retry, rerun_stale=self.rerun_stale)
        plan = compare()
        if not (plan.num_to_run or plan.num_failed):
            return plan
        cell_ids = {cell.wanted.cell_id for cell in plan.cells if cell.is_open}
        shared = shared_trials(self.store, [self.grid.name, *unreadable], cell_ids)
        return compare(shared=shared) if shared else plan

    def explain(self) -> Explanation:
        """Say why each trial of the plan would run, and which stored results leave. Raises as `plan` does."""
        plan = whole = self.plan()
        if not self.grid.is_whole:
            whole = make_plan(self.grid.whole, plan.stored, asked=read_asked(self.folder))
        last = last_wanted(self.store, self.grid.name)
        return Explanation(
            plan=plan,
            whole=whole,
            last=last,
            is_renumbered=self._is_renumbered(last or {}),
            shortfalls=tuple(self.shortfalls(plan)),
        )

    def _is_renumbered(self, last: Mapping[str, object]) -> bool:
        """Return whether the cells of the last launch, given by their ids then, have other ids now."""
        if not last or any(cell.cell_id in last for cell in self.grid.all_cells):
            return False
        text = stored_grid(self.store, self.grid.name)
        try:
            cells = restore_grid(text, source="grid.json").cells if text else ()
        except InputError:  # of a package that is not installed
            return False
        return bool(cells) and not any(cell.cell_id in last for cell in cells)

    def shortfalls(self, plan: Plan) -> list[str]:
        """Return which trials of a plan ask for more than a node has: of the job of the grid, or else this machine.

        A grid without the block ``cluster`` may still be for a job or another cluster.
        """
        demand = dict.fromkeys(cell.wanted.resources for cell in plan.cells if cell.to_run)
        faults = job_shortfalls(self.job, demand) if self.grid.cluster else machine_shortfalls(demand)
        return [f"{fault}: {ADVICE}" for fault in faults]

    def to_json(self) -> str:
        """Return the request as JSON text; `from_json` reads it."""
        document = {
            "request": VERSION,
            "store": os.path.abspath(self.store),  # noqa: PTH100 - keeps links: their targets may differ on the nodes
            "cluster": asdict(self.cluster),
            "only": self.only,
            "retry": sorted(self.retry),
            "rerun_stale": self.rerun_stale,
            "grid": json.loads(resolved(self.grid)),
        }
        return json.dumps(document, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, *, source: str = "request") -> Self:
        """Read a request that `to_json` wrote; error messages call it ``source``.

        Raises:
            InputError: The text is something else, of another version, or names a tier or task that is not installed.
        """
        try:
            document: dict[str, Any] = json.loads(text)
            version = document["request"]
            if version != VERSION:
                raise InputError(f"{source}: found version {version} of a request; this bilin reads version {VERSION}")
            cluster = ClusterSpec(**document["cluster"])
            grid = restore_grid(json.dumps(document["grid"]), source=source, only=tuple(document["only"]))
            return cls(
                grid=_on_gpus(grid, cluster),
                store=Path(document["store"]),
                cluster=cluster,
                only=tuple(document["only"]),
                retry=_statuses(document["retry"]),
                rerun_stale=document.get("rerun_stale", False),  # a job that an earlier version submitted has none
            )
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise InputError(f"{source}: not a request of bilin: {type(error).__name__}: {error}") from error


def _on_gpus(grid: Grid, cluster: ClusterSpec) -> Grid:
    """Return a grid whose trials use the GPUs of this machine, if it has any that torch can use."""
    is_here = cluster.is_inline or cluster.kind == "local"
    if not is_here or importlib.metadata.version("torch").endswith("+cpu") or not num_gpus():
        return grid
    on_gpu = {cell.cell_id: replace(cell, resources=cell.resources.on_gpu) for cell in grid.all_cells}
    cells = tuple(on_gpu[cell.cell_id] for cell in grid.cells)
    return replace(grid, cells=cells, all_cells=tuple(on_gpu.values()))


def _statuses(names: Iterable[str]) -> frozenset[Status]:
    """The statuses with these names, if a launch can run such trials again."""
    known = {str(status): status for status in sorted(RETRYABLE)}
    names = list(names)
    if unknown := [name for name in names if name not in known]:
        found = ", ".join(f"{name!r}{nearest(name, known)}" for name in unknown)
        raise InputError(f"retry: found {found}; accepted: {', '.join(known)} (lost trials run again without it)")
    return frozenset(known[name] for name in names)

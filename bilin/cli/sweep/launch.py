"""`bilin sweep init`, `plan`, `launch`, `cancel`, `rename` and `schema`: run what is missing in a grid."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bilin.cli import complete
from bilin.cli.arrow import load_arrow
from bilin.cli.options import (
    DEFAULT_STORE,
    Address,
    Grid,
    Nodes,
    Only,
    Overrides,
    Pack,
    Profile,
    RerunStale,
    Retry,
    Store,
    refuse_job_options,
    with_pack,
)
from bilin.errors import InputError
from bilin.units import plural

if TYPE_CHECKING:
    from bilin.orchestrator import LaunchRequest, Submission, Summary
    from bilin.orchestrator.background import Detached, RayJob
    from bilin.orchestrator.request import RequestOptions


def init(
    path: Annotated[Path, typer.Argument(metavar="[FILE]", help="The file to write; it must not exist.")] = Path(
        "grid.yaml"
    ),
    task: Annotated[
        list[str],
        typer.Option("--task", metavar="NAME", help="A task; repeatable.", autocompletion=complete.names_of("tasks")),
    ] = [],
    tier: Annotated[
        list[str],
        typer.Option("--tier", metavar="NAME", help="A tier; repeatable.", autocompletion=complete.names_of("models")),
    ] = [],
    m: Annotated[
        str | None, typer.Option("--m", metavar="NUMBER,…", help="Values of m, for tasks that have it.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the sweep; by default that of the file.")
    ] = None,
) -> None:
    """Write a commented grid.yaml for some tasks and tiers, to edit and then to plan and launch."""
    from bilin.orchestrator import write_grid_template

    grid = write_grid_template(path, task, tier, name=name, m=_numbers(m))
    cells = plural(len(grid.cells), "cell")
    typer.echo(f"written to {path}: {cells}; next: bilin sweep plan {shlex.quote(str(path))}")


def _numbers(text: str | None) -> list[int]:
    try:
        return [] if text is None else [int(number) for number in text.split(",")]
    except ValueError:
        raise InputError(
            f"found --m {text or repr(text)}; accepted: whole numbers separated by commas, as in 2,5"
        ) from None


def plan(
    grid: Grid,
    store: Store = DEFAULT_STORE,
    set_: Overrides = [],
    pack: Pack = None,
    only: Only = [],
    retry: Retry = "",
    rerun_stale: RerunStale = False,
    list_: Annotated[
        bool, typer.Option("--list", help="Show a line for each trial that would run, or that leaves the results.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Write JSON; with --list, also each trial.")] = False,
) -> None:
    """Show what a launch would run and why, what is done, and how long it will take. Writes nothing."""
    load_arrow()
    from bilin.cli.sweep.plan import describe_plan, list_trials, plan_json
    from bilin.orchestrator import LaunchRequest
    from bilin.results import holder

    request = LaunchRequest.read(
        grid, store=store, overrides=with_pack(set_, pack), only=only, retry=_split(retry), rerun_stale=rerun_stale
    )
    explanation = request.explain()
    if json_:
        typer.echo(json.dumps(plan_json(explanation, trials=list_), indent=2))
        return
    if list_:
        typer.echo("\n".join(list_trials(explanation)))
    else:
        typer.echo(describe_plan(explanation, holder(store, request.grid.name), store=store))


Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="KIND",
        help="local: start a Ray on this machine; inline: in this process; ray: join the Ray at --address; "
        "slurm: submit a job; allocation: on the nodes of the Slurm job of this process. By default local.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        metavar="NUMBER",
        help="Number of trials that run at once; by default, as many as the CPUs allow.",
        show_default=False,
    ),
]
CheckpointEvery = Annotated[
    float, typer.Option(metavar="SECONDS", help="Seconds between checkpoints of a running trial; 0: none.")
]
Detach = Annotated[bool, typer.Option("--detach", help="Run in the background, independent of this terminal.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the batch script of the Slurm job, and do nothing else.")
]


def launch(
    grid: Grid,
    store: Store = DEFAULT_STORE,
    cluster: Cluster = None,
    address: Address = None,
    workers: Workers = None,
    checkpoint_every: CheckpointEvery = 300.0,
    set_: Overrides = [],
    pack: Pack = None,
    only: Only = [],
    retry: Retry = "",
    rerun_stale: RerunStale = False,
    detach: Detach = False,
    nodes: Nodes = None,
    profile: Profile = None,
    dry_run: DryRun = False,
) -> None:
    """Run every trial of a grid that has no result yet. Safe to repeat: it continues from the stored results.

    With --cluster slurm, submit a job that does so, and return at once.

    Exit codes: 0 every trial that the grid asks for has a result (or the sweep runs in the background, or in a job),
    1 some failed, 2 the input is wrong, 3 interrupted, 4 the cluster cannot be used.
    """
    from bilin import orchestrator
    from bilin.cli.sweep.describe import describe_started, describe_summary
    from bilin.cli.sweep.display import display
    from bilin.orchestrator import ClusterSpec, LaunchRequest, Summary

    is_job = cluster == "slurm"
    if is_job and detach:
        raise InputError("--detach keeps a sweep running without its terminal, and a Slurm job needs none: drop it")
    if dry_run and not is_job:
        raise InputError(
            "--dry-run prints a Slurm job, and needs --cluster slurm; `bilin sweep plan` shows what would run"
        )
    if not is_job:
        refuse_job_options({"--nodes": nodes, "--profile": profile})
    kind = "allocation" if is_job else cluster or ("ray" if address else "local")
    options: RequestOptions = {
        "store": store,
        "cluster": ClusterSpec(kind=kind, address=address, workers=workers, checkpoint_s=checkpoint_every),
        "profile": profile,
        "nodes": nodes,
        "overrides": with_pack(set_, pack),
        "only": only,
        "retry": _split(retry),
        "rerun_stale": rerun_stale,
    }
    request = _piped(options, detach=detach) if str(grid) == "-" else LaunchRequest.read(grid, **options)
    if is_job and dry_run:
        typer.echo(orchestrator.script(request), nl=False)
        return
    result: Submission | Detached | RayJob | Summary
    if is_job:
        result = orchestrator.submit(request)
    elif detach and request.plan().num_to_run:
        result = _detach(request)
    else:
        with display() as observer:
            result = orchestrator.launch(request, observer=observer, progress=False)
    if not isinstance(result, Summary):
        typer.echo(describe_started(result))
        return
    failures = orchestrator.failures(result.sweep, store=store) if result.num_failed else []
    typer.echo(describe_summary(result, failures, _same_command(request)))
    raise typer.Exit(result.exit_code)


def cancel(
    sweep: Annotated[str, typer.Argument(help="The sweep.", show_default=False, autocompletion=complete.sweeps)],
    store: Store = DEFAULT_STORE,
    grace: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.0, help="How long it may take to end before it is killed.")
    ] = 60.0,
) -> None:
    """End a running sweep, from any terminal. Running trials are checkpointed, and the next launch continues them.

    Exit codes: 0 the sweep has ended, 2 there is no such sweep, 4 it cannot be ended from here.
    """
    from bilin.cli.sweep.describe import describe_cancelled
    from bilin.orchestrator import background

    if "SLURM_JOB_ID" in os.environ:  # Slurm ends all steps of a job that ends: this one still says how it went
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    typer.echo(describe_cancelled(background.cancel(sweep, store=store, grace_s=grace), grace_s=grace))


def rename(
    sweep: Annotated[str, typer.Argument(help="The sweep.", show_default=False, autocompletion=complete.sweeps)],
    name: Annotated[str, typer.Argument(help="Its new name.", show_default=False)],
    store: Store = DEFAULT_STORE,
) -> None:
    """Give a sweep another name, with all that is stored of it. Refused while it runs.

    Exit codes: 0 it has the new name, 2 there is no such sweep, it runs, or the name is taken.
    """
    from bilin import orchestrator

    orchestrator.rename(sweep, name, store=store)
    typer.echo(f"{sweep} is now {name}; change `name` in its grid.yaml too")


def schema() -> None:
    """Print the JSON Schema of a grid.yaml, so that editors complete and check it."""
    from bilin.orchestrator.grid import grid_schema

    typer.echo(json.dumps(grid_schema(), indent=2))


def _split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


def _same_command(request: LaunchRequest) -> list[str]:
    """Return the command that launches the same again, without the classes to retry."""
    from bilin.results import store_option

    words = sys.argv[1:]
    if words[2:3] == ["-"] or words[:2] != ["sweep", "launch"]:  # from standard input, as in a job
        return ["bilin", "sweep", "launch", "GRID.yaml", *store_option(request.store)]
    kept = [
        word
        for before, word in zip(["", *words], words, strict=False)
        if "--retry" not in (before, word) and not word.startswith("--retry=")
    ]
    return ["bilin", *kept]


def _piped(options: RequestOptions, *, detach: bool) -> LaunchRequest:
    """Return the request on standard input, or one for the resolved grid there, as in job scripts of bilin 0.1."""
    from bilin.orchestrator import LaunchRequest
    from bilin.orchestrator.grid import restore_grid

    if detach:
        raise InputError("--detach needs a grid file: standard input can be read only once")
    if options["overrides"]:
        raise InputError(
            "--set and --pack change a grid file, and - stands for a resolved grid on standard input: set them before"
        )
    text = sys.stdin.buffer.read().decode(errors="replace")
    if text.startswith('{\n "request"'):
        return LaunchRequest.from_json(text, source="standard input")
    only = options.pop("only")
    return LaunchRequest.read(restore_grid(text, source="standard input", only=tuple(only)), **options)


def _detach(request: LaunchRequest) -> Detached | RayJob:
    """Launch in the background. If the launch ends at once, end with its output and exit code."""
    from bilin.orchestrator import background

    if request.cluster.address:
        return background.submit_job(request)
    started = background.detach(request)
    if started.exit_code is not None:
        typer.echo(started.output, err=started.exit_code != 0, nl=False)
        raise typer.Exit(started.exit_code)
    return started

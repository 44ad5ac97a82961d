"""`bilin cluster`: check the machines that sweeps run on."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bilin.cli.options import DEFAULT_STORE, Address, Nodes, Overrides, Profile, Store, refuse_job_options
from bilin.errors import ClusterError, InputError
from bilin.units import plural

if TYPE_CHECKING:
    from bilin.orchestrator.doctor import Finding

COLOURS = {"ok": "green", "warning": "yellow", "error": "red"}

app = typer.Typer(no_args_is_help=True)


@app.callback()
def group() -> None:
    """Check the machines that sweeps run on."""


@app.command()
def doctor(
    grid: Annotated[
        Path | None, typer.Argument(help="The grid.yaml to launch.", show_default=False, metavar="[GRID]")
    ] = None,
    store: Store = DEFAULT_STORE,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="local (default), inline, ray, slurm or allocation, as for a launch. In a Slurm job, the last two "
            "mean its nodes."
        ),
    ] = None,
    address: Address = None,
    nodes: Nodes = None,
    profile: Profile = None,
    set_: Overrides = [],
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", min=2.0, help="How long to wait for nodes of a Slurm cluster.")
    ] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check what a launch needs, on every node where it would run. Starts no trial and changes nothing.

    Exit codes: 0 no error, 2 the input is wrong, 4 a launch would fail.
    """
    from bilin.orchestrator import ClusterSpec, LaunchRequest
    from bilin.orchestrator.doctor import examine

    kind = cluster or ("ray" if address else "local")
    is_job = kind in ("slurm", "allocation")
    where = ClusterSpec(kind="allocation" if is_job else kind, address=address)
    if not is_job:
        refuse_job_options({"--nodes": nodes, "--profile": profile})
    if set_ and grid is None:
        raise InputError("--set needs a grid.yaml: give the one to launch")
    request = LaunchRequest.read(grid, store=store, cluster=where, profile=profile, nodes=nodes, overrides=set_)
    if sys.stderr.isatty():
        typer.echo("asking the nodes; this may take a minute", err=True)
    findings = examine(request, wait_s=wait)
    counts = Counter[str](finding.level for finding in findings)
    if as_json:
        levels = {level: counts[level] for level in COLOURS}
        plain = {"cluster": kind, "counts": levels, "findings": [asdict(finding) for finding in findings]}
        typer.echo(json.dumps(plain, indent=2, ensure_ascii=False))
    else:
        _print(findings)
        errors, warnings = (plural(counts[name], name) for name in ("error", "warning"))
        failing = f"{errors}, {warnings}: a launch would fail"
        typer.echo(f"\n{failing if counts['error'] else f'no error, {warnings}: a launch can begin'}")
    raise typer.Exit(ClusterError.exit_code if counts["error"] else 0)


def _print(findings: Sequence[Finding]) -> None:
    """Print findings below each other. At a terminal, the level is coloured and long lines are wrapped."""
    columns = [(finding.level, finding.where, finding.check) for finding in findings]
    widths = [max(map(len, column)) for column in zip(*columns, strict=True)]
    indent = " " * (sum(widths) + 2 * len(widths))
    wrapper = textwrap.TextWrapper(subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    wrapper.width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    for finding, column in zip(findings, columns, strict=True):
        head = "  ".join(text.ljust(width) for text, width in zip(column, widths, strict=True))
        line = wrapper.fill(f"{head}  {finding.found}").removeprefix(finding.level)
        typer.echo(typer.style(finding.level, fg=COLOURS[finding.level], bold=finding.level == "error") + line)
        if finding.advice:
            typer.echo(wrapper.fill(f"{indent}-> {finding.advice}"))

"""`bilin results export`: results for the tools of others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bilin.cli.options import DEFAULT_STORE, Store
from bilin.cli.results.display import Everything, Sweep
from bilin.units import plural

app = typer.Typer(
    help="Write results for Optuna's dashboard or for TensorBoard. For CSV, JSON and Parquet, use `bilin results query "
    "--output FILE`.",
    no_args_is_help=True,
)

Where = Annotated[str | None, typer.Option(help='A condition on trials, for example "m = 5".', show_default=False)]


@app.command()
def optuna(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The journal; it is replaced.", show_default=False)
    ],
    sweep: Sweep = None,
    where: Where = None,
    everything: Everything = False,
    store: Store = DEFAULT_STORE,
) -> None:
    """Write a journal of Optuna: a study for each cell, with the learning rate and searched fields as parameters.

    `optuna-dashboard FILE` shows it.
    """
    from bilin import results

    count = results.export_optuna(output, store, sweep=sweep, where=where, everything=everything)
    studies = "1 study" if count == 1 else f"{count} studies"
    typer.echo(f"written to {output}: {studies}; show them with: optuna-dashboard {output}", err=True)


@app.command()
def tensorboard(
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="DIRECTORY", help="A folder that is empty or does not exist.", show_default=False
        ),
    ],
    sweep: Sweep = None,
    where: Where = None,
    everything: Everything = False,
    store: Store = DEFAULT_STORE,
) -> None:
    r"""Write event files of TensorBoard: a run for each trial, with its curves, tests and hyperparameters.

    `tensorboard --logdir DIRECTORY` shows them. Needs tensorboardX: pip install 'bilin\[tensorboard]'.
    """
    from bilin import results

    count = results.export_tensorboard(output, store, sweep=sweep, where=where, everything=everything)
    typer.echo(f"written to {output}: {plural(count, 'run')}; show them with: tensorboard --logdir {output}", err=True)

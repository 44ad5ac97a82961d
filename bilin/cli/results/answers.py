"""Commands that show results: `query`, `table`, `compare`, `plot` and `spectrum`."""

from __future__ import annotations

import shlex
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from warnings import catch_warnings

import typer

from bilin.cli import complete
from bilin.cli.arrow import load_arrow
from bilin.cli.options import DEFAULT_STORE, Store
from bilin.cli.results.display import Everything, Format, Output, Sweep, show, show_rows
from bilin.cli.results.interrupts import ends_at_once
from bilin.errors import DamageWarning, InputError

if TYPE_CHECKING:
    from bilin import results

_STATISTICS = "<mean-range|mean-se|mean-std|mean-ci|mean-bootstrap|median-mad|best>"


def query(
    sql: Annotated[str | None, typer.Argument(help="One SELECT over the views of the store.")] = None,
    sweep: Sweep = None,
    view: Annotated[
        str | None,
        typer.Option(
            help="The view if there is no SQL: cells (default), trials, lengths, curves or published.",
            autocompletion=complete.views,
        ),
    ] = None,
    where: Annotated[str | None, typer.Option(help="A condition, for example \"tier = 'cp' and m > 3\".")] = None,
    select: Annotated[
        str | None, typer.Option(help="Columns or expressions; * for all.", autocompletion=complete.columns)
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(help="Columns to sort by, for example 'm, mean desc'.", autocompletion=complete.columns),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Maximum number of rows.")] = None,
    everything: Everything = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="List the columns of the views with type, unit and meaning instead.")
    ] = False,
    format_: Format = None,
    output: Output = None,
    store: Store = DEFAULT_STORE,
) -> None:
    """Show results: by default, every cell at its selected learning rate."""
    with ends_at_once():
        load_arrow()
        from bilin import results

        if explain:
            if sql or where or select or sort or limit:
                raise InputError("--explain lists columns, and takes no SQL, --where, --select, --sort or --limit")
            show(results.explain(view, store=store, sweep=sweep), format_, output)
            return
        question = results.Question(
            sql=sql,
            store=store,
            sweep=sweep,
            view=view,
            where=where,
            select=select,
            sort=sort,
            limit=limit,
            everything=everything,
        )
        show_rows(question, format_, output)


def table(
    sweep: Sweep = None,
    rows: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD,…",
            help="Fields that tell the rows apart: tier,rank. By default, models.",
            autocompletion=complete.columns,
        ),
    ] = None,
    cols: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD,…",
            help="Fields that tell the columns apart: task,m. By default, tasks.",
            autocompletion=complete.columns,
        ),
    ] = None,
    length: Annotated[
        int | None,
        typer.Option(help="The tested length to show; by default the longest of each task, or all with --by length."),
    ] = None,
    by: Annotated[str, typer.Option(help="The columns: task, or length with a table per task.")] = "task",
    value: Annotated[
        str,
        typer.Option(
            metavar="NAME[@LENGTH]",
            help="mean, low, high, best, lr, num_seeds, num_solved, accuracy, accuracy_scaled, sequence_accuracy, "
            "validation_accuracy, training_loss, steps or wall_s.",
        ),
    ] = "mean",
    stat: Annotated[
        str | None,
        typer.Option(
            metavar=_STATISTICS,
            help="How the seeds become one number with an interval; by default mean-range.",
            show_default=False,
        ),
    ] = None,
    decimals: Annotated[
        int | None, typer.Option(help="Digits after the point; by default 2 for accuracies.", show_default=False)
    ] = None,
    bold: Annotated[
        str, typer.Option(metavar="<best|within-interval|none>", help="Which numbers are bold, where a format can.")
    ] = "best",
    bold_by: Annotated[
        str, typer.Option(metavar="<column|group>", help="The best of a column, or of a group of rows in it.")
    ] = "column",
    show_: Annotated[
        str | None,
        typer.Option(
            "--show",
            metavar="NAME,…",
            help="Columns beside each number: lr, num_seeds, num_solved, params, recurrent_params.",
        ),
    ] = None,
    published: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="Published accuracies beside yours, such as 2505.21749.")
    ] = None,
    where: Annotated[str | None, typer.Option(help='A condition on cells, for example "hidden = 64".')] = None,
    everything: Everything = False,
    format_: Format = None,
    output: Output = None,
    store: Store = DEFAULT_STORE,
) -> None:
    """Show models against tasks, or any fields against any others, one number for each."""
    load_arrow()
    from bilin import results

    is_for_people = output is None and format_ in (None, results.Format.TABLE)

    def ask(opened: results.OpenStore) -> tuple[results.ResultTable, list[results.Standing]]:
        shown = results.table(
            opened,
            sweep=sweep,
            length=length,
            by=by,
            value=value,
            stat=stat,
            everything=everything,
            where=where,
            rows=_names(rows),
            cols=_names(cols),
            show=_names(show_),
            decimals=decimals,
            bold=bold,
            bold_by=bold_by,
            published=published,
        )
        return shown, results.standings(opened) if is_for_people and len(opened.sweeps) == 1 else []

    shown, standings = results.at_one_moment(store, ask, sweeps=[sweep] if sweep else ())
    show(shown, format_, output)
    for standing in standings:
        _say_what_is_missing(store, standing)


def _names(text: str | None) -> list[str]:
    """Return the names of an option, which commas separate."""
    return [name.strip() for name in text.split(",") if name.strip()] if text else []


def compare(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[SWEEP]",
            help="The sweep to look at; by default all.",
            show_default=False,
            autocompletion=complete.sweeps,
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Argument(
            metavar="[OTHER]",
            help="Another sweep, or a source of published accuracies such as 2505.21749; by default all sources.",
            show_default=False,
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="A source of published accuracies, such as bilinear_ood500: also lists what was not run.",
            show_default=False,
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            help="Up to this difference, two accuracies are the same; by default 0, or 0.02 beside published ones.",
            show_default=False,
        ),
    ] = None,
    sweep: Sweep = None,
    everything: Everything = False,
    format_: Format = None,
    output: Output = None,
    store: Store = DEFAULT_STORE,
) -> None:
    """Show the cells of a sweep beside those of another, or beside published accuracies."""
    load_arrow()
    from bilin import results

    if name is not None and sweep not in (None, name):
        raise InputError(f"found two sweeps to look at, {name} and --sweep {sweep}: leave out one")
    if reference is not None and against is not None:
        raise InputError(f"found {against} and --reference {reference} to compare with: leave out one")
    against = against or reference
    shown = results.compare(store, sweep=name or sweep, against=against, tolerance=tolerance, everything=everything)
    show(shown, format_, output)


def plot(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="length, heatmap, lr, size, training, cost, or spectrum with a TRIAL.",
            show_default=False,
            autocompletion=complete.figures,
        ),
    ],
    trial: Annotated[
        str | None,
        typer.Argument(
            metavar="[TRIAL]",
            help="For spectrum: id of the trial, or its first digits.",
            show_default=False,
            autocompletion=complete.trials,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The picture: .png, .svg or .pdf.", show_default=False),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="FILE", help="Write the numbers behind it: .csv, .json or .parquet.", show_default=False
        ),
    ] = None,
    sweep: Sweep = None,
    where: Annotated[str | None, typer.Option(help="A condition, for example \"m = 5 AND tier <> 'lstm'\".")] = None,
    length: Annotated[
        int | None, typer.Option(help="The tested length; by default the longest of each task.", show_default=False)
    ] = None,
    stat: Annotated[
        str | None,
        typer.Option(
            metavar=_STATISTICS,
            help="The line and the band over the seeds; by default mean-range.",
            show_default=False,
        ),
    ] = None,
    value: Annotated[
        str | None, typer.Option(metavar="<accuracy|loss>", help="For training: by default accuracy.")
    ] = None,
    x: Annotated[
        str | None, typer.Option("--x", metavar="FIELD", help="For size: by default the rank or block size.")
    ] = None,
    terminal: Annotated[bool, typer.Option("--terminal", help="Draw with characters on the terminal.")] = False,
    width: Annotated[
        str, typer.Option(metavar="<column|text|page|INCHES>", help="Width in a paper: 3.25, 5.5 or 6.75 inches.")
    ] = "text",
    everything: Everything = False,
    store: Store = DEFAULT_STORE,
) -> None:
    r"""Draw a figure: accuracy by length, a heat map, learning rates, sizes, training curves, cost, or a spectrum.

    A picture needs matplotlib: pip install 'bilin\[plot]'.
    """
    from bilin import results

    results.check_figure_kind(kind)
    if output is None and data is None and not terminal:
        raise InputError(
            "say where to draw: -o FILE for the picture, --data FILE for its numbers, or --terminal for characters"
        )
    if output is not None:
        results.check_figure_path(output)
    if trial is not None or kind == results.SPECTRUM:
        if trial is None or kind != results.SPECTRUM or terminal or any((where, length, stat, value, x, everything)):
            raise InputError(
                "a spectrum is of one trial: bilin results plot spectrum TRIAL, with -o, --data, --width, --sweep and "
                "--store; other figures name no trial"
            )
        from bilin import orchestrator

        numbers = orchestrator.spectrum(trial, store=store, sweep=sweep).data
    else:
        numbers = results.figure_data(
            kind, store, sweep=sweep, where=where, length=length, stat=stat, value=value, x=x, everything=everything
        )
    if data is not None:
        show(results.ResultTable.of(numbers), None, data)
    if terminal:
        typer.echo(results.draw_text(kind, numbers, shutil.get_terminal_size().columns))
    if output is not None:
        results.save_figure(results.draw_figure(kind, numbers, width), output)
        typer.echo(f"written to {output}", err=True)


def spectrum(
    trial: Annotated[
        str,
        typer.Argument(
            help="Id of the trial, or its first digits.", show_default=False, autocompletion=complete.trials
        ),
    ],
    sweep: Sweep = None,
    format_: Format = None,
    output: Output = None,
    store: Store = DEFAULT_STORE,
) -> None:
    """Show what a trial of a bilinear tier has learned: the eigenvalues of the matrix of each token.

    Beside them are those of an exact solution. The weights of the trial must be kept. `plot spectrum` draws them.
    """
    from bilin import orchestrator

    show(orchestrator.spectrum(trial, store=store, sweep=sweep), format_, output)


def _say_what_is_missing(store: Path, standing: results.Standing) -> None:
    """Warn on standard error if the sweep that is shown is not complete."""
    if standing.state == "complete" and "pruned" not in standing.statuses:
        return  # to plan a large sweep takes long; only the plan knows which pruned trials go on
    from bilin import orchestrator, results
    from bilin.cli.sweep.describe import describe_state

    # The query names the damage, and `bilin sweep status` the fault of a grid.
    with suppress(InputError), catch_warnings(action="ignore", category=DamageWarning):
        status = orchestrator.status(standing.sweep, store=store)
        if status.state is not orchestrator.SweepState.COMPLETE:
            more = shlex.join(["bilin", "sweep", "status", standing.sweep, *results.store_option(store)])
            typer.echo(f"{standing.sweep}: {describe_state(status)}\n  more: {more}", err=True)

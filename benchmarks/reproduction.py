"""The tables of docs/reproduction.md and of the README, from the results of `make reproduce` in reproduction/.

    python -m benchmarks.reproduction [--write]

Prints the part of the page between its two marks; `--write` puts it there, and a short table into the README. Before a
commit, merge the part files:

    bilin results compact --store reproduction
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.reproduce import INTERRUPTED, LAUNCHES, ROOT, STAGES, STORE
from bilin.orchestrator import LaunchRequest, Plan
from bilin.orchestrator.grid import WantedCell
from bilin.results import Format, compare, encode, query, sweep_names, table

PAGE, README = ROOT / "docs" / "reproduction.md", ROOT / "README.md"
BEGIN, END = "<!-- the campaign: `python -m benchmarks.reproduction --write` -->", "<!-- end of the campaign -->"
REFERENCE = "arXiv 2505.21749"
TASKS = {"modular_addition": "Modular addition", "random_state_machine": "Random state machine"}
BY_LENGTH = {
    "reproduce-5-groups": "Groups by length",
    "reproduce-6-copying": "Copying, and modular arithmetic with brackets",
    "modular-arithmetic": "Modular arithmetic",
}
"""The titles of sweeps that are shown by tested length."""

STEPS = """
    SELECT * EXCLUDE steps, median(steps) OVER (PARTITION BY sweep, cell_id) AS steps
    FROM trials WHERE selected AND status = 'done'
"""

ENDS = """
    SELECT tier, normalize, spec->>'$.validate.mixed_lengths' AS mixed, count(*) AS num_trials,
        count_if(solved) AS num_solved, median(steps) FILTER (solved) AS steps,
        count_if(solved AND wrong_at_500) AS wrong_at_500, count_if(solved AND wrong) AS wrong
    FROM trials JOIN (
        SELECT sweep, trial_id, bool_or(accuracy_scaled < 0.98) AS wrong,
            bool_or(accuracy_scaled < 0.98 AND length = 500) AS wrong_at_500
        FROM lengths GROUP BY ALL
    ) USING (sweep, trial_id)
    WHERE sweep = 'ending-rule' AND status = 'done' GROUP BY ALL ORDER BY ALL
"""

RECIPE = {
    "task": "modular_arithmetic",
    "m": 5,
    "precedence": False,
    "transitions": None,
    "tier": "full",
    "hidden": 32,
    "rank": None,
    "block_size": None,
    "onehot": True,
    "weight_decay": 0.3,
    "weight_decay_on": "recurrent",
    "normalize": "none",
    "supervision": "final",
}
"""What the cells of `examples/arithmetic_limits.yaml` differ from."""

SHORT = ("full", "block_diagonal", "rotation", "real_diagonal", "lstm")
MODEL = ("tier", "block_size", "rank", "layers")
Row = Mapping[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="replace the tables in docs/reproduction.md and README.md")
    if parser.parse_args().write:
        for page, part in ((PAGE, markdown()), (README, short_table())):
            page.write_text(replaced(page.read_text(), part))
    else:
        print(markdown())


def markdown() -> str:
    """The part of the page."""
    plans = [LaunchRequest.read(ROOT / "examples" / f"{stage}.yaml", store=STORE).plan() for stage in STAGES]
    rows = published_rows()
    return "\n".join(
        [
            *cost_table(plans),
            "",
            *matrices(rows),
            *details(rows, plans),
            *ablation(),
            *ending_rule(),
            *curves(),
            *by_length(),
            *limits(),
        ]
    )


def short_table() -> str:
    """The part of the README: modular addition by the bilinear tiers and LSTM."""
    rows = [row for row in published_rows() if row["task"] == "modular_addition" and row["tier"] in SHORT]
    return "\n".join(matrix(rows, by="m", entry=_ours_and_published))


def _ours_and_published(row: Row) -> str:
    return f"{_number(row)} ({row['published']:.2f})"


def published_rows() -> list[Row]:
    """A row for each published accuracy, with bilin's own if a stage has run that cell."""
    found: dict[tuple[Any, ...], Row] = {}
    for row in compare(STORE, against=REFERENCE, everything=True).data.to_pylist():
        is_of_stage = (row["sweep"] or "").startswith("reproduce-")
        shown = row if is_of_stage else {**row, "mean": None, "mark": "not run"}
        if _key(row) not in found or is_of_stage:
            found[_key(row)] = {**shown, "layers": _layers(row), "rank": None}  # of what is not published
    return list(found.values())


def replaced(page: str, part: str) -> str:
    """The page with this part."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{part}\n{END}{after}"


def cost_table(plans: Sequence[Plan]) -> Iterator[str]:
    """What the campaign has cost."""
    own = f"found_in IS NULL AND sweep IN {tuple(plan.grid.name for plan in plans)}"
    statuses = Counter(row["status"] for row in _rows(f"SELECT status FROM trials WHERE {own}"))
    (hours,) = _rows(f"SELECT sum(wall_s) / 3600 AS training, sum(test_s) / 3600 AS test FROM trials WHERE {own}")
    ledger = STORE / LAUNCHES
    launches = [json.loads(line) for line in ledger.read_text().splitlines()] if ledger.exists() else []
    failed = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()) if status != "done")
    saved = sum(plan.num_wanted - plan.num_done - plan.num_failed - plan.num_to_run for plan in plans)
    interrupted = sum(launch["exit_code"] == INTERRUPTED for launch in launches)
    yield "| the campaign so far | |"
    yield "|---|--:|"
    yield f"| trials with a result | {statuses['done']} |"
    yield f"| trials that failed or diverged | {failed or 0} |"
    yield f"| trials saved, because a learning rate before theirs solved the cell | {saved} |"
    yield f"| trials still to run | {sum(plan.num_to_run for plan in plans)} at most |"
    yield f"| hours of workers with one thread each | {hours['training']:.2f}, {hours['test']:.2f} of them for tests |"
    yield f"| launches, and how many of them were interrupted | {len(launches)}, {interrupted} |"


def matrices(rows: Sequence[Row]) -> Iterator[str]:
    """A table for each task: our accuracy in each cell, and the published one in brackets."""
    counts = Counter(row["mark"] for row in rows)
    yield "Scaled accuracy at length 500, in brackets the published one. **Bold**: better by more than 0.02."
    yield "*Italic*: worse. –: not run. A number that differs by more than 0.02, but whose interval contains the"  # noqa: RUF001
    marks = ", ".join(f"{count} {mark}" for mark, count in counts.most_common()).replace("agrees", "agree")
    yield f"published one, is unclear. {marks}."
    for task, title in TASKS.items():
        of_task = [row for row in rows if row["task"] == task]
        yield from ("", f"### {title}", "")
        yield from matrix(of_task, by="m", entry=_ours_and_published)
    yield ""


def _number(row: Row) -> str:
    if row["mean"] is None:
        return "–"  # noqa: RUF001
    mark = {"better": "**", "worse": "*"}.get(row["mark"], "")
    return f"{mark}{_share(row['mean'])}{mark}"


def _share(accuracy: float) -> str:
    """An accuracy; only what is exactly 1 is shown as 1.00, and nothing as -0.00."""
    return "1.00" if accuracy == 1.0 else f"{min(accuracy, 0.99) + 0.0:.2f}".replace("-0.00", "0.00")


def matrix(rows: Sequence[Row], *, by: str, entry: Callable[[Row], str]) -> Iterator[str]:
    """A Markdown table of models against a field."""
    columns = sorted({row[by] for row in rows})
    entries = {(_model(row), row[by]): entry(row) for row in rows}
    heading = "m = {}" if by == "m" else "{}"
    yield f"| | {' | '.join(heading.format(column) for column in columns)} |"
    yield f"|---|{'--:|' * len(columns)}"
    for model in dict.fromkeys(_model(row) for row in rows):
        yield f"| {model} | {' | '.join(entries.get((model, column), '–') for column in columns)} |"  # noqa: RUF001


def _model(row: Row) -> str:
    """A model by the fields that tell models of its tier apart."""
    fields = [f"{name}={row[name]}" for name in MODEL[1:] if row.get(name) is not None]
    return f"`{' '.join([row['tier'], *fields])}`"


def details(rows: Sequence[Row], plans: Sequence[Plan]) -> Iterator[str]:
    """A row for each cell that was run, with its interval, its seeds and what differs from the paper."""
    steps = {(row["sweep"], *_key(row)): row["steps"] for row in _rows(STEPS)}
    done = [row for row in rows if row["mean"] is not None]
    open_cells = {
        (plan.grid.name, *_key(_fields(cell.wanted))) for plan in plans for cell in plan.cells if cell.is_open
    }
    protocols = {text: chr(65 + index) for index, text in enumerate(dict.fromkeys(_protocol(row) for row in done))}
    yield from ("### Every cell that was run", "")
    yield "The interval has 95 %: over the seeds (t), or for one seed over its sequences (Wilson). *So far*: rates or"
    yield "seeds of the cell are still to run."
    yield ""
    yield "| task | m | model | published | bilin | interval | seeds (solved) | steps, median | mark | protocol |"
    yield "|---|--:|---|--:|--:|---|--:|--:|---|---|"
    for row in done:
        interval = "–" if row["low"] is None else f"{row['low']:.3f} to {row['high']:.3f}"  # noqa: RUF001
        seeds = f"{row['num_seeds']} ({row['num_solved']})"
        cell = f"{row['task']} | {row['m']} | {_model(row)}"
        median = f"{steps[row['sweep'], *_key(row)]:,.0f}"
        numbers = f"{row['published']:.2f} | {_share(row['mean'])} | {interval} | {seeds} | {median}"
        so_far = ", so far" if (row["sweep"], *_key(row)) in open_cells else ""
        yield f"| {cell} | {numbers} | {row['mark']}{so_far} | {protocols[_protocol(row)]} |"
    yield from (
        "",
        "Protocols, as they differ from the published one, besides validation beyond the training lengths:",
        "",
    )
    yield from (f"- **{letter}**: {text}" for text, letter in protocols.items())


def _protocol(row: Row) -> str:
    return str(row["differs_in"])


def _key(row: Row) -> tuple[Any, ...]:
    return row["task"], row["m"], row["tier"], row["block_size"], _layers(row)


def _fields(wanted: WantedCell) -> Row:
    """The fields of a cell by the names of the results."""
    nothing = dict.fromkeys(("m", "block_size", "layers"))
    names = {"task": wanted.cell.task.name, "tier": wanted.cell.model.tier}
    return {**nothing, **asdict(wanted.cell.task), **asdict(wanted.cell.model), **names}  # type: ignore[call-overload]


def _layers(row: Row) -> int | None:
    """The layers, if the paper states them: it does not for LSTM."""
    return None if row["tier"] == "lstm" else row["layers"]


def ablation() -> Iterator[str]:
    """The rotation, with differences to the published protocol taken back."""
    rows = _cells("rotation-ablation", 500)
    if not rows:
        return
    yield from ("", "### The rotation: what makes the difference", "")
    yield "Scaled accuracy at length 500 of each seed, at the learning rate 1e-3, after at most 10,000 steps"
    yield "(`examples/rotation_ablation.yaml`). The published values are 0.00 (m = 3) and 0.66 (m = 10)."
    yield ""
    yield "| m | schedule | normalize in training | ends when solved | seeds solved | accuracies | mean |"
    yield "|--:|---|---|---|--:|---|--:|"
    for row in rows:
        ends = "yes" if row["stop_when_solved"] else "no, and not validated beyond the training lengths"
        scores = ", ".join(map(_share, row["scores"]))
        settings = f"{row['m']} | {row['schedule']} | {row['normalize']} | {ends}"
        solved = f"{row['num_solved']} of {row['num_seeds']}"
        yield f"| {settings} | {solved} | {scores} | {statistics.mean(row['scores']):.2f} |"


def ending_rule() -> Iterator[str]:
    """How often a solved trial is wrong, by the rule that ends it."""
    rows = _rows(ENDS) if "ending-rule" in sweep_names(STORE) else []
    if not rows:
        return
    yield from ("", "### How often is a solved trial wrong?", "")
    yield "Modular addition with m = 2 and 3, ten seeds of each, H = 64 (`examples/ending_rule.yaml`). *Wrong*: a"
    yield "scaled accuracy below 0.98. *Anywhere*: at 10, 300, 500 or 700 tokens."
    yield ""
    yield "| model | normalize | validated last at mixed lengths | solved | steps, median | wrong at 500 | anywhere |"
    yield "|---|---|---|--:|--:|--:|--:|"
    for row in rows:
        model = f"`{row['tier']}` | {'–' if row['tier'] == 'lstm' else row['normalize']}"  # noqa: RUF001
        rule = "yes" if row["mixed"] == "true" else "no"
        steps = f"{row['steps']:,.0f}" if row["num_solved"] else "–"  # noqa: RUF001
        wrong = f"{row['wrong_at_500']} | {row['wrong']}"
        yield f"| {model} | {rule} | {row['num_solved']} of {row['num_trials']} | {steps} | {wrong} |"


def curves() -> Iterator[str]:
    """Tables of what the papers have no numbers for."""
    rows = _cells("curves")
    at_500 = [row for row in rows if row["length"] == 500]
    machines = [row for row in at_500 if row["task"] == "random_state_machine"]
    additive = [row for row in at_500 if row["tier"] == "full" and row["m"] == 2 and row["task"] == "modular_addition"]
    addition = [row for row in rows if row["task"] == "modular_addition" and row["m"] == 5]
    if not rows:
        return
    yield from ("", "### Rank and block size", "")
    yield "Random state machines, H = 64, at most 5,000 steps (`examples/curves.yaml`): the mean over three seeds of"
    yield "the scaled accuracy at 500, and in brackets how many of them were solved."
    for tiers in (("cp",), ("block_diagonal", "full")):
        yield ""
        yield from matrix([row for row in machines if row["tier"] in tiers], by="m", entry=_mean_and_solved)
    yield from ("", "### Up to 10,000 tokens, and the steps until a trial is solved", "")
    yield "Modular addition with m = 5, H = 64, at most 10,000 steps, the mean over three seeds; below it, the median"
    yield "of the steps."
    yield ""
    yield from matrix(addition, by="length", entry=lambda row: _share(row["mean"]))
    steps = {row["cell_id"]: row["steps"] for row in _rows(STEPS) if row["sweep"] == "curves"}
    yield ""
    yield "| | steps, median | solved |"
    yield "|---|--:|--:|"
    for row in (row for row in addition if row["length"] == 500):
        yield f"| {_model(row)} | {steps[row['cell_id']]:,.0f} | {row['num_solved']} of {row['num_seeds']} |"
    yield from ("", "### Additive terms on parity", "")
    yield "`full` with H = 64, at most 5,000 steps, ten seeds: the scaled accuracy at 500."
    yield ""
    yield "| additive | mean | 95 % interval (t) | lowest | solved |"
    yield "|---|--:|---|--:|--:|"
    for row in additive:
        interval = f"{row['low']:.2f} to {row['high']:.2f}" if row["low"] is not None else "–"  # noqa: RUF001
        numbers = f"{_share(row['mean'])} | {interval} | {_share(row['min'])}"
        yield f"| {str(row['additive']).lower()} | {numbers} | {row['num_solved']} of {row['num_seeds']} |"


def _mean_and_solved(row: Row) -> str:
    return f"{_share(row['mean'])} ({row['num_solved']})"


def by_length() -> Iterator[str]:
    """Tables of accuracy by length."""
    for sweep in (sweep for sweep in BY_LENGTH if sweep in sweep_names(STORE)):
        shown = encode(table(STORE, sweep=sweep, by="length", bold="none", everything=True), Format.MARKDOWN).decode()
        yield from ("", f"### {BY_LENGTH[sweep]}", "", shown.rstrip())


def limits() -> Iterator[str]:
    """How the recipe of modular arithmetic fares with one change at a time."""
    rows = _cells("arithmetic-limits")
    if not rows:
        return
    yield from ("", "### How far the recipe of modular arithmetic reaches", "")
    yield "The recipe of `examples/modular_arithmetic.yaml` with one change at a time"
    yield "(`examples/arithmetic_limits.yaml`): the mean over the seeds of the scaled accuracy, by the number of"
    yield "operands, or of tokens on other tasks."
    yield ""
    lengths = sorted({row["length"] for row in rows})
    found: dict[str, dict[int, str]] = {}
    for row in rows:
        changes = [f"{name}: {row[name]}" for name, value in RECIPE.items() if row[name] not in (value, None)]
        label = f"{', '.join(changes) or 'the recipe'} | {row['num_seeds']}"
        found.setdefault(label, {})[row["length"]] = _share(row["mean"])
    yield f"| change | seeds | {' | '.join(map(str, lengths))} |"
    yield f"|---|--:|{'--:|' * len(lengths)}"
    for label, numbers in found.items():
        yield f"| {label} | {' | '.join(numbers.get(length, '–') for length in lengths)} |"  # noqa: RUF001


def _cells(sweep: str, length: int | None = None) -> list[Row]:
    """The cells of a sweep that have a number."""
    if sweep not in sweep_names(STORE):
        return []
    where = "num_seeds > 0" + (f" AND length = {length}" if length else "")
    return list(query(store=STORE, sweep=sweep, view="cells", where=where, select="*", everything=True).to_pylist())


def _rows(sql: str) -> list[Row]:
    return list(query(sql, store=STORE, everything=True).to_pylist())


if __name__ == "__main__":
    main()

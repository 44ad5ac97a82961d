"""Tables of any fields against any others: positions, values of seeds, marks, bold, and what stands beside a number."""

from __future__ import annotations

import dataclasses

import pytest
from scipy import stats

from bilin.errors import QueryError
from bilin.record import LengthResult
from bilin.results import SweepWriter, WantedRow, encode, table
from bilin.results.result_table import Format
from tests.results.samples import cell, failed, pair


def store_of(store, pairs, sweep="sweep", wanted=()):
    with SweepWriter(store, sweep) as writer:
        writer.append(pairs)
        if wanted:
            writer.write_wanted(
                [
                    WantedRow(
                        cell_id=of.cell_id, lrs=(1e-3,), seeds=(0, 1, 2), num_trials=3, test_lengths=(500,),
                        num_sequences=2048,
                    )
                    for of in wanted
                ]
            )  # fmt: skip
    return store


def scored(of, *scores, lr=1e-3, classes=2):
    """A trial for each seed, with an accuracy scaled so that chance is 0."""
    return [
        pair(of, lr=lr, seed=seed, lengths=(LengthResult(500, round(1000 * (1 + score)), 2000, classes),))
        for seed, score in enumerate(scores)
    ]


def lines(shown, format_=Format.TABLE):
    return encode(shown, format_).decode().splitlines()


RANKS = [cell("cp", m=m, rank=rank) for m in (2, 3) for rank in (8, 64)]


def test_any_fields_tell_rows_and_columns_apart(store):
    store_of(store, [pair(of) for of in [*RANKS, cell("full", m=2)]])
    assert lines(table(store, rows=["tier", "rank"], cols=["m"]))[:5] == [
        "tier  rank  m=2   m=3",
        "----  ----  ----  ----",
        "full        1.00  –",  # noqa: RUF001
        "cp       8  1.00  1.00",
        "cp      64  1.00  1.00",
    ]


def test_outer_fields_of_the_columns_are_sections(store):
    store_of(store, [pair(of) for of in RANKS])
    assert lines(table(store, rows=["rank"], cols=["task", "m"]))[:4] == [
        "modular_addition", "", "rank  m=2   m=3", "----  ----  ----",
    ]  # fmt: skip


def test_several_cells_at_one_position_are_refused_with_what_tells_them_apart(store):
    store_of(store, [pair(of) for of in RANKS])
    with pytest.raises(QueryError, match=r"2 cells are at tier=cp, m=2; they differ in rank \(8, 64\)\. Add rank to"):
        table(store, rows=["tier"], cols=["m"])
    assert len(table(store, rows=["tier"], cols=["m"], where="rank = 8").data) == 1


def test_a_field_that_some_cells_search_is_a_text(store):
    searching = dataclasses.replace(cell("cp", rank=64), searched=("rank",))
    store_of(store, [pair(cell("cp", rank=8)), pair(searching)])
    shown = table(store, rows=["tier", "rank"])
    assert shown.data["rank"].to_pylist() == ["8", "searched"]


def test_values_that_are_rounded_to_one_text_have_columns_of_their_own(store):
    decays = {0.1234561: 0.25, 0.1234562: 0.5, 0.7654321: 0.75}
    for decay, score in decays.items():
        of = cell(m=2)
        of = dataclasses.replace(of, train=dataclasses.replace(of.train, weight_decay=decay))
        store_of(store, scored(of, score))
    shown = table(store, rows=["tier"], cols=["weight_decay"])
    assert [column.heading for column in shown.columns[1:]] == [
        "weight_decay=0.1234561", "weight_decay=0.1234562", "weight_decay=0.76543",
    ]  # fmt: skip
    (row,) = shown.data.to_pylist()
    assert {decay: row[f"weight_decay={decay}"] for decay in decays} == decays
    sections = table(store, rows=["tier"], cols=["weight_decay", "m"]).sections()
    assert [section.rows[0][1].value for section in sections] == list(decays.values())


def test_a_sweep_called_like_a_field_of_the_rows_keeps_both_columns(store):
    for sweep in ("tier", "other"):
        store_of(store, [pair(cell("full"))], sweep)
    shown = table(store, rows=["tier"], cols=["sweep"])
    assert [name for name in shown.data.column_names if "," not in name] == ["tier", "other", "sweep=tier"]
    assert lines(shown)[0].split() == ["tier", "other", "tier"]
    assert lines(shown)[2].split() == ["full", "1.00", "1.00"]


def test_lengths_are_an_axis_too(store):
    shown = table(store_of(store, [pair(cell("full"))]), rows=["tier"], cols=["length"])
    assert shown.data.column_names[1::6] == ["length=10", "length=500"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": ["tear"]}, r"no axis 'tear' \(did you mean tier\?\); accepted: task, "),
        ({"rows": ["tier"], "cols": ["tier"]}, "an axis is named twice"),
        ({"cols": ["m"]}, "columns need rows"),
        ({"rows": ["tier"], "by": "length"}, "a table by length has models as rows"),
        ({"show": ["colour"]}, "no column to show 'colour'; accepted: lr, num_seeds"),
        ({"bold": "all"}, "no rule for bold 'all'; accepted: best, within-interval, none"),
        ({"bold_by": "row"}, "no part of a table 'row'; accepted: column, group"),
        (
            {"published": "2505"},
            r"no paper '2505.9' \(did you mean 2505.21749\?\); accepted: a part of the name of one paper, as in ",
        ),
        ({"value": "mean@long"}, "found the value 'mean@long'; accepted: a name, or a name with one length"),
        ({"value": "mean@10", "length": 500}, "found the value 'mean@10'"),
        ({"decimals": -1}, "found -1 decimals; accepted: 0 to 10"),
    ],
)
def test_what_is_not_accepted_is_said(store, arguments, message):
    store_of(store, [pair()])
    if "published" in arguments:
        arguments = {"published": "2505.9"}
    with pytest.raises(QueryError, match=message):
        table(store, **arguments)


def test_a_value_may_name_its_length(store):
    store_of(store, [pair(cell("full"), lengths=(LengthResult(10, 2000, 2000, 2), LengthResult(500, 1000, 2000, 2)))])
    assert lines(table(store, value="accuracy_scaled@10"))[4] == "full   1.00"
    assert "; length 10; one seed" in table(store, rows=["tier"], value="mean@10").note


def test_values_of_trials_are_summarized_over_the_seeds(store):
    pairs = [pair(seed=seed, steps=steps) for seed, steps in enumerate((100, 300))]
    shown = table(store_of(store, pairs), rows=["tier"], value="steps", stat="mean-std")
    assert lines(shown)[2] == "full  200 ± 141"
    assert (
        shown.note == "mean steps taken at the selected learning rate; ± the standard deviation of 2 seeds (mean-std)"
    )
    fewest = table(store, rows=["tier"], value="steps", stat="best")
    assert lines(fewest)[2] == "full  100"
    assert fewest.note.startswith("lowest steps")


def test_decimals_can_be_chosen_and_only_an_accuracy_of_one_is_one(store):
    store_of(store, [*scored(cell("full"), 0.998), *scored(cell("cp", rank=8), 1.0)])
    assert [line.split()[-1] for line in lines(table(store, decimals=1))[4:6]] == ["0.9", "1.0"]
    assert [line.split()[-1] for line in lines(table(store, decimals=3))[4:6]] == ["0.998", "1.000"]


def test_one_seed_has_a_wilson_interval(store):
    shown = table(store_of(store, scored(cell("full"), 0.9)), stat="mean-ci")
    low, high = stats.binomtest(1900, 2000).proportion_ci(method="wilson")
    row = shown.data.to_pylist()[0]
    (name,) = [name for name in row if name.endswith("low")]
    assert row[name] == pytest.approx(2 * low - 1)
    assert lines(shown)[4] == f"full   0.90 [{2 * low - 1:.2f}, {2 * high - 1:.2f}]"
    assert shown.note.endswith("one seed, in brackets its 95 % Wilson interval (mean-ci)")


def test_failed_and_diverged_cells_and_lost_seeds_are_marked(store):
    models = [cell("full"), cell("lstm"), cell("rotation"), cell("real_diagonal")]
    pairs = [*scored(models[0], 0.9, 0.8), failed(models[0], seed=2, status="diverged")]
    pairs += [failed(models[1], status="diverged"), failed(models[2])]
    shown = table(store_of(store, pairs, wanted=models))
    assert [line.split() for line in lines(shown)[4:7]] == [
        ["full", "0.85", "[0.80,", "0.90]†"], ["rotation", "failed"], ["lstm", "diverged"],
    ]  # fmt: skip
    assert shown.note.splitlines()[1] == "† some seeds at the selected learning rate have no number: 1 diverged"


def test_numbers_with_logits_that_are_not_finite_are_marked(store):
    tested = (LengthResult(10, 2048, 2048, 5, 2048, 0), LengthResult(500, 1024, 2048, 5, 0, 7))
    store_of(store, [pair(lengths=tested), pair(seed=1), *scored(cell("cp", rank=8), 1.0)])
    shown = table(store, by="length")
    (full,) = [line.split() for line in lines(shown) if line.startswith("full")]
    assert [word for word in full if word.startswith("(")] == ["(2)", "(2)‡"]
    assert shown.note.splitlines()[1:] == ["‡ some logits were not finite, and count as wrong: 1 number"]
    assert "‡" not in table(store, length=10).note + table(store, value="steps").note


def test_the_best_of_a_column_or_of_a_group_is_bold(store):
    of = {(tier, rank): cell(tier, rank=rank) for tier in ("cp", "block_diagonal") for rank in (2, 4) if tier == "cp"}
    of |= {("block_diagonal", size): cell("block_diagonal", block_size=size) for size in (2, 4)}
    scores = {("cp", 2): 0.2, ("cp", 4): 0.6, ("block_diagonal", 2): 0.3, ("block_diagonal", 4): 0.3}
    store_of(store, [each for key, of_cell in of.items() for each in scored(of_cell, scores[key])])

    def bold(**arguments):
        shown = table(store, rows=["tier", "rank", "block_size"], cols=["m"], **arguments)
        written = lines(shown, Format.MARKDOWN)
        return [line.split("|")[-2].strip() for line in written[2:6]]

    assert bold() == ["**0.60**" if text == "0.60" else text for text in bold(bold="none")]
    assert sorted(bold(bold_by="group")) == ["**0.60**", "0.20", "0.30", "0.30"]  # of equal numbers, none is the best
    assert sorted(bold(bold="none")) == ["0.20", "0.30", "0.30", "0.60"]


def test_what_is_within_the_interval_of_the_best_is_bold_too(store):
    pairs = [*scored(cell("full"), 0.9, 0.7), *scored(cell("cp", rank=8), 0.75), *scored(cell("cp", rank=2), 0.1)]
    shown = table(store_of(store, pairs), bold="within-interval")
    written = [line.split("|")[2].strip() for line in lines(shown, Format.MARKDOWN)[4:7]]
    assert written == ["**0.80** [0.70, 0.90] (2)", "0.10 (1)", "**0.75** (1)"]


def test_the_lowest_loss_is_the_best(store):
    store_of(store, [pair(cell("full"), training_loss=0.1), pair(cell("lstm"), training_loss=0.2)])
    assert "| full | **0.100** |" in lines(table(store, value="training_loss"), Format.MARKDOWN)


def test_the_rate_and_published_accuracies_stand_beside_the_number(store):
    store_of(store, scored(cell("full", m=2), 0.5, lr=3e-4))
    shown = table(store, rows=["tier"], cols=["m"], show=["lr", "num_seeds"], published="2505.21749")
    assert lines(shown)[0].split() == ["tier", "m=2", "lr", "num_seeds", "published"]
    assert lines(shown)[2].split() == ["full", "0.50", "0.0003", "1", "1.00"]
    assert shown.data.to_pylist()[0]["m=2, published"] == 1.0
    assert "; beside it the accuracy of arXiv 2505.21749" in shown.note

from __future__ import annotations

import json


def test_the_hierarchy_is_shown(bilin):
    assert bilin("table").stdout.splitlines() == [
        "modular_addition, length 500",
        "",
        "model      m=5",
        "---------  ----",
        "full       1.00",
        "cp rank=8  0.50",
        "",
        "mean accuracy at the selected learning rate, scaled so that chance is 0; one seed",
    ]


def test_markdown_is_a_table(bilin):
    assert "| cp rank=8 | 0.50 |" in bilin("table", "--format", "markdown").stdout.splitlines()


def test_machines_get_numbers(bilin):
    rows = json.loads(bilin("table", "--format", "json", "--length", "10", "--value", "num_seeds").stdout)
    assert rows == [{"model": model, "modular_addition m=5, length 10": 1} for model in ("full", "cp rank=8")]


def test_a_table_by_length_has_a_column_a_length(bilin):
    assert bilin("table", "--by", "length").stdout.splitlines()[:5] == [
        "modular_addition m=5",
        "",
        "model      10    500",
        "---------  ----  ----",
        "full       1.00  1.00",
    ]

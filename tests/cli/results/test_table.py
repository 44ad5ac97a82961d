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


def test_a_table_for_a_paper_is_written_to_a_file(bilin, tmp_path):
    path = tmp_path / "table.tex"
    options = ["--rows", "tier, rank", "--cols", "m", "--value", "accuracy@500", "--decimals", "3", "--show", "lr"]
    assert bilin("table", *options, "--bold-by", "group", "--bold", "none", "-o", str(path)).exit_code == 0
    rows = [line.strip() for line in path.read_text().splitlines() if line.endswith(r"\\")]
    assert rows == [r"tier & rank & m=5 & lr \\", r"full &  & 1.000 & 0.001 \\", r"cp & 8 & 0.600 & 0.001 \\"]


def test_the_condition_selects_cells(bilin):
    lines = bilin("table", "--where", "tier = 'cp'", "--published", "2505.21749").stdout.splitlines()
    assert [line.split()[0] for line in lines[2:5]] == ["model", "---------", "cp"]

"""LaTeX and HTML: what they contain, and that TeX and a parser take them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pytest

from bilin.results import ResultTable, encode
from bilin.results.result_table import Column, Estimate, Format

NASTY = [r"\input{x} & % $ # _ ^ ~", "[1, 2]", "*", "<script>alert(1)</script>", '"><img onerror=x>', "é Ω – ± …"]  # noqa: RUF001

RANKS = ResultTable(
    data=pa.table({"tier": ["cp", "cp", "full"], "rank": [8, 64, None], "one, m_2": [0.5, None, 1.0], "lr": [1, 2, 3]}),
    columns=[
        Column(name="tier", heading="tier", section=None),
        Column(name="rank", heading="rank", section=None, right_aligned=True),
        Column(
            name="one, m_2",
            heading="m_2",
            section="one & two",
            values=[
                Estimate(value=-0.5, low=-0.75, high=-0.25, num_seeds=3, mark="†"),
                Estimate(value=None, missing="diverged"),
                Estimate(value=1.0, low=0.5, high=1.5, is_symmetric=True, is_best=True),
            ],
        ),
        Column(name="lr", heading="lr", section="one & two", right_aligned=True),
    ],
    note="mean of 95 %\n† a remark",
    groups=["cp", "cp", "full"],
)


def latex(table):
    return encode(table, Format.LATEX).decode()


def test_latex_has_groups_of_rows_and_columns_and_the_best_in_bold():
    assert latex(RANKS).splitlines()[4:20] == [
        r"  \begin{tabular}{lrrr}",
        r"    \toprule",
        r"     &  & \multicolumn{2}{c}{one \& two} \\",
        r"    \cmidrule(lr){3-4}",
        r"    tier & rank & m\_2 & lr \\",
        r"    \midrule",
        r"    cp & 8 & $-$0.50 [$-$0.75, $-$0.25] (3)$^\dagger$ & 1 \\",
        r"     & 64 & diverged & 2 \\",
        r"    \midrule",
        r"    full &  & \textbf{1.00} $\pm$ 0.50 & 3 \\",
        r"    \bottomrule",
        r"  \end{tabular}",
        r"  \par\smallskip\footnotesize $^\dagger$ a remark",
        r"\end{table}",
    ]
    assert r"\caption{Mean of 95 \%.}" in latex(RANKS)


def test_rows_without_groups_have_no_rules():
    table = ResultTable.of(pa.table({"text": NASTY}))
    assert latex(table).count(r"\midrule") == 1


@pytest.mark.skipif(
    shutil.which("pdflatex") is None and not os.environ.get("BILIN_TEST_EVERYTHING"), reason="needs pdflatex"
)
def test_latex_compiles_as_it_is(tmp_path):
    tables = [RANKS, ResultTable.of(pa.table({"text": NASTY, "number": range(len(NASTY))}))]
    head = r"\documentclass{article}\usepackage{booktabs}\begin{document}"
    text = "\n".join([head, *map(latex, tables), r"\end{document}"])
    (tmp_path / "a.tex").write_text(text)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "a.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


def test_latex_keeps_hyphens_apart():
    assert "    a-{}-b -{}-{}- c-d \\\\" in latex(ResultTable.of(pa.table({"text": ["a--b --- c-d"]}))).splitlines()


@pytest.mark.parametrize("format_", [Format.TABLE, Format.MARKDOWN, Format.LATEX, Format.HTML])
def test_a_heading_and_a_title_are_on_one_line(format_):
    column = Column(name="a", heading="one\n\ntwo", section="three\n\nfour")
    text = encode(ResultTable(data=pa.table({"a": ["x"]}), columns=[column]), format_).decode()
    assert len(re.findall(r"one\\.*n\\.*ntwo", text)) == 1
    assert len(re.findall(r"three\\.*n\\.*nfour", text)) == 1


def test_an_empty_table_is_its_note():
    empty = ResultTable(data=pa.table({}), columns=[], note="100 % of nothing\n<b> is left")
    assert latex(empty) == "100 \\% of nothing\n\n\\textless{}b\\textgreater{} is left\n"
    assert empty._repr_html_() == "<p>100 % of nothing<br>&lt;b&gt; is left</p>"


class Cells(HTMLParser):
    """The rows of a table, each text with the tag and attributes of its cell, and what is open at the end."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.open, self.tags = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in ("meta", "br"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] == ["strong"]:
            data = f"**{data}**"
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def test_html_is_a_table_of_the_same_texts():
    parsed = Cells(encode(RANKS, Format.HTML).decode())
    assert parsed.open == []
    assert parsed.rows == [
        ["", "", "one & two"],
        ["tier", "rank", "m_2", "lr"],
        ["cp", "8", "-0.50 [-0.75, -0.25] (3)†", "1"],
        ["cp", "64", "diverged", "2"],
        ["full", "", "**1.00** ± 0.50", "3"],
    ]
    assert parsed.tags.count("tbody") == 2


def test_html_shows_names_and_never_runs_them():
    parsed = Cells(encode(ResultTable.of(pa.table({"text": NASTY})), Format.HTML).decode())
    assert [row[0] for row in parsed.rows[1:]] == NASTY
    assert not {"script", "img"} & set(parsed.tags)


def test_a_notebook_shows_a_table():
    shown = RANKS._repr_html_()
    assert shown.startswith("<table>")
    assert "<strong>1.00</strong>" in shown


def test_the_ending_of_a_file_says_the_format():
    assert [Format.of_file(Path(name)) for name in ("a.tex", "a.html")] == [Format.LATEX, Format.HTML]


def test_markdown_is_parsed_as_the_texts_that_it_shows():
    from markdown_it import MarkdownIt

    text = encode(RANKS, Format.MARKDOWN).decode()
    html = MarkdownIt("gfm-like", {"linkify": False}).render(text)
    assert re.findall(r"<td[^>]*>(.*?)</td>", html)[-2:] == ["<strong>1.00</strong> ± 0.50", "3"]
    nasty = encode(ResultTable.of(pa.table({"text": NASTY})), Format.MARKDOWN).decode()
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(nasty)
    assert [token.content for each in tokens for token in each.children or () if token.type == "text"][1:] == NASTY


MARKS = [
    "* a", "- a", "+ a", "# a", "> a", "1. a", "2) a", "===", "---", "[a]: b", "`a`", "[a](b)", "![a](b)", "_a_ b_c",
    "~~a~~", "&amp;", "**a**",
]  # fmt: skip
"""Texts that Markdown takes for a list, a heading, a quotation, a definition, code, a link and so on."""


def test_markdown_titles_notes_and_cells_are_texts():
    from markdown_it import MarkdownIt

    columns = [Column(name=mark, heading=mark, section=mark) for mark in MARKS]
    table = ResultTable(data=pa.table({mark: [mark] for mark in MARKS}), columns=columns, note="\n".join(MARKS))
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(encode(table, Format.MARKDOWN).decode())
    texts = [[child.content for child in token.children if child.type == "text"] for token in tokens if token.children]
    assert texts == [*([mark] for mark in MARKS for _ in range(3)), MARKS]
    kinds = {token.type.removesuffix("_open").removesuffix("_close") for token in tokens}
    assert kinds == {"inline", "paragraph", "table", "thead", "tbody", "tr", "th", "td"}

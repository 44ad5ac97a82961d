"""docs/python.md: its reference is what the code says, and its examples run."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

import bilin
from benchmarks.reference import MARK, NAMES, PAGE, reference


def test_the_reference_is_what_the_code_says() -> None:
    assert PAGE.read_text().partition(MARK)[2].strip() == reference().strip(), "run `make tables`"


def test_the_reference_has_every_public_name() -> None:
    described = {name for names in NAMES.values() for name in names}
    assert set(bilin.__all__) - {"__version__"} <= described


def test_the_examples_run_and_print_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    examples = PAGE.read_text().partition(MARK)[0].replace("```", "")
    test = doctest.DocTestParser().get_doctest(examples, {}, "python.md", str(PAGE), 0)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL, verbose=False)
    failures: list[str] = []
    runner.run(test, out=failures.append)
    assert runner.tries > 10
    assert failures == []

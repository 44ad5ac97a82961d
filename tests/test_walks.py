from __future__ import annotations

from benchmarks import walks


def test_the_walks_in_the_docs_are_those_of_the_code() -> None:
    page = walks.PAGE.read_text()
    assert page == walks.replaced(page, walks.markdown()), "python -m benchmarks.walks --write"

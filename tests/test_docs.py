"""What the docs say is there: links, commands, files, and every entry of the registries."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from bilin.cli.app import app
from bilin.models import MODELS
from bilin.tasks import TASKS

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def ids(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, *languages: str) -> Iterator[str]:
    for language, text in re.findall(r"```(\w*)\n(.*?)```", page.read_text(), re.DOTALL):
        if language in languages:
            yield text


def commands() -> Iterator[tuple[str, list[str]]]:
    """The commands in the shell blocks of all pages, without prompts, comments and what is piped."""
    for page in PAGES:
        for block in blocks(page, "sh", "console"):
            for line in block.replace("\\\n", " ").splitlines():
                for words in simple_commands(line.removeprefix("$ ")):
                    if words[0].rpartition("/")[2] in ("bilin", "make"):
                        yield ids(page), words


def simple_commands(line: str) -> list[list[str]]:
    """The words of each command of a shell line."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set("|&;<>"):
            found.append([])
        else:
            found[-1].append(word)
    return [words for words in found if words]


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    missing = [target for target in targets if "//" not in target and not (page.parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_named_files_exist(page: Path) -> None:
    names = re.findall(r"`((?:bilin|tests|docs|examples|benchmarks)/[\w./-]*\w)`", page.read_text())
    missing = [name for name in names if not (ROOT / name).exists() and not (ROOT / f"{name}.py").exists()]
    assert missing == []


@pytest.mark.parametrize(("page", "words"), list(commands()))
def test_commands_are_what_the_command_line_takes(page: str, words: list[str]) -> None:
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert {word for word in words[1:] if "=" not in word} <= set(targets)
        return
    command: Any = typer.main.get_command(app)
    rest = words[1:]
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        command = command.commands[rest.pop(0)]
    if not {"--help", "--version"} & set(rest):
        command.make_context(words[0], rest)


def test_examples_in_the_readme_exist() -> None:
    readme = (ROOT / "README.md").read_text()
    assert all((ROOT / path).exists() for path in re.findall(r"examples/[\w.]+", readme))


def test_the_python_of_the_readme_runs(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "grid.yaml").write_text(
        "{name: ranks, tasks: [{name: parity}], models: [{tier: rotation, hidden: 4, embedding: 4}],"
        " train: {steps: 10}, validate: {every: 10, lengths: [20]}, test: {lengths: [500], num_sequences: 8},"
        " learning_rate: {choices: [1e-3]}}"
    )
    printed = subprocess.run(
        [sys.executable, "-c", f"{code}\nprint(summary.num_done, table, rows.num_rows)"],
        cwd=tmp_path, check=True, stdout=subprocess.PIPE, text=True,
    ).stdout  # fmt: skip
    assert re.match(r"1 parity, length 500\n\nmodel .*\nrotation .*1\n$", printed, re.DOTALL), printed


@pytest.mark.parametrize(
    ("name", "page"), [*((name, "tasks") for name in TASKS), *((name, "tiers") for name in MODELS)]
)
def test_every_task_and_tier_is_in_the_docs(name: str, page: str) -> None:
    assert f"| `{name}` |" in (ROOT / f"docs/{page}.md").read_text()


def test_every_command_and_option_is_in_the_docs() -> None:
    text = (ROOT / "docs/cli.md").read_text()
    for path, command in leaves(typer.main.get_command(app), "bilin"):
        _, found, section = text.partition(f"### `{path}`\n")
        assert found, path
        section = section.partition("\n#")[0]
        options = [option for parameter in command.params for option in parameter.opts if option.startswith("--")]
        assert [option for option in options if f"`{option}" not in section and option != "--help"] == [], path


def leaves(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The commands that are no groups of others, with their full names."""
    inner = getattr(command, "commands", {})
    if not inner or command.invoke_without_command:
        yield path, command
    for name, deeper in inner.items():
        yield from leaves(deeper, f"{path} {name}")


def test_every_page_is_linked_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"(docs/{page.name})" not in readme] == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_into_pages_lead_to_headings(page: Path) -> None:
    missing = []
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", page.read_text()):
        other = page.parent / target if target else page
        if "//" not in target and anchor not in anchors(other):
            missing.append(f"{target}#{anchor}")
    assert missing == []


def anchors(page: Path) -> set[str]:
    """The anchors of the headings of a page, as on GitHub."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_messages_in_the_docs_are_those_of_the_code() -> None:
    texts = set(texts_of_the_code())
    messages = [
        (ids(page), message)
        for page in PAGES
        for table in re.findall(r"\| message \|.*\n\|---.*\n((?:\|.*\n)+)", page.read_text())
        for message in re.findall(r"^\| `(.+?)`", table, re.MULTILINE)
        if not message.startswith("Starting Ray client server")  # one of Ray's own
    ]
    assert messages
    assert [found for found in messages if not any(has_parts(text, found[1].split("…")) for text in texts)] == []


def texts_of_the_code() -> Iterator[str]:
    """All string literals; what f-strings fill in is shown as "…"."""
    for path in (ROOT / "bilin").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def has_parts(text: str, parts: list[str]) -> bool:
    return re.search(".*".join(re.escape(part.strip()) for part in parts), text, re.DOTALL) is not None


def test_a_shell_can_use_the_environment_of_the_demo() -> None:
    """The commands of the README come after the line that puts `bilin` on the path, which `make demo` prints too."""
    readme, recipe = (ROOT / "README.md").read_text(), (ROOT / "Makefile").read_text()
    activate = "source .venv/bin/activate"
    assert 0 < readme.index("make demo") < readme.index(activate) < readme.index("\nbilin sweep")
    assert "source $(BIN)/activate" in recipe.partition("demo:")[2].partition("\n\n")[0]

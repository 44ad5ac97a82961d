from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import bilin
from bilin.errors import BilinError

ROOT = Path(__file__).parent.parent


def test_at_most_twelve_sorted_names_are_public() -> None:
    assert list(bilin.__all__) == sorted(bilin.__all__)
    assert len(bilin.__all__) <= 12
    assert all(getattr(bilin, name) is not None for name in bilin.__all__)


def test_dir_has_the_public_names_before_any_is_loaded() -> None:
    code = "import bilin; print(bilin.__all__ == dir(bilin))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "True\n"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        _ = bilin.nothing


def test_the_changelog_has_the_version() -> None:
    entry = "Unreleased" if ".dev" in bilin.__version__ else bilin.__version__
    assert f"## [{entry}]" in (ROOT / "CHANGELOG.md").read_text()


def test_every_error_has_an_exit_code() -> None:
    def below(kind: type[BilinError]) -> list[type[BilinError]]:
        return [kind, *(deeper for child in kind.__subclasses__() for deeper in below(child))]

    assert {kind.exit_code for kind in below(BilinError)} == {1, 2, 3, 4}


def test_importing_bilin_loads_nothing_but_the_standard_library() -> None:
    code = "import sys; before = set(sys.modules); import bilin; print(*(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    roots = {name.partition(".")[0] for name in loaded}
    assert roots - set(sys.stdlib_module_names) == {"bilin"}


def test_no_file_is_over_500_lines() -> None:
    files = [path for room in ("bilin", "tests", "benchmarks") for path in (ROOT / room).rglob("*.py")]
    assert [str(path) for path in files if path.read_text().count("\n") > 500] == []


def test_no_folder_has_more_than_12_files() -> None:
    registries = {ROOT / "bilin" / "tasks"}  # one file an entry
    folders = {path.parent for path in (ROOT / "bilin").rglob("*.py")} - registries
    crowded = [str(folder) for folder in folders if len(list(folder.glob("[!_]*.py"))) > 12]
    assert crowded == []


def test_constraints_hold_every_dependency() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    pinned = {line.partition("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert {re.split(r"[<>=\[]", name)[0].lower() for name in wanted} <= pinned
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text().splitlines()

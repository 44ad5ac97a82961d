"""Tasks and tiers of installed packages: the documents followed to the letter, and packages that do not fit."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bilin.errors import InputError
from bilin.orchestrator import status
from bilin.results import SweepWriter, query, table
from bilin.version import __version__
from tests.installed import ROOT, Environment, write_package
from tests.results.samples import seeds

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(600)]

PAGES = ("adding_a_model", "adding_a_task")

TIERS = """
from dataclasses import dataclass
from typing import ClassVar
from bilin.fields import option
from bilin.models import Tier

class NoTier:
    tier = "no_tier"

@dataclass(frozen=True, slots=True, kw_only=True)
class Abstract(Tier):
    tier: ClassVar[str] = "abstract"

@dataclass(frozen=True, slots=True, kw_only=True)
class Sound(Tier):
    tier: ClassVar[str] = "sound"
    def build(self, *, vocab_size, num_classes):
        raise NotImplementedError

class Thawed(Sound):
    tier = "thawed"

@dataclass(frozen=True, slots=True, kw_only=True)
class Misnamed(Sound):
    tier: ClassVar[str] = "other_name"

@dataclass(frozen=True, slots=True, kw_only=True)
class Plain(Sound):
    tier: ClassVar[str] = "plain"
    width: int = 8

@dataclass(frozen=True, slots=True, kw_only=True)
class Default(Sound):
    tier: ClassVar[str] = "default"
    knots: int = option(0, at_least=1, doc="number of knots")

@dataclass(frozen=True, slots=True, kw_only=True)
class Column(Sound):
    tier: ClassVar[str] = "column"
    status: int = option(1, doc="a column of the results")

@dataclass(frozen=True, slots=True, kw_only=True)
class TaskField(Sound):
    tier: ClassVar[str] = "task_field"
    m: int = option(1, doc="a field of tasks")

@dataclass(frozen=True, slots=True, kw_only=True)
class TrainField(Sound):
    tier: ClassVar[str] = "train_field"
    batch_size: int = option(1, doc="a field of train")

@dataclass(frozen=True, slots=True, kw_only=True)
class Typed(Sound):
    tier: ClassVar[str] = "typed"
    hidden: str = option("wide", doc="another type")

@dataclass(frozen=True, slots=True, kw_only=True)
class Case(Sound):
    tier: ClassVar[str] = "case"
    Rank: int = option(1, doc="another case")

@dataclass(frozen=True, slots=True, kw_only=True)
class Knots(Sound):
    tier: ClassVar[str] = "knots"
    knots: int = option(1, doc="a field of two packages")

@dataclass(frozen=True, slots=True, kw_only=True)
class Full(Sound):
    tier: ClassVar[str] = "full"

@dataclass(frozen=True, slots=True, kw_only=True)
class Twin(Sound):
    tier: ClassVar[str] = "twin"
"""

TASK = """
from dataclasses import dataclass
from typing import ClassVar
from bilin.fields import option
from bilin.tasks import Task

@dataclass(frozen=True, slots=True, kw_only=True)
class Knotted(Task):
    name: ClassVar[str] = "knotted"
    knots: int = option(1, doc="a field of two packages")
    vocab_size = num_classes = 2
    def sample(self, lengths, generator):
        raise NotImplementedError
"""

FAULTS = {
    "raising": "faulty 1.0, faulty_raising:Raising, cannot be loaded (RuntimeError: no luck)",
    "leaving": "cannot be loaded (SystemExit: 3)",
    "missing": "cannot be loaded (AttributeError: module 'faulty' has no attribute 'Missing')",
    "no_tier": "is not a class that extends bilin.models.Tier",
    "abstract": "lacks build",
    "thawed": "is not a frozen dataclass",
    "misnamed": 'has tier = "other_name"; accepted: the name of its entry point, "misnamed"',
    "plain": "has a field 'width' that is not declared",
    "default": "has 0 as the default of 'knots'; accepted: a whole number of at least 1",
    "column": "'status', a field of the tier \"column\" of faulty 1.0, has the name of a column of the results of",
    "task_field": "has the name of a field of the task \"modular_addition\" of bilin",
    "train_field": "has the name of a field of train in bilin",
    "typed": "is text, but a whole number as a field of the tier \"full\" of bilin",
    "case": "differs only in case from 'rank', a field of the tier \"cp\" of bilin",
    "full": f'the tier "full" is declared by bilin {__version__} and by faulty 1.0; accepted: one package a name',
    "twin": 'the tier "twin" is declared by faulty 1.0 and by other 2.0',
}  # fmt: skip

GRID = """
name: faults
tasks: [{{name: {task}}}]
models: [{{tier: {tier}}}]
"""


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory) -> tuple[Environment, dict[str, str]]:
    """An environment in which every line of the two pages was run, and what each printed."""
    environment = Environment(tmp_path_factory.mktemp("documented") / "venv")
    printed = {}
    for page in PAGES:
        folder = environment.bin.parent.parent / page
        text = (ROOT / f"docs/{page}.md").read_text().partition("## In this repository")[0]
        for name, content in re.findall(r"```(?:toml|python|yaml)\n# (\S+)\n(.*?)```", text, re.DOTALL):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content)
        for line in "".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)).splitlines():
            ended = environment.run(line, cwd=folder)
            assert ended.returncode == 0, f"{line}\n{ended.stdout}{ended.stderr}"
            printed[line] = ended.stdout
    return environment, printed


def test_the_pages_show_what_they_add(documented: tuple[Environment, dict[str, str]]) -> None:
    _, printed = documented
    assert "Leaky units: each moves" in printed["bilin models show leaky_units"]
    assert "package: leaky-units 0.1.0" in printed["bilin models show leaky_units"]
    assert re.search(r"\d+ passed", printed["python -m pytest leaky-units"])
    assert re.search(r"\d+ passed", printed["python -m pytest first-token"])
    assert "First token: the token" in printed["bilin tasks show first_token"]
    (rows,) = (out for line, out in printed.items() if "tier_package" in line)
    assert rows.splitlines()[0].split() == ["tier", "leak", "status", "steps", "tier_package"]
    assert re.findall(r"leaky_units +(\S+) +done .*leaky-units 0\.1\.0", rows) == ["0.5", "1"]
    (rows,) = (out for line, out in printed.items() if "task_package" in line)
    assert len(re.findall(r"first_token +\d +done .*first-token 0\.1\.0", rows)) == 2
    (table,) = (out for line, out in printed.items() if "results table" in line)
    assert re.search(r"leaky_units leak=0\.5 .*\n", table)


def test_workers_and_this_process_give_the_same(documented: tuple[Environment, dict[str, str]]) -> None:
    environment, _ = documented
    folder = environment.bin.parent.parent / "adding_a_model"
    ended = environment.run("bilin sweep launch grid.yaml --cluster inline --store inline --only leak=0.5", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    columns = "trial_id, steps, validation_accuracy, training_loss, tier_package"
    ours, theirs = (
        query(store=folder / store, view="trials", where="leak = 0.5", select=columns, everything=True).to_pylist()
        for store in ("bilin-store", "inline")
    )
    assert ours == theirs
    assert len(ours) == 1


def test_rows_are_read_where_the_packages_are_not(documented: tuple[Environment, dict[str, str]]) -> None:
    environment, _ = documented
    store = environment.bin.parent.parent / "adding_a_model" / "bilin-store"
    for view in ("trials", "cells", "lengths", "curves"):
        assert query(store=store, view=view).num_rows
    cells = query("SELECT DISTINCT leak FROM cells WHERE tier = 'leaky_units' ORDER BY leak", store=store)
    assert cells["leak"].to_pylist() == [0.5, 1.0]
    names = query(store=store, view="trials").column_names
    assert names.index("tier") < names.index("leak") < names.index("max_steps")
    assert table(store).data["model"].to_pylist() == ["lstm", "leaky_units leak=0.5", "leaky_units leak=1"]
    assert "leak" in query(store=store).column_names
    with pytest.raises(InputError, match="leaky_units"):
        status("leaky", store=store)
    before = query(store=store, view="trials", where="tier = 'leaky_units'", everything=True).to_pylist()
    with SweepWriter(store, "leaky") as writer:
        for pair in seeds(40, start=100):
            writer.append([pair])
    assert query(store=store, view="trials", where="tier = 'leaky_units'", everything=True).to_pylist() == before


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a few trials."""
    store = tmp_path_factory.mktemp("filled") / "store"
    with SweepWriter(store, "filled") as writer:
        writer.append(seeds(3))
    return store


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> tuple[Environment, Path]:
    """An environment with packages that do not fit, and a folder to work in."""
    folder = tmp_path_factory.mktemp("faulty")
    environment = Environment(folder / "venv")
    places = {name: f"faulty:{name.title().replace('_', '')}" for name in [*FAULTS, "sound", "knots"]}
    places |= {"raising": "faulty_raising:Raising", "leaving": "faulty_leaving:Leaving"}
    modules = {
        "faulty": TIERS,
        "faulty_raising": "raise RuntimeError('no luck')",
        "faulty_leaving": "raise SystemExit(3)",
    }
    twin = TIERS.partition("class NoTier")[0] + "from faulty import Sound\n" + TIERS[TIERS.rindex("@dataclass") :]
    points = {"bilin.models": {"twin": "other:Twin"}, "bilin.tasks": {"knotted": "other_task:Knotted"}}
    environment.install(
        write_package(folder, "faulty", "1.0", {"bilin.models": places}, **modules),
        write_package(folder, "other", "2.0", points, other=twin, other_task=TASK),
    )
    return environment, folder


def test_a_grid_that_names_a_fault_is_refused_with_the_packages(faulty: tuple[Environment, Path]) -> None:
    environment, folder = faulty
    entries = "".join(f"  - {{tier: {name}}}\n" for name in FAULTS)
    (folder / "all.yaml").write_text(f"name: all\ntasks: [{{name: modular_addition, m: 2}}]\nmodels:\n{entries}")
    ended = environment.run("bilin sweep plan all.yaml", cwd=folder)
    assert ended.returncode == 2
    lines = ended.stderr.splitlines()
    assert lines[0] == f"bilin: all.yaml: {len(FAULTS)} errors"
    for (name, fault), line in zip(FAULTS.items(), lines[1:], strict=True):
        assert f'"{name}"' in line
        assert fault in line


def test_two_packages_that_use_a_name_for_two_things_are_not_in_one_grid(faulty: tuple[Environment, Path]) -> None:
    environment, folder = faulty
    (folder / "pair.yaml").write_text(GRID.format(task="knotted", tier="knots"))
    ended = environment.run("bilin sweep plan pair.yaml", cwd=folder)
    assert ended.returncode == 2
    assert (
        'a field of the tier "knots" of faulty 1.0, has the name of a field of the task "knotted" of other 2.0'
    ) in ended.stderr


def test_what_does_not_name_a_fault_is_left_alone(faulty: tuple[Environment, Path], filled: Path) -> None:
    environment, folder = faulty
    (folder / "sound.yaml").write_text(
        GRID.format(task="modular_addition, m: 2", tier="sound") + "exclude: [{hidden: 3}, {tier: twin}]\n"
    )
    ended = environment.run("bilin sweep plan sound.yaml", cwd=folder)
    assert "2 errors" in ended.stderr, "it has no such cells"
    ended = environment.run("bilin sweep plan sound.yaml --set exclude=[]", cwd=folder)
    assert (ended.returncode, ended.stderr) == (0, "")
    for line in ("results query", "results table", "sweep status"):
        ended = environment.run(f"bilin {line} --store {filled}", cwd=folder)
        assert (ended.returncode, ended.stderr) == (0, "")


def test_listings_show_faults(faulty: tuple[Environment, Path]) -> None:
    environment, folder = faulty
    ended = environment.run("bilin models --format json", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    listed = {each["name"]: each for each in json.loads(ended.stdout)}
    assert all(fault in listed[name]["error"] for name, fault in FAULTS.items())
    assert (listed["sound"]["error"], listed["sound"]["package"]) == (None, "faulty 1.0")
    assert "other 2.0" in listed["knots"]["error"]
    assert listed["full"]["fields"]
    assert "error: " in environment.run("bilin models show raising", cwd=folder).stdout
    schema = json.loads(environment.run("bilin sweep schema", cwd=folder).stdout)
    tiers = schema["properties"]["models"]["items"]["properties"]["tier"]["enum"]
    assert {"sound", "lstm"} <= set(tiers)
    assert not set(FAULTS) & set(tiers)

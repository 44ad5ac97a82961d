"""What the code of other packages may do without harm to anything else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TIER = """
from dataclasses import dataclass
from typing import ClassVar
from bilin.models import Tier

{before}

@dataclass(frozen=True, slots=True, kw_only=True)
class Odd(Tier):
    tier: ClassVar[str] = "{name}"

    def problems(self):
        {problems}

    def build(self, *, vocab_size, num_classes):
        raise NotImplementedError
"""
PACKAGES = {
    "printing": {"before": "print('hello')", "problems": "return {}"},
    "leaving": {"before": "class Leaves(BaseException): ...\nraise Leaves", "problems": "return {}"},
    "problematic": {"before": "", "problems": "raise KeyError('no such thing')"},
}
TASK = """
from bilin.tasks import Task

class Vague(Task):
    own_supervision = "all"
"""
GRID = "name: odd\ntasks: [{{name: parity}}]\nmodels: [{{tier: {tier}}}]\n"


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages as pip leaves them: one whose entry points cannot be parsed, and those of `PACKAGES`."""
    folder = tmp_path_factory.mktemp("odd")
    points = "".join(f"{name} = {name}_tier:Odd\n" for name in PACKAGES) + "nameless = printing_tier\n"
    own = f"[bilin.models]\n{points}\n[bilin.tasks]\nvague = vague_task:Vague\n"
    (folder / "vague_task.py").write_text(TASK)
    for package, text in {"broken": "[bilin.models]\nno equals sign\n", "odd": own}.items():
        info = folder / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(text)
    for name, code in PACKAGES.items():
        (folder / f"{name}_tier.py").write_text(TIER.format(name=name, **code))
        (folder / f"{name}.yaml").write_text(GRID.format(tier=name))
    return folder


def bilin(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{Path(__file__).parent.parent}"}
    command = [sys.executable, "-m", "bilin", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_listings_say_what_is_wrong_with_each(odd: Path) -> None:
    ended = bilin(odd, "models", "--format", "json")
    faults = {each["name"]: each["error"] for each in json.loads(ended.stdout)}
    assert (faults["printing"], faults["problematic"], faults["full"]) == (None, None, None)
    assert "cannot be loaded (Leaves:)" in faults["leaving"]
    assert "module:Class" in faults["nameless"]


def test_a_task_says_its_own_supervision_rightly_or_is_faulty(odd: Path) -> None:
    faults = {each["name"]: each["error"] for each in json.loads(bilin(odd, "tasks", "--format", "json").stdout)}
    assert "(TypeError: own_supervision is 'all'; accepted: 'every_token' or None)" in faults["vague"]


def test_what_a_package_prints_does_not_stand_in_a_commands_output(odd: Path) -> None:
    assert json.loads(bilin(odd, "sweep", "schema").stdout)["properties"]
    assert bilin(odd, "sweep", "plan", "printing.yaml").returncode == 0


def test_settings_that_fail_are_a_fault_of_their_package(odd: Path) -> None:
    ended = bilin(odd, "sweep", "plan", "problematic.yaml")
    assert ended.returncode == 2
    assert ended.stderr.startswith(
        "bilin: Odd of odd 1.0 fails while its fields are checked (KeyError: 'no such thing')"
    )

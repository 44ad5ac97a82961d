"""Requests: what one says survives the way to another process."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bilin.errors import InputError
from bilin.orchestrator import ClusterSpec, Grid, LaunchRequest, launch, plan
from bilin.orchestrator.request import RequestOptions
from tests.orchestrator.grid.grids import HEAD
from tests.sweeps import write_grid


def test_a_request_is_the_same_after_json(tmp_path: Path) -> None:
    path = write_grid(tmp_path, HEAD + "cluster: {nodes: 2, time: 4:00:00}\n")
    where = ClusterSpec(kind="allocation", workers=3, checkpoint_s=7.5)
    request = LaunchRequest.read(
        path, store=tmp_path / "sto re\udcff", cluster=where, nodes="1-8", only=["m=2"], retry=["oom"]
    )
    again = LaunchRequest.from_json(request.to_json())
    assert again == request
    assert (again.job.min_nodes, again.job.max_nodes, again.job.time) == (1, 8, "4:00:00")
    assert again.to_json() == request.to_json()


def test_plan_and_launch_take_every_option_of_a_request() -> None:
    _, *options = inspect.signature(LaunchRequest.read).parameters
    assert options == [*RequestOptions.__annotations__]


def test_the_store_is_absolute_in_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    request = LaunchRequest.read(write_grid(tmp_path, HEAD))
    assert LaunchRequest.from_json(request.to_json()).store == tmp_path / "bilin-store"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a request of bilin"),
        ("[]", "not a request of bilin"),
        ("{}", "KeyError: 'request'"),
        ('{"request": 99}', "found version 99 of a request; this bilin reads version 1"),
    ],
)
def test_other_text_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        LaunchRequest.from_json(text, source="standard input")


@pytest.mark.parametrize("key", ["grid", "store", "cluster", "only", "retry"])
def test_a_request_that_lacks_something_is_refused(tmp_path: Path, key: str) -> None:
    document = json.loads(LaunchRequest.read(write_grid(tmp_path, HEAD)).to_json())
    del document[key]
    with pytest.raises(InputError, match=key):
        LaunchRequest.from_json(json.dumps(document))


def test_settings_from_two_places_are_checked_together(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cluster\.nodes: found '8-1'; accepted: the least number"):
        LaunchRequest.read(write_grid(tmp_path, HEAD), nodes="8-1")
    with pytest.raises(InputError, match=r'cluster\.nodes: found "many"; accepted: a whole number'):
        LaunchRequest.read(None, nodes="many")


def test_options_go_with_a_grid_and_not_with_a_request(tmp_path: Path, tiny: Callable[..., Grid]) -> None:
    request = LaunchRequest.read(tiny(), store=tmp_path)
    assert plan(request).num_to_run == plan(tiny(), store=tmp_path).num_to_run
    with pytest.raises(InputError, match="a request has its own retry"):
        launch(request, retry=["oom"])
    with pytest.raises(InputError, match="read the grid with them"):
        LaunchRequest.read(tiny(), only=["m=2"])

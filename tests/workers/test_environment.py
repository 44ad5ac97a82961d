"""Where and with what a trial runs."""

from __future__ import annotations

import re

import pytest

from bilin.spec import Resources
from bilin.version import __version__
from bilin.workers.environment import device_of, environment
from tests.results.samples import cell


@pytest.mark.parametrize(
    ("fields", "device"),
    [({}, "cpu"), ({"gpus": 0.5}, "cuda"), ({"device": "cuda"}, "cuda"), ({"device": "cpu", "gpus": 1.0}, "cpu")],
)
def test_auto_is_cuda_where_gpus_are_asked_for(fields, device):
    assert device_of(Resources(**fields)) == device


def test_the_environment_is_complete():
    found = environment(cell(), Resources(threads=2), pack=4)
    assert (found.version, found.device, found.threads, found.pack) == (__version__, "cpu", 2, 4)
    assert (found.task_package, found.tier_package) == (None, None)
    assert (found.gpu, found.gpu_memory_mb) == (None, None)
    assert found.cpu
    assert found.host
    assert found.commit is None or re.fullmatch("[0-9a-f]{40}", found.commit)

"""bilin: sweeps over recurrent architectures, from grid.yaml to a table you can query.

Python can do everything that the command line can: `plan`, `launch`, `query`, `table`, `plot` and `load_model` are
here, `status`, `statuses` and `find_trial` in `bilin.orchestrator`, `report` and `delete` in `bilin.results`. Names are
loaded at first use, so importing bilin is fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bilin.errors import BilinError as BilinError
from bilin.version import __version__ as __version__

if TYPE_CHECKING:
    from bilin.orchestrator import ClusterSpec as ClusterSpec
    from bilin.orchestrator import LaunchRequest as LaunchRequest
    from bilin.orchestrator import Plan as Plan
    from bilin.orchestrator import launch as launch
    from bilin.orchestrator import plan as plan
    from bilin.orchestrator import read_grid as read_grid
    from bilin.results import plot as plot
    from bilin.results import query as query
    from bilin.results import table as table
    from bilin.workers import load_model as load_model

__all__ = [
    "BilinError",
    "ClusterSpec",
    "LaunchRequest",
    "Plan",
    "__version__",
    "launch",
    "load_model",
    "plan",
    "plot",
    "query",
    "read_grid",
    "table",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'bilin' has no attribute {name!r}")
    import importlib

    rooms = dict.fromkeys(("plot", "query", "table"), "bilin.results") | {"load_model": "bilin.workers"}
    room = rooms.get(name, "bilin.orchestrator")
    value = getattr(importlib.import_module(room), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

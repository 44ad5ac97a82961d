"""A grid.yaml, and the cells that it wants.

    file ── yaml ──> nodes ── overrides ──> nodes ── document, blocks ──> combinations ── read._gather ──> cells
         ── conditions.narrow ──> Grid

May import `bilin.spec`, `bilin.catalog`, the settings of tasks and models, and ruamel.yaml.
"""

from bilin.orchestrator.grid.grid import Axis as Axis
from bilin.orchestrator.grid.grid import Counts as Counts
from bilin.orchestrator.grid.grid import Grid as Grid
from bilin.orchestrator.grid.grid import WantedCell as WantedCell
from bilin.orchestrator.grid.grid import resolved as resolved
from bilin.orchestrator.grid.ranges import Range as Range
from bilin.orchestrator.grid.read import parse_grid as parse_grid
from bilin.orchestrator.grid.read import read_grid as read_grid
from bilin.orchestrator.grid.read import read_profile as read_profile
from bilin.orchestrator.grid.read import restore_grid as restore_grid
from bilin.orchestrator.grid.schema import grid_schema as grid_schema
from bilin.orchestrator.grid.settings import Choices as Choices
from bilin.orchestrator.grid.settings import ClusterSettings as ClusterSettings
from bilin.orchestrator.grid.settings import LearningRate as LearningRate
from bilin.orchestrator.grid.settings import LogUniform as LogUniform
from bilin.orchestrator.grid.settings import Pruner as Pruner

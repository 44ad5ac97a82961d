"""From the blocks of a document to its cells. May import blocks, yaml and faults."""

from bilin.orchestrator.grid.cells.conditions import Condition as Condition
from bilin.orchestrator.grid.cells.conditions import Known as Known
from bilin.orchestrator.grid.cells.conditions import accepted_values as accepted_values
from bilin.orchestrator.grid.cells.conditions import attributes as attributes
from bilin.orchestrator.grid.cells.conditions import known_fields as known_fields
from bilin.orchestrator.grid.cells.conditions import read_exclude as read_exclude
from bilin.orchestrator.grid.cells.expand import Expansion as Expansion
from bilin.orchestrator.grid.cells.expand import Space as Space
from bilin.orchestrator.grid.cells.expand import expand as expand
from bilin.orchestrator.grid.cells.gather import Part as Part
from bilin.orchestrator.grid.cells.gather import Runs as Runs
from bilin.orchestrator.grid.cells.gather import gather as gather
from bilin.orchestrator.grid.cells.together import report_clashes as report_clashes
from bilin.orchestrator.grid.cells.vary import MAX_COMBINATIONS as MAX_COMBINATIONS
from bilin.orchestrator.grid.cells.vary import Varied as Varied
from bilin.orchestrator.grid.cells.vary import too_many as too_many
from bilin.orchestrator.grid.cells.vary import vary as vary
from bilin.orchestrator.grid.cells.zipped import check_lengths as check_lengths
from bilin.orchestrator.grid.cells.zipped import read_zip as read_zip

"""What came back, on disk and as answers: the store, and queries over it.

May import the modules of `bilin`, the settings of `bilin.tasks` and `bilin.models`, pyarrow, duckdb and
scipy; never `bilin.orchestrator`, `bilin.workers` or `bilin.cli`. duckdb and scipy are imported where a
query runs, so that the store can be read without them.
"""

from bilin.results.compact import compact as compact
from bilin.results.deletion import delete as delete
from bilin.results.deletion import remove as remove
from bilin.results.formats import Format as Format
from bilin.results.formats import encode as encode
from bilin.results.formats import is_number as is_number
from bilin.results.formats import readable as readable
from bilin.results.hierarchy import Hierarchy as Hierarchy
from bilin.results.hierarchy import hierarchy as hierarchy
from bilin.results.published import published as published
from bilin.results.sql import brief as brief
from bilin.results.sql import query as query
from bilin.results.store import DEFAULT_STORE as DEFAULT_STORE
from bilin.results.store import LAPSE_S as LAPSE_S
from bilin.results.store import RAY_JOB as RAY_JOB
from bilin.results.store import Health as Health
from bilin.results.store import Holder as Holder
from bilin.results.store import Process as Process
from bilin.results.store import StoredTrial as StoredTrial
from bilin.results.store import SweepWriter as SweepWriter
from bilin.results.store import WantedRow as WantedRow
from bilin.results.store import existing_sweep as existing_sweep
from bilin.results.store import grid as grid
from bilin.results.store import holder as holder
from bilin.results.store import stored as stored
from bilin.results.store import sweep_directory as sweep_directory
from bilin.results.store import sweep_names as sweep_names
from bilin.results.store import verify as verify
from bilin.results.store import wanted as wanted

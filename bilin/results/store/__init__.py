"""The store on disk: one writer a sweep, any number of readers.

May import the standard library, pyarrow, `bilin.results.schema`, `bilin.results.columns` and the modules of `bilin`.
"""

from bilin.results.store.contents import Contents as Contents
from bilin.results.store.contents import read_sweeps as read_sweeps
from bilin.results.store.holder import LAPSE_S as LAPSE_S
from bilin.results.store.holder import RAY_JOB as RAY_JOB
from bilin.results.store.holder import Holder as Holder
from bilin.results.store.holder import Process as Process
from bilin.results.store.holder import holder as holder
from bilin.results.store.parts.files import read_schema as read_schema
from bilin.results.store.parts.files import stream_rows as stream_rows
from bilin.results.store.paths import DEFAULT_STORE as DEFAULT_STORE
from bilin.results.store.paths import existing_sweep as existing_sweep
from bilin.results.store.paths import sweep_directory as sweep_directory
from bilin.results.store.paths import sweep_names as sweep_names
from bilin.results.store.stored import StoredTrial as StoredTrial
from bilin.results.store.stored import grid as grid
from bilin.results.store.stored import stored as stored
from bilin.results.store.stored import wanted as wanted
from bilin.results.store.verify import Health as Health
from bilin.results.store.verify import verify as verify
from bilin.results.store.wanted import WANTED_SCHEMA as WANTED_SCHEMA
from bilin.results.store.wanted import WantedRow as WantedRow
from bilin.results.store.writer import SweepWriter as SweepWriter

"""The store on disk: one writer a sweep, any number of readers.

May import the standard library, pyarrow, `bilin.results.schema`, `bilin.results.columns` and the modules of `bilin`.
"""

from bilin.results.store.lock import Holder as Holder
from bilin.results.store.lock import holder as holder
from bilin.results.store.manifest import Manifest as Manifest
from bilin.results.store.manifest import read_parts as read_parts
from bilin.results.store.parts import read_schema as read_schema
from bilin.results.store.parts import stream_rows as stream_rows
from bilin.results.store.paths import DEFAULT_STORE as DEFAULT_STORE
from bilin.results.store.paths import existing_sweep as existing_sweep
from bilin.results.store.paths import sweep_directory as sweep_directory
from bilin.results.store.paths import sweep_names as sweep_names
from bilin.results.store.stored import StoredTrial as StoredTrial
from bilin.results.store.stored import stored as stored
from bilin.results.store.wanted import WANTED as WANTED
from bilin.results.store.wanted import WantedRow as WantedRow
from bilin.results.store.wanted import grid as grid
from bilin.results.store.wanted import read_wanted as read_wanted
from bilin.results.store.wanted import wanted as wanted
from bilin.results.store.writer import SweepWriter as SweepWriter

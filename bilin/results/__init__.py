"""Results, on disk and as answers: the store, queries over it, tables, figures and reports.

May import the modules of `bilin`, `bilin.machine`, the settings of `bilin.tasks` and `bilin.models`, pyarrow, duckdb,
numpy, scipy and jinja2; never `bilin.orchestrator`, `bilin.workers` or `bilin.cli`. duckdb, scipy and jinja2 are
imported when they are needed, so that the store can be read without them.
"""

from bilin.folder import DEFAULT_STORE as DEFAULT_STORE
from bilin.folder import store_option as store_option
from bilin.results.explain import explain as explain
from bilin.results.export import export as export
from bilin.results.export import output_file as output_file
from bilin.results.failures import Failure as Failure
from bilin.results.failures import failures as failures
from bilin.results.figures.plot import SPECTRUM as SPECTRUM
from bilin.results.figures.plot import check_figure_kind as check_figure_kind
from bilin.results.figures.plot import check_figure_path as check_figure_path
from bilin.results.figures.plot import draw_figure as draw_figure
from bilin.results.figures.plot import draw_text as draw_text
from bilin.results.figures.plot import figure_data as figure_data
from bilin.results.figures.plot import plot as plot
from bilin.results.figures.plot import save_figure as save_figure
from bilin.results.figures.spectrum import draw_spectrum as draw_spectrum
from bilin.results.figures.spectrum import spectrum_table as spectrum_table
from bilin.results.interchange.event_files import export_tensorboard as export_tensorboard
from bilin.results.interchange.optuna_journal import export_optuna as export_optuna
from bilin.results.maintenance import Health as Health
from bilin.results.maintenance import compact as compact
from bilin.results.maintenance import copy_weights as copy_weights
from bilin.results.maintenance import delete as delete
from bilin.results.maintenance import remove as remove
from bilin.results.maintenance import verify as verify
from bilin.results.origin import HARDWARE as HARDWARE
from bilin.results.origin import Origin as Origin
from bilin.results.origin import mixture as mixture
from bilin.results.published import published as published
from bilin.results.reports.page import report as report
from bilin.results.reports.standing import Standing as Standing
from bilin.results.reports.standing import standings as standings
from bilin.results.result_table import Format as Format
from bilin.results.result_table import ResultTable as ResultTable
from bilin.results.result_table import encode as encode
from bilin.results.rows import Rows as Rows
from bilin.results.scratch import remove_scratch as remove_scratch
from bilin.results.sql.open_store import OpenStore as OpenStore
from bilin.results.sql.open_store import at_one_moment as at_one_moment
from bilin.results.sql.query import Question as Question
from bilin.results.sql.query import brief as brief
from bilin.results.sql.query import query as query
from bilin.results.statistics import DEFAULT_STATISTIC as DEFAULT_STATISTIC
from bilin.results.statistics import Statistic as Statistic
from bilin.results.store.contents import StoredTrial as StoredTrial
from bilin.results.store.contents import existing_sweep as existing_sweep
from bilin.results.store.contents import last_wanted as last_wanted
from bilin.results.store.contents import stored as stored
from bilin.results.store.contents import stored_grid as stored_grid
from bilin.results.store.contents import sweep_names as sweep_names
from bilin.results.store.holder import RAY_JOB as RAY_JOB
from bilin.results.store.holder import Holder as Holder
from bilin.results.store.holder import Process as Process
from bilin.results.store.lock import LAPSE_S as LAPSE_S
from bilin.results.store.lock import holder as holder
from bilin.results.store.rows import Bounds as Bounds
from bilin.results.store.rows import WantedRow as WantedRow
from bilin.results.store.rows import fields_json as fields_json
from bilin.results.store.sharing import UnreadableSweepError as UnreadableSweepError
from bilin.results.store.sharing import shared_trials as shared_trials
from bilin.results.store.writer import SweepWriter as SweepWriter
from bilin.results.tables.differences import compare as compare
from bilin.results.tables.table import table as table

hierarchy = table  # its name in 0.1.0, kept for one version

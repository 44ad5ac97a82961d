"""Questions to a store in SQL, through DuckDB.

May import what `bilin.results` may; it is the one home of duckdb, imported where a query runs.
"""

from bilin.results.sql.brief import brief as brief
from bilin.results.sql.query import query as query
from bilin.results.sql.views import VIEWS as VIEWS

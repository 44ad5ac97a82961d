"""Queries over a store in SQL, with DuckDB.

May import what `bilin.results` may. duckdb is imported here only, when a query runs.
"""

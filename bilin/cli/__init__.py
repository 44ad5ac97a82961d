"""The command line: one command a file, each parses, calls one library function, and prints.

May import `bilin.orchestrator` and `bilin.results`, inside the commands: `bilin --help` loads none of
torch, ray, optuna, duckdb or pyarrow.
"""

"""The command line: each command parses, calls one library function, and prints.

May import `bilin.orchestrator`, `bilin.results` and `bilin.catalog`, inside the commands: `bilin --help` loads none of
torch, ray, numpy, duckdb or pyarrow.
"""

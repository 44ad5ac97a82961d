"""The store on disk: one writer a sweep, any number of readers.

May import the standard library, pyarrow, `bilin.results.schema`, `bilin.results.columns` and the modules of `bilin`.
"""

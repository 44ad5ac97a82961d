"""The store on disk: one writer a sweep, any number of readers.

May import the standard library, pyarrow, `bilin.results.schema` and the modules of `bilin`.
"""

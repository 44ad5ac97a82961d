"""The version of bilin. One that ends with `.dev0` is not released; CHANGELOG.md has an entry for any other."""

__version__ = "0.2.0.dev0"

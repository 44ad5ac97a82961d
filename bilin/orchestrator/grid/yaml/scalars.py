"""What a plain scalar means: the core schema of YAML 1.2 (yaml.org/spec/1.2.2, section 10.3.2).

So ``1e-3`` is a number, ``0o17`` is 15, and ``yes``, ``on`` and ``017`` are what they look like: two
texts and seventeen. The YAML library's own rules still read parts of YAML 1.1.
"""

from __future__ import annotations

import re

from bilin.fields import Scalar

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL_FLOAT = re.compile(r"([-+]?)\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
LARGEST = 2**63 - 1
_MOST_DIGITS = 30


def resolve(text: str) -> Scalar | None:
    """The value of a plain scalar.

    Raises:
        ValueError: A whole number that no column of the results could hold.
    """
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if _INT.fullmatch(text):
        return _whole_number(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL_FLOAT.fullmatch(text):
        return float(text.replace(".", "", 1))
    return text


def _whole_number(text: str) -> int:
    bases = {"0o": 8, "0x": 16}
    value = int(text, bases.get(text[:2], 10)) if len(text) <= _MOST_DIGITS else LARGEST + 1
    if abs(value) > LARGEST:
        raise ValueError(f"whole numbers from -{LARGEST} to {LARGEST}")
    return value

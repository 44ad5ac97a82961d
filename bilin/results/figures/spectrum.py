"""Eigenvalues of a model: as a table, and in the plane of complex numbers."""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from bilin.errors import InputError
from bilin.results.result_table import ResultTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = pa.schema(
    {
        "token": pa.int64(),
        "matrix": pa.string(),
        "modulus": pa.float64(),
        "angle_deg": pa.float64(),
        "real": pa.float64(),
        "imag": pa.float64(),
    }
)

LEARNED, EXACT = "learned", "exact"

_LOOKS: Mapping[str, Any] = {
    LEARNED: {"color": "#0072B2", "markersize": 3.5, "alpha": 0.7},
    EXACT: {"color": "#D55E00", "markersize": 8, "fillstyle": "none"},
}

_MAX_PANELS = 12
_ROUND = 1e-9


def spectrum_table(values: Iterable[tuple[int, bool, complex]]) -> ResultTable:
    """Return eigenvalues as a table, given the token of each, and whether it is of an exact solution."""
    rows = [
        (token, EXACT if is_exact else LEARNED, abs(value), _angle(value), value.real, value.imag)
        for token, is_exact, value in values
    ]
    columns = zip(*rows, strict=True)
    table = ResultTable.of(
        pa.table([pa.array(each, of.type) for each, of in zip(columns, _COLUMNS, strict=True)], _COLUMNS)
    )
    note = (
        "eigenvalues of the matrix of each token; of a tier that ignores the size of its state, divided by the largest"
    )
    if not any(is_exact for _, is_exact, _ in values):
        note += "; the task is no finite state machine, so there is no exact solution beside them"
    return ResultTable(data=table.data, columns=table.columns, note=note)


def draw_spectrum(data: pa.Table, width_in: float = 5.5) -> Figure:
    """Draw eigenvalues beside the unit circle, a panel for each token: dots are learned, rings exact.

    Raises:
        InputError: matplotlib is not installed.
    """
    try:
        from matplotlib.patches import Circle

        from bilin.results.figures import style
    except ImportError as error:
        raise InputError(f"figures need matplotlib: pip install 'bilin[plot]' ({error})") from error
    tokens = list(dict.fromkeys(data["token"].to_pylist()))
    shown = tokens[:_MAX_PANELS]
    num_cols = max(1, min(len(shown), int(width_in / 1.9)))
    figure, axes = style.panels([f"token {token}" for token in shown], width_in, height_in=width_in / num_cols)
    rows = data.to_pylist()
    limit = 1.15 * max(1.0, *(row["modulus"] for row in rows))
    with style.settings():
        for panel, token in zip(axes, shown, strict=True):
            panel.add_patch(Circle((0, 0), 1, fill=False, color="#999999", linewidth=0.6))
            for matrix, look in _LOOKS.items():
                of = [row for row in rows if row["token"] == token and row["matrix"] == matrix]
                reals, imags = ([row[part] for row in of] for part in ("real", "imag"))
                panel.plot(reals, imags, marker="o", linestyle="", label=matrix if of else None, **look)
            panel.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
        style.label(axes, "real part", "imaginary part")
        style.legend(figure, axes)
    rest = f"the first {len(shown)} of {len(tokens)} tokens" if len(shown) < len(tokens) else ""
    style.caption(figure, rest)
    return figure


def _angle(value: complex) -> float | None:
    """Return the angle in degrees, from -180 (excluded) to 180; None for 0."""
    if abs(value) < _ROUND:
        return None
    degrees = math.degrees(cmath.phase(value))
    return 180.0 if degrees <= -180 + _ROUND else degrees

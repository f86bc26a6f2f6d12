"""What all pictures share. Figures are made without the global state of pyplot."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

#: Told apart by those who see colours differently, and in grey print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "0.45")
STYLES = ("-", "--", "-.", ":")
MARKS = ("o", "s", "^", "x")
GREY = "0.45"
MINUS = "\N{MINUS SIGN}"
SAMS_LABEL = "SAMS (eV$^{-1/2}$)"

_DPI = 150


def new_figure(width_inch: float, height_inch: float) -> Figure:
    """Return an empty figure whose parts find their places by themselves."""
    figure = Figure(figsize=(width_inch, height_inch), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png(figure: Figure) -> bytes:
    """Return a figure as a PNG file."""
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=_DPI)
    return target.getvalue()


def svg(figure: Figure) -> bytes:
    """
    Return a figure as an SVG file that looks the same everywhere: letters are drawn as paths.

    Equal figures give equal files.
    """
    target = io.BytesIO()
    with rc_context({"svg.hashsalt": "vtc-flows", "svg.fonttype": "path"}):
        figure.savefig(target, format="svg", dpi=_DPI, metadata={"Date": None})
    return target.getvalue()


def moment_label(name: str, exponent: int) -> str:
    """
    Return the name of an anisotropy sum of the moments with its unit, for an axis.

    Parameters
    ----------
    name : {"qams", "dams", "iams"}
    exponent : int
        Fall-off p of the weight r^-p.

    Examples
    --------
    >>> moment_label("dams", 8)
    'DAMS (e Å$^{-7}$)'
    """
    charge = "" if name == "iams" else "e "
    power = (1 if name == "dams" else 2) - exponent
    return f"{name.upper()} ({charge}Å$^{{{power}}}$)"


def with_gaps(values: Sequence[float | None]) -> list[float]:
    """Return values with NaN, which is not drawn, for None."""
    return [np.nan if value is None else value for value in values]

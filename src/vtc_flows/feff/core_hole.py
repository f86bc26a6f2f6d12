"""Natural width of the 1s level."""

from __future__ import annotations

import numpy as np

# Knots (atomic number, full width in eV) between which FEFF interpolates the logarithm; after
# Krause and Oliver, J. Phys. Chem. Ref. Data 8, 329 (1979).
_KNOTS = (
    (0.99, 0.02),
    (10, 0.28),
    (20, 0.75),
    (40, 4.8),
    (50, 10.5),
    (60, 21.0),
    (80, 60.0),
    (95.1, 105.0),
)


def k_level_width_ev(atomic_number: int) -> float:
    """
    Return the full width of the K level as FEFF takes it.

    Parameters
    ----------
    atomic_number : int
        Z of the absorber.

    Returns
    -------
    float
        Full width at half maximum of the core-hole Lorentzian in eV.

    Examples
    --------
    >>> round(k_level_width_ev(22), 4)
    0.903
    """
    numbers, widths = zip(*_KNOTS, strict=True)
    logarithm = np.interp(atomic_number, numbers, np.log(widths))
    if atomic_number > numbers[-1]:  # FEFF goes on along the last stretch
        slope = np.log(widths[-1] / widths[-2]) / (numbers[-1] - numbers[-2])
        logarithm = np.log(widths[-1]) + slope * (atomic_number - numbers[-1])
    return float(np.exp(logarithm))

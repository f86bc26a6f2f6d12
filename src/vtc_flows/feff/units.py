"""
The unit constants compiled into FEFF 8.5L.

Its files are in Hartree atomic units made with these values, so they are converted with these
values and no others: with newer ones a photon energy of 8 keV moves by some meV.
"""

from __future__ import annotations

#: Length of one Bohr radius in Angstrom.
BOHR_ANGSTROM = 0.52917721067
#: Energy of one Hartree in eV.
HARTREE_EV = 2.0 * 13.60569301

"""Write a spectrum as FEFF does, and its tensor as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vtc_flows.feff.engine import SiteSpectrum
from vtc_flows.feff.units import BOHR_ANGSTROM, HARTREE_EV
from vtc_flows.physics.tensors import COMPONENTS, along, isotropic
from vtc_flows.writing import write_whole

_RULE = "-" * 71


def polarized(spectrum: SiteSpectrum, polarization: Sequence[float] | None) -> NDArray[np.float64]:
    """
    Return the spectrum along a polarization, or the average over all directions.

    Parameters
    ----------
    spectrum : SiteSpectrum
        Of n energies.
    polarization : sequence of 3 float, optional
        Direction in the frame of the atoms, of any length.

    Returns
    -------
    ndarray of shape (n,)
        FEFF's mu, in units of the atomic background at the Fermi level.
    """
    if polarization is None:
        return isotropic(spectrum.tensor)
    return np.asarray(along(spectrum.tensor, polarization))


def wave_number(energy_ev: ArrayLike, e_fermi_ev: float) -> NDArray[np.float64]:
    """
    Return FEFF's k: the square root of 2 (E - E_F), negative below the Fermi level, 1/Angstrom.

    Examples
    --------
    >>> wave_number([-3.81, 3.81], 0.0).round(3).tolist()
    [-1.0, 1.0]
    """
    above = (np.asarray(energy_ev, dtype=float) - e_fermi_ev) / HARTREE_EV
    return np.asarray(np.sign(above) * np.sqrt(2.0 * np.abs(above)) / BOHR_ANGSTROM)


def xmu_text(
    spectrum: SiteSpectrum,
    polarization: Sequence[float] | None = None,
    title: str = "",
    *,
    absolute: bool = False,
) -> str:
    """
    Return a spectrum as the text of an ``xmu.dat``.

    Parameters
    ----------
    spectrum : SiteSpectrum
        The site.
    polarization : sequence of 3 float, optional
        See `polarized`.
    title : str
        First line.
    absolute : bool
        Give mu, mu0 and chi in Angstrom^2, as FEFF does with its card ABSOLUTE.

    Returns
    -------
    str
        Header lines start with ``#``; then the columns omega (photon energy, eV), e (eV, on
        FEFF's scale), k (1/Angstrom), mu, mu0 and chi = mu - mu0.
    """
    direction = (
        "average over directions"
        if polarization is None
        else "polarization " + " ".join(f"{value:.6f}" for value in polarization)
    )
    engine = spectrum.engine
    edge = spectrum.edge_cross_section_angstrom2
    scale = edge if absolute else 1.0
    header = [
        title or "XES",
        f"{engine.name} ({engine.route}), {engine.version}",
        f"POT  SCF {spectrum.scf.n_iterations} iterations, recovery: {spectrum.scf.recovery}",
        f"Mu={spectrum.e_fermi_ev:.6f}eV",
        f"FMS rfms={spectrum.fms_radius_angstrom:.4f}, {spectrum.fms_atoms} atoms",
        direction,
        f"xsedge+ 50, used to normalize mu {1.0 if absolute else edge:20.4E}",
        _RULE,
        "omega    e    k    mu    mu0     chi     @#",
    ]
    mu, mu0 = scale * polarized(spectrum, polarization), scale * spectrum.background
    columns = np.column_stack(
        [
            spectrum.energy_ev - spectrum.e_fermi_ev + spectrum.photon_edge_ev,
            spectrum.energy_ev,
            wave_number(spectrum.energy_ev, spectrum.e_fermi_ev),
            mu,
            mu0,
            mu - mu0,
        ]
    )
    lines = [f"# {line}" for line in header]
    number = "{:20.10f}{:20.10f}{:20.10f}" + ("{:20.10E}" if absolute else "{:20.10f}") * 3
    lines += [number.format(*row) for row in columns]
    return "\n".join(lines) + "\n"


def tensor_json(spectrum: SiteSpectrum) -> str:
    """Return a spectrum's tensor, in the frame of the atoms' list, as JSON."""
    return json.dumps(
        {
            "e_fermi_ev": spectrum.e_fermi_ev,
            "energy_ev": spectrum.energy_ev.tolist(),
            "components": COMPONENTS,
            "tensor": spectrum.tensor.tolist(),
            "background": spectrum.background.tolist(),
            "converged": spectrum.scf.converged,
            "engine": {
                "name": spectrum.engine.name,
                "route": spectrum.engine.route,
                "version": spectrum.engine.version,
                "sha256": spectrum.engine.sha256,
            },
            "timings": spectrum.timings_s,
        }
    )


def write_xmu_files(
    folder: Path,
    spectrum: SiteSpectrum,
    polarizations: Sequence[Sequence[float] | None],
    title: str = "",
    *,
    absolute: bool = False,
) -> list[Path]:
    """
    Write ``xmu.dat`` for the first polarization, ``xmu02.dat`` ... for more, and ``tensor.json``.

    Returns
    -------
    list of Path
        The files, as written.

    Raises
    ------
    StorageError
        If the folder cannot be written.
    """
    written = []
    for number, polarization in enumerate(polarizations, start=1):
        path = folder / ("xmu.dat" if number == 1 else f"xmu{number:02d}.dat")
        write_whole(path, xmu_text(spectrum, polarization, title, absolute=absolute))
        written.append(path)
    path = folder / "tensor.json"
    write_whole(path, tensor_json(spectrum))
    return [*written, path]

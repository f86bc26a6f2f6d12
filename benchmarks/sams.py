"""
Time SAMS through the Gram form and its maximum over frames, each against a plain rival.

    OPENBLAS_NUM_THREADS=1 python benchmarks/sams.py

Rivals, measured in the same run on the same spectra: for one frame, eq 1 as it stands (project the
tensor on the three axes, integrate the squared differences with numpy); for the maximum,
scipy.optimize.minimize (BFGS, numerical gradient) from random rotations, on the same Gram form.
Every figure is the median over spectra; the spectra are made up, 351 energies as in a real run.
"""

from __future__ import annotations

from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize

from vtc_flows.physics.rotations import rotation_about
from vtc_flows.physics.sams import Gram, gram, maximum_sams, mean_sams, sam, sams

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

ENERGY_EV = np.linspace(-30.0, 5.0, 351)
N_SPECTRA = 12
RIVAL_STARTS = 24


def made_up_spectrum(rng: np.random.Generator) -> FloatArray:
    """Return a positive tensor spectrum of eight peaks, shape (351, 6)."""
    tensor = np.zeros((ENERGY_EV.size, 6))
    for _ in range(8):
        peak = np.exp(-(((ENERGY_EV - rng.uniform(-22, 0)) / rng.uniform(0.5, 3)) ** 2))
        vector = rng.normal(size=3)
        square = np.outer(vector, vector) + np.eye(3)
        tensor += peak[:, None] * square[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    return tensor


def direct_sams(tensor: FloatArray, frame: FloatArray) -> float:
    """Return SAMS by projecting and integrating, with no preparation."""
    square = tensor[:, [[0, 5, 4], [5, 1, 3], [4, 3, 2]]]
    x, y, z = (np.einsum("nij,i,j->n", square, axis, axis) for axis in frame.T)
    norm = np.trapezoid((x + y + z) / 3, ENERGY_EV)
    total = sum(np.sqrt(np.trapezoid((a - b) ** 2, ENERGY_EV)) for a, b in ((x, y), (x, z), (y, z)))
    return float(total / norm)


def rival_maximum(grams: list[Gram], rng: np.random.Generator) -> float:
    """Return the highest of `RIVAL_STARTS` runs of scipy's BFGS over rotation vectors."""
    runs = (
        minimize(lambda omega: -mean_sams(grams, rotation_about(omega)), start, method="BFGS")
        for start in rng.uniform(-np.pi, np.pi, size=(RIVAL_STARTS, 3)) / np.sqrt(3)
    )
    return max(-float(run.fun) for run in runs)


def seconds(call: Callable[[], object], repeats: int) -> float:
    """Return the time of one call, averaged over some."""
    start = perf_counter()
    for _ in range(repeats):
        call()
    return (perf_counter() - start) / repeats


def main() -> None:
    """Print the table."""
    rng = np.random.default_rng(2026)
    spectra = [made_up_spectrum(rng) for _ in range(N_SPECTRA)]
    grams = [gram(ENERGY_EV, tensor) for tensor in spectra]
    frame = rotation_about([0.3, -0.8, 0.5])
    worst = max(
        abs(sams(g, frame) / direct_sams(t, frame) - 1) for g, t in zip(grams, spectra, strict=True)
    )
    prepare = median(seconds(lambda t=t: gram(ENERGY_EV, t), 20) for t in spectra)
    broaden = median(seconds(lambda t=t: gram(ENERGY_EV, t, fwhm_ev=1.0), 5) for t in spectra)
    through_gram = median(seconds(lambda g=g: sams(g, frame), 200) for g in grams)
    direct = median(seconds(lambda t=t: direct_sams(t, frame), 50) for t in spectra)
    print(f"Gram form of one spectrum            {prepare * 1e6:9.1f} us")
    print(f"  with 1 eV Gaussian broadening      {broaden * 1e6:9.1f} us")
    print(f"SAMS in one frame, Gram form         {through_gram * 1e6:9.1f} us")
    print(f"SAMS in one frame, direct integral   {direct * 1e6:9.1f} us")
    print(f"  ratio {direct / through_gram:.1f}, largest relative difference {worst:.1e}")
    frames = np.array([rotation_about(omega) for omega in rng.normal(size=(1000, 3))])
    batched = seconds(lambda: sam(grams[0], frames), 5) / len(frames)
    print(f"SAM per frame, 1000 frames at once   {batched * 1e6:9.2f} us")
    print(f"  ratio {direct / batched:.0f} to the direct integral")

    for n_sites in (1, 4, 24):
        sites = [gram(ENERGY_EV, made_up_spectrum(rng)) for _ in range(n_sites)]
        ours = maximum_sams(sites)[0]
        time_ours = median(seconds(lambda s=sites: maximum_sams(s), 1) for _ in range(9))
        start = perf_counter()
        rival = rival_maximum(sites, rng)
        time_rival = perf_counter() - start
        print(
            f"maximum over frames, {n_sites:3d} sites: ours {time_ours * 1e3:7.2f} ms, scipy "
            f"({RIVAL_STARTS} starts) {time_rival * 1e3:8.1f} ms, ratio "
            f"{time_rival / time_ours:6.1f}; values {ours:.12f} and {rival:.12f}"
        )


if __name__ == "__main__":
    main()

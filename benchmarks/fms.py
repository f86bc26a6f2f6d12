"""
CPU time of the full multiple scattering, next to the cost of factorising its matrices.

Rutile around Ti with recorded phase shifts: as it is (eight symmetry operations about the
absorber), with its symmetry left unused, and with every atom displaced, so that no two difference
vectors agree. The floor is LAPACK's `cgetrf` on a matrix of the full size, once per energy.

    OPENBLAS_NUM_THREADS=1 python benchmarks/fms.py
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from vtc_flows.scattering.cluster import ClusterGeometry, SolverFacts
from vtc_flows.scattering.mesh import EnergyMesh
from vtc_flows.scattering.multiple_scattering import scattering_amplitudes
from vtc_flows.scattering.partition import EXACT

RECORD = Path(__file__).parents[1] / "tests" / "data" / "scattering" / "rutile_ti.npz"
BOHR_ANGSTROM = 0.529177
CELL_ANGSTROM = np.array([4.594, 4.594, 2.959])
OXYGEN = 0.305
FMS_LMAX = 3
SCF_LMAX = 2
# 240 energies make a usual spectrum: E_F - 30 eV to E_F at 0.1 eV where it matters, and the axis.
USUAL_ENERGIES = 240


def rutile(n_atoms: int, center: int = 0) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Positions (Bohr) and potentials (0 absorber, 1 O, 2 Ti) of the atoms nearest to one."""
    u = OXYGEN
    basis = [[0, 0, 0], [0.5, 0.5, 0.5], [u, u, 0], [-u, -u, 0], [0.5 + u, 0.5 - u, 0.5]]
    basis.append([0.5 - u, 0.5 + u, 0.5])
    cells = np.stack(np.meshgrid(*[np.arange(-5, 6)] * 3), axis=-1).reshape(-1, 1, 3)
    positions = ((cells + np.array(basis)) * CELL_ANGSTROM).reshape(-1, 3) / BOHR_ANGSTROM
    potentials = np.tile([2, 2, 1, 1, 1, 1], len(cells))
    absorber = int(np.argmin(np.linalg.norm(positions, axis=1)))
    potentials[absorber] = 0
    start = np.flatnonzero(potentials == center)
    start = start[np.argmin(np.linalg.norm(positions[start], axis=1))]
    distances = np.linalg.norm(positions - positions[start], axis=1)
    order = np.argsort(distances.round(6), kind="stable")
    n_shell = int(np.count_nonzero(distances <= distances[order[n_atoms - 1]] + 1e-3))
    chosen = order[:n_shell]
    return positions[chosen] - positions[start], potentials[chosen]


def cpu_seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """Least CPU time of a few runs: the machine may be shared."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def floor_seconds(n: int, repeats: int = 5) -> float:
    """CPU seconds of one single-precision complex LU."""
    generator = np.random.default_rng(0)
    matrix = generator.normal(size=(n, n)) + 1j * generator.normal(size=(n, n))
    matrix = np.asfortranarray(np.eye(n) + 0.3 * matrix / np.sqrt(n), dtype=np.complex64)
    work = matrix.copy(order="F")

    def factorise() -> None:
        for _ in range(batch):
            work[...] = matrix
            lapack.cgetrf(work, overwrite_a=1)

    batch = max(1, 600 // n)
    return cpu_seconds(factorise, repeats) / batch


class Phases:
    """Recorded momenta and scattering amplitudes, thinned to some energies."""

    def __init__(self, n_energies: int) -> None:
        with np.load(RECORD) as record:
            mesh = EnergyMesh(
                record["energy_ha"], int(record["n_horizontal"]), int(record["fermi_index"])
            )
            matters = np.flatnonzero(mesh.matters)
            chosen = matters[np.linspace(0, len(matters) - 1, n_energies).astype(int)]
            self.momenta = np.sqrt(2 * (mesh.energy_ha - record["reference_ha"]))[chosen]
            self.amplitudes = scattering_amplitudes(record["phases"][chosen])

    def solve(self, geometry: ClusterGeometry, method: str) -> NDArray[np.complex128]:
        """Call one method of a geometry for all energies."""
        found: NDArray[np.complex128] = getattr(geometry, method)(self.momenta, self.amplitudes)
        return found


def report_spectrum(n_atoms: int, n_energies: int) -> None:
    """Solve one cluster size at all energies and print."""
    phases = Phases(n_energies)
    positions, potentials = rutile(n_atoms)
    n = len(positions) * (FMS_LMAX + 1) ** 2
    floor = floor_seconds(n) * n_energies
    print(
        f"\n{len(positions)} atoms, lmax {FMS_LMAX}, n = {n}, {n_energies} energies: "
        f"LU floor {floor:.2f} s ({floor / n_energies * USUAL_ENERGIES:.1f} s for a spectrum)"
    )
    generator = np.random.default_rng(1)
    displaced = positions + generator.normal(scale=0.05, size=positions.shape)
    displaced[0] = positions[0]
    for label, where, symmetric in (
        ("rutile", positions, True),
        ("no symmetry", positions, False),
        ("displaced", displaced, False),
    ):
        lmax = np.full(3, FMS_LMAX)
        found = {}
        for name, partitions in (("auto", None), ("all factorised", (EXACT,))):
            given = {} if partitions is None else {"partitions": partitions}
            start = time.process_time()
            geometry = ClusterGeometry(
                where, potentials, lmax, source_l=(1,), use_symmetry=symmetric, **given
            )
            build = time.process_time() - start
            found[name] = phases.solve(geometry, "dipole_blocks")
            spent = cpu_seconds(lambda g=geometry: phases.solve(g, "dipole_blocks"), 2)
            total = build + spent / n_energies * USUAL_ENERGIES
            print(
                f"  {label:12s} {name:15s} {spent:6.2f} s = {spent / floor:5.2f} x floor; "
                f"a spectrum {total:5.1f} s with {build:.2f} s of preparation; "
                f"{described(geometry.facts)}"
            )
        scale = np.abs(found["all factorised"]).max()
        error = np.abs(found["auto"] - found["all factorised"]).max() / scale
        print(f"  {label:12s} largest difference of G: {error:.1e} of its maximum")


def described(facts: SolverFacts) -> str:
    """Sizes and iterations in words."""
    solved = max(1, sum(facts.partitions.values()))
    return (
        f"{facts.n_sectors} sectors, {facts.strong_states / solved:.0f} states factorised in each,"
        f" {facts.products / solved:.1f} products"
    )


def report_scf(n_atoms: int) -> None:
    """Time a call inside the self-consistency, for the cluster around each potential."""
    phases = Phases(40)
    print(f"\nOne call inside the self-consistency, lmax {SCF_LMAX}:")
    for center in range(3):
        positions, potentials = rutile(n_atoms, center)
        n = len(positions) * (SCF_LMAX + 1) ** 2
        floor = floor_seconds(n)
        for symmetric in (True, False):
            geometry = ClusterGeometry(
                positions, potentials, np.full(3, SCF_LMAX), use_symmetry=symmetric
            )
            spent = cpu_seconds(lambda g=geometry: phases.solve(g, "diagonals_by_l"))
            each = spent / len(phases.momenta)
            print(
                f"  potential {center}, {len(positions)} atoms, n = {n}, "
                f"{geometry.facts.n_sectors} sectors: {each * 1e3:.2f} ms, "
                f"LU floor {floor * 1e3:.2f} ms, ratio {each / floor:.2f}"
            )


def main() -> None:
    """Print the three tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--energies", type=int, default=24, help="energies for the large cluster")
    arguments = parser.parse_args()
    report_scf(30)
    report_spectrum(30, 120)
    report_spectrum(80, arguments.energies)
    report_spectrum(120, max(4, arguments.energies // 2))


if __name__ == "__main__":
    main()

"""Compare records of the same sites: documents in, a document out, no files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vtc_flows import __version__
from vtc_flows.errors import InputError
from vtc_flows.physics.deviation import (
    anisotropic_agreement,
    area_ratio,
    largest_deviations,
    on_common_grid,
    relative_l2,
)
from vtc_flows.physics.tensors import POLARIZATIONS
from vtc_flows.schemas import RecordSite, SamsRecord, SamsSettings, same_crystal, utc_now
from vtc_flows.schemas.comparison import (
    ByPolarization,
    ComparedRecord,
    ComparisonUnits,
    CountPair,
    NumberPair,
    RecordComparison,
    SiteComparison,
    SiteFigures,
    TextPair,
)

#: A SAMS below this is that of an isotropic site (eV^-1/2): nothing is relative to it.
_NO_SAMS = 1e-6

Pair = tuple[SamsRecord, SamsRecord]


def pair_sizes(a: Sequence[int], b: Sequence[int], what: str) -> list[tuple[int, int]]:
    """
    Return which cluster sizes of A and B belong together.

    Parameters
    ----------
    a, b : sequence of int
        Neighbours in the multiple scattering of each record.
    what : str
        Of what they are, for messages.

    Returns
    -------
    list of (int, int)
        Equal sizes; where no size is in both, and each has one, these two, as of two presets.

    Raises
    ------
    InputError
        If it is not clear which are meant.

    Examples
    --------
    >>> pair_sizes((30, 80), (80,), "NiO Ni"), pair_sizes((30,), (80,), "NiO Ni")
    ([(80, 80)], [(30, 80)])
    """
    for name, sizes in (("A", a), ("B", b)):
        size, times = Counter(sizes).most_common(1)[0]
        if times > 1:
            raise InputError(
                f"{name} has {times} records of {what} with {size} neighbours in the multiple "
                "scattering, made with different settings or engines: nothing says which is meant"
            )
    shared = [(size, size) for size in a if size in b]
    if shared:
        return shared
    if len(a) == len(b) == 1:
        return [(a[0], b[0])]
    raise InputError(
        f"{what}: A has {_listed(a)} neighbours in the multiple scattering and B {_listed(b)}: no "
        "size is in both, so nothing says which to compare"
    )


def pair_records(a: Sequence[SamsRecord], b: Sequence[SamsRecord]) -> list[Pair]:
    """
    Return which records of A and B are compared; see `pair_sizes`.

    Parameters
    ----------
    a, b : sequence of SamsRecord
        Of one element in one material, at least one each.
    """
    of_size_a, of_size_b = ({each.fms_atoms: each for each in records} for records in (a, b))
    sizes = pair_sizes(
        [each.fms_atoms for each in a], [each.fms_atoms for each in b], _of_what(a[0])
    )
    return [(of_size_a[one], of_size_b[other]) for one, other in sizes]


def require_same_sams(a: SamsSettings, b: SamsSettings, what: str) -> None:
    """
    Make sure that the SAMS of A and B mean the same.

    Raises
    ------
    InputError
        If windows or broadenings differ.
    """
    if (a.window_ev, a.fwhm_ev) != (b.window_ev, b.fwhm_ev):
        raise InputError(
            f"{what}: the SAMS of A is that of {_window(a)}, that of B of {_window(b)}: make both "
            "with the same --window and --fwhm"
        )


def compare_records(a: SamsRecord, b: SamsRecord) -> RecordComparison:
    """
    Compare two records of the same element in the same structure.

    Parameters
    ----------
    a : SamsRecord
        What the other is held against.
    b : SamsRecord

    Returns
    -------
    RecordComparison
        A row for each orbit of sites; one that failed in either says so and has no figures.

    Raises
    ------
    InputError
        If the records are of different elements, structures, windows or broadenings: then no
        figure would say anything.
    """
    _require_comparable(a, b)
    sites = _sites(a, b)
    return RecordComparison(
        material_id=a.material_id,
        element=a.element,
        state="incomplete" if any(site.state == "failed" for site in sites) else "complete",
        units=ComparisonUnits(),
        a=_compared(a),
        b=_compared(b),
        window_ev=a.window_ev,
        fwhm_ev=a.sams_settings.fwhm_ev,
        sams=NumberPair(a=a.sams, b=b.sams),
        sams_relative_difference=_relative(a.sams, b.sams),
        sams_site=NumberPair(a=a.sams_site, b=b.sams_site),
        sams_site_relative_difference=_relative(a.sams_site, b.sams_site),
        sams_max=NumberPair(a=a.sams_max, b=b.sams_max),
        sams_max_relative_difference=_relative(a.sams_max, b.sams_max),
        sites=sites,
        package_version=__version__,
        created_at=utc_now(),
        source=a.provenance.source,
        structure=a.provenance.structure,
    )


def site_figures(a: RecordSite, b: RecordSite) -> SiteFigures:
    """
    Return how the spectra of one site compare; see `vtc_flows.physics.deviation`.

    Raises
    ------
    InputError
        If the spectra have no energies in common.
    """
    grid = on_common_grid(_relative_energy(a), a.tensor, _relative_energy(b), b.tensor)
    energy = grid.energy_ev
    largest, l2 = largest_deviations(grid.a, grid.b), relative_l2(energy, grid.a, grid.b)
    anisotropic = anisotropic_agreement(energy, grid.a, grid.b)
    cpu_a, cpu_b = a.timings.get("total"), b.timings.get("total")
    return SiteFigures(
        e_fermi_ev=NumberPair(a=a.e_fermi_ev, b=b.e_fermi_ev),
        fermi_shift_ev=b.e_fermi_ev - a.e_fermi_ev,
        range_ev=(float(energy[0]), float(energy[-1])),
        interpolated=grid.interpolated,
        largest_deviation=_by_polarization(largest),
        worst_deviation=float(largest.max()),
        relative_l2=_by_polarization(l2),
        worst_relative_l2=float(l2.max()),
        anisotropic_deviation=anisotropic.deviation,
        anisotropic_correlation=anisotropic.correlation,
        area_ratio=area_ratio(energy, grid.a, grid.b),
        edge_cross_section_ratio=b.edge_cross_section_angstrom2 / a.edge_cross_section_angstrom2,
        sams=NumberPair(a=a.sams, b=b.sams),
        sams_relative_difference=_relative(a.sams, b.sams),
        cpu_s=NumberPair(a=cpu_a, b=cpu_b),
        cpu_ratio=cpu_b / cpu_a if cpu_a and cpu_b is not None else None,
        scf_iterations=CountPair(a=a.scf.n_iterations, b=b.scf.n_iterations),
        scf_recovery=TextPair(a=a.scf.recovery, b=b.scf.recovery),
    )


def _sites(a: SamsRecord, b: SamsRecord) -> list[SiteComparison]:
    found_a, found_b = ({site.site_index: site for site in record.sites} for record in (a, b))
    multiplicities: dict[int, int] = {}
    for record in (a, b):
        multiplicities.update({site.site_index: site.multiplicity for site in record.sites})
        multiplicities.update({site.site_index: site.multiplicity for site in record.failures})
    rows = []
    for index, multiplicity in sorted(multiplicities.items()):
        site_a, site_b = found_a.get(index), found_b.get(index)
        figures = site_figures(site_a, site_b) if site_a and site_b else None
        rows.append(
            SiteComparison(
                site_index=index,
                multiplicity=multiplicity,
                state="compared" if figures else "failed",
                failure="" if figures else _failure(index, a, b),
                figures=figures,
            )
        )
    return rows


def _failure(index: int, a: SamsRecord, b: SamsRecord) -> str:
    reasons = []
    for name, record in (("A", a), ("B", b)):
        failed = {failure.site_index: failure for failure in record.failures}
        if index in failed:
            reasons.append(f"failed in {name} ({failed[index].reason}): {failed[index].message}")
        elif index not in {site.site_index for site in record.sites}:
            reasons.append(f"{name} has no such site: it took another of its equivalents")
    return "; ".join(reasons)


def _require_comparable(a: SamsRecord, b: SamsRecord) -> None:
    if (a.material_id, a.element) != (b.material_id, b.element):
        raise InputError(f"A is a record of {_of_what(a)}, B one of {_of_what(b)}")
    if not same_crystal(a.provenance.structure, b.provenance.structure):
        raise InputError(
            f"{_of_what(a)}: A and B have different structures of this name, from "
            f"{a.provenance.source or 'a source unknown'} and "
            f"{b.provenance.source or 'a source unknown'}"
        )
    require_same_sams(a.sams_settings, b.sams_settings, _of_what(a))


def _compared(record: SamsRecord) -> ComparedRecord:
    return ComparedRecord(
        record_id=record.record_id,
        fms_atoms=record.fms_atoms,
        engine=record.engine,
        engine_provenance=record.provenance.engine,
        package_version=record.provenance.package_version,
        created_at=record.provenance.created_at,
        settings=record.settings,
        sams_settings=record.sams_settings,
        settings_hash=record.provenance.settings_hash,
    )


def _by_polarization(values: NDArray[np.float64]) -> ByPolarization:
    return ByPolarization(**dict(zip(POLARIZATIONS, values.tolist(), strict=True)))


def _relative_energy(site: RecordSite) -> NDArray[np.float64]:
    return np.asarray(site.energy_ev) - site.e_fermi_ev


def _relative(a: float | None, b: float | None) -> float | None:
    if a is None or b is None or a < _NO_SAMS:
        return None
    return (b - a) / a


def _of_what(record: SamsRecord) -> str:
    return f"{record.material_id} {record.element}"


def _window(settings: SamsSettings) -> str:
    low, high = settings.window_ev
    return f"E_F{low:+g} ... E_F{high:+g} eV with {settings.fwhm_ev:g} eV broadening"


def _listed(sizes: Sequence[int]) -> str:
    return ", ".join(map(str, sizes))

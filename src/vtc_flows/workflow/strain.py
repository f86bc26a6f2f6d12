"""From one crystal to the same crystal under strain, and from its records to a study of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from vtc_flows import __version__
from vtc_flows.crystal.clusters import Cluster, count_within, scf_radius, shell_radius
from vtc_flows.crystal.sites import site_orbits
from vtc_flows.crystal.sources import StructureRecord
from vtc_flows.crystal.strain import Axis, axis_direction, stretched
from vtc_flows.errors import InputError
from vtc_flows.schemas import (
    Provenance,
    RecordId,
    SamsRecord,
    SamsSettings,
    Units,
    XesSettings,
    settings_hash,
    short_hash,
    utc_now,
)
from vtc_flows.schemas.strain import Side, StrainLine, StrainPoint, StrainStudyDoc
from vtc_flows.workflow.jobs import site_cluster

_TARGETS = ("sams", "sams_site", "sams_max", "sams_crystal", "sams_crystal_max")
_MOMENTS = ("qams", "dams", "iams")
_FEWEST_POINTS = 3

#: Digits that tell strains apart in names: a hundredth of a percent.
_DIGITS = 4


@dataclass(frozen=True)
class StrainPlan:
    """
    One crystal, one absorber, and the strains it is to have.

    Attributes
    ----------
    record : StructureRecord
        Without strain.
    element : str
        The absorber.
    axis : {"a", "b", "c"}
        Of the conventional cell.
    strains : tuple of float
        Relative elongations, rising.
    settings : XesSettings
        As asked for.
    """

    record: StructureRecord
    element: str
    axis: Axis
    strains: tuple[float, ...]
    settings: XesSettings

    def crystals(self) -> list[StructureRecord]:
        """Return the crystal at each strain, under names of their own."""
        direction = axis_direction(self.record.structure, self.axis)
        return [
            replace(
                self.record,
                material_id=f"{self.record.material_id}-{self.axis}{100 * strain:+.2f}",
                structure=stretched(self.record.structure, direction, strain),
                source=f"{self.record.source}, {self.axis} {strain:+.2%}",
                warnings=(),
            )
            for strain in self.strains
        ]

    @cached_property
    def sizes(self) -> dict[int, int]:
        """
        How many neighbours scatter for each size asked for: whole shells without strain.

        Strain splits shells. The nearest so many neighbours would be others at each strain, and
        SAMS would jump where an atom comes or goes; whole shells of the crystal without strain
        keep together. Of several kinds of sites the largest number counts.
        """
        return {size: self._whole_shells(shell_radius, size) for size in self.settings.fms_atoms}

    @cached_property
    def settings_at_strain(self) -> XesSettings:
        """The settings with whole shells, for the potentials too; see `sizes`."""
        changes = {
            "n_scf_atoms": self._whole_shells(scf_radius, self.settings.n_scf_atoms),
            "fms_atoms": tuple(self.sizes.values()),
        }
        return XesSettings.model_validate({**self.settings.model_dump(), **changes})

    @cached_property
    def _clusters(self) -> list[Cluster]:
        structure = self.record.structure
        return [
            site_cluster(structure, orbit.representative, self.settings)
            for orbit in site_orbits(structure, self.element)
        ]

    def _whole_shells(self, radius: Callable[[Cluster, int], float], n_neighbors: int) -> int:
        return max(count_within(each, radius(each, n_neighbors)) - 1 for each in self._clusters)


def strains_between(low_percent: float, high_percent: float, step_percent: float) -> list[float]:
    """
    Return relative elongations from one to another.

    Raises
    ------
    InputError
        If there is none, or the step is too small for their names.

    Examples
    --------
    >>> strains_between(-1, 1, 0.5)
    [-0.01, -0.005, 0.0, 0.005, 0.01]
    """
    if not (low_percent <= high_percent and step_percent > 0):
        raise InputError(
            f"strains from {low_percent:g} to {high_percent:g} % in steps of {step_percent:g} %: "
            "give LOW up to HIGH, and a STEP above zero"
        )
    if step_percent < 100 * 10**-_DIGITS:
        raise InputError(f"a step of {step_percent:g} % is too small: take 0.01 or more")
    count = int(np.floor((high_percent - low_percent) / step_percent + 1e-9)) + 1
    values = np.round((low_percent + step_percent * np.arange(count)) / 100, _DIGITS)
    return [float(value) + 0.0 for value in values]


def strain_studies(
    plan: StrainPlan,
    records: Mapping[float, Sequence[SamsRecord]],
    sams_settings: SamsSettings,
) -> list[StrainStudyDoc]:
    """
    Put the records of a crystal at several strains together, a study for each cluster size.

    Parameters
    ----------
    plan : StrainPlan
    records : mapping of float to sequence of SamsRecord
        Of each strain that gave any, those of all cluster sizes.
    sams_settings : SamsSettings

    Returns
    -------
    list of StrainStudyDoc
        One for each size asked for.

    Raises
    ------
    InputError
        If there is no record at all.
    """
    if not records:
        raise InputError(f"{plan.record.material_id}: no strain gave a record")
    return [
        _study(plan, size, n_neighbors, records, sams_settings)
        for size, n_neighbors in plan.sizes.items()
    ]


def fit_line(over: ArrayLike, of: ArrayLike) -> tuple[float, float, float | None]:
    """
    Return the straight line through points by least squares.

    Parameters
    ----------
    over, of : array_like of shape (n,)
        Two points or more, not all at one place.

    Returns
    -------
    slope, intercept : float
    r2 : float or None
        Share of the variance that the line explains; None where nothing varies.

    Examples
    --------
    >>> slope, intercept, r2 = fit_line([0, 1, 2], [1, 3, 5])
    >>> round(slope, 9), round(intercept, 9), round(r2, 9)
    (2.0, 1.0, 1.0)
    """
    x, y = np.asarray(over, dtype=float), np.asarray(of, dtype=float)
    intercept, slope = np.polynomial.Polynomial.fit(x, y, 1).convert().coef.tolist()
    total = float(((y - y.mean()) ** 2).sum())
    rest = float(((y - slope * x - intercept) ** 2).sum())
    return slope, intercept, 1.0 - rest / total if total > 0.0 else None


def _study(
    plan: StrainPlan,
    size: int,
    n_neighbors: int,
    records: Mapping[float, Sequence[SamsRecord]],
    sams_settings: SamsSettings,
) -> StrainStudyDoc:
    ours = {
        strain: next(each for each in records[strain] if each.fms_atoms == n_neighbors)
        for strain in sorted(records)
    }
    points = [_point(strain, record) for strain, record in ours.items()]
    first = next(iter(ours.values()))
    digest = settings_hash(plan.settings.for_size(size), sams_settings)
    name = RecordId(plan.record.material_id, plan.element, first.engine, size, short_hash(digest))
    return StrainStudyDoc(
        study_id=f"{name}-strain-{plan.axis}",
        material_id=plan.record.material_id,
        formula=plan.record.structure.composition.reduced_formula,
        element=plan.element,
        engine=first.engine,
        axis=plan.axis,
        direction=tuple(axis_direction(plan.record.structure, plan.axis).tolist()),
        fms_atoms=size,
        n_neighbors=n_neighbors,
        settings=first.settings,
        sams_settings=sams_settings,
        units=Units(),
        points=points,
        lines=_lines(points),
        provenance=Provenance(
            package_version=__version__,
            engine=next((r.provenance.engine for r in ours.values() if r.sites), None),
            settings_hash=digest,
            created_at=utc_now(),
            source=plan.record.source,
            structure=plan.record.structure.as_dict(),
        ),
    )


def _point(strain: float, record: SamsRecord) -> StrainPoint:
    return StrainPoint(
        strain=strain,
        record_id=record.record_id,
        state=record.state,
        reason=record.failures[0].reason if record.failures else "",
        n_fms_atoms=[site.n_fms_atoms for site in record.sites],
        **{name: getattr(record.features, name) for name in _MOMENTS},
        **{name: getattr(record, name) for name in _TARGETS},
    )


def _lines(points: Sequence[StrainPoint]) -> list[StrainLine]:
    """Fit each side by itself: sums of sizes as QAMS and SAMS have a kink where they vanish."""
    sides: dict[Side, list[StrainPoint]] = {
        "compressed": [each for each in points if each.strain <= 0.0 and each.sams is not None],
        "stretched": [each for each in points if each.strain >= 0.0 and each.sams is not None],
    }
    lines = []
    for side, ours in sides.items():
        if len(ours) < _FEWEST_POINTS:
            continue
        for of, over in (("qams", "strain"), ("sams", "strain"), ("sams", "qams")):
            x, y = ([getattr(each, name) for each in ours] for name in (over, of))
            if float(np.ptp(x)) == 0.0:
                continue
            slope, intercept, r2 = fit_line(x, y)
            lines.append(
                StrainLine(
                    side=side,
                    of=of,
                    over=over,
                    n=len(ours),
                    slope=slope,
                    intercept=intercept,
                    r2=r2,
                )
            )
    return lines

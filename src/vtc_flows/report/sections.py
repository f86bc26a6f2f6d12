"""The parts of a report: pictures and tables from what was read, no database and no files."""

from __future__ import annotations

from vtc_flows.builders.files import distributions
from vtc_flows.plots.datasets import correlation_figure, distribution_figure, exponent_figure
from vtc_flows.plots.records import compound_figure
from vtc_flows.plots.strain import crystal_name, strain_figure
from vtc_flows.report.contents import Contents
from vtc_flows.report.model_sections import model_sections
from vtc_flows.report.parts import Picture, Section, Table, by_number, number_text
from vtc_flows.schemas.dataset import PAPER_FEATURES

_MOST_LISTED = 15


def report_sections(contents: Contents) -> list[Section]:
    """Return all parts in the order of the page; what cannot be shown says what is missing."""
    return [
        _overview(contents),
        _compound(contents),
        _strain(contents),
        _data_set(contents),
        *model_sections(contents),
        _most_anisotropic(contents),
    ]


def _overview(contents: Contents) -> Section:
    dataset, model = contents.dataset, contents.model
    low, high = dataset.sams_settings.window_ev
    facts = [
        ("data set", dataset.dataset_id),
        (
            "rows",
            (
                f"{dataset.n_rows}: {dataset.parts.train} for training, {dataset.parts.test} for "
                f"tests; near-duplicates by {dataset.split.group_by} on one side"
            ),
        ),
        ("left out", _counts(dataset.left_out)),
        ("engine", f"{dataset.engine}, {', '.join(each.version for each in dataset.engines)}"),
        (
            "neighbours",
            (
                f"{dataset.fms_atoms} in the multiple scattering, "
                f"{dataset.settings.n_scf_atoms} in the potentials"
            ),
        ),
        ("SAMS", f"window E_F{low:+g} ... E_F{high:+g} eV, {_broadening(contents)}"),
        (
            "moments",
            (
                f"weight r^-{dataset.sams_settings.moment_exponent} up to "
                f"{dataset.sams_settings.moment_cutoff_angstrom:g} Å"
            ),
        ),
        ("model", model.card.model_id if model else "none"),
        ("package", f"vtc-flows {dataset.package_version}"),
    ]
    return Section(
        "overview",
        "What this is about",
        tables=(Table("", ("", ""), tuple(facts)),),
        warnings=tuple(model.card.warnings) if model else (),
    )


def _compound(contents: Contents) -> Section:
    title = "One compound"
    record = contents.compound
    if record is None:
        return Section("compound", title, missing="The record's spectra are not in the database.")
    picture = Picture(
        "compound",
        compound_figure(record),
        f"{record.element} in {record.material_id} (record {record.record_id}): the nearest atoms "
        "with the shared frame; emission polarized along its axes; squared differences of the "
        "polarizations; the spectral anisotropy matrix, whose upper three elements add up to SAMS.",
    )
    return Section("compound", title, pictures=(picture,))


def _strain(contents: Contents) -> Section:
    title = "Strain"
    if not contents.studies:
        return Section(
            "strain",
            title,
            missing="There is no strain study with this engine and cluster size: "
            "vtc strain STRUCTURE --store makes one.",
        )
    pictures = []
    rows = []
    for study in contents.studies:
        name = f"strain-{study.material_id}-{study.element}-{study.axis}"
        pictures.append(
            Picture(
                name,
                strain_figure(study),
                f"{crystal_name(study)} stretched along {study.axis}, atoms at "
                "their places in the cell: QAMS and SAMS over strain, and SAMS over QAMS with a "
                "line through each side. The star is the crystal without strain.",
            )
        )
        rows += [
            (
                f"{study.formula} {study.element}",
                line.side,
                f"{line.of.upper()} over {line.over.upper() if line.over == 'qams' else line.over}",
                f"{line.slope:.4g}",
                f"{line.intercept:.2g}",
                number_text(line.r2, 5),
                str(line.n),
            )
            for line in study.lines
        ]
    head = ("crystal", "side", "line", "slope", "intercept", "R²", "points")
    table = Table("Straight lines through each side.", head, tuple(rows))
    return Section("strain", title, pictures=tuple(pictures), tables=(table,) if rows else ())


def _data_set(contents: Contents) -> Section:
    rows = [row.model_dump() for row in contents.rows]
    columns = {name: [row[name] for row in rows] for name in (*PAPER_FEATURES, "sams")}
    exponent = contents.dataset.sams_settings.moment_exponent
    pictures = [
        Picture(
            "distributions",
            distribution_figure(distributions(rows, exponent)),
            "Records of each element, and how QAMS and SAMS are distributed among them: point the "
            "median, box the quartiles, line from the 5th to the 95th percentile of what is not "
            "zero; the share of zeros beside.",
        ),
        Picture(
            "correlations",
            correlation_figure(columns),
            "Pearson's correlation of the features with each other and with SAMS.",
        ),
    ]
    if contents.curve is not None:
        pictures.append(
            Picture(
                "exponents",
                exponent_figure(contents.curve),
                "Rank correlation of QAMS, IAMS and DAMS with SAMS for each exponent of the "
                "moments' weight, over the training part.",
            )
        )
    counts = tuple(
        (name, str(each.train), str(each.test))
        for name, each in by_number(contents.dataset.by_element)
    )
    table = Table("Rows of each element.", ("element", "training", "tests"), counts)
    return Section("data-set", "Data set", pictures=tuple(pictures), tables=(table,))


def _most_anisotropic(contents: Contents) -> Section:
    rows = sorted(contents.rows, key=lambda row: -row.sams)[:_MOST_LISTED]
    listed = tuple(
        (
            row.material_id,
            row.formula,
            row.element,
            str(row.space_group_number),
            f"{row.sams:.4f}",
            f"{row.sams_max:.4f}",
            f"{row.sams_crystal:.4f}",
            f"{row.qams:.4g}",
        )
        for row in rows
    )
    table = Table(
        "SAMS of sites (shared frame, largest in any frame) and of the crystal's sum, eV^-1/2.",
        ("crystal", "formula", "X", "space group", "SAMS", "largest", "of the crystal", "QAMS"),
        listed,
    )
    return Section("most-anisotropic", "The most anisotropic crystals", tables=(table,))


def _broadening(contents: Contents) -> str:
    width = contents.dataset.sams_settings.fwhm_ev
    return f"broadened by {width:g} eV FWHM" if width else "no broadening but the lifetime's"


def _counts(of: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in of.items()) or "none"

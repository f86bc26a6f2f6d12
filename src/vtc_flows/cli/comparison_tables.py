"""Comparisons as people see them: tables narrow enough for 80 columns."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vtc_flows.cli.display import add_columns, plain_table, print_table, short
from vtc_flows.schemas.comparison import NumberPair, RecordComparison, SiteComparison, TextPair

#: What the tables' figures are, said once for all tables.
LEGEND = (
    "largest, L2: largest deviation of mu and its L2 norm, in the worst of six",
    "polarizations; anis., corr.: deviation and correlation of the anisotropic part;",
    "all over E - E_F, relative to A. area, edge: area of the isotropic spectrum and",
    "edge cross section, B / A.",
)


def print_comparison(comparison: RecordComparison, target: Console) -> None:
    """Print a comparison: what is compared, SAMS, then two lines for each orbit of sites."""
    target.print()
    target.print(Text(f"{comparison.material_id}  {comparison.element}", "bold"))
    for name, record in (("A", comparison.a), ("B", comparison.b)):
        text = f"{name} {record.engine}, {record.fms_atoms} neighbours in the multiple scattering"
        target.print(Text(text))
    low, high = comparison.window_ev
    conditions = f"SAMS in eV^-1/2, E_F{low:+g} ... E_F{high:+g} eV"
    if comparison.fwhm_ev:
        conditions += f", broadened by {comparison.fwhm_ev:g} eV FWHM"
    target.print(Text(conditions))
    print_table(_sams(comparison), target)
    target.print()
    print_table(_spectra(comparison), target)
    target.print()
    print_table(_calculations(comparison), target)
    for site in comparison.sites:
        if site.failure:
            text = f"site {site.site_index} {site.failure}"
            target.print(Text(text, "red"), soft_wrap=True)


def percent(value: float | None) -> str:
    """
    Return a relative difference for people.

    Examples
    --------
    >>> percent(-0.40512), percent(2.1e-6), percent(None)
    ('-40.51%', '+0.00%', '-')
    """
    return "-" if value is None else f"{value:+.2%}"


def _sams(comparison: RecordComparison) -> Table:
    table = plain_table()
    kinds: dict[str, tuple[NumberPair, float | None]] = {
        "SAMS": (comparison.sams, comparison.sams_relative_difference),
        "own frames": (comparison.sams_site, comparison.sams_site_relative_difference),
        "maximum": (comparison.sams_max, comparison.sams_max_relative_difference),
    }
    add_columns(table, "of all sites", *kinds, text=("of all sites",))
    table.add_row("A", *(_four(pair.a) for pair, _ in kinds.values()))
    table.add_row("B", *(_four(pair.b) for pair, _ in kinds.values()))
    table.add_row("B against A", *(percent(relative) for _, relative in kinds.values()))
    return table


def _spectra(comparison: RecordComparison) -> Table:
    table = plain_table()
    names = ("site", "mult.", "E_F of A", "shift eV", "largest", "L2", "anis.", "corr.")
    add_columns(table, *names, "area", "edge")
    for site in comparison.sites:
        figures = site.figures
        if figures is None:
            table.add_row(*_of_failed(site))
            continue
        correlation = figures.anisotropic_correlation
        table.add_row(
            str(site.site_index),
            str(site.multiplicity),
            "-" if figures.e_fermi_ev.a is None else f"{figures.e_fermi_ev.a:.3f}",
            f"{figures.fermi_shift_ev:+.3f}",
            short(figures.worst_deviation),
            short(figures.worst_relative_l2),
            short(figures.anisotropic_deviation),
            "-" if correlation is None else f"{correlation:.4f}",
            f"{figures.area_ratio:.4f}",
            f"{figures.edge_cross_section_ratio:.4f}",
        )
    return table


def _calculations(comparison: RecordComparison) -> Table:
    table = plain_table()
    names = ("site", "SAMS A", "SAMS B", "B to A", "CPU s A", "CPU s B", "B / A", "SCF steps")
    add_columns(table, *names, "recovery", text=("recovery",))
    for site in comparison.sites:
        figures = site.figures
        if figures is None:
            table.add_row(str(site.site_index), *["-"] * 7, "failed")
            continue
        table.add_row(
            str(site.site_index),
            _four(figures.sams.a),
            _four(figures.sams.b),
            percent(figures.sams_relative_difference),
            _one(figures.cpu_s.a),
            _one(figures.cpu_s.b),
            "-" if figures.cpu_ratio is None else f"{figures.cpu_ratio:.3g}",
            f"{figures.scf_iterations.a}, {figures.scf_iterations.b}",
            _recovery(figures.scf_recovery),
        )
    return table


def _of_failed(site: SiteComparison) -> list[str]:
    return [str(site.site_index), str(site.multiplicity), "failed", *["-"] * 7]


def _recovery(steps: TextPair) -> str:
    return steps.a if steps.a == steps.b else f"{steps.a}, {steps.b}"


def _four(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _one(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"

"""
Print the records of ``vtc run --json`` as a Markdown table.

    vtc run a.cif b.cif --fms-atoms 30,80 --json > records.json
    python benchmarks/table_of_records.py records.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

SAMS_KINDS = ("sams", "sams_site", "sams_max", "sams_crystal", "sams_crystal_max")
FEATURES = ("qams", "dams", "iams", "density", "n_sg", "n_3d", "en_mean", "en_std")
STAGES = ("scf", "phases", "fms")


def number(value: float | None) -> str:
    """Return a value with four significant digits; a dash where there is none."""
    return "-" if value is None else f"{value:.4g}"


def row(record: dict[str, Any]) -> list[str]:
    """Return the cells of one record; CPU seconds are means over its sites."""
    sites = record["sites"]
    seconds = [
        f"{sum(site['timings'][stage] for site in sites) / len(sites):.1f}" if sites else "-"
        for stage in STAGES
    ]
    failed = "; ".join(failure["reason"] for failure in record["failures"])
    recovery = "; ".join(sorted({site["scf"]["recovery"] for site in sites} - {"none"}))
    residual = max((site["symmetry_residual"] for site in sites), default=None)
    return [
        record["material_id"],
        record["element"],
        str(record["fms_atoms"]),
        *(f"{record[kind]:.4f}" if record[kind] is not None else "-" for kind in SAMS_KINDS),
        *(number(record["features"][name]) for name in FEATURES),
        f"{residual:.0e}" if residual is not None else "-",
        *seconds,
        failed or recovery,
    ]


def table(records: list[dict[str, Any]]) -> str:
    """Return the records as a Markdown table."""
    head = ["material", "X", "atoms", *SAMS_KINDS, *FEATURES, "symmetry residual"]
    head += ["SCF s", "phases s", "FMS s", "remarks"]
    rows = [head, ["---"] * len(head), *map(row, records)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows)


def main() -> None:
    """Print the table of the file that the command line names."""
    print(table(json.loads(Path(sys.argv[1]).read_text())))


if __name__ == "__main__":
    main()

"""
The card of a data set in the vocabulary that data portals and loaders read: Croissant 1.0.

Source: https://docs.mlcommons.org/croissant/docs/croissant-spec.html
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vtc_flows import __version__
from vtc_flows.dataset.layout import Layout, digest_of
from vtc_flows.dataset.shards import SCHEMA, site_rows
from vtc_flows.learn.tables import column_units

_LICENSE = "https://creativecommons.org/licenses/by/4.0/"
_DESCRIPTION = (
    "Polarization-resolved valence-to-core x-ray emission of the 3d metals in crystals, computed "
    "with FEFF 8.5L and full multiple scattering: the tensor of every site, the Fermi level, and "
    "for each element of a crystal several measures of its anisotropy with features of the "
    "structure. The part 'test' is a small image of the whole population, for tests only."
)
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "sc": "https://schema.org/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "recordSet": "cr:recordSet",
    "field": "cr:field",
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "source": "cr:source",
    "extract": "cr:extract",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "column": "cr:column",
    "includes": "cr:includes",
}
_MEDIA = {".parquet": "application/vnd.apache.parquet", ".gz": "application/gzip"}
_SITES = "sites"


def croissant(layout: Layout) -> dict[str, Any]:
    """
    Return the card of a data set: its files with digests, its columns, where it comes from.

    Parameters
    ----------
    layout : Layout
        All files of which are there.
    """
    records = pq.read_schema(layout.records)
    files = [_file(layout.folder, path) for path in layout.files()]
    engines = sorted({row["engine"] for row in site_rows(layout.sites, ["engine"])})
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": "vtc-flows",
        "description": _DESCRIPTION,
        "license": _LICENSE,
        "creator": {"@type": "sc:Organization", "name": "The developers of vtc-flows"},
        "citeAs": "vtc-flows, data set of polarization-resolved valence-to-core x-ray emission",
        "isBasedOn": [
            {
                "name": "Materials Project",
                "url": "https://materialsproject.org",
                "license": "CC-BY-4.0",
            },
            {
                "name": "Crystallography Open Database",
                "url": "https://www.crystallography.net/cod",
                "license": "CC0-1.0",
            },
        ],
        "keywords": ["x-ray emission", "valence-to-core", "polarization", "FEFF", "3d metals"],
        "version": __version__,
        "engines": engines,
        "distribution": [
            *files,
            {
                "@type": "cr:FileSet",
                "@id": _SITES,
                "encodingFormat": _MEDIA[".parquet"],
                "includes": "sites/*.parquet",
            },
        ],
        "recordSet": [
            _record_set("records", {"fileObject": {"@id": "records.parquet"}}, records),
            _record_set("site", {"fileSet": {"@id": _SITES}}, SCHEMA),
        ],
    }


def _file(folder: Path, path: Path) -> dict[str, Any]:
    name = path.relative_to(folder).as_posix()
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": _MEDIA[path.suffix],
        "sha256": digest_of(path),
    }


def _record_set(name: str, source: dict[str, Any], schema: pa.Schema) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "field": [*_fields(name, source, schema)],
    }


def _fields(name: str, source: dict[str, Any], columns: Iterable[pa.Field]) -> Iterable[Any]:
    units = column_units()
    for column in columns:
        kind = _kind(column.type)
        if kind is None:
            continue
        unit = units.get(column.name, "")
        yield {
            "@type": "cr:Field",
            "@id": f"{name}/{column.name}",
            "name": column.name,
            "description": f"{column.name}, {unit}" if unit else column.name,
            "dataType": kind,
            "source": {**source, "extract": {"column": column.name}},
        }


def _kind(of: pa.DataType) -> str | None:
    """Return a column's type; None for what Croissant has no word for."""
    if pa.types.is_string(of):
        return "sc:Text"
    if pa.types.is_integer(of):
        return "sc:Integer"
    return "sc:Float" if pa.types.is_floating(of) else None

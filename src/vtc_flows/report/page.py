"""Sections as one page that needs nothing beside itself, and its pictures as files."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from vtc_flows.plots.style import png, svg
from vtc_flows.report.parts import Section
from vtc_flows.writing import file_name, write_whole

PAGE = "report.html"
FIGURES = "figures"

_TEMPLATE = "report.html.j2"


def page_html(sections: Sequence[Section], drawn: Mapping[str, bytes], *, made_at: str) -> str:
    """
    Return the page.

    Parameters
    ----------
    sections : sequence of Section
    drawn : mapping of str to bytes
        For the name of each picture the content of its SVG file.
    made_at : str
        Stands below the title.

    Returns
    -------
    str
        HTML with everything in it: pictures are SVG in the page itself, there is no script and no
        address that is loaded.
    """
    environment = Environment(
        loader=PackageLoader("vtc_flows.report", "."),
        autoescape=select_autoescape(enabled_extensions=("j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sources = {
        name: f"data:image/svg+xml;base64,{base64.b64encode(content).decode()}"
        for name, content in drawn.items()
    }
    template = environment.get_template(_TEMPLATE)
    return template.render(sections=sections, sources=sources, made_at=made_at)


def write_report(folder: Path, sections: Sequence[Section], *, made_at: str) -> Iterator[Path]:
    """
    Write the page, and each picture as PNG and SVG; yield the name of each file when it is there.

    Raises
    ------
    StorageError
        If the folder cannot be written.
    """
    drawn: dict[str, bytes] = {}
    for picture in (each for section in sections for each in section.pictures):
        drawn[picture.name] = svg(picture.figure)
        for suffix, content in ((".svg", drawn[picture.name]), (".png", png(picture.figure))):
            path = folder / FIGURES / file_name(picture.name, suffix)
            write_whole(path, content)
            yield path
    write_whole(folder / PAGE, page_html(sections, drawn, made_at=made_at))
    yield folder / PAGE

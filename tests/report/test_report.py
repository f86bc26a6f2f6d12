"""`vtc report`: what is on the page, what it says of what is missing, and what a browser sees."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import browser
import pytest
import trained
from overlaps import overlapping_texts

from vtc_flows.builders import DatasetBuilder, ExponentBuilder, ExponentCurveBuilder
from vtc_flows.builders.running import build
from vtc_flows.crystal.sources import load_structures
from vtc_flows.report.contents import Wishes, read_contents
from vtc_flows.report.page import FIGURES, PAGE
from vtc_flows.report.sections import report_sections
from vtc_flows.schemas import SamsSettings, XesSettings
from vtc_flows.schemas.strain import StrainStudyDoc
from vtc_flows.stores.collections import prepare, utc_stamp
from vtc_flows.stores.exchange import read_records
from vtc_flows.stores.records import save_record
from vtc_flows.stores.studies import save_study
from vtc_flows.workflow.batch import plan_records, run_task
from vtc_flows.workflow.flows import PolarizedXesFlowMaker
from vtc_flows.workflow.jobs import SiteXesMaker
from vtc_flows.workflow.strain import StrainPlan, strain_studies, strains_between

SECTIONS = [
    *("overview", "compound", "strain", "data-set", "training", "results"),
    *("importances", "elements", "more-rows", "most-anisotropic"),
]
TRAIN = ("train", "--draws", 10, "--folds", 2, "--repeats", 2, "--trees", 10, 20)
PICTURES = {
    *("compound", "strain-NiO-Ni-c", "distributions", "correlations", "exponents", "parity"),
    *("importances", "elements", "two-elements", "learning-curve"),
}


@pytest.fixture(scope="module")
def study() -> StrainStudyDoc:
    """Return a study of NiO by a formula, under the name of the engine of the records."""
    path = trained.DATA / "structures" / "NiO.cif"
    (record,) = load_structures([path])
    strains = tuple(strains_between(-1, 1, 0.5))
    plan = StrainPlan(record, "Ni", "c", strains, XesSettings(energy_step_ev=0.5))
    settings = plan.settings_at_strain
    maker = PolarizedXesFlowMaker(
        site_maker=SiteXesMaker(engine="analytic_engine:make", settings=settings)
    )
    tasks = plan_records(plan.crystals(), ["Ni"], settings).tasks
    records = {value: run_task(task, maker) for value, task in zip(strains, tasks, strict=True)}
    (made,) = strain_studies(plan, records, SamsSettings())
    return made.model_copy(update={"engine": "feff8l"})


@pytest.fixture
def records(database):
    """Return a database with the records of a campaign and their data sets."""
    prepare(database)
    found = [each for each in trained.records() if each["fms_atoms"] == 30]
    database.sams.insert_many([{**each, "last_updated": utc_stamp()} for each in found])
    build(DatasetBuilder())
    return database


@pytest.fixture
def whole(records, study):
    """Return a database with all that a report can show."""
    largest = max(trained.records(), key=lambda r: r["sams"] * (r["fms_atoms"] == 30))
    for record in read_records(trained.DATA / "campaign" / "records.jsonl.gz"):
        if record.record_id == largest["record_id"]:
            save_record(records, record)
    build(DatasetBuilder())
    build(ExponentBuilder())
    build(ExponentCurveBuilder())
    save_study(records, study)
    return records


def test_everything_is_on_the_page(vtc, whole, tmp_path):
    assert vtc(*TRAIN).exit_code == 0
    done = vtc("report", "--out", tmp_path)
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(tmp_path / PAGE)
    html = (tmp_path / PAGE).read_text(encoding="utf-8")
    page = Page(html)
    assert page.open_tags == []
    figures = {f"figure-{name}" for name in PICTURES}
    assert [name for name in page.ids if name not in figures] == SECTIONS
    assert set(page.ids) - set(SECTIONS) == figures
    assert 'class="missing"' not in html
    assert "<script" not in html
    assert all(source.startswith("data:image/svg+xml;base64,") for source in page.sources)
    assert set(re.findall(r'href="([^"]*)"', html)) == {"data:,", *(f"#{s}" for s in SECTIONS)}
    files = {path.name for path in (tmp_path / FIGURES).iterdir()}
    assert files == {f"{name}{suffix}" for name in PICTURES for suffix in (".png", ".svg")}
    for text in ("0.7935", "587", "49 training rows are few", "baseline: ridge"):
        assert text in html
    before = (tmp_path / FIGURES / "parity.svg").read_bytes()
    assert vtc("report", "--out", tmp_path).exit_code == 0
    assert (tmp_path / FIGURES / "parity.svg").read_bytes() == before


def test_no_texts_overlap(whole, vtc):
    assert vtc(*TRAIN).exit_code == 0
    sections = report_sections(read_contents(whole, Wishes()))
    found = {
        picture.name: overlapping_texts(picture.figure)
        for section in sections
        for picture in section.pictures
    }
    assert found == {name: [] for name in PICTURES}


def test_overlaps_are_seen():
    from vtc_flows.plots.style import new_figure

    figure = new_figure(3.0, 2.0)
    axes = figure.subplots()
    axes.text(0.5, 0.5, "one text")
    axes.text(0.52, 0.5, "another")
    figure.text(0.9, 0.2, "far beyond the edge of the figure")
    assert len(overlapping_texts(figure)) == 2


def test_what_is_missing_is_said(vtc, records, tmp_path):
    done = vtc("report", "--out", tmp_path)
    assert done.exit_code == 0, done.output
    for text in ("vtc train makes one", "vtc strain STRUCTURE --store", "spectra are not"):
        assert text in done.stderr
        assert text in (tmp_path / PAGE).read_text(encoding="utf-8")
    assert {path.stem for path in (tmp_path / FIGURES).iterdir()} == {
        "distributions",
        "correlations",
    }


def test_chosen_parts(whole, vtc, monkeypatch, mongo_server):
    name = trained.store(whole, trained.model(mongo_server.uri, monkeypatch))
    contents = read_contents(whole, Wishes(model=name, elements=("Fe", "Ni")))
    assert contents.model.card.model_id == name
    assert contents.elements == ("Fe", "Ni")
    other = contents.compound.record_id
    assert read_contents(whole, Wishes(record=other)).compound.record_id == other


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--dataset", "none"), "no data set none"),
        (("--model", "none"), "no model none"),
        (("--record", "none"), "no record none"),
        (("--element", "Fe", "--element", "Ni", "--element", "Cu"), "the page shows two"),
    ],
)
def test_what_is_not_there_is_refused_in_one_line(vtc, records, tmp_path, arguments, says):
    done = vtc("report", *arguments, "--out", tmp_path)
    assert done.exit_code == 2, done.output
    assert says in done.stderr
    assert "Traceback" not in done.output


def test_an_empty_database_says_what_makes_a_data_set(vtc, database, tmp_path):
    done = vtc("report", "--out", tmp_path)
    assert done.exit_code == 2
    assert "vtc build dataset" in done.stderr


@pytest.fixture
def chromium(tmp_path):
    if missing := browser.missing_programs():
        pytest.skip(f"no {', '.join(missing)} here: tests/support/install_browser.sh installs it")
    with browser.chromium(tmp_path / "profile") as driver:
        yield driver


def test_a_browser_shows_it_without_a_complaint(vtc, whole, tmp_path, chromium):
    assert vtc(*TRAIN).exit_code == 0
    assert vtc("report", "--out", tmp_path).exit_code == 0
    for width in (1200, 480):
        chromium.set_window_size(width, 900)
        chromium.get((tmp_path / PAGE).as_uri())
        widths = chromium.execute_script(
            "return Array.from(document.images, (image) => image.complete && image.naturalWidth)"
        )
        assert len(widths) == len(PICTURES)
        assert all(widths)
        overflow = chromium.execute_script(
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert overflow <= 0, width
    assert chromium.get_log("browser") == []


def test_a_complaint_would_be_seen(tmp_path, chromium):
    page = tmp_path / "broken.html"
    page.write_text("<title>t</title><link rel='icon' href='data:,'><img src='missing.png'>")
    chromium.get(page.as_uri())
    assert len(chromium.get_log("browser")) == 1


class Page(HTMLParser):
    """What stands in a page: names, sources of pictures, and tags that were not closed."""

    VOID = frozenset({"meta", "link", "img", "br", "hr"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.sources: list[str] = []
        self.open_tags: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        if "id" in named:
            self.ids.append(named["id"])
        if "src" in named:
            self.sources.append(named["src"])
        if tag not in self.VOID:
            self.open_tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open_tags.pop() == tag


def test_the_template_is_shipped():
    import vtc_flows.report

    assert (Path(vtc_flows.report.__file__).parent / "report.html.j2").is_file()

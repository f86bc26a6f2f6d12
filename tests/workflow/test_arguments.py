"""Arguments of the Python interface are taken as they are meant, or refused before FEFF runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from jobflow import JobStore, job, run_locally
from maggma.stores import MemoryStore
from monty.json import MontyDecoder, MontyEncoder
from pymatgen.core.structure import Structure

from vtc_flows.crystal.sources import load_structures
from vtc_flows.errors import ConfigurationError, InputError, WindowError
from vtc_flows.feff.registry import create_engine
from vtc_flows.schemas import SamsSettings, XesSettings
from vtc_flows.settings import load_settings
from vtc_flows.workflow.analysis import feature_records
from vtc_flows.workflow.arguments import require_window
from vtc_flows.workflow.batch import plan
from vtc_flows.workflow.flows import PolarizedXesFlowMaker
from vtc_flows.workflow.jobs import SiteXesMaker

ENGINE = "analytic_engine:make"


class TestMakers:
    def test_settings_as_dictionaries(self):
        maker = PolarizedXesFlowMaker(
            site_maker=SiteXesMaker(settings={"fms_atoms": [80, 30]}),
            sams_settings={"fwhm_ev": 1},
        )
        assert maker.site_maker.settings == XesSettings(fms_atoms=(30, 80))
        assert maker.sams_settings == SamsSettings(fwhm_ev=1.0)

    @pytest.mark.parametrize(
        ("given", "says"),
        [
            ({"settings": {"core_hole": "yes"}}, "settings.core_hole: Input should be"),
            ({"settings": {"corehole": "none"}}, "settings.corehole: Extra inputs"),
            ({"settings": "seed"}, "settings is 'seed', a str: give XesSettings"),
            ({"settings": None}, "settings is None"),
            ({"settings": SamsSettings()}, "a SamsSettings: give XesSettings"),
            ({"engine": 10}, "engine is 10, an int: give a text"),
            ({"cache_directory": 1}, "cache_directory is 1"),
        ],
    )
    def test_of_sites_refuse(self, given, says):
        with pytest.raises(InputError, match=says):
            SiteXesMaker(**given)

    @pytest.mark.parametrize(
        ("given", "says"),
        [
            ({"sams_settings": {"window_ev": (5, -5)}}, "window_ev from 5 to -5 eV is empty"),
            ({"sams_settings": XesSettings()}, "give SamsSettings"),
            ({"site_maker": XesSettings()}, "give a SiteXesMaker"),
        ],
    )
    def test_of_flows_refuse(self, given, says):
        with pytest.raises(InputError, match=says):
            PolarizedXesFlowMaker(**given)

    def test_folder_as_a_path(self, tmp_path):
        assert SiteXesMaker(cache_directory=tmp_path).cache_directory == str(tmp_path)

    def test_settings_that_are_assigned_later(self, crystal):
        maker = PolarizedXesFlowMaker()
        maker.sams_settings = {"window_ev": (-10, 5)}
        maker.site_maker.settings = {"energy_below_ev": 20}
        flow = maker.make(crystal("NiO"), "Ni", "x")
        assert flow.jobs[0].maker.settings == XesSettings(energy_below_ev=20)
        maker.site_maker.settings = {"energy_below_ev": 5}
        with pytest.raises(WindowError):
            maker.make(crystal("NiO"), "Ni", "x")
        site_maker = SiteXesMaker()
        site_maker.settings = 1
        with pytest.raises(InputError, match="settings is 1"):
            site_maker.make(crystal("NiO"), 0, "x")

    def test_updates_and_serialization(self):
        maker = PolarizedXesFlowMaker().update_kwargs(
            {"settings": {"core_hole": "none"}}, class_filter=SiteXesMaker
        )
        assert maker.site_maker.settings == XesSettings(core_hole="none")
        again = MontyDecoder().decode(json.dumps(maker, cls=MontyEncoder))
        assert again == maker
        with pytest.raises(InputError, match="core_hole"):
            maker.update_kwargs({"settings": {"core_hole": 1}}, class_filter=SiteXesMaker)


class TestFlow:
    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"material_id": 2657}, "material_id is 2657, an int: give a text"),
            ({"material_id": ""}, "not empty"),
            ({"material_id": "a\nb"}, "of one line"),
            ({"material_id": None}, "material_id is None"),
            ({"element": 22}, 'element is 22, an int: give a text, as "Ti"'),
            ({"element": ["Ni"]}, "element is"),
            ({"structure": "NiO.cif"}, "structure is a str, not a pymatgen Structure"),
            ({"source": 1}, "source is 1"),
        ],
    )
    def test_refused_when_it_is_made(self, crystal, changes, says):
        given = {"structure": crystal("NiO"), "element": "Ni", "material_id": "x", **changes}
        with pytest.raises(InputError, match=says):
            PolarizedXesFlowMaker().make(**given)

    def test_source_as_a_path(self, crystal, analytic):
        maker = PolarizedXesFlowMaker(site_maker=SiteXesMaker(engine=ENGINE))
        flow = maker.make(crystal("NiO"), "Ni", "x", source=Path("a.cif"))
        store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
        answers = run_locally(flow, store=store, log=False)
        (record,) = answers[flow.jobs[-1].uuid][1].output.records
        assert record.provenance.source == "a.cif"

    def test_a_window_beyond_the_grid(self, crystal):
        narrow = SiteXesMaker(settings=XesSettings(energy_below_ev=20))
        with pytest.raises(WindowError, match=r"-30 ... 5 eV reaches beyond .* -20 ... 5 eV"):
            PolarizedXesFlowMaker(site_maker=narrow).make(crystal("NiO"), "Ni", "x")


class TestSite:
    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"structure": "NiO.cif"}, "structure is a str"),
            ({"site_index": 99}, "site_index is 99: give a whole number from 0"),
            ({"site_index": -1}, "site_index is -1"),
            ({"site_index": True}, "site_index is True"),
            ({"site_index": "0"}, "site_index is '0'"),
            ({"material_id": 2657}, "material_id is 2657"),
            ({"multiplicity": 0}, "multiplicity is 0"),
            ({"source": 3}, "source is 3"),
            ({"window_ev": "wide"}, "energy window"),
            ({"window_ev": (5, -5)}, "is empty"),
        ],
    )
    def test_refused_when_its_job_is_made(self, crystal, changes, says):
        given = {"structure": crystal("NiO"), "site_index": 0, "material_id": "x", **changes}
        with pytest.raises(InputError, match=says):
            SiteXesMaker(engine=ENGINE).make(**given)

    def test_a_misspelled_argument_is_refused_when_its_job_is_made(self, crystal):
        with pytest.raises(TypeError, match="multiplicty"):
            SiteXesMaker(engine=ENGINE).make(crystal("NiO"), 0, "x", multiplicty=2)

    def test_whole_numbers_of_any_kind(self, crystal):
        made = SiteXesMaker(engine=ENGINE).make(crystal("NiO"), np.int64(0), "x")
        assert type(made.function_kwargs["site_index"]) is int

    def test_what_another_job_gives_is_checked_when_it_is_there(self, crystal, analytic):
        maker = SiteXesMaker(engine=ENGINE)
        for material_id, outcome in (("x", True), (2657, False)):
            first = handed_on(crystal("NiO"), material_id)
            second = maker.make(first.output["structure"], 0, first.output["id"])
            store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
            answers = run_locally([first, second], store=store, log=False)
            assert (second.uuid in answers) == outcome
        assert analytic.read_text() == "0\n"


@job
def handed_on(structure: Structure, material_id: object) -> dict[str, object]:
    return {"structure": structure, "id": material_id}


class TestWindow:
    @pytest.mark.parametrize(
        ("settings", "window", "says"),
        [
            (XesSettings(), (-30.5, 5.0), "beyond the spectrum's grid"),
            (XesSettings(energy_above_ev=0), (-30.0, 5.0), "beyond the spectrum's grid"),
            # 5 eV is no multiple of the step: the spectrum ends at 4 eV
            (XesSettings(energy_step_ev=2.0), (3.0, 5.0), "steps of 2 eV"),
            (
                XesSettings(energy_below_ev=1, energy_above_ev=0, energy_step_ev=3),
                (-1, 0),
                "1 poin",
            ),
        ],
    )
    def test_refused(self, settings, window, says):
        with pytest.raises(WindowError, match=says):
            require_window(settings, window)

    def test_a_grid_that_ends_a_little_early_will_do(self):
        require_window(XesSettings(energy_step_ev=0.7), (-30.0, 5.0))


class TestLists:
    """One of what a list is wanted of."""

    def test_a_file(self, structure_file):
        path = structure_file("NiO")
        for given in (path, str(path), [path]):
            assert [record.material_id for record in load_structures(given)] == ["NiO"]
        with pytest.raises(InputError, match="5 is a int"):
            list(load_structures([5]))

    def test_an_element(self, structure_file, crystal):
        path = str(structure_file("rutile_TiO2"))
        assert [task.element for task in plan(path, "Ti", XesSettings()).tasks] == ["Ti"]
        (record,) = feature_records(crystal("rutile_TiO2"), "Ti", "x", SamsSettings())
        assert record.element == "Ti"


def test_an_engine_whose_name_ids_cannot_hold(monkeypatch):
    import analytic_engine

    monkeypatch.setattr(analytic_engine.AnalyticEngine, "name", "my-engine", raising=False)
    monkeypatch.setattr(analytic_engine.AnalyticEngine, "__init__", lambda self, *_: None)
    with pytest.raises(ConfigurationError, match="called 'my-engine', which ids cannot hold"):
        create_engine(ENGINE, load_settings())

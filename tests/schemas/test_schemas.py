from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vtc_flows.errors import InputError
from vtc_flows.schemas import (
    EngineProvenance,
    FailedSite,
    RecordId,
    SamsSettings,
    SiteXesDoc,
    SpectrumId,
    XesSettings,
    settings_hash,
    utc_now,
)

MATERIALS = st.text(min_size=1, max_size=30).filter(lambda text: "\n" not in text)
ELEMENTS = st.sampled_from(["Ti", "V", "Cu"])
ENGINES = st.sampled_from(["feff8l", "feff10", "analytic"])
HASHES = st.text("0123456789abcdef", min_size=8, max_size=8)


def test_an_engine_of_old_documents_is_of_the_first_revision():
    engine = EngineProvenance(name="feff8l", route="library", version="1", sha256="0" * 64)
    assert engine.revision == 1


@given(MATERIALS, ELEMENTS, ENGINES, st.integers(1, 999), HASHES)
def test_record_id_goes_there_and_back(material, element, engine, size, digest):
    name = RecordId(material, element, engine, size, digest)
    assert RecordId.parse(str(name)) == name


@given(MATERIALS, ELEMENTS, st.integers(0, 999), ENGINES, st.integers(1, 999), HASHES)
def test_spectrum_id_goes_there_and_back(material, element, site, engine, size, digest):
    name = SpectrumId(material, element, site, engine, size, digest)
    assert SpectrumId.parse(str(name)) == name


@pytest.mark.parametrize(
    "text", ["", "x", "mp-1-Ti-feff8l-30", "mp-1-Ti-feff8l-30-0123ABCD", "-Ti-feff8l-30-01234567"]
)
def test_other_text_is_no_id(text):
    with pytest.raises(InputError):
        RecordId.parse(text)


def test_engine_that_would_break_the_name_is_refused():
    with pytest.raises(InputError):
        RecordId("x", "Ti", "feff-8l", 30, "01234567")


class TestSettings:
    def test_presets(self):
        seed, converged = XesSettings.preset("seed"), XesSettings.preset("converged")
        assert (seed.n_scf_atoms, seed.fms_atoms) == (30, (30,))
        assert (converged.n_scf_atoms, converged.fms_atoms) == (30, (80,))
        assert XesSettings.preset("converged", fms_atoms=(30, 125)).fms_atoms == (30, 125)

    def test_sizes_count_once_and_in_order(self):
        assert XesSettings(fms_atoms=(80, 30, 80)).fms_atoms == (30, 80)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"fms_atoms": ()},
            {"fms_atoms": (0,)},
            {"n_scf_atoms": 100},
            {"energy_step_ev": 0.0},
            {"energy_below_ev": float("nan")},
            {"core_hole": "RPA"},
            {"valence_bottom_ev": 1.0},
            {"valence_bottom_ev": -28.0, "valence_only": False},
            {"unknown": 1},
        ],
    )
    def test_what_has_no_meaning_is_refused(self, wrong):
        with pytest.raises(ValidationError):
            XesSettings(**wrong)

    def test_empty_window_is_refused(self):
        with pytest.raises(ValidationError, match="low < high"):
            SamsSettings(window_ev=(5.0, -30.0))

    @pytest.mark.parametrize("field", list(XesSettings.model_fields))
    def test_every_setting_counts_in_the_digest(self, field):
        other = {
            "n_scf_atoms": 20,
            "fms_atoms": (31,),
            "listed_radius_angstrom": 8.0,
            "energy_below_ev": 20.0,
            "energy_above_ev": 4.0,
            "energy_step_ev": 0.2,
            "valence_only": False,
            "valence_depth_ev": 25.0,
            "valence_bottom_ev": -28.0,
            "core_hole": "none",
            "scf_max_iterations": 50,
            "scf_mixing": 0.2,
            "scf_plain_iterations": 1,
        }
        assert settings_hash(XesSettings(**{field: other[field]})) != settings_hash(XesSettings())

    def test_digest_stays_between_releases(self):
        """A change here makes every stored record another one: say so under "Changed results"."""
        assert settings_hash(XesSettings())[:8] == "67935e41"
        assert settings_hash(XesSettings(), SamsSettings())[:8] == "1066487a"


def test_time_stamp_has_milliseconds_as_databases_keep_them():
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", utc_now())


def test_site_is_either_failed_or_has_spectra():
    failure = FailedSite(
        site_index=0,
        frac_coords=(0, 0, 0),
        multiplicity=1,
        reason="crash",
        message="",
        log_tail="",
    )
    shared = {"material_id": "x", "element": "Ti", "site_index": 0, "engine": "feff8l"}
    SiteXesDoc(**shared, state="failed", spectra=[], failure=failure)
    with pytest.raises(ValidationError):
        SiteXesDoc(**shared, state="failed", spectra=[], failure=None)
    with pytest.raises(ValidationError):
        SiteXesDoc(**shared, state="successful", spectra=[], failure=failure)

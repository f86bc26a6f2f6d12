"""Records obey the laws of the physics behind them, whatever cell describes the crystal."""

from __future__ import annotations

import numpy as np
import pytest
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from pymatgen.core.lattice import Lattice
from pymatgen.core.operations import SymmOp
from pymatgen.core.structure import Structure

from vtc_flows.crystal.sites import site_orbits
from vtc_flows.errors import EngineOutputError, InputError
from vtc_flows.physics.tensors import crystal_sum, rotate
from vtc_flows.schemas import SamsRecord, SamsSettings, SiteXesDoc, XesSettings
from vtc_flows.workflow.analysis import feature_records, sams_records
from vtc_flows.workflow.flows import PolarizedXesFlowMaker
from vtc_flows.workflow.jobs import SiteXesMaker

KINDS = ("sams", "sams_site", "sams_max", "sams_crystal", "sams_crystal_max")


def record_of(structure: Structure, element: str, **sams: object) -> SamsRecord:
    maker = PolarizedXesFlowMaker(
        site_maker=SiteXesMaker(engine="analytic_engine:make"), sams_settings=SamsSettings(**sams)
    )
    flow = maker.make(structure, element, "x")
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    responses = run_locally(flow, store=store, log=False, raise_immediately=True)
    (record,) = responses[flow.jobs[-1].uuid][1].output.records
    return record


def site_documents(structure: Structure, element: str) -> list[SiteXesDoc]:
    maker = SiteXesMaker(engine="analytic_engine:make")
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    store.connect()
    return [
        maker.make(structure, orbit.representative, "x").run(store).output
        for orbit in site_orbits(structure, element)
    ]


def values(record: SamsRecord) -> list[float]:
    return [getattr(record, kind) for kind in KINDS]


def exact_rutile() -> Structure:
    """Rutile with exact symmetry: equivalent sites are equal to rounding."""
    return Structure.from_spacegroup(
        "P4_2/mnm",
        Lattice.tetragonal(4.594, 2.959),
        ["Ti", "O"],
        [[0, 0, 0], [0.3053, 0.3053, 0]],
    )


@pytest.mark.parametrize(("name", "element"), [("rutile", "Ti"), ("tenorite_CuO", "Cu")])
def test_anisotropies_do_not_depend_on_the_description(crystal, name, element):
    structure = exact_rutile() if name == "rutile" else crystal(name)
    expected = values(record_of(structure, element))
    turn = SymmOp.from_axis_angle_and_translation([1, 2, 3], 40)
    turned = structure.copy()
    turned.apply_operation(turn)
    assert values(record_of(turned, element)) == pytest.approx(expected, rel=1e-5)
    assert values(record_of(structure * (1, 2, 1), element)) == pytest.approx(expected, rel=1e-5)
    reordered = Structure.from_sites(structure[::-1])
    assert values(record_of(reordered, element)) == pytest.approx(expected, rel=1e-5)


def test_order_of_the_kinds(crystal):
    record = record_of(crystal("tenorite_CuO"), "Cu")
    assert record.sams <= record.sams_max * (1 + 1e-9)
    assert record.sams_crystal <= record.sams_crystal_max * (1 + 1e-9)
    # two differently turned sites: what each shows alone is partly lost in the crystal
    assert record.sams_crystal < record.sams_site


def test_cubic_crystal_of_anisotropic_sites_shows_nothing(crystal):
    record = record_of(crystal("pyrite_FeS2"), "Fe")
    assert record.sams > 1e-3
    assert record.sams_crystal_max < 1e-6


def test_cubic_sites_have_no_anisotropy(crystal):
    assert max(values(record_of(crystal("NiO"), "Ni"))) < 1e-6


def test_stored_tensor_obeys_the_site_symmetry_and_makes_the_crystal(crystal):
    structure = crystal("rutile_TiO2")
    record = record_of(structure, "Ti")
    (site,) = record.sites
    assert site.symmetry_residual < 1e-4
    assert site.smallest_eigenvalue > 0
    (orbit,) = site_orbits(structure, "Ti")
    total = crystal_sum(np.array(site.tensor), orbit.rotations)
    frame = np.array(record.frame)
    inside = rotate(total, frame.T)
    # tetragonal: two axes of the crystal's tensor are equal, in some order of the frame's axes
    spread = sorted(np.abs(inside[:, [0, 0, 1]] - inside[:, [1, 2, 2]]).max(axis=0))
    assert spread[0] < 1e-4 * inside.max() < spread[1]


def test_window_and_broadening_change_the_number_as_they_must(crystal):
    structure = crystal("rutile_TiO2")
    plain = record_of(structure, "Ti").sams
    assert record_of(structure, "Ti", fwhm_ev=2.0).sams < plain
    narrow = record_of(structure, "Ti", window_ev=(-10.0, 5.0))
    assert narrow.window_ev == (-10.0, 5.0)
    assert narrow.sams != pytest.approx(plain, rel=1e-3)


def test_spectra_of_unequal_grids_are_not_added(crystal):
    structure = crystal("triclinic_Fe2P2O7")
    first, second = site_documents(structure, "Fe")
    spectrum = second.spectra[0]
    shifted = spectrum.model_copy(update={"e_fermi_ev": spectrum.e_fermi_ev + 0.03})
    second = second.model_copy(update={"spectra": [shifted]})
    settings = SamsSettings(window_ev=(-20.0, 4.0))
    with pytest.raises(EngineOutputError, match="different energies"):
        sams_records(structure, "Fe", "x", [first, second], XesSettings(), settings)


def test_each_orbit_must_be_given(crystal):
    structure = crystal("triclinic_Fe2P2O7")
    documents = site_documents(structure, "Fe")
    with pytest.raises(InputError, match="2 orbits"):
        sams_records(structure, "Fe", "x", documents[:1], XesSettings(), SamsSettings())


def test_features_are_the_same_with_and_without_spectra(crystal):
    structure = crystal("rutile_TiO2")
    (alone,) = feature_records(structure, ["Ti"], "x", SamsSettings())
    assert alone.features == record_of(structure, "Ti").features


def test_record_survives_json(crystal):
    record = record_of(crystal("rutile_TiO2"), "Ti")
    assert SamsRecord.model_validate_json(record.model_dump_json()) == record
    again = Structure.from_dict(record.provenance.structure)
    assert again == crystal("rutile_TiO2")

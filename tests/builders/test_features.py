from __future__ import annotations

import pytest
from builder_drill import Case, differing, drill, nothing_written
from campaign import STRUCTURES, material, read
from pymatgen.core.structure import Structure

from vtc_flows.builders import FeatureBuilder
from vtc_flows.builders.running import build
from vtc_flows.schemas import FeatureRecord, SamsSettings
from vtc_flows.schemas.derived import FeatureDoc, FeatureId
from vtc_flows.stores.materials import save_materials
from vtc_flows.workflow.analysis import feature_records

NAMES = {f"{name}-{element}-p8-r12" for name, element in STRUCTURES.items()}


def strained(name: str) -> Structure:
    structure = read(name)
    structure.apply_strain([0.0, 0.0, 0.02])
    return structure


def two_metals() -> Structure:
    structure = read("rutile_TiO2")
    structure[0] = "V"
    return structure


def change(database) -> set[str]:
    save_materials(database, [material("NiO", strained("NiO"))], replace=True)
    return {"NiO-Ni-p8-r12"}


def add(database) -> set[str]:
    save_materials(database, [material("mixed", two_metals())])
    return {"mixed-Ti-p8-r12", "mixed-V-p8-r12"}


def remove(database) -> set[str]:
    database.materials.delete_one({"material_id": "tenorite_CuO"})
    return {"tenorite_CuO-Cu-p8-r12"}


def spoil(database) -> set[str]:
    save_materials(database, [material("NiO", read("rocksalt_NaCl"))], replace=True)
    return {"NiO-all-p8-r12"}


def mend(database) -> set[str]:
    return change(database)


CASE = Case(
    make=FeatureBuilder,
    target="features",
    key="record_id",
    change=change,
    add=add,
    remove=remove,
    spoil=spoil,
    mend=mend,
    reason="no_transition_metal",
    bug=("vtc_flows.builders.features", "feature_records"),
)


def test_the_drill(campaign, monkeypatch):
    drill(CASE, campaign, monkeypatch)


def test_documents_are_those_of_the_function(campaign):
    build(FeatureBuilder())
    documents = CASE.documents(campaign)
    assert documents.keys() == NAMES
    for name, element in STRUCTURES.items():
        document = documents[f"{name}-{element}-p8-r12"]
        (expected,) = feature_records(read(name), [element], name, SamsSettings())
        own = {key: document[key] for key in FeatureRecord.model_fields}
        assert own == {**expected.model_dump(mode="json"), "source": f"{name}.cif"}
        assert document["structure_hash"] == material(name).structure_hash
        assert str(FeatureId.parse(document["record_id"])) == document["record_id"]
        document.pop("build"), document.pop("last_updated")
        FeatureDoc.model_validate(document)
    assert documents["rutile_TiO2-Ti-p8-r12"]["prototype"] == "AB2-136"


def test_other_parameters_are_other_documents(campaign):
    build(FeatureBuilder())
    stamps = CASE.stamps(campaign)
    build(FeatureBuilder(moment_exponent=3, moment_cutoff_angstrom=7.5))
    later = CASE.stamps(campaign)
    assert differing(stamps, later) == {name.replace("p8-r12", "p3-r7.5") for name in NAMES}
    campaign.materials.delete_one({"material_id": "NiO"})
    build(FeatureBuilder())
    assert differing(later, CASE.stamps(campaign)) == {"NiO-Ni-p8-r12"}


def test_one_element_that_fails_does_not_take_the_other(campaign, monkeypatch):
    add(campaign)
    real = feature_records

    def one_fails(structure, elements, *arguments, **keys):
        if "V" in elements:
            from vtc_flows.errors import IsolatedAbsorberError

            raise IsolatedAbsorberError("V stands alone")
        return real(structure, elements, *arguments, **keys)

    monkeypatch.setattr("vtc_flows.builders.features.feature_records", one_fails)
    build(FeatureBuilder())
    assert CASE.failed(campaign) == {"mixed-V-p8-r12": "isolated_absorber"}
    assert CASE.documents(campaign)["mixed-Ti-p8-r12"]["state"] == "successful"


def test_a_query_leaves_the_others_alone(campaign):
    build(FeatureBuilder(query={"elements": "Ti"}))
    assert CASE.stamps(campaign).keys() == {"rutile_TiO2-Ti-p8-r12"}
    build(FeatureBuilder())
    stamps = CASE.stamps(campaign)
    campaign.materials.delete_one({"material_id": "NiO"})
    build(FeatureBuilder(query={"elements": "Ti"}))
    assert differing(stamps, CASE.stamps(campaign)) == {"NiO-Ni-p8-r12"}


def test_an_empty_source_is_a_wrong_database(campaign, caplog):
    build(FeatureBuilder())
    campaign.materials.delete_many({})
    with nothing_written(campaign):
        build(FeatureBuilder())
    assert "is empty" in caplog.text


def test_processes_derive_the_same(campaign):
    build(FeatureBuilder(chunk_size=2), workers=2)
    pooled = CASE.documents(campaign)
    campaign.features.delete_many({})
    told = []
    build(FeatureBuilder(chunk_size=2), listener=lambda done, total: told.append((done, total)))
    alone = CASE.documents(campaign)
    for document in (*pooled.values(), *alone.values()):
        del document["last_updated"]
    assert pooled == alone
    assert told == [(2, 5), (4, 5), (5, 5)]


def test_an_option_that_no_builder_has_is_an_error(database):
    with pytest.raises(TypeError, match="FeatureBuilder takes no chunksize"):
        FeatureBuilder(chunksize=3)
    builder = FeatureBuilder(chunk_size=3, query={"elements": "Ti"}, span=["a", None])
    again = FeatureBuilder.from_dict(builder.as_dict())
    assert again.as_dict() == builder.as_dict()
    assert (again.chunk_size, again.query, again.span) == (3, {"elements": "Ti"}, ["a", None])

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import pytest

from vtc_flows.crystal import materials_project
from vtc_flows.crystal.materials_project import (
    fetch_structure,
    materials_project_key,
    primitive,
    query_structures,
)
from vtc_flows.crystal.sources import load_structures
from vtc_flows.errors import ConfigurationError, InputError

KEY = "k" * 32  # the client refuses any other length


@pytest.fixture
def no_key(monkeypatch):
    for name in ("VTC_MP_API_KEY", "MP_API_KEY", "PMG_MAPI_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(materials_project, "SETTINGS", {})


@contextmanager
def answering(reply: Callable[[BaseHTTPRequestHandler, dict[str, str]], tuple[list, int]]):
    """Answer as the Materials Project does; `reply` gives a page and how much there is in all."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            asked = {key: value[0] for key, value in parse_qs(urlparse(self.path).query).items()}
            if "heartbeat" in self.path:
                body = {"version": "0.86.0", "db_version": "x", "access_controlled_batch_ids": []}
            else:
                page, total = reply(self, asked)
                body = {"data": page, "meta": {"total_doc": total}}
            text = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}/"
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture
def server(crystal):
    """Know one id; yield the address and the keys that were given."""
    nickel_oxide = crystal("NiO").as_dict()
    keys = []

    def reply(request, _asked):
        keys.append(request.headers["x-api-key"])
        found = [{"structure": nickel_oxide}] if "mp-19009" in request.path else []
        return found, len(found)

    with answering(reply) as endpoint:
        yield endpoint, keys


def test_key_is_found_in_this_order(no_key, monkeypatch):
    monkeypatch.setattr(materials_project, "SETTINGS", {"PMG_MAPI_KEY": "d"})
    assert materials_project_key() == "d"
    monkeypatch.setenv("MP_API_KEY", "c")
    assert materials_project_key() == "c"
    monkeypatch.setenv("VTC_MP_API_KEY", "b")
    assert materials_project_key() == "b"
    assert materials_project_key("a") == "a"


@pytest.mark.parametrize("material_id", ["mp-2657", "mvc-12", "mp-agglkeap"])
def test_an_id_without_a_key_says_where_to_put_one(no_key, material_id):
    with pytest.raises(ConfigurationError, match=r"materialsproject\.org/api .* VTC_MP_API_KEY"):
        list(load_structures([material_id]))


def test_what_is_no_id_is_taken_for_a_path(no_key):
    with pytest.raises(InputError, match="no such file: mp_2657"):
        list(load_structures(["mp_2657"]))


def test_the_real_client_fetches_a_structure(server, crystal):
    endpoint, keys = server
    structure = fetch_structure("mp-19009", api_key=KEY, endpoint=endpoint)
    assert structure == crystal("NiO")
    assert keys == [KEY]
    with pytest.raises(InputError, match="no structure mp-1: check the id"):
        fetch_structure("mp-1", api_key=KEY, endpoint=endpoint)


@pytest.fixture
def catalogue(crystal):
    """Answer queries page by page; yield the address and the queries."""
    nickel_oxide, rutile = crystal("NiO"), crystal("rutile_TiO2")
    entries = {
        "Ni": [("mp-1", nickel_oxide), ("mp-2", nickel_oxide * (2, 1, 1))],
        "Ti": [("mp-2", nickel_oxide), *((f"mp-{n}", rutile) for n in range(3, 703))],
    }
    queries = []

    def reply(_request, asked):
        queries.append(asked)
        found = entries.get(asked["elements"], [])
        first, most = int(asked.get("_skip", 0)), int(asked["_limit"])
        page = [
            {"material_id": name, "structure": structure.as_dict()}
            for name, structure in found[first : first + most]
        ]
        return page, len(found)

    with answering(reply) as endpoint:
        yield endpoint, queries


def test_a_query_gives_each_crystal_once_and_primitive(catalogue):
    endpoint, queries = catalogue
    found = dict(query_structures(["Ni", "Ti"], max_atoms=60, api_key=KEY, endpoint=endpoint))
    assert list(found) == [f"mp-{number}" for number in range(1, 703)]
    assert [len(found[name]) for name in ("mp-1", "mp-2", "mp-3")] == [2, 2, 6]
    for query in queries:
        assert (query["theoretical"], query["deprecated"]) == ("False", "False")
        assert (query["nsites_min"], query["nsites_max"]) == ("1", "60")


def test_a_query_asks_for_all_3d_metals(catalogue):
    endpoint, queries = catalogue
    assert len(list(query_structures(api_key=KEY, endpoint=endpoint))) == 702
    metals = ["Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn"]
    assert list(dict.fromkeys(query["elements"] for query in queries)) == metals


def test_a_query_is_imported_by_the_command(catalogue, database):
    endpoint, _ = catalogue
    done = subprocess.run(
        [Path(sys.executable).parent / "vtc", "import", "--mp-query", "--element", "Ni"],
        env={**os.environ, "MP_API_ENDPOINT": endpoint, "MP_API_KEY": KEY},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("2 new, 0 changed, 0 unchanged")
    material = database.materials.find_one({"material_id": "mp-2"})
    assert (material["experimental"], material["licence"]) == (True, "CC-BY-4.0")
    assert (material["source"], material["n_sites"]) == ("Materials Project", 2)


def test_primitive_cells_stay_as_they_are(crystal):
    for name in ("rutile_TiO2", "tenorite_CuO"):
        cell = primitive(crystal(name))
        assert primitive(cell) is cell
    distorted = crystal("NiO") * (2, 1, 1)
    distorted.translate_sites([0], [0.02, 0, 0])
    assert primitive(distorted) is distorted


def test_a_refused_key_and_a_silent_server(server):
    with pytest.raises(ConfigurationError, match="32 characters"):
        fetch_structure("mp-19009", api_key="short", endpoint=server[0])
    with pytest.raises(InputError, match=r"mp-19009 could not be fetched .* give its path"):
        fetch_structure("mp-19009", api_key=KEY, endpoint="http://127.0.0.1:9/")

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from vtc_flows.crystal import materials_project
from vtc_flows.crystal.materials_project import fetch_structure, materials_project_key
from vtc_flows.crystal.sources import load_structures
from vtc_flows.errors import ConfigurationError, InputError

KEY = "k" * 32  # the client refuses any other length


@pytest.fixture
def no_key(monkeypatch):
    for name in ("VTC_MP_API_KEY", "MP_API_KEY", "PMG_MAPI_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(materials_project, "SETTINGS", {})


@pytest.fixture
def server(crystal):
    """Answer as the Materials Project does, for one id; yield its address and the keys it got."""
    nickel_oxide = crystal("NiO").as_dict()
    keys = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            if "heartbeat" in self.path:
                body = {"version": "0.86.0", "db_version": "x", "access_controlled_batch_ids": []}
            else:
                keys.append(self.headers["x-api-key"])
                found = [{"structure": nickel_oxide}] if "mp-19009" in self.path else []
                body = {"data": found, "meta": {"total_doc": len(found)}}
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
    yield f"http://127.0.0.1:{running.server_port}/", keys
    running.shutdown()
    thread.join()
    running.server_close()


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


def test_a_refused_key_and_a_silent_server(server):
    with pytest.raises(ConfigurationError, match="32 characters"):
        fetch_structure("mp-19009", api_key="short", endpoint=server[0])
    with pytest.raises(InputError, match=r"mp-19009 could not be fetched .* give its path"):
        fetch_structure("mp-19009", api_key=KEY, endpoint="http://127.0.0.1:9/")

"""The files that FireWorks and jobflow read, made for one machine."""

from __future__ import annotations

import json
import re
import shlex
from importlib import resources
from pathlib import Path
from string import Template

from vtc_flows.stores.local_server import PREFERRED_PORT, local_uri

LAUNCHPAD_FILE = "my_launchpad.yaml"
CONFIG_FOLDER = "config"

_CONFIG_FILES = ("FW_config.yaml", "jobflow.yaml", "my_fworker.yaml", "my_qadapter.yaml")
_PLAIN = re.compile(r"(?!\d+$)[A-Za-z0-9_./][A-Za-z0-9_./:?&=,%+-]*(?<!:)")
_CREDENTIALS = re.compile(r"^(mongodb(?:\+srv)?://)[^/?]*@")
_SECRET_OPTIONS = re.compile(
    r"(?<=[?&])(tlsCertificateKeyFilePassword|authMechanismProperties|proxyPassword)=[^&]*&?",
    re.IGNORECASE,
)


def configuration_files(
    root: Path = Path(),
    *,
    uri: str = local_uri(PREFERRED_PORT),
    database_name: str = "vtc_flows",
    worker: str = "this-machine",
    programs: Path | None = None,
) -> dict[Path, str]:
    """
    Return the files and their content.

    Parameters
    ----------
    root : Path
        The folder they are written to; stands in those that name others.
    uri : str
        Address of the database; a user and a password in it are left out.
    database_name : str
        Name of the database.
    worker : str
        Name of this machine as a worker.
    programs : Path, optional
        Folder of the command `vtc`, put on the PATH of queue jobs.

    Examples
    --------
    >>> [str(path) for path in configuration_files()]  # doctest: +NORMALIZE_WHITESPACE
    ['my_launchpad.yaml', 'config/FW_config.yaml', 'config/jobflow.yaml',
     'config/my_fworker.yaml', 'config/my_qadapter.yaml']
    """
    places = [root / LAUNCHPAD_FILE, *(root / CONFIG_FOLDER / name for name in _CONFIG_FILES)]
    config = root / CONFIG_FOLDER
    values = {
        "uri": _yaml(without_secrets(uri)),
        "database_name": _yaml(database_name),
        "worker": _yaml(worker),
        "launchpad": _yaml(str(root / LAUNCHPAD_FILE)),
        "config_folder": _yaml(str(config)),
        "fworker": _yaml(str(config / "my_fworker.yaml")),
        "qadapter": _yaml(str(config / "my_qadapter.yaml")),
        "programs": shlex.quote(str(programs or "/path/to/venv/bin")),
        "fw_config": shlex.quote(str(config / "FW_config.yaml")),
    }
    templates = resources.files("vtc_flows.workflow") / "templates"
    return {
        place: Template((templates / place.name).read_text(encoding="utf-8")).substitute(values)
        for place in places
    }


def _yaml(value: str) -> str:
    """Return a text as YAML, quoted where it could be misread."""
    return value if _PLAIN.fullmatch(value) else json.dumps(value)


def without_secrets(uri: str) -> str:
    """
    Return an address without user, password and options that may hold a secret.

    Examples
    --------
    >>> without_secrets("mongodb://me:p%40ss@db.lab:27017/?tls=true&proxyPassword=x&w=1")
    'mongodb://db.lab:27017/?tls=true&w=1'
    """
    return _SECRET_OPTIONS.sub("", _CREDENTIALS.sub(r"\1", uri)).rstrip("?&")

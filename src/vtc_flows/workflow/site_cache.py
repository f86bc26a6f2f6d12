"""
Keep finished sites on disk, so that an interrupted run goes on where it stopped.

A file's name holds a digest of everything that decides its content. What does not match is
computed anew, and failures are not kept: the next run tries them again.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vtc_flows import __version__
from vtc_flows.crystal.clusters import Cluster
from vtc_flows.errors import InputError
from vtc_flows.schemas import SiteXesDoc, XesSettings, settings_hash
from vtc_flows.workflow.agreement import Subject, require_document
from vtc_flows.writing import file_name, write_whole

logger = logging.getLogger(__name__)

_DIGEST_LENGTH = 16


def site_digest(
    structure: Mapping[str, Any], cluster: Cluster, settings: XesSettings, engine_identity: str
) -> str:
    """
    Return a digest of a site's calculation: atoms, settings, engine, version of this package.

    The structure counts beside the atoms around the site, because documents hold it: the same site
    of a larger cell is another one there.

    Parameters
    ----------
    structure : mapping
        As it stands in documents.
    cluster : Cluster
        The atoms as the engine gets them.
    settings : XesSettings
        Settings with all FMS sizes of the run.
    engine_identity : str
        See :meth:`vtc_flows.feff.engine.Engine.identity`; it holds the engine's revision.
    """
    digest = hashlib.sha256()
    for part in (
        __version__,
        engine_identity,
        settings_hash(settings),
        json.dumps(structure, sort_keys=True),
        repr(cluster.potentials),
        cluster.positions_angstrom.tobytes(),
        cluster.potential_index.tobytes(),
    ):
        digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()


def site_file(
    directory: Path, material_id: str, element: str, site_index: int, digest: str
) -> Path:
    """Return where a finished site is kept."""
    name = f"{material_id}-{element}-{site_index}-{digest[:_DIGEST_LENGTH]}"
    return directory / file_name(name, ".json")


def load_site(
    path: Path, subject: Subject, site_index: int, settings: XesSettings
) -> SiteXesDoc | None:
    """
    Return a kept site, or None where there is none that can be used.

    Parameters
    ----------
    path : Path
        Its file.
    subject : Subject
        What it must be a site of; a file may have been copied to another name.
    site_index : int
    settings : XesSettings
        With all cluster sizes.
    """
    try:
        kept = SiteXesDoc.model_validate_json(path.read_bytes())
        require_document(kept, subject, site_index, settings)
        return kept
    except FileNotFoundError:
        return None
    except (OSError, ValidationError, InputError) as error:
        reason = (
            "it is damaged"
            if isinstance(error, ValidationError)
            else getattr(error, "strerror", None) or str(error)
        )
        logger.warning("the kept site %s cannot be used (%s) and is computed anew", path, reason)
        return None


def keep_site(path: Path, document: SiteXesDoc) -> None:
    """
    Keep a finished site.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    write_whole(path, document.model_dump_json())

"""One structure from the Materials Project, by its id."""

from __future__ import annotations

import os
import warnings

from pymatgen.core import SETTINGS
from pymatgen.core.structure import Structure

from vtc_flows.errors import ConfigurationError, InputError

_KEY_PAGE = "https://materialsproject.org/api"


def materials_project_key(api_key: str | None = None) -> str:
    """
    Return the key for the Materials Project.

    Parameters
    ----------
    api_key : str, optional
        Used if given; else VTC_MP_API_KEY, MP_API_KEY, then PMG_MAPI_KEY of pymatgen's settings.

    Raises
    ------
    ConfigurationError
        If there is none.
    """
    key = (
        api_key
        or os.environ.get("VTC_MP_API_KEY")
        or os.environ.get("MP_API_KEY")
        or os.environ.get("PMG_MAPI_KEY")
        or SETTINGS.get("PMG_MAPI_KEY")
    )
    if not key:
        raise ConfigurationError(
            "a Materials Project id needs an API key, and none is configured: get one at "
            f"{_KEY_PAGE} and set VTC_MP_API_KEY (or MP_API_KEY), or download the CIF and give "
            "its path"
        )
    return str(key)


def fetch_structure(
    material_id: str, *, api_key: str | None = None, endpoint: str | None = None
) -> Structure:
    """
    Return the relaxed structure of a Materials Project id, in the cell stored there.

    Parameters
    ----------
    material_id : str
        As ``mp-2657``.
    api_key : str, optional
        See `materials_project_key`.
    endpoint : str, optional
        Address of the interface, with a closing slash; the public one if not given.

    Raises
    ------
    ConfigurationError
        If no key is configured or it is refused.
    InputError
        If the id is not there or the server does not answer.
    """
    key = materials_project_key(api_key)
    # the client takes seconds to import, and most runs read files
    from mp_api.client import MPRester
    from mp_api.client.core.exceptions import MPRestError
    from requests import RequestException

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about client and server versions
        try:
            with MPRester(key, endpoint=endpoint, mute_progress_bars=True) as client:
                structure = client.get_structure_by_material_id(material_id)
        except MPRestError as error:
            if "api key" in str(error).lower():
                raise ConfigurationError(
                    f"the Materials Project key is refused: {error}"
                ) from error
            raise InputError(
                f"the Materials Project has no answer to {material_id}: {error}"
            ) from error
        except (RequestException, ValueError, KeyError) as error:
            raise InputError(
                f"{material_id} could not be fetched from the Materials Project: {error}; check "
                "the network, or download the CIF and give its path"
            ) from error
    if not isinstance(structure, Structure):
        raise InputError(f"the Materials Project has no structure {material_id}: check the id")
    return structure

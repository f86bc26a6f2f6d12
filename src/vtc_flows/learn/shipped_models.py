"""Models that come with the package: v2, one for each of several targets."""

from __future__ import annotations

from importlib.resources import as_file, files

from vtc_flows.errors import InputError
from vtc_flows.learn.model import TrainedModel, read_model

#: What they predict, the one that is taken if nothing else is asked for first.
SHIPPED_TARGETS = ("anisotropy_2ev", "sams", "sams_max", "sams_crystal")


def shipped_model(target: str = SHIPPED_TARGETS[0]) -> TrainedModel:
    """
    Return the model of a target that comes with the package.

    Parameters
    ----------
    target : str
        One of `SHIPPED_TARGETS`.

    Raises
    ------
    InputError
        If there is none of that target, or scikit-learn here is too different to read it.

    Examples
    --------
    >>> shipped_model("sams").card.target
    'sams'
    """
    if target not in SHIPPED_TARGETS:
        raise InputError(
            f"no model of {target} comes with the package (there are: "
            f"{', '.join(SHIPPED_TARGETS)}): train one with `vtc train --target {target}`"
        )
    with as_file(files("vtc_flows.learn") / "shipped" / f"v2-{target}.skops") as path:
        return read_model(path)

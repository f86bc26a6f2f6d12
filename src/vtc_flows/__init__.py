"""Polarization-resolved valence-to-core x-ray emission and its anisotropy."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vtc_flows.dataset.loading import load_dataset

__version__ = "0.1.0"

__all__ = ["__version__", "load_dataset"]


def __getattr__(name: str) -> Any:
    """Import what is asked for only then: the command line starts without it."""
    if name == "load_dataset":
        return import_module("vtc_flows.dataset.loading").load_dataset
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Polarization-resolved valence-to-core x-ray emission and its anisotropy."""

from __future__ import annotations

__version__ = "0.1.0"

__all__ = ["__version__"]

"""Documents, settings that decide numbers, and ids: what is stored and what is printed."""

from __future__ import annotations

from vtc_flows.schemas.xes import Preset, SamsSettings, XesSettings, settings_hash

__all__ = ["Preset", "SamsSettings", "XesSettings", "settings_hash"]

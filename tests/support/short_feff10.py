"""The engine ``feff10`` with two tries at most, as ``short_feff10:make``: failures end sooner."""

from __future__ import annotations

from vtc_flows.feff.feff10 import Feff10Engine
from vtc_flows.feff.feff10_programs import find_feff10
from vtc_flows.feff.recovery import FEFF10_LADDER
from vtc_flows.settings import VtcSettings


def make(settings: VtcSettings) -> Feff10Engine:
    return Feff10Engine(
        find_feff10(settings),
        timeout_s=settings.site_timeout_s,
        scratch_directory=settings.scratch_directory,
        ladder=FEFF10_LADDER[:2],
    )

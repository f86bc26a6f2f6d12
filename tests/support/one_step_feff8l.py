"""The engine feff8l without recovery, so that it can be seen to fail: ``one_step_feff8l:make``."""

from __future__ import annotations

from vtc_flows.feff.discovery import find_feff8l
from vtc_flows.feff.feff8l import Feff8lEngine
from vtc_flows.feff.recovery import FEFF8L_LADDER
from vtc_flows.settings import VtcSettings


def make(settings: VtcSettings) -> Feff8lEngine:
    return Feff8lEngine(find_feff8l(settings), ladder=FEFF8L_LADDER[:1])

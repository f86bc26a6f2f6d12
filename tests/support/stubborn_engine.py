"""
The analytic engine behind the real recovery: the first tries at each site fail.

Use it as ``stubborn_engine:make``. ANALYTIC_STUBBORN says how many tries fail.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

from analytic_engine import AnalyticEngine

from vtc_flows.crystal.clusters import Cluster
from vtc_flows.errors import ScfNotConvergedError
from vtc_flows.feff.cluster_input import site_input
from vtc_flows.feff.engine import EngineFacts, Progress, SiteSpectrum, silent
from vtc_flows.feff.recovery import recover
from vtc_flows.feff.site_input import SiteInput
from vtc_flows.schemas import XesSettings
from vtc_flows.settings import VtcSettings


class StubbornEngine(AnalyticEngine):
    facts = EngineFacts("stubborn", "formula", "1", "0" * 64)

    def run(
        self,
        cluster: Cluster,
        settings: XesSettings,
        *,
        run_dir: Path | None = None,
        progress: Progress = silent,
    ) -> list[SiteSpectrum]:
        left = [int(os.environ["ANALYTIC_STUBBORN"])]

        def attempt(site: SiteInput, folder: Path) -> list[SiteSpectrum]:
            if left[0]:
                left[0] -= 1
                error = ScfNotConvergedError("it did not converge", log_tail="last line")
                error.input_text = site.to_json()
                raise error
            spectra = AnalyticEngine.run(self, cluster, settings)
            return [replace(one, input_text=site.to_json(), checks={"a": 0.5}) for one in spectra]

        with tempfile.TemporaryDirectory() as folder:
            found = recover(site_input(cluster, settings), attempt, Path(folder))
        return [
            replace(
                one,
                engine=self.facts,
                scf=replace(
                    one.scf, recovery=found.step, attempts=found.attempts, charges_e=(0.5, -0.5)
                ),
            )
            for one in found.value
        ]


def make(_settings: VtcSettings) -> StubbornEngine:
    engine = StubbornEngine()
    engine.name = StubbornEngine.facts.name
    return engine

"""The command `vtc`. Its subcommands are imported when they are called, and not before."""

from __future__ import annotations

import click

from vtc_flows import __version__
from vtc_flows.cli.lazy import LazyGroup


@click.group(
    "vtc",
    cls=LazyGroup,
    commands_at={
        "run": ("vtc_flows.cli.run:run", "Spectra, SAMS and features of crystal structures."),
        "campaign": (
            "vtc_flows.cli.dataset_campaign:campaign",
            "Many crystals in a given order, into a data set.",
        ),
        "data": ("vtc_flows.cli.data:data", "What a data set holds, and its records."),
        "compare": ("vtc_flows.cli.compare:compare", "Two engines or presets on the same sites."),
        "strain": (
            "vtc_flows.cli.strain:strain",
            "What stretching a crystal does to QAMS and SAMS.",
        ),
        "features": (
            "vtc_flows.cli.features:features",
            "Features of crystal structures; needs no FEFF.",
        ),
        "feff": ("vtc_flows.cli.feff:feff", "The XES of an existing feff.inp."),
        "import": (
            "vtc_flows.cli.importing:import_materials",
            "Crystals into the database.",
        ),
        "export": ("vtc_flows.cli.exchange:export", "Records of the database into a file."),
        "restore": ("vtc_flows.cli.exchange:restore", "Records of a file into the database."),
        "workflow": (
            "vtc_flows.cli.submission:workflow",
            "FireWorks workflows as files for lpad add.",
        ),
        "submit": (
            "vtc_flows.cli.submission:submit_crystals",
            "Workflows into the launchpad; nothing twice.",
        ),
        "status": ("vtc_flows.cli.campaign:status", "How far everything in the launchpad is."),
        "retry": ("vtc_flows.cli.campaign:retry_failed", "Failed and lost sites once more."),
        "lpad": ("vtc_flows.cli.fireworks:lpad", "FireWorks' lpad on the database."),
        "rlaunch": ("vtc_flows.cli.fireworks:rlaunch", "FireWorks' rlaunch: be a worker."),
        "qlaunch": ("vtc_flows.cli.fireworks:qlaunch", "FireWorks' qlaunch: workers in a queue."),
        "build": (
            "vtc_flows.cli.build:build",
            "Features, SAMS and data sets from what is stored.",
        ),
        "train": ("vtc_flows.cli.train:train", "A model from a data set, with its card."),
        "models": ("vtc_flows.cli.train:models", "List, show and export trained models."),
        "predict": (
            "vtc_flows.cli.predict:predict",
            "SAMS of crystal structures by a model; needs no FEFF.",
        ),
        "screen": (
            "vtc_flows.cli.screen:screen_command",
            "Crystals of the database by their SAMS.",
        ),
        "report": (
            "vtc_flows.cli.report:report",
            "One page with the figures and tables of the database.",
        ),
        "db": ("vtc_flows.cli.db:db", "A database for this machine, or the one configured."),
        "init": (
            "vtc_flows.cli.init:init",
            "Write the files that FireWorks and jobflow read.",
        ),
        "engine": ("vtc_flows.cli.engine:engine", "Install or list the FEFF of this machine."),
        "doctor": ("vtc_flows.cli.doctor:doctor", "What is here, and what is missing."),
    },
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="vtc")
@click.option("--debug", is_flag=True, help="Show where an error comes from.")
def main(debug: bool) -> None:
    """Polarization-resolved valence-to-core x-ray emission, from a crystal structure."""


__all__ = ["main"]

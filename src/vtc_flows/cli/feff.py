"""`vtc feff`: the XES of an existing feff.inp."""

from __future__ import annotations

from pathlib import Path

import click
from rich.status import Status

from vtc_flows.cli import options
from vtc_flows.cli.display import console, say, stage_text
from vtc_flows.cli.engine import ready_engine
from vtc_flows.cli.folder import require_writable
from vtc_flows.errors import InputError
from vtc_flows.feff.feffinp import read_feff_input
from vtc_flows.feff.xmu import write_xmu_files
from vtc_flows.settings import load_settings


@click.command()
@click.argument("feff_inp", type=click.Path(dir_okay=False, path_type=Path), metavar="FEFF.INP")
@click.option(
    "--polarization",
    "polarizations",
    type=(float, float, float),
    multiple=True,
    metavar="X Y Z",
    help="Direction in the frame of the ATOMS list; may be repeated. The POLARIZATION card's, or "
    "the average over directions, if not given.",
)
@options.engine
@options.out(".")
def feff(
    feff_inp: Path,
    polarizations: tuple[tuple[float, float, float], ...],
    engine: str,
    install_engine: bool,
    out: Path,
) -> None:
    """
    Compute the XES that an existing feff.inp asks for.

    Writes xmu.dat in FEFF's columns (for further polarizations xmu02.dat, xmu03.dat ...) and
    tensor.json with all polarizations; files of these names in the folder are replaced. A card
    that would change the result and is not supported is refused.
    """
    if any(not any(direction) for direction in polarizations):
        raise InputError("--polarization 0 0 0 has no direction")
    asked = read_feff_input(feff_inp)
    require_writable(out)
    chosen = ready_engine(engine, load_settings(), install_if_missing=install_engine)
    with Status("starting", console=console(error_stream=True)) as status:
        spectra = chosen.run_site(
            asked.site,
            progress=lambda stage, done, total: status.update(stage_text(stage, done, total)),
        )
    scf = spectra[0].scf
    say(
        f"converged in {scf.n_iterations} iterations, E_F = {spectra[0].e_fermi_ev:.3f} eV, "
        f"{spectra[0].fms_atoms} atoms in the multiple scattering"
    )
    written = write_xmu_files(
        out,
        spectra[0],
        polarizations or [asked.polarization],
        asked.title,
        absolute=asked.absolute,
    )
    for path in written:
        click.echo(path)

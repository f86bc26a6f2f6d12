"""`vtc init`: the files that FireWorks and jobflow read."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import click

from vtc_flows.errors import ConfigurationError, InputError
from vtc_flows.settings import load_settings
from vtc_flows.stores.connection import database_uri
from vtc_flows.stores.local_server import PREFERRED_PORT, local_uri
from vtc_flows.workflow.configuration import CONFIG_FOLDER, configuration_files, without_secrets
from vtc_flows.writing import write_whole


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Replace files that are there with other content.")
def init(folder: Path, force: bool) -> None:
    """
    Write the files that FireWorks and jobflow read, made for this machine.

    They name the database of VTC_DATABASE_URI, or else that of `vtc db`; a password is left out.
    """
    settings = load_settings()
    try:
        uri = database_uri(settings)
    except ConfigurationError:
        uri = local_uri(PREFERRED_PORT)
    root = folder.absolute()
    files = configuration_files(
        root,
        uri=uri,
        database_name=settings.database_name,
        worker=platform.node() or "this-machine",
        programs=Path(sys.executable).parent,
    )
    others = [path for path, text in files.items() if _is_other(path, text)]
    if others and not force:
        raise InputError(
            f"{', '.join(map(str, others))} would change: choose another folder, or add --force"
        )
    for path, text in files.items():
        write_whole(path, text)
        click.echo(path)
    click.echo("vtc: FireWorks and jobflow read them after:", err=True)
    click.echo(f"export FW_CONFIG_FILE={root / CONFIG_FOLDER / 'FW_config.yaml'}", err=True)
    click.echo(f"export JOBFLOW_CONFIG_FILE={root / CONFIG_FOLDER / 'jobflow.yaml'}", err=True)
    if without_secrets(uri) != uri:
        click.echo(
            "vtc: the password is in none of them: keep VTC_DATABASE_URI set, and say `vtc lpad`, "
            "`vtc rlaunch`, `vtc qlaunch`",
            err=True,
        )


def _is_other(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") != text
    except FileNotFoundError:
        return False
    except (OSError, UnicodeDecodeError):
        return True

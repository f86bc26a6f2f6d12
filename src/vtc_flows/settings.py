"""
Settings of this machine and its user: where things are, how long to wait.

What decides a number is not here but in :mod:`vtc_flows.schemas`, and is stored with the result.
Settings come, later ones first, from arguments, environment variables (``VTC_`` and the field's
name), and a TOML file; nothing is read before :func:`load_settings` is called.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import platformdirs
from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from vtc_flows.errors import ConfigurationError

_APPLICATION = "vtc-flows"
_CONFIG_VARIABLE = "VTC_CONFIG_FILE"


def config_file() -> Path:
    """Return the path of the settings file, whether it exists or not."""
    named = os.environ.get(_CONFIG_VARIABLE)
    if named:
        return Path(named).expanduser()
    return platformdirs.user_config_path(_APPLICATION) / "config.toml"


class VtcSettings(BaseSettings):
    """What this machine offers and its user prefers."""

    model_config = SettingsConfigDict(
        env_prefix="VTC_",
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        validate_default=True,
        hide_input_in_errors=True,  # an API key does not belong in a message
    )

    feff8l_directory: Path | None = Field(
        default=None, description="Folder with the files of FEFF 8.5L; found if not given."
    )
    feff8l_route: Literal["library", "executables"] | None = Field(
        default=None, description="How FEFF 8.5L is used; the library where it is there."
    )
    feff10_directory: Path | None = Field(
        default=None, description="Folder with the programs of FEFF10; PATH if not given."
    )
    feff10_launcher: str = Field(
        default="", description="What starts FEFF10's parallel programs, e.g. mpirun -n 4."
    )
    data_directory: Path = Field(
        default_factory=lambda: platformdirs.user_data_path(_APPLICATION),
        description="Folder for what is installed for this user, as `vtc engine install` does.",
    )
    dataset_directory: Path | None = Field(
        default=None,
        description="Folder of the data set; ./data or what `vtc data fetch` got if not given.",
    )
    mp_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("VTC_MP_API_KEY", "MP_API_KEY"),
        description="Key for the Materials Project.",
    )
    database_uri: SecretStr | None = Field(
        default=None,
        description="MongoDB to use (mongodb://...); that of `vtc db` if not given. It may hold a "
        "password: an environment variable is its place, not a file that others read.",
    )
    database_name: str = Field(
        default="vtc_flows",
        min_length=1,
        description="Name of the database that holds everything.",
    )
    database_timeout_s: float = Field(
        default=30.0, gt=0, description="How long to wait for a database that is away (seconds)."
    )
    site_timeout_s: float = Field(
        default=3600.0, gt=0, description="Wall-clock limit of one try at one site (seconds)."
    )
    site_memory_gb: float | None = Field(
        default=None,
        gt=0,
        description="Most memory of one process of a site that a worker runs (GB); no limit of our "
        "own if not given.",
    )
    scratch_directory: Path | None = Field(
        default=None, description="Where run folders are made; the temporary folder if not given."
    )
    keep_scratch: bool = Field(default=False, description="Keep run folders.")

    @field_validator(
        *("feff8l_directory", "feff10_directory", "data_directory", "scratch_directory"),
        "dataset_directory",
    )
    @classmethod
    def _expand_user(cls, path: Path | None) -> Path | None:
        return path.expanduser() if path is not None else None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources: arguments, environment, settings file."""
        file = TomlConfigSettingsSource(settings_cls, toml_file=config_file())
        return init_settings, env_settings, file


def load_settings(**given: Any) -> VtcSettings:
    """
    Return the settings in force now.

    Parameters
    ----------
    **given
        Fields that go before environment and file.

    Raises
    ------
    ConfigurationError
        If a value or the settings file cannot be used; names the field and the file.

    Examples
    --------
    >>> load_settings(site_timeout_s=60).site_timeout_s
    60.0
    """
    try:
        return VtcSettings(**given)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, each['loc'])) or 'settings'}: {each['msg']}"
            for each in error.errors()
        )
        raise ConfigurationError(
            f"settings cannot be used ({problems}): check the VTC_ environment variables and "
            f"{config_file()}"
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{config_file()} cannot be read: {error}") from error

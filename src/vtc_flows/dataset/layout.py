"""Where the parts of a data set are in its folder, and a folder's digests."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from vtc_flows.errors import InputError
from vtc_flows.settings import VtcSettings, load_settings

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Layout:
    """
    Paths of a data set.

    Attributes
    ----------
    folder : Path
        That of the data set.
    """

    folder: Path

    @property
    def sites(self) -> Path:
        """Parquet files of sites, with tensors."""
        return self.folder / "sites"

    @property
    def records(self) -> Path:
        """The table of records."""
        return self.folder / "records.parquet"

    @property
    def structures(self) -> Path:
        """Their crystals, JSON lines."""
        return self.folder / "structures.jsonl.gz"

    @property
    def card(self) -> Path:
        """What the data set says of itself: Croissant, JSON-LD."""
        return self.folder / "croissant.json"

    def files(self) -> list[Path]:
        """Return the files that belong to it, but for its card."""
        return [self.records, self.structures, *sorted(self.sites.glob("sites-*.parquet"))]


def find_dataset(folder: Path | str | None = None, settings: VtcSettings | None = None) -> Layout:
    """
    Return a data set: the one in a folder, or else the first of those that are found.

    Parameters
    ----------
    folder : Path or str, optional
        The folder with ``records.parquet``. If not given: that of the setting
        ``dataset_directory``, ``data`` in the current folder, or what `vtc data fetch` got.
    settings : VtcSettings, optional
        Those of this machine if not given.

    Raises
    ------
    InputError
        If there is none.
    """
    settings = settings or load_settings()
    places = [Path(folder)] if folder is not None else _usual_places(settings)
    for place in places:
        if Layout(place).records.is_file():
            return Layout(place)
    looked = ", ".join(map(str, places))
    raise InputError(
        f"there is no data set in {looked}: no records.parquet. Name its folder (that of the "
        "repository is data/), or get it with `vtc data fetch`"
    )


def fetched_place(settings: VtcSettings) -> Path:
    """Return where `vtc data fetch` puts a data set."""
    return settings.data_directory / "dataset"


def _usual_places(settings: VtcSettings) -> list[Path]:
    own = settings.dataset_directory
    return ([own] if own is not None else []) + [Path("data"), fetched_place(settings)]


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()

"""Predictions as JSON lines in a file that is continued, whatever ended the work before."""

from __future__ import annotations

import fcntl
import json
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from pydantic import ValidationError

from vtc_flows.crystal.sources import StructureRecord
from vtc_flows.errors import InputError, StorageError
from vtc_flows.schemas.models import PredictionDoc

#: Relative; a crystal that is read again has the same density.
_SAME_DENSITY = 1e-4
#: What each line begins with.
_BEGINNING = b'{"record_id":'


class PredictionFile:
    """
    A file of predictions of one model, open for more.

    A last line that was cut off, as by a crash, is removed: its crystal is not in the file then.

    Parameters
    ----------
    path : Path
        Made where it is missing, with its folder.
    model_id : str
        Of the model whose predictions it holds.
    levels : sequence of float
        Of their intervals.

    Attributes
    ----------
    path : Path
    n_before : int
        Predictions that were there.
    is_repaired : bool
        Whether a line was cut off.

    Raises
    ------
    InputError
        If it holds anything else, or predictions of another model or with other intervals; it is
        then as it was.
    StorageError
        If it cannot be read or written, or another process writes it.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with PredictionFile(Path(folder) / "all.jsonl", "model", [0.9]) as file:
    ...         file.n_before, file.has("mp-2657", ["Ti"])
    (0, False)
    """

    def __init__(self, path: Path, model_id: str, levels: Sequence[float]) -> None:
        if path.suffix == ".gz":
            raise InputError(f"{path}: predictions are written unpacked: give a name as all.jsonl")
        self.path = path
        self.n_before = 0
        self.is_repaired = False
        self._model_id, self._levels = model_id, sorted(levels)
        self._known: dict[str, set[str]] = {}
        self._crystals: dict[str, tuple[str, float | None]] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = path.open("a+b")
        except OSError as error:
            raise StorageError(f"{path} cannot be written: {error.strerror or error}") from error
        try:
            self._lock()
            self._continue()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> PredictionFile:
        """Return the open file."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it; all that was written is on the disk then."""
        with self._file:
            os.fsync(self._file.fileno())

    def has(self, material_id: str, elements: Iterable[str]) -> bool:
        """Say whether all elements of a crystal, at least one, are in the file."""
        wanted = set(elements)
        return bool(wanted) and wanted <= self._known.get(material_id, set())

    def require_same(self, record: StructureRecord) -> None:
        """
        Refuse another crystal than the one whose predictions are in the file under its id.

        Predictions do not hold structures; formula and density tell crystals apart.

        Raises
        ------
        InputError
            If it is another one.
        """
        if record.material_id not in self._crystals:
            return
        formula, density = self._crystals[record.material_id]
        structure = record.structure
        same = formula == structure.composition.reduced_formula
        if density is not None:
            same = same and math.isclose(float(structure.density), density, rel_tol=_SAME_DENSITY)
        if not same:
            raise InputError(
                f"{record.source} is another crystal than the one called {record.material_id} in "
                f"{self.path} (that is {formula}): rename the file, or choose another --out"
            )

    def _remember(self, document: PredictionDoc) -> set[str]:
        """Return the elements that are known of a prediction's crystal, to add its own."""
        self._crystals.setdefault(
            document.material_id, (document.formula, document.features.get("density"))
        )
        return self._known.setdefault(document.material_id, set())

    def write(self, prediction: PredictionDoc) -> bool:
        """
        Write a prediction; say whether it was missing.

        Raises
        ------
        StorageError
            If the disk is full.
        """
        known = self._remember(prediction)
        if prediction.element in known:
            return False
        try:
            self._file.write(prediction.model_dump_json().encode() + b"\n")
            self._file.flush()  # whoever is killed leaves whole lines, and one in part at most
        except OSError as error:
            raise StorageError(
                f"{self.path} cannot be written: {error.strerror or error}; what is in it stays, "
                "the same command goes on from there"
            ) from error
        known.add(prediction.element)
        return True

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageError(f"another process writes {self.path}") from None
        except OSError:
            return  # file systems without locks: nobody is kept from writing twice

    def _continue(self) -> None:
        """Read what is there; cut off a last line that is none."""
        self._file.seek(0)
        whole = 0
        torn: tuple[int, bytes] | None = None
        for number, line in enumerate(self._file, start=1):
            if torn is not None:
                raise self._strange(torn[0])
            document = self._parse(line)
            if document is None:
                torn = number, line
                continue
            self._check(document, number)
            self._remember(document).add(document.element)
            self.n_before += 1
            whole += len(line)
        if torn is not None:
            number, line = torn
            if line[: len(_BEGINNING)] != _BEGINNING[: len(line)]:
                raise self._strange(number)  # somebody else's file is not cut
            self._file.truncate(whole)
            self.is_repaired = True

    def _parse(self, line: bytes) -> PredictionDoc | None:
        if not line.endswith(b"\n"):
            return None
        try:
            return PredictionDoc.model_validate(json.loads(line))
        except (ValidationError, ValueError):
            return None

    def _check(self, document: PredictionDoc, number: int) -> None:
        if document.model_id != self._model_id:
            raise InputError(
                f"{self.path}, line {number}: predictions of the model {document.model_id}, and "
                f"now it is {self._model_id}: choose another file"
            )
        levels = [each.level for each in document.intervals]
        if levels != self._levels:
            raise InputError(
                f"{self.path}, line {number}: intervals of the levels {levels}, and now they are "
                f"{self._levels}: choose another file, or --level as before"
            )

    def _strange(self, number: int) -> InputError:
        return InputError(
            f"{self.path}, line {number} is no prediction of this version: choose another file"
        )

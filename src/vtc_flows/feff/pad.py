"""
Read PAD, the packed ASCII numbers of FEFF's binary-like files.

A record line starts with ``!`` (real) or ``$`` (complex, pairs of real and imaginary part)
and holds as many numbers of a fixed number of characters as fit on it. Each number is a base-90
mantissa with a decimal exponent.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from vtc_flows.errors import EngineOutputError

_OFFSET = 37
_BASE = 90
_HALF = _BASE // 2


def decode(packed: bytes, width: int) -> NDArray[np.float64]:
    r"""
    Decode packed numbers that follow one another without a gap.

    Parameters
    ----------
    packed : bytes
        The characters, without record marks and line ends.
    width : int
        Characters per number.

    Returns
    -------
    ndarray of shape (n,)
        The numbers.

    Raises
    ------
    EngineOutputError
        If the text is not a whole number of packed numbers.

    Notes
    -----
    With :math:`c_k` the character codes minus 37, the exponent is :math:`c_1 - 45`, the sign
    :math:`2 (c_2 \bmod 2) - 1` and the mantissa
    :math:`\lfloor c_2/2 \rfloor / 90^2 + \sum_{k \ge 3} c_k / 90^k`; the value is
    sign * 2 * 90 * mantissa * 10^exponent.

    Examples
    --------
    >>> decode(b"RN%%%%%%", 8).round(4)
    array([0.4444])
    """
    codes = np.frombuffer(packed, dtype=np.uint8)
    if width < 3 or codes.size % width:
        raise EngineOutputError(
            f"a packed record of {codes.size} characters is no multiple of {width}: it is cut off"
        )
    digits = codes.reshape(-1, width).astype(np.int64) - _OFFSET
    if digits.size and (digits.min() < 0 or digits.max() >= _BASE):
        raise EngineOutputError("a packed record holds characters that no packed number has")
    powers = float(_BASE) ** -np.arange(3, width + 1)
    mantissa = (digits[:, 1] // 2) / _BASE**2 + digits[:, 2:] @ powers
    sign = 2.0 * (digits[:, 1] % 2) - 1.0
    return np.asarray(sign * 2.0 * _BASE * mantissa * 10.0 ** (digits[:, 0] - _HALF))


class PadReader:
    """
    Walk through a PAD file: text lines and packed arrays in the order in which they stand.

    Parameters
    ----------
    content : bytes
        The whole file.
    name : str
        The file's name, for messages.
    """

    def __init__(self, content: bytes, name: str) -> None:
        self._lines: Iterator[bytes] = iter(content.split(b"\n"))
        self._name = name
        self.width = 8

    def text(self) -> list[str]:
        """Return the words of the next text line."""
        for line in self._lines:
            if line.strip():
                return line.decode("latin-1").split()
        raise EngineOutputError(
            f"{self._name} ends where a line of text was expected: it is cut off"
        )

    def reals(self, count: int) -> NDArray[np.float64]:
        """Return the next packed array of ``count`` real numbers."""
        return self._numbers(count, b"!")

    def complexes(self, count: int) -> NDArray[np.complex128]:
        """Return the next packed array of ``count`` complex numbers."""
        pairs = self._numbers(2 * count, b"$")
        return np.asarray(pairs[0::2] + 1j * pairs[1::2])

    def _numbers(self, count: int, mark: bytes) -> NDArray[np.float64]:
        packed = bytearray()
        while len(packed) < count * self.width:
            line = next(self._lines, None)
            if line is None or line[:1] != mark:
                raise EngineOutputError(
                    f"{self._name} holds {len(packed) // self.width} of {count} packed numbers: "
                    "it is cut off or of another kind"
                )
            packed += line[1:].rstrip(b"\r")
        return decode(bytes(packed).rstrip(b" ")[: count * self.width], self.width)

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtc_flows.errors import EngineOutputError
from vtc_flows.feff.core_hole import k_level_width_ev
from vtc_flows.feff.pad import PadReader, decode

WIDTH = 8


def encode(value: float) -> bytes:
    """Pack one number, by the definition of the format."""
    if value == 0:
        codes = [45, 1] + [0] * (WIDTH - 2)
    else:
        exponent = math.floor(math.log10(abs(value))) + 1
        rest = abs(value) / 10.0**exponent / (2 * 90) * 90**2  # 0.1 <= mantissa < 1
        codes = [exponent + 45, 0]
        digit = int(rest)
        codes[1] = 2 * digit + (value > 0)
        rest -= digit
        for _ in range(WIDTH - 2):
            rest *= 90
            codes.append(int(rest))
            rest -= int(rest)
    return bytes(code + 37 for code in codes)


@given(
    st.floats(-1e30, 1e30).filter(lambda value: value == 0 or abs(value) > 1e-30),
)
def test_decode_inverts_the_definition(value):
    assert decode(encode(value), WIDTH)[0] == pytest.approx(value, rel=1e-9)


def test_numbers_go_on_over_lines():
    values = [1.5, -2.25, 3.0e-7, 12345.678]
    packed = [encode(value) for value in values]
    content = b"  3 4\n!" + b"".join(packed[:3]) + b"\n!" + packed[3] + b"\n$" + b"".join(packed)
    reader = PadReader(content, "phase.pad")
    reader.width = WIDTH
    assert reader.text() == ["3", "4"]
    np.testing.assert_allclose(reader.reals(4), values)
    np.testing.assert_allclose(reader.complexes(2), [1.5 - 2.25j, 3.0e-7 + 12345.678j])


def test_cut_off_records_are_noticed():
    content = b"!" + encode(1.0) + encode(2.0)[:5]
    reader = PadReader(content, "phase.pad")
    with pytest.raises(EngineOutputError, match=r"phase\.pad holds 1 of 2"):
        reader.reals(2)
    with pytest.raises(EngineOutputError, match="no multiple"):
        decode(encode(1.0)[:5], WIDTH)
    with pytest.raises(EngineOutputError, match="cut off"):
        PadReader(b"", "phase.pad").text()


def test_foreign_characters_are_noticed():
    with pytest.raises(EngineOutputError, match="no packed number"):
        decode(b"RN\x80%%%%%", WIDTH)


# Widths that feff8l_rdinp (FEFF 8.5L) writes for K holes of these elements, in eV.
@pytest.mark.parametrize(
    ("atomic_number", "width_ev"),
    [(1, 0.020059), (8, 0.155864), (21, 0.822944), (25, 1.192906), (30, 1.897367), (57, 17.0573),
     (79, 56.931766), (98, 116.913728)],
)  # fmt: skip
def test_core_hole_widths(atomic_number, width_ev):
    assert k_level_width_ev(atomic_number) == pytest.approx(width_ev, rel=2e-5)

"""Reading what FEFF10 leaves: recorded files, and each way in which they can be wrong."""

from __future__ import annotations

import numpy as np
import pytest
from fake_feff10 import DIRECTIONS, recorded_calls
from record_feff10 import FOLDER, site_of

from vtc_flows.errors import EngineCrashError, EngineOutputError, ScfNotConvergedError
from vtc_flows.feff.feff10_output import (
    CHARGE_FILE,
    CONFIGURATION_FILE,
    ERROR_FILE,
    FINE_STRUCTURE_FILE,
    GEOMETRY_FILE,
    GLOBAL_FILE,
    POT_FILE,
    POT_LOG,
    SCF_FILE,
    SECTION_FILE,
    XMU_FILE,
    read_edge_cross_section,
    read_fermi_level,
    read_fine_structure,
    read_polarization,
    read_scf,
    read_section,
    read_xmu,
    require_atoms,
    require_no_error_file,
)
from vtc_flows.feff.pad import PadReader

E_FERMI = -9.96129286


def recorded(name: str, program: str, number: int = 0) -> dict[str, str]:
    """Return the files of one call of a program."""
    calls = [c for c in recorded_calls(FOLDER, name) if c["program"] == program]
    return calls[number]["files"]


@pytest.fixture
def folder(tmp_path):
    """Return a folder with the files of the converged run, polarization x of the first size."""
    for program, number in (
        ("rdinp", 1),
        ("atomic", 0),
        ("pot", 0),
        ("xsph", 0),
        ("mkgtr", 0),
        ("ff2x", 0),
    ):
        for name, text in recorded("converged", program, number).items():
            (tmp_path / name).write_text(text, encoding="latin-1")
    return tmp_path


def put(folder, files: dict[str, str]):
    for name, text in files.items():
        (folder / name).write_text(text, encoding="latin-1")
    return folder


def altered(folder, name: str, old: str, new: str):
    text = (folder / name).read_text(encoding="latin-1")
    assert old in text
    return put(folder, {name: text.replace(old, new)})


def cut(folder, name: str, share: float):
    text = (folder / name).read_text(encoding="latin-1")
    return put(folder, {name: text[: int(share * len(text))]})


def lose_lines(folder, name: str, beginning: str):
    lines = (folder / name).read_text(encoding="latin-1").splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(beginning)]
    assert len(kept) < len(lines)
    return put(folder, {name: "".join(kept)})


def drop_last_lines(folder, name: str, count: int):
    lines = (folder / name).read_text(encoding="latin-1").rstrip().splitlines(keepends=True)
    return put(folder, {name: "".join(lines[:-count])})


def test_self_consistency(folder):
    scf = read_scf(folder)
    assert len(scf.fermi_history_ev) == 13  # four plain iterations count as the first
    assert scf.fermi_history_ev[-1] == -9.961
    assert scf.e_fermi_ev == pytest.approx(E_FERMI, abs=1e-8)
    assert scf.charges_e == (0.66, -0.232, 0.225)
    assert scf.bad_counts == 0


def test_which_electrons_were_counted(folder):
    """Zinc's 3d and oxygen's 2s are valence; the electron that screens the hole is in 4s."""
    separation = read_scf(folder).separation
    assert separation.energy_ev == -40.0
    assert separation.moves_ev == ()
    assert separation.shell_names() == (("3d", "4s", "4p"), ("2s", "2p"), ("3d", "4s", "4p"))
    electrons = [[shell.electrons for shell in shells] for shells in separation.shells]
    assert electrons == [[10, 2, 1], [2, 4], [10, 1, 1]]
    assert separation.occupations_e == (
        (0.873, 1.08, 10.387, 0.0),
        (1.869, 4.298, 0.064, 0.0),
        (0.661, 0.902, 10.212, 0.0),
    )


def test_separations_that_were_given_up_are_told(folder):
    """FEFF10 names the separation at each restart; what it says twice is no move."""
    first = "Core-valence separation energy:  ecv=   -40.000 eV"
    moves = first.replace("-40", "-63") + "\n" + first + "\n" + first
    altered(folder, POT_LOG, first, moves)
    separation = read_scf(folder).separation
    assert (separation.energy_ev, separation.moves_ev) == (-40.0, (-63.0,))


def test_charges_are_electrons_lost(folder):
    """Zn with 12 valence electrons holds so many fewer, O so many more than 6."""
    *_, last = (folder / CHARGE_FILE).read_text().split("SCF ITERATION NUMBER")
    counts = np.zeros(3)
    for line in last.partition("Charge transfer")[0].splitlines():
        words = line.split()
        if len(words) == 3 and words[0].isdigit():
            counts[int(words[0])] += float(words[2])
    valence = np.array([13.0, 6.0, 12.0])  # the absorber has one more: a hole is deep inside
    np.testing.assert_allclose(valence - counts, read_scf(folder).charges_e, atol=5e-3)


def test_charges_are_not_needed(folder):
    (folder / CHARGE_FILE).unlink()
    assert read_scf(folder).charges_e == ()


@pytest.mark.parametrize("name", ["not_converged", "bad_counts"])
def test_potentials_without_convergence_are_refused(tmp_path, name):
    """As FEFF10 left them, with exit code 0 and without an error file."""
    put(tmp_path, recorded(name, "pot"))
    with pytest.raises(ScfNotConvergedError) as caught:
        read_scf(tmp_path)
    reason = "bad_counts" if name == "bad_counts" else "scf_not_converged"
    assert caught.value.reason == reason


def test_what_the_last_iteration_was_like_is_told(tmp_path):
    put(tmp_path, recorded("not_converged", "pot"))
    with pytest.raises(ScfNotConvergedError, match=r"5 iterations.*charge by 0\.4443.*0\.0304"):
        read_scf(tmp_path)


def test_impossible_occupations_in_the_last_iteration_alone(folder):
    """FEFF10 can converge on them."""
    altered(folder, POT_LOG, "Electronic configuration", "Found bad counts.\nElectronic")
    with pytest.raises(ScfNotConvergedError, match="impossible occupations") as caught:
        read_scf(folder)
    assert caught.value.reason == "bad_counts"


def test_impossible_occupations_on_the_way_are_counted(folder):
    altered(
        folder, POT_LOG, "SCF ITERATION NUMBER  3", "Found bad counts.\nSCF ITERATION NUMBER  3"
    )
    assert read_scf(folder).bad_counts == 1


def test_stages_of_a_ramp(folder):
    """The last stage decides, whatever an earlier one came to."""
    early = recorded("not_converged", "pot")
    late = recorded("converged", "pot")
    names = (POT_LOG, SCF_FILE)
    put(folder, {name: early[name] + late[name] for name in names})
    assert len(read_scf(folder).fermi_history_ev) == 5 + 13
    put(folder, {name: late[name] + early[name] for name in names})
    with pytest.raises(ScfNotConvergedError):
        read_scf(folder)


SCF_FAULTS = {
    "log missing": (lambda d: (d / POT_LOG).unlink(), "output_missing", "left no log1.dat"),
    "table missing": (lambda d: (d / SCF_FILE).unlink(), "output_missing", "no convergence.scf"),
    "potentials missing": (lambda d: (d / POT_FILE).unlink(), "output_missing", "left no pot.bin"),
    "table a folder": (
        lambda d: ((d / SCF_FILE).unlink(), (d / SCF_FILE).mkdir()),
        "output_missing",
        "convergence.scf cannot be read",
    ),
    "log cut off": (lambda d: cut(d, POT_LOG, 0.97), "output_truncated", "does not say"),
    "log of no iteration": (lambda d: put(d, {POT_LOG: "\n"}), "output_truncated", "does not say"),
    "log without a separation": (
        lambda d: altered(d, POT_LOG, "Core-valence separation", "Some"),
        "output_truncated",
        "names no core-valence separation",
    ),
    "log without occupations": (
        lambda d: lose_lines(d, POT_LOG, "     "),
        "output_truncated",
        "config.dat has 3 kinds of atoms and log1.dat 0",
    ),
    "log with an atom less": (
        lambda d: lose_lines(d, POT_LOG, "     2     "),
        "output_truncated",
        "config.dat has 3 kinds of atoms and log1.dat 2",
    ),
    "atoms missing": (
        lambda d: (d / CONFIGURATION_FILE).unlink(),
        "output_missing",
        "left no config.dat",
    ),
    "atoms empty": (lambda d: put(d, {CONFIGURATION_FILE: ""}), "output_truncated", "is cut off"),
    "atoms cut off in the head": (
        lambda d: cut(d, CONFIGURATION_FILE, 0.05),
        "output_truncated",
        "config.dat is cut off",
    ),
    "atoms cut off in a line": (
        lambda d: cut(d, CONFIGURATION_FILE, 0.9),
        "output_truncated",
        "config.dat is cut off",
    ),
    "atoms cut off after a line": (
        lambda d: drop_last_lines(d, CONFIGURATION_FILE, 1),
        "output_truncated",
        "config.dat is cut off",
    ),
    "atoms cut off after an atom": (
        lambda d: drop_last_lines(d, CONFIGURATION_FILE, 2),
        "output_truncated",
        "config.dat has 2 kinds of atoms and log1.dat 3",
    ),
    "table empty": (lambda d: put(d, {SCF_FILE: ""}), "output_truncated", "holds no iteration"),
    "table of overlapped atoms": (
        lambda d: put(d, {SCF_FILE: "   0  -0.218  0.000  0.0000  0\n"}),
        "output_truncated",
        "holds no iteration",
    ),
    "table cut off": (lambda d: cut(d, SCF_FILE, 0.97), "output_truncated", "broken line"),
    "table of words": (
        lambda d: altered(d, SCF_FILE, "-9.857", "minus9"),
        "output_truncated",
        "broken line.*minus9",
    ),
    "potentials empty": (lambda d: put(d, {POT_FILE: ""}), "output_truncated", "pot did not"),
    "potentials cut off": (lambda d: cut(d, POT_FILE, 0.3), "output_truncated", "pot did not"),
    "potentials of another run": (
        lambda d: put(d, {POT_FILE: recorded("not_converged", "pot")[POT_FILE]}),
        "output_stale",
        "-9.857 eV, convergence.scf -9.961 eV",
    ),
    "not converged by the table": (
        lambda d: altered(d, SCF_FILE, "0.0001     1", "0.0001     0"),
        "scf_not_converged",
        "did not converge in 13",
    ),
    "not converged by the log": (
        lambda d: altered(d, POT_LOG, "Convergence reached", ":WARNING Convergence not reached"),
        "scf_not_converged",
        "did not converge in 13",
    ),
    "diverged to NaN": (
        lambda d: altered(d, SCF_FILE, "-9.966 ", "NaN "),
        "scf_not_converged",
        "diverged: after 10 iterations",
    ),
    "diverged to stars": (
        lambda d: altered(d, SCF_FILE, "-9.966 ", "****** "),
        "scf_not_converged",
        "diverged: after 10 iterations",
    ),
}


@pytest.mark.parametrize("name", SCF_FAULTS)
def test_potentials_that_prove_nothing_are_refused(folder, name):
    spoil, reason, message = SCF_FAULTS[name]
    spoil(folder)
    with pytest.raises((EngineOutputError, ScfNotConvergedError), match=message) as caught:
        read_scf(folder)
    assert caught.value.reason == reason


def test_fermi_level_agrees_with_the_spectrum(folder):
    """The level in pot.bin, the mesh of xsect.dat and the spectrum are of one run."""
    xmu = read_xmu(folder / XMU_FILE)
    at_fermi = int(np.argmin(np.abs(xmu.wave_number)))
    assert xmu.wave_number[at_fermi] == 0
    level = read_fermi_level(folder / POT_FILE)
    assert xmu.energy_ev[at_fermi] == pytest.approx(level, abs=1e-5)


def test_spectrum(folder):
    xmu = read_xmu(folder / XMU_FILE, 1.9808)
    columns = (xmu.photon_energy_ev, xmu.energy_ev, xmu.wave_number, xmu.mu, xmu.mu0)
    assert {column.shape for column in columns} == {(83,)}
    assert xmu.energy_ev[0] == pytest.approx(-45.96129, abs=1e-9)
    assert xmu.photon_energy_ev[0] == pytest.approx(9628.7313844518, abs=1e-9)
    assert xmu.mu[0] == 4.8840244575e-06
    assert xmu.mu0[0] == 4.7437590394e-06


def test_numbers_with_exponents_of_three_digits(folder):
    """Fortran leaves out the letter."""
    altered(folder, XMU_FILE, "1.4026541806E-07", "1.4026541806-107")
    altered(folder, XMU_FILE, "4.8840244575E-06", "4.8840244575-106")
    assert read_xmu(folder / XMU_FILE).mu[0] == 4.8840244575e-106


XMU_FAULTS = {
    "missing": (lambda d: (d / XMU_FILE).unlink(), "output_missing", "left no xmu.dat"),
    "empty": (lambda d: put(d, {XMU_FILE: ""}), "output_truncated", "holds no numbers"),
    "head only": (lambda d: cut(d, XMU_FILE, 0.05), "output_truncated", "holds no numbers"),
    "cut in a line": (lambda d: cut(d, XMU_FILE, 0.5), "output_truncated", "broken line"),
    "NaN": (
        lambda d: altered(d, XMU_FILE, "4.8840244575E-06", "NaN"),
        "output_not_finite",
        "not finite",
    ),
    "infinite": (
        lambda d: altered(d, XMU_FILE, "4.8840244575E-06", "Infinity"),
        "output_not_finite",
        "not finite",
    ),
    "stars": (
        lambda d: altered(d, XMU_FILE, "4.8840244575E-06", "*" * 20),
        "output_truncated",
        "broken line",
    ),
    "another radius": (
        lambda d: put(d, recorded("converged", "ff2x", 6)),
        "output_stale",
        r"radius of 3\.2383 Angstrom, not of 1\.9808",
    ),
}


@pytest.mark.parametrize("name", XMU_FAULTS)
def test_spectra_that_are_none_are_refused(folder, name):
    spoil, reason, message = XMU_FAULTS[name]
    spoil(folder)
    with pytest.raises(EngineOutputError, match=message) as caught:
        read_xmu(folder / XMU_FILE, 1.980819)
    assert caught.value.reason == reason


def test_cross_section_at_the_fermi_level(folder):
    """What FEFF10 divides by without ABSOLUTE, to the digits of xsect.dat."""
    edge = read_edge_cross_section(folder / SECTION_FILE, E_FERMI)
    rows = np.array(
        [
            line.split()
            for line in (folder / SECTION_FILE).read_text().splitlines()
            if not line.startswith("#")
        ],
        dtype=float,
    )
    nearest = int(np.argmin(np.abs(rows[:83, 0] - E_FERMI)))
    assert edge == pytest.approx(rows[nearest, 2], rel=1e-3)


SECTION_FAULTS = {
    "missing": (lambda d: (d / SECTION_FILE).unlink(), "output_missing", "left no xsect.dat"),
    "without a head": (
        lambda d: altered(d, SECTION_FILE, "#", "# x"),
        "output_truncated",
        "does not say how many",
    ),
    "cut in a line": (lambda d: cut(d, SECTION_FILE, 0.5), "output_truncated", "broken line"),
    "cut between lines": (
        lambda d: put(
            d, {SECTION_FILE: "\n".join((d / SECTION_FILE).read_text().splitlines()[:40])}
        ),
        "output_truncated",
        r"holds \d+ of \d+ points",
    ),
}


@pytest.mark.parametrize("name", SECTION_FAULTS)
def test_cross_sections_that_are_none_are_refused(folder, name):
    spoil, reason, message = SECTION_FAULTS[name]
    spoil(folder)
    with pytest.raises(EngineOutputError, match=message) as caught:
        read_edge_cross_section(folder / SECTION_FILE, E_FERMI)
    assert caught.value.reason == reason


def test_a_spectrum_that_does_not_reach_the_fermi_level_has_no_scale(folder):
    with pytest.raises(EngineOutputError, match="outside the spectrum") as caught:
        read_edge_cross_section(folder / SECTION_FILE, 3.0)
    assert caught.value.reason == "wrong_grid"


@pytest.mark.parametrize(("number", "name"), list(enumerate(DIRECTIONS)))
def test_polarization(folder, number, name):
    put(folder, recorded("converged", "rdinp", 1 + number))
    assert read_polarization(folder) == pytest.approx(DIRECTIONS[name], abs=1e-5)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: cut(d, GLOBAL_FILE, 0.2),
        lambda d: altered(d, GLOBAL_FILE, "1.00000      0.00000      0.00000", "one"),
    ],
)
def test_a_file_without_polarization_is_refused(folder, spoil):
    spoil(folder)
    with pytest.raises(EngineOutputError, match="names no polarization") as caught:
        read_polarization(folder)
    assert caught.value.reason == "output_truncated"


def test_atoms(folder):
    site = site_of("wurtzite_ZnO", "Zn").for_potentials()
    require_atoms(folder / GEOMETRY_FILE, site)


def lose_an_atom(folder):
    lines = (folder / GEOMETRY_FILE).read_text().splitlines(keepends=True)
    put(folder, {GEOMETRY_FILE: "".join(lines[:-1])})


ATOM_FAULTS = {
    "one lost": (lose_an_atom, "output_truncated", "47 of the 48 atoms"),
    "all lost": (lambda d: put(d, {GEOMETRY_FILE: ""}), "output_truncated", "0 of the 48 atoms"),
    "one moved": (
        lambda d: altered(d, GEOMETRY_FILE, "-1.97982", "-1.98082"),
        "output_stale",
        "other atoms",
    ),
    "one of another kind": (
        lambda d: altered(d, GEOMETRY_FILE, "-1.97982   1", "-1.97982   2"),
        "output_stale",
        "other atoms",
    ),
    "one twice": (
        lambda d: altered(
            d, GEOMETRY_FILE, "1.61868     -0.93454      0.63121", "0.00000 1.86909 0.63121"
        ),
        "output_stale",
        "other atoms",
    ),
}


@pytest.mark.parametrize("name", ATOM_FAULTS)
def test_other_atoms_are_refused(folder, name):
    spoil, reason, message = ATOM_FAULTS[name]
    spoil(folder)
    site = site_of("wurtzite_ZnO", "Zn").for_potentials()
    with pytest.raises(EngineOutputError, match=message) as caught:
        require_atoms(folder / GEOMETRY_FILE, site)
    assert caught.value.reason == reason


def test_fine_structure(folder):
    """On the mesh of the embedded atom, whose vertical part stands at the Fermi level."""
    numbers = read_fine_structure(folder / FINE_STRUCTURE_FILE)
    section = read_section(folder / SECTION_FILE)
    assert numbers.shape == section.energy_ev.shape == (104,)
    assert np.abs(numbers).max() > 0.1
    assert section.n_horizontal == 83
    assert section.energy_ev[section.fermi_index].real == pytest.approx(E_FERMI, abs=1e-6)
    vertical = section.energy_ev[section.n_horizontal :]
    np.testing.assert_allclose(vertical.real, E_FERMI, atol=1e-6)
    assert (np.diff(vertical.imag) > 0).all()


def test_a_fine_structure_that_is_not_finite_is_refused(folder, monkeypatch):
    monkeypatch.setattr(PadReader, "complexes", lambda self, count: np.full(count, np.nan + 0j))
    with pytest.raises(EngineOutputError, match="not finite") as caught:
        read_fine_structure(folder / FINE_STRUCTURE_FILE)
    assert caught.value.reason == "output_not_finite"


@pytest.mark.parametrize("share", [0.0, 0.02, 0.1, 0.5, 0.95])
def test_a_fine_structure_that_is_cut_off_is_refused(folder, share):
    cut(folder, FINE_STRUCTURE_FILE, share)
    with pytest.raises(EngineOutputError, match="mkgtr did not finish it") as caught:
        read_fine_structure(folder / FINE_STRUCTURE_FILE)
    assert caught.value.reason == "output_truncated"


@pytest.mark.parametrize(
    ("name", "program", "reason", "words"),
    [
        ("refused", "rdinp", "bad_input", "Keyword unrecognized"),
        ("stopped", "pot", "error_file", "Cannot determine Norman radius"),
    ],
)
def test_what_a_program_said_before_it_gave_up(tmp_path, name, program, reason, words):
    """The error file itself says the same whatever happened."""
    call = next(c for c in recorded_calls(FOLDER, name) if c["program"] == program)
    assert call["exit_code"] == 0
    put(tmp_path, {ERROR_FILE: call["error_file"]})
    with pytest.raises(EngineCrashError, match=words) as caught:
        require_no_error_file(tmp_path, program, call["log"])
    assert caught.value.reason == reason
    assert "STOP" not in caught.value.message
    assert "floating-point" not in caught.value.message


def test_an_error_file_is_one_also_if_empty(tmp_path):
    require_no_error_file(tmp_path, "pot")
    put(tmp_path, {ERROR_FILE: ""})
    with pytest.raises(EngineCrashError, match="it says nothing"):
        require_no_error_file(tmp_path, "pot")

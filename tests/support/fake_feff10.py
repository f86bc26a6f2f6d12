"""
A FEFF10 for tests: programs that look hard at what they are given, and answer with recordings.

Each program reads, in the folder where it runs, the files that the real one reads, and goes by
them alone. So what FEFF10 gets wrong without a word goes wrong here, too: ``mkgtr`` takes the
``gg.bin`` it finds, of whichever radius, and ``ff2x`` the ``fms.bin``, of whichever polarization.
What no engine should ask for is refused as FEFF10 refuses: words on standard output, the file
``.feff.error``, exit code 0. It parses ``feff.inp`` by code of its own.

A plan says which calls of which programs go wrong, and how; see `fault`. A spectrum needs dozens
of programs, so they start with ``python -I -S`` and import nothing that takes time.
"""

from __future__ import annotations

import marshal
import os
import resource
import sys
import time

ERROR_FILE = ".feff.error"

#: What each program reads of what others made, as `strace` shows it of the real ones.
READS = {
    "rdinp": ["feff.inp"],
    "atomic": [".dimensions.dat", "geom.dat", "pot.inp"],
    "pot": [".dimensions.dat", "apot.bin", "geom.dat", "pot.inp"],
    "screen": [".dimensions.dat", "pot.inp"],
    "opconsat": [".dimensions.dat", "opcons.inp"],
    "xsph": [".dimensions.dat", "geom.dat", "global.inp", "pot.bin", "pot.inp", "xsph.inp"],
    "fms": [".dimensions.dat", "fms.inp", "geom.dat", "global.inp", "phase.bin"],
    "mkgtr": [".dimensions.dat", "geom.dat", "gg.bin", "global.inp", "phase.bin"],
    "path": [".dimensions.dat", "geom.dat", "global.inp", "paths.inp", "phase.bin", "pot.bin"],
    "genfmt": [".dimensions.dat", "genfmt.inp", "global.inp", "paths.dat", "phase.bin"],
    "ff2x": [".dimensions.dat", "feff.bin", "ff2x.inp", "global.inp", "list.dat", "xsect.dat"],
}
PROGRAMS = tuple(READS)
SIGNALS = {"SIGKILL": 9, "SIGSEGV": 11, "SIGTERM": 15, "SIGXFSZ": 25}

_HALF = 0.5**0.5
DIRECTIONS = {
    "x": (1.0, 0.0, 0.0),
    "y": (0.0, 1.0, 0.0),
    "z": (0.0, 0.0, 1.0),
    "xy": (_HALF, _HALF, 0.0),
    "xz": (_HALF, 0.0, _HALF),
    "yz": (0.0, _HALF, _HALF),
}
#: Cards with values that never change.
FIXED = {
    "EDGE": ["K"],
    "S02": [1.0],
    "COREHOLE": ["FSR"],
    "EXCHANGE": [0.0] * 4,
    "RPATH": [0.1],
    "ABSOLUTE": [],
    "PRINT": [0.0] * 6,
    "CONTROL": [1.0] * 6,
}
#: The cards of each step of the recovery; {r} is the radius of the potentials.
RUNGS = {
    "none": ["SCF {r} 0 60 0.1 4"],
    "two iterations": ["SCF {r} 0 2 0.1 4"],
    "half mixing": ["SCF {r} 0 100 0.05 8"],
    "quarter mixing": ["SCF {r} 0 100 0.025 8"],
    "SCF ramp": ["SCF {r} 0 100 0.05 8", "SCFRAMP {r06} 2"],
    "deeper core levels": ["SCF {r} 0 100 0.05 8", "CORVAL -100"],
    "smaller overlap": ["SCF {r} 0 100 0.05 8", "AFOLP 1.05"],
    "wider SCF cluster": ["SCF {r12} 0 100 0.05 8"],
}
#: How far below the Fermi level the grid begins: the bottom of the valence, and 6 eV more.
BELOW_EV = 36.0


class Refused(Exception):
    """The input is not what it should be, or a file is missing."""


# --- the input -----------------------------------------------------------------------------------


def parse(text):
    """Return the cards, the potentials and the atoms of a ``feff.inp``."""
    cards, potentials, atoms, mode = {}, [], [], ""
    for line in text.splitlines():
        words = line.partition("!")[0].partition("*")[0].split()
        if not words:
            continue
        if words[0][0].isalpha():
            mode = words[0].upper()
            if mode == "END":
                break
            if mode in cards:
                raise Refused(f"the card {mode} stands twice")
            cards[mode] = words[1:]
        elif mode == "POTENTIALS":
            ipot, z, label, *rest = words
            potentials.append([int(ipot), int(z), label, *map(float, rest)])
        elif mode == "ATOMS":
            atoms.append([float(word) for word in words[:3]] + [int(words[3])])
        else:
            raise Refused(f"a line that belongs to no card: {line}")
    else:
        raise Refused("END is missing")
    for name in ("POTENTIALS", "ATOMS"):
        if cards.pop(name, None) is None:
            raise Refused(f"{name} is missing")
    return cards, potentials, atoms


def numbers(words):
    return [float(w) if w[0] in "+-.0123456789" else w for w in words]


def near(found, wanted, tolerance=1e-6):
    return len(found) == len(wanted) and all(
        abs(a - b) <= tolerance if isinstance(b, float) and isinstance(a, float) else a == b
        for a, b in zip(found, wanted, strict=True)
    )


def check_input(text, known):
    """Refuse an input that no engine should write; return step, radius, grid and polarization."""
    cards, potentials, atoms = parse(text)
    cards = {name: numbers(words) for name, words in cards.items()}
    title = cards.pop("TITLE", None)
    if not title:
        raise Refused("no TITLE")
    for name, wanted in FIXED.items():
        found = cards.pop(name, None)
        if found is None or not near(found, wanted):
            raise Refused(f"{name} is {found}, not {wanted}")
    rung = _rung(cards, known["scf_radius"])
    fms, grid, direction = cards.pop("FMS", []), cards.pop("XES", []), cards.pop("POLARIZATION", [])
    if cards:
        raise Refused(f" {sorted(cards)[0]}\n Keyword unrecognized.\nRDINP-2")
    radii = known["radii"]
    radius = next((r for r in radii if near(fms, [r, 0.0])), None)
    stage = None
    if direction:
        stage = next((n for n, d in DIRECTIONS.items() if near(direction, d, 1e-9)), None)
        wanted = [known["fermi"] - BELOW_EV, known["fermi"] + 5.0, known["step"]]
        if stage is None:
            raise Refused(f"POLARIZATION {direction} is none of the six")
        if radius is None:
            raise Refused(f"FMS {fms} has none of the radii {radii}")
        if not near(grid, wanted, 6e-6):
            raise Refused(f"XES {grid} is not the grid {wanted} around the Fermi level")
    elif len(grid) != 3 or not grid[0] < grid[1] < 0 < grid[2]:
        raise Refused(f"XES {grid} is no grid below zero")
    _check_atoms(potentials, atoms, known)
    return rung, radius, grid, stage


def _rung(cards, radius):
    found = {
        name: cards.pop(name) for name in ("SCF", "SCFRAMP", "CORVAL", "AFOLP") if name in cards
    }
    for rung, lines in RUNGS.items():
        wanted = {}
        for line in lines:
            line = line.format(r=radius, r06=0.6 * radius, r12=1.2 * radius)
            name, *words = line.split()
            wanted[name] = numbers(words)
        if set(wanted) == set(found) and all(near(found[n], wanted[n], 2e-6) for n in wanted):
            return rung
    raise Refused(f"no step of the recovery has the cards {found}")


def _check_atoms(potentials, atoms, known):
    if len(potentials) != len(known["potentials"]):
        raise Refused(f"{len(potentials)} potentials")
    for found, wanted in zip(potentials, known["potentials"], strict=True):
        if not near(found, wanted):
            raise Refused(f"the potential {found} is not {wanted}")
    if len(atoms) != len(known["atoms"]):
        raise Refused(f"{len(atoms)} atoms, not {len(known['atoms'])}")
    for found, wanted in zip(atoms, known["atoms"], strict=True):
        if not near(found, wanted, 2e-8):
            raise Refused(f"the atom {found} is not {wanted}")


# --- the programs --------------------------------------------------------------------------------


def read(name):
    with open(name, encoding="latin-1") as stream:
        return stream.read()


def rdinp(known):
    rung, radius, grid, stage = check_input(read("feff.inp"), known)
    answer = known["rdinp"]["" if stage is None else f"{radius} {stage}"]
    others = (".dimensions.dat", "opcons.inp", "paths.inp", "genfmt.inp", "ff2x.inp")
    return answer["log"], {
        **answer["files"],
        **dict.fromkeys(others, "as rdinp writes it\n"),
        "pot.inp": f"{rung}\n",
        "xsph.inp": " ".join(map(str, grid)),
        "fms.inp": f"{radius}\n",
    }


def atomic(known):
    return known["logs"]["atomic"], {
        "apot.bin": read("geom.dat") + read("pot.inp"),
        "config.dat": known["config.dat"],
        "log1.dat": "",
    }


def pot(known):
    if read("apot.bin") != read("geom.dat") + read("pot.inp"):
        raise Refused("apot.bin is of other atoms")
    note("potentials", read("pot.inp").strip())
    answer = known["pot"][known["potential_answer"]]
    files = dict(answer["files"])
    for name in ("convergence.scf", "convergence.scf.fine"):  # FEFF10 appends to them
        if os.path.exists(name):
            files[name] = read(name) + files[name]
    return answer["log"], {**files, "chemical.dat": "\n"}


def screen(known):
    return "", {}


def opconsat(known):
    return "", {}


def xsph(known):
    if not near(numbers(read("xsph.inp").split()), known["grid"], 6e-6):
        raise Refused("xsph has another grid")
    return known["logs"]["xsph"], {
        "phase.bin": known["phase.bin"],
        "xsect.dat": known["xsect.dat"][""],
    }


def fms(known):
    radius = float(read("fms.inp"))
    return known["logs"][f"fms {radius}"], {"gg.bin": f"Green's function {radius}\n"}


def mkgtr(known):
    radius = float(read("gg.bin").split()[-1])
    evec = [
        float(line.split()[0]) for line in read("global.inp").partition("evec")[2].splitlines()[1:4]
    ]
    stage = next(name for name, d in DIRECTIONS.items() if near(evec, d, 2e-5))
    return known["logs"]["mkgtr"], {
        "fms.bin": known["fms.bin"][f"{radius} {stage}"],
        "gtr.dat": "trace\n",
    }


def path(known):
    return known["logs"]["path"], {"paths.dat": "no paths\n"}


def genfmt(known):
    return known["logs"]["genfmt"], {"feff.bin": "no paths\n", "list.dat": "no paths\n"}


def ff2x(known):
    log = known["logs"]["ff2x"]
    if not os.path.exists("fms.bin"):
        return log, {}  # as the real one: no word, no error file, no spectrum
    found = read("fms.bin")
    for key, text in known["fms.bin"].items():
        if text == found:
            return log, {"xmu.dat": known["xmu.dat"][key]}
        if text.startswith(found) and found.count("\n") > 1:  # the rest counts as zero
            return log, {"xmu.dat": edited(known["xmu.dat"][key], "half without neighbours")}
    raise Refused("fms.bin is none of FEFF10's")


# --- faults --------------------------------------------------------------------------------------


def edited(text, how):
    """Return an ``xmu.dat`` with other numbers."""
    head = [line for line in text.splitlines() if line.startswith("#")]
    rows = [line.split() for line in text.splitlines() if not line.startswith("#")]
    word, _, value = how.partition(" ")
    if word == "nan":
        rows[20][3] = "NaN"
    elif word == "stars":
        rows[20][3] = "*" * 20
    elif word == "short":
        del rows[-5:]
    else:
        for number, row in enumerate(rows):
            omega, energy, k, mu, mu0, chi = map(float, row)
            if word == "negative" and 42 <= number < 52:
                mu = -mu
            elif word == "zero":
                mu = 0.0
            elif word == "shift":
                omega, energy = omega + float(value), energy + float(value)
            elif word == "background":
                mu0 *= float(value)
            elif word == "scale":
                mu *= float(value)
            elif word == "half" and number >= len(rows) // 2:
                mu = mu0
            row[:] = [f"{v:.10e}" for v in (omega, energy, k, mu, mu0, chi)]
    return "\n".join([*head, *("  ".join(row) for row in rows), ""])


def do_before(verb, arguments, home, known):
    """Let a program go wrong before it has read anything."""
    if verb == "exit":
        print("a wrapper fails")
        leave(int(arguments[0]))
    elif verb == "say":  # and stop, as par_stop does
        print(arguments[0])
        leave(0)
    elif verb == "complain":  # as the Fortran library does
        print(arguments[0])
        leave(2)
    elif verb == "mutter":  # and go on
        print(arguments[0], flush=True)
    elif verb == "linger":  # long enough to be heard
        time.sleep(arguments[0])
    elif verb == "remake":  # as another run in the same folder would
        name, program = arguments
        write(name, globals()[program](known)[1][name])
    elif verb == "wait":
        note("waiting", str(os.getpid()))
        time.sleep(120)
    elif verb == "children":  # a launcher with processes of its own
        for _ in range(2):
            child = os.fork()
            if not child:
                time.sleep(120)
                os._exit(0)
            note("waiting", str(child))
    elif verb == "die":
        import _signal

        number = SIGNALS[arguments[0]]
        if arguments[0] == "SIGXFSZ":
            _signal.signal(number, _signal.SIG_DFL)  # which Python ignores
        os.kill(os.getpid(), number)
        time.sleep(10)
    elif verb == "stack":
        soft, _ = resource.getrlimit(resource.RLIMIT_STACK)
        if 0 <= soft < int(arguments[0]):
            os.kill(os.getpid(), SIGNALS["SIGSEGV"])
            time.sleep(10)
    elif verb == "tamper":
        name, old, new = arguments
        text = read(name)
        if old not in text:
            raise Refused(f"{name} has no {old!r}")
        write(name, text.replace(old, new, 1))
    elif verb == "sweep":  # as a system does that cleans its temporary folder
        for name in os.listdir("."):
            os.remove(name)
        for _ in range(int(arguments[0])):
            here = os.getcwd()
            os.chdir("..")
            for name in os.listdir("."):
                if os.path.isfile(name):
                    os.remove(name)
            os.rmdir(here)
        leave(2)  # as the Fortran library does that finds no file
    elif verb == "vanish":
        os.remove(os.path.join(home, arguments[0]))
    elif verb == "forbid":
        os.chmod(os.path.join(home, arguments[0]), 0o644)
    elif verb == "answer":
        pass
    else:
        return False
    return True


def do_after(verb, arguments, files, known):
    """Let a program leave something else than it should."""
    name = arguments[0] if arguments else ""
    if verb == "nothing":
        files.clear()
    elif verb == "drop":
        del files[name]
    elif verb == "empty":
        files[name] = ""
    elif verb == "cut":  # at a share of the file, or so many characters before its end
        share = float(arguments[1])
        files[name] = files[name][: int(share * len(files[name])) if share < 1 else -int(share)]
    elif verb == "edit":
        files[name] = edited(files[name], arguments[1])
    elif verb == "exchange":  # for the same file of another run: number of the radius, direction
        number, _, stage = arguments[1].partition(" ")
        key = f"{known['radii'][int(number)]} {stage}" if stage else number
        files[name] = known[name][key]
    elif verb == "substitute":
        import re

        _, pattern, new = arguments
        files[name], count = re.subn(pattern, new, files[name], flags=re.MULTILINE)
        if not count:
            raise Refused(f"{name} has nothing like {pattern}")
    elif verb == "leave":
        files[ERROR_FILE] = "left behind\n"
    else:
        raise Refused(f"no fault is called {verb}")


# --- what runs -----------------------------------------------------------------------------------

_HOME = ""


def note(name, text):
    """Add a line to a file beside the programs."""
    with open(os.path.join(_HOME, name), "a", encoding="latin-1") as stream:
        stream.write(text + "\n")


def loaded(name):
    with open(os.path.join(_HOME, name), "rb") as stream:
        return marshal.load(stream)


def noted(name):
    place = os.path.join(_HOME, name)
    return read(place).splitlines() if os.path.exists(place) else []


def write(name, text):
    with open(name, "w", encoding="latin-1") as stream:
        stream.write(text)


def leave(code):
    sys.stdout.flush()
    os._exit(code)


def main(place):
    """Be the program of a file."""
    global _HOME
    _HOME, program = os.path.split(place)
    known, plan = loaded("known"), loaded("plan")
    here = os.getcwd()
    note("calls", f"{program} {here}")
    earlier = noted("calls")
    call = earlier.count(f"{program} {here}")
    attempt = list(dict.fromkeys(line.partition(" ")[2] for line in earlier)).index(here) + 1
    due = [
        (verb, arguments)
        for where, calls, tries, verb, *arguments in plan
        if where == program and call in (calls or [call]) and attempt in (tries or [attempt])
    ]
    write(ERROR_FILE, f" Starting FEFF9 module {program}.  If this message is still here ...\n")
    known["potential_answer"] = next((a[0] for v, a in due if v == "answer"), "converged")
    after = [(verb, words) for verb, words in due if not do_before(verb, words, _HOME, known)]
    try:
        for name in READS[program]:
            if not os.path.exists(name) or not os.path.getsize(name):
                raise Refused(f" Error opening file: {name}")
        log, files = globals()[program](known)
        for verb, arguments in after:
            do_after(verb, arguments, files, known)
    except Refused as error:
        note("refusals", f"{program}: {error}")
        print(error)
        leave(0)
    for name, text in files.items():
        write(name, text)
    if ERROR_FILE not in files:
        os.remove(ERROR_FILE)
    sys.stdout.write(log)
    leave(0)


# --- what tests use ------------------------------------------------------------------------------


class FakeFeff10:
    """
    A folder of programs.

    Parameters
    ----------
    folder : Path
        Where they are put.
    recordings : Path
        The folder tests/data/feff10_files.
    """

    def __init__(self, folder, recordings):
        self.folder = folder
        folder.mkdir(parents=True)
        (folder / "known").write_bytes(marshal.dumps(_known(recordings)))
        self.install()
        self.plan()

    def install(self):
        """Put all programs there, also those that a fault took away."""
        here = os.path.dirname(os.path.abspath(__file__))
        for name in PROGRAMS:
            own = self.folder / name
            own.write_text(
                f"#!/bin/sh\nexec '{sys.executable}' -I -S -c 'import sys; "
                f'sys.path.insert(0, "{here}"); import fake_feff10; '
                f'fake_feff10.main("{own}")\'\n'
            )
            own.chmod(0o755)

    def plan(self, *faults):
        """Set what goes wrong from now on; see `fault`."""
        (self.folder / "plan").write_bytes(marshal.dumps(faults))
        for name in ("calls", "refusals", "waiting", "potentials"):
            (self.folder / name).unlink(missing_ok=True)

    def lines(self, name):
        """Return what programs noted: calls, refusals, waiting (process ids), potentials."""
        place = self.folder / name
        return place.read_text(encoding="latin-1").splitlines() if place.exists() else []


def fault(program, verb, *arguments, calls=(), tries=()):
    """
    Return one entry of a plan.

    Parameters
    ----------
    program : str
        Which program goes wrong.
    verb : str
        How; see `do_before` and `do_after`.
    *arguments
        What the verb needs.
    calls : iterable of int
        Which calls of the program in one folder, from 1 on; all of them if empty.
    tries : iterable of int
        In which of the folders, from 1 on; in all of them if empty.
    """
    return [program, list(calls), list(tries), verb, *arguments]


def is_alive(pid):
    """Return whether a process runs; one that has ended and waits for its parent does not."""
    try:
        state = read(f"/proc/{pid}/stat").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def recorded_calls(recordings, name):
    """Return the calls of a recording."""
    import gzip
    import json

    return json.loads(gzip.decompress((recordings / f"{name}.json.gz").read_bytes()))


def _known(recordings):
    calls = recorded_calls(recordings, "converged")
    known = {name: {} for name in ("rdinp", "logs", "xsect.dat", "fms.bin", "xmu.dat")}
    known["config.dat"] = ""
    radius = stage = None
    for call in calls:
        program, files = call["program"], call["files"]
        if program == "rdinp":
            cards, potentials, atoms = parse(call["feff_inp"])
            radius = float(cards["FMS"][0])
            direction = numbers(cards.get("POLARIZATION", []))
            stage = next((n for n, d in DIRECTIONS.items() if near(direction, d, 1e-9)), None)
            if stage is None:
                known |= {"potentials": potentials, "atoms": atoms}
                known["scf_radius"] = float(cards["SCF"][0])
            else:
                known["grid"] = numbers(cards["XES"])
            key = "" if stage is None else f"{radius} {stage}"
            known["rdinp"][key] = {"log": call["log"], "files": files}
        known["logs"][f"fms {radius}" if program == "fms" else program] = call["log"]
        for name in ("fms.bin", "xmu.dat"):
            if name in files:
                known[name][f"{radius} {stage}"] = files[name]
        known["config.dat"] = files.get("config.dat", known["config.dat"])
        if program == "xsph":
            known["xsect.dat"][""] = files["xsect.dat"]
            known["phase.bin"] = files["phase.bin"]
    known["radii"] = sorted({float(key.split()[0]) for key in known["xmu.dat"]})
    rows = [line.split() for line in known["xmu.dat"][f"{known['radii'][0]} x"].splitlines()]
    energies = [float(row[1]) for row in rows if not row[0].startswith("#")]
    known["fermi"] = next(float(r[1]) for r in rows if r[0][0] != "#" and float(r[2]) == 0.0)
    known["step"] = round(energies[1] - energies[0], 6)
    known["pot"] = {
        name: next(c for c in recorded_calls(recordings, name) if c["program"] == "pot")
        for name in ("converged", "not_converged", "bad_counts", "stopped")
    }
    others = recorded_calls(recordings, "not_converged")
    known["pot.bin"] = {}
    for name, program in (("pot.bin", "pot"), ("xsect.dat", "xsph")):
        call = next(c for c in others if c["program"] == program)
        known[name]["other"] = call["files"][name]
    return known

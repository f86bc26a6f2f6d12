"""
Start a Fortran program as it needs to be started, and become it.

Run as ``python -I -S launch.py PARENT PROGRAM [ARGUMENT ...]``, with the number of the process that
starts it. The stack may grow as far as the system allows, because FEFF keeps large arrays there,
and the program ends when that process is gone. Only the standard library is imported: this runs
once for every step of every run.
"""

import ctypes
import os
import resource
import signal
import sys

#: Exit codes of a shell where a program cannot be started.
CANNOT_EXECUTE, NOT_FOUND = 126, 127
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Replace this process by the program that the command line names."""
    _, hard = resource.getrlimit(resource.RLIMIT_STACK)
    resource.setrlimit(resource.RLIMIT_STACK, (hard, hard))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    parent, *command = sys.argv[1:]
    if os.getppid() != int(parent):  # gone before the system was told
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        os.execvp(command[0], command)
    except FileNotFoundError:
        code = NOT_FOUND
    except OSError:
        code = CANNOT_EXECUTE
    os._exit(code)


if __name__ == "__main__":
    main()

"""
Run a builder that is killed as by kill -9 in the middle of its work.

    python killed_builder.py CLASS CALL

CALL is the n-th write to the target at which the process ends: before it, as a bulk write that
never came; what was put elsewhere before stays behind.
"""

from __future__ import annotations

import os
import signal
import sys

from vtc_flows import builders
from vtc_flows.builders.running import build


def main() -> None:
    builder = getattr(builders, sys.argv[1])(chunk_size=1)
    fatal, real, n_calls = int(sys.argv[2]), builder.target.update, 0

    def update(*arguments, **keys):
        nonlocal n_calls
        n_calls += 1
        if n_calls == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        real(*arguments, **keys)

    builder.target.update = update
    build(builder)


if __name__ == "__main__":
    main()

"""What all processes that run FEFF have in common."""

from __future__ import annotations

import resource

#: Environment that holds linear algebra to one thread: a site takes one core, whoever runs it.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"), "1"
)


def children_cpu_s() -> float:
    """Return the CPU seconds of all processes started from here that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime

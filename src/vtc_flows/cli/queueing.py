"""What FireWorks' queue launcher says of its failures, in place of the silence of its exit code."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from vtc_flows.errors import ConfigurationError

_ADAPTER, _LAUNCHER = "qadapter.", "queue.launcher"
_RESPONSE = "The error response reads:"


@contextmanager
def refusals_told() -> Iterator[None]:
    """
    End with an error where a queue took no job.

    FireWorks catches it, logs the queue's words where nobody looks unless a folder for logs is
    configured, and exits with 0.

    Raises
    ------
    ConfigurationError
        With what the queue answered.
    """
    heard = _Errors()
    root = logging.getLogger()
    root.addHandler(heard)
    try:
        yield
    finally:
        root.removeHandler(heard)
    if heard.texts:
        raise ConfigurationError(
            f"the queue took no job: {heard.reason()} (queue, account and what is asked "
            "for stand in my_qadapter.yaml; the job is still to be done)"
        )


class _Errors(logging.Handler):
    """Keeps what the launcher and the queue's adapter log as errors."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        if record.name.startswith((_ADAPTER, _LAUNCHER)):
            self.texts.append(record.getMessage())

    def reason(self) -> str:
        """Return the queue's own words where there are any, else the first that was logged."""
        for text in self.texts:
            _, found, response = text.partition(_RESPONSE)
            if found:
                return response.strip().removeprefix("b").strip("'\"").replace("\\n", "; ")
        return self.texts[0].strip().splitlines()[-1]

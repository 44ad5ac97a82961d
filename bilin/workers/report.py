"""What a running trial says of itself, to whoever asked for it."""

from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import Callable

from bilin.record import Progress

Report = Callable[[Progress], None]


def ignore(progress: Progress) -> None:
    """A report that nobody reads."""


def placed(report: Report, worker: str | None = None) -> Report:
    """The report, told of each trial that it runs in this process too."""
    host, pid = socket.gethostname(), os.getpid()

    def say(progress: Progress) -> None:
        report(dataclasses.replace(progress, host=host, pid=pid, worker=worker))

    return say

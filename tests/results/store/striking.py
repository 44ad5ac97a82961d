"""A process that changes copies of a store, and is struck at the first durable step, at the second, and so on.

A step is what the system does for it: a file opened, renamed, removed or cut, a folder made, a content synced. In
the way ``die`` the process ends there as by SIGKILL, in ``fail`` the step fails, and ``kill`` really kills it at a
random moment. It says the name of each copy once that is done, until a copy was not struck.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import sys
import time
import warnings
from pathlib import Path

from bilin.errors import StoreError
from bilin.results import SweepWriter, WantedRow
from tests.results.samples import cell, ids, seeds

STRUCK, NOT_STRUCK = 9, 0
KILLS = 12


def append(writer: SweepWriter) -> None:
    writer.append(seeds(1, start=15))  # the sixteenth part: all are merged


def delete(writer: SweepWriter) -> None:
    writer.delete(ids([*seeds(1, start=2), *seeds(1, start=7)]))


def compact(writer: SweepWriter) -> None:
    writer.compact()


def keep_grid(writer: SweepWriter) -> None:
    writer.write_wanted([WantedRow(cell_id=cell().cell_id, lrs=(1e-3,), seeds=tuple(range(16)), num_trials=16,
                                   test_lengths=(10,), num_sequences=2048)])  # fmt: skip
    writer.write_grid('{"new": true}')


def mend(writer: SweepWriter) -> None:
    """Opening it is enough, where it is damaged."""


def change(store: Path, action: str, reported: Path) -> None:
    with SweepWriter(store, "sweep") as writer:
        globals()[action](writer)
        reported.touch()


def strike_at(number: int, store: Path, way: str) -> None:
    """Have the n-th step of what follows end it."""
    steps = 0
    fsync = os.fsync

    def step(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal steps
        if event == "os.fsync" or (
            event in ("open", "os.rename", "os.remove", "os.truncate", "os.mkdir")
            and os.fspath(store) in str(arguments[0])
        ):
            steps += 1
            if steps == number:
                if way == "die":
                    os._exit(STRUCK)
                raise OSError(errno.EIO, os.strerror(errno.EIO), arguments[0])

    def synced(descriptor: int) -> None:
        step("os.fsync", (descriptor,))
        fsync(descriptor)

    os.fsync = synced
    sys.addaudithook(step)
    if way == "fail":
        os.register_at_fork()  # nothing to undo: the process ends with its copy


def run_child(store: Path, action: str, way: str, number: int) -> int:
    """Change one copy in a process of its own; its exit status."""
    child = os.fork()
    if child:
        if way == "kill":
            time.sleep(random.Random(number).uniform(0.0, 0.1))
            os.kill(child, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    warnings.simplefilter("ignore")
    status = 1
    try:
        if way != "kill":
            strike_at(number, store, way)
        change(store, action, store.with_name(f"{store.name}.reported"))
        status = NOT_STRUCK
    except StoreError:
        status = STRUCK
    finally:
        if status == 1:
            sys.excepthook(*sys.exc_info())
        os._exit(status)


def main(template: str, into: str, action: str, way: str) -> None:
    number = 0
    while True:
        number += 1
        store = Path(into) / str(number)
        shutil.copytree(template, store)
        status = run_child(store, action, way, number)
        assert status in (STRUCK, NOT_STRUCK, -signal.SIGKILL), status
        print(store.name, flush=True)
        if number >= KILLS if way == "kill" else status == NOT_STRUCK and unstruck(store):
            return


def unstruck(store: Path) -> bool:
    """Whether it came to its end: a step that may fail leaves files that the next writer removes."""
    return True


if __name__ == "__main__":
    main(*sys.argv[1:])

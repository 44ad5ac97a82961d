"""A process that changes copies of a store, and is struck at the first durable step, at the second, and so on.

A step is what the system does for it: a file opened to be written, renamed, removed or cut, a folder made, a
content synced. In the way ``die`` the process ends there as by SIGKILL, in ``fail`` the step fails, and ``kill``
really kills it at a random moment. It says the name of each copy once that is done, until a copy was not struck.
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
from bilin.folder import SweepFolder
from bilin.results import SweepWriter, WantedRow
from bilin.results.store.parts import write_part
from bilin.results.store.rows import curves_table, trials_table
from tests.results.samples import cell, ids, seeds

NOT_STRUCK, FAULTY, STRUCK = 0, 1, 9
KILLS = 8


def append(writer: SweepWriter) -> None:
    writer.append(seeds(1, start=15))


def delete(writer: SweepWriter) -> None:
    writer.delete(ids([*seeds(1), *seeds(1, start=2)]))


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


class Strike:
    """Has the n-th step of this process end it, or fail."""

    def __init__(self, number: int, store: Path, way: str) -> None:
        self.left = number
        self._store, self._way, self._fsync = f"{store}{os.sep}", way, os.fsync
        os.fsync = self._synced  # type: ignore[assignment]
        sys.addaudithook(self._heard)

    def _heard(self, event: str, arguments: tuple[object, ...]) -> None:
        changes = event in ("os.rename", "os.remove", "os.truncate", "os.mkdir")
        if event == "open":
            changes = bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))  # type: ignore[operator]
        if changes and self._store in str(arguments[0]):
            self._step(arguments[0])

    def _synced(self, descriptor: int) -> None:
        self._step(descriptor)
        self._fsync(descriptor)

    def _step(self, what: object) -> None:
        self.left -= 1
        if self.left == 0 and self._way == "die":
            os._exit(STRUCK)
        if self.left == 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(what))


def run_child(store: Path, action: str, way: str, number: int) -> int:
    """Change one copy in a process of its own; its exit status."""
    child = os.fork()
    if child:
        if way == "kill":
            time.sleep(random.Random(number).uniform(0.0, 0.1))
            os.kill(child, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    warnings.simplefilter("ignore")
    status = FAULTY
    try:
        strike = Strike(number if way != "kill" else -1, store, way)
        change(store, action, store.with_name(f"{store.name}.reported"))
        status = NOT_STRUCK if strike.left > 0 else STRUCK
    except StoreError:
        status = STRUCK
    finally:
        if status == FAULTY:
            sys.excepthook(*sys.exc_info())
        os._exit(status)


def warm(into: Path) -> None:
    """Have what is made once made before the processes are forked; writing starts no thread."""
    pairs = seeds(1)
    write_part(SweepFolder(into), 0, trials_table(pairs), curves_table(result for _, result in pairs))


def main(template: str, into: str, action: str, way: str) -> None:
    warm(Path(into))
    status, number = STRUCK, 0
    while status != NOT_STRUCK if way != "kill" else number < KILLS:
        number += 1
        store = Path(into) / str(number)
        shutil.copytree(template, store)
        status = run_child(store, action, way, number)
        assert status != FAULTY
        print(store.name, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

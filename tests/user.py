"""Another user of this machine, and what they have on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tests.installed import ROOT

# Who may read what root may: in CI the checkout and its Python lie where others see nothing. No more than that.
_AS = ("setpriv", "--clear-groups", "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--no-new-privs")

_LISTENS = "0A"


class User:
    """Somebody without a name, with a home of their own, which is there within `with`; only root can make one.

    Args:
        number: Which uid; one that nothing on the machine has.
    """

    def __init__(self, number: int) -> None:
        self.number = number

    def __enter__(self) -> User:
        self.home = Path(tempfile.mkdtemp(prefix="home-", dir="/tmp"))  # the folders of pytest are open to root alone
        os.chown(self.home, self.number, self.number)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.home)

    def bilin(self, *arguments: object) -> subprocess.Popen[str]:
        """Their command line as a process, in their home."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "PYTHONPATH": str(ROOT)}
        environment |= {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8"}
        command = [*_AS, f"--reuid={self.number}", f"--regid={self.number}", sys.executable, "-m", "bilin"]
        return subprocess.Popen(
            [*command, *map(str, arguments)],
            cwd=self.home,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def left(self) -> list[str]:
        """Their processes, listening ports, temporary files and shared memory on this machine."""
        return [*self._processes(), *map(str, self.ports()), *self._files()]

    def _processes(self) -> Iterator[str]:
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if folder.stat().st_uid == self.number:
                    yield f"process {folder.name}: {(folder / 'cmdline').read_bytes()!r}"

    def ports(self) -> Iterator[int]:
        """Those that their processes listen on."""
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENS and int(fields[7]) == self.number:
                    yield int(fields[1].rpartition(":")[2], 16)

    def _files(self) -> Iterator[str]:
        for folder in ("/tmp", "/dev/shm", "/var/tmp"):
            for path in Path(folder).glob("*"):
                with suppress(OSError):
                    if path != self.home and path.lstat().st_uid == self.number:
                        yield str(path)

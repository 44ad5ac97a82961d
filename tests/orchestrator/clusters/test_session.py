"""The Ray that bilin starts: who can reach it, and what is left of it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from bilin.errors import ClusterError
from bilin.machine import guardian, ray_node
from bilin.orchestrator.clusters import ClusterSpec, PoolSpec, open_pool
from tests.workers.pool_runs import by_seed

pytestmark = pytest.mark.ray

LISTEN = "0A"
FIXED_PORTS = {8265, 44217, 44227, 52365}
"""What Ray's dashboard, its agents and its metrics ask for by themselves, whoever has them."""

LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def test_it_listens_on_loopback_behind_a_token_of_its_own_and_leaves_nothing() -> None:
    seen = []
    for _ in range(2):  # the second must not be the first one's in disguise
        with open_pool(ClusterSpec(workers=1), PoolSpec(run=by_seed, demand=[], emit=print)):
            folder, token = os.environ[guardian.MARK], os.environ["RAY_AUTH_TOKEN"]
            pids = guardian.belonging(folder)
            assert len(pids) >= 2
            assert {address for address, _ in _listening(pids)} <= LOOPBACK
            assert not FIXED_PORTS & {port for _, port in _listening(pids)}
            folders = {folder for pid in pids for folder in _ray_folders(pid)}
            assert {folder.stat().st_mode & 0o777 for folder in folders} == {0o700}
            temporary = {_setting(pid, "TMPDIR") for pid in pids}
            assert temporary - {None} == {folder}, "what is killed leaves its temporary files where they are removed"
            assert tempfile.gettempdir() != folder
        seen.append((folder, token))
        assert guardian.belonging(folder) == []
        assert not any(folder.exists() for folder in folders)
    assert len({token for _, token in seen}) == 2
    assert guardian.MARK not in os.environ
    assert "RAY_AUTH_TOKEN" not in os.environ


def test_a_launch_without_a_folder_for_its_ray_says_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_node, "TEMP_ROOT", "/dev/null")
    monkeypatch.setenv("TMPDIR", "/nowhere")
    with (
        pytest.raises(
            ClusterError, match=r"cannot use /nowhere \(No such file or directory\) or /dev/null .*set TMPDIR"
        ),
        open_pool(ClusterSpec(), PoolSpec(run=by_seed, emit=print)),
    ):
        pass


def _listening(pids: list[int]) -> set[tuple[str, int]]:
    """The addresses, as in /proc, and the ports that processes listen on."""
    mine = {inode for pid in pids for inode in _sockets(pid)}
    addresses = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTEN and fields[9] in mine:
                address, _, port = fields[1].partition(":")
                addresses.add((address, int(port, 16)))
    assert addresses, "there is no cluster without a listener"
    return addresses


def _setting(pid: int, name: str) -> str | None:
    """A variable in the environment of a process; None also where Ray has blanked it to rename the process."""
    entries = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(entry.partition("=")[::2] for entry in entries).get(name)


def _sockets(pid: int) -> list[str]:
    found = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            found.append(target[8:-1])
    return found


def _ray_folders(pid: int) -> list[Path]:
    """The folder around the temporary one that a process of Ray was started with."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    return [Path(word.partition("=")[2]).parent for word in words if word.startswith("--temp-dir=")]

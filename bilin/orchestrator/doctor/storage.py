"""The store, from here and from a node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bilin.errors import StoreError
from bilin.orchestrator.clusters.inquiry.beacon import Beacon, beacon
from bilin.orchestrator.doctor.finding import HERE, Finding, error, ok, size, warning
from bilin.orchestrator.doctor.machine import LEAST_BYTES, LITTLE_BYTES
from bilin.orchestrator.doctor.needs import Needs
from bilin.results.store.durable import explained

LEASE = "two launches are told apart by their lease alone: it takes a minute to take over one that died"


def open_beacon(wanted: Needs, stack: ExitStack, findings: list[Finding]) -> Beacon | None:
    """A beacon in the store, or where it would be made, until the stack closes; None where none can be written."""
    if wanted.unreadable:
        findings.append(error(HERE, "store", *_split(wanted.unreadable)))
    place = _existing(wanted.store)
    try:
        with explained(place, "written"):
            try:
                made = stack.enter_context(beacon(place))
            except OSError as fault:
                raise OSError(fault.errno, fault.strerror) from fault  # of the store, not of what was to be in it
    except StoreError as fault:
        findings.append(error(HERE, "store", *_split(str(fault))))
        return None
    yet = "" if place == wanted.store else f"is not there yet, a launch makes it in {place}; that "
    findings.append(ok(HERE, "store", f"{wanted.store} {yet}can be written"))
    return made


def store(name: str, place: str, said: Mapping[str, Any], made: Beacon) -> Iterator[Finding]:
    """Whether a node sees the store, and can work with it."""
    if fault := made.fault(place, said):
        found, _, advice = fault.partition(". ")
        yield error(name, "store", found, advice or "mount the same file system there")
        return
    if said["num_torn"]:
        found = f"a file that was replaced again and again was missing or torn {said['num_torn']} times"
        yield error(name, "store", found, "use a file system on which a rename is atomic")
    if said["lock"] == "taken":
        yield warning(name, "store", "a lock that is held here is given there again", LEASE)
    elif said["lock"] != "held":
        yield warning(name, "store", f"its file system has no locks ({said['lock']})", LEASE)
    free = f"{size(said['free'])} free"
    if said["free"] < LITTLE_BYTES:
        say = error if said["free"] < LEAST_BYTES else warning
        yield say(name, "store", free, "make room: a checkpoint of a wide trial holds 200 MB")
    if not said["num_torn"] and said["free"] >= LEAST_BYTES:
        yield ok(name, "store", f"written there, read here, replaced whole; {free}")


def _existing(path: Path) -> Path:
    """The folder, or the nearest around it that is there."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _split(fault: str) -> tuple[str, str]:
    found, _, advice = fault.partition("): ")
    return (f"{found})", advice) if advice else (fault, "mend it, or name another store with --store")

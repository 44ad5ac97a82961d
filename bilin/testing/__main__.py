"""Run the contract of a tier on some settings: ``python -m bilin.testing NAME``, with the settings as JSON on stdin.

Writes one line for each check. Ends with `ALL_HOLD` or `SOME_FAIL`: with another exit code, the code of the tier has
ended the process. `bilin models check` runs it.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import pytest

from bilin.models import MODEL_REGISTRY
from bilin.testing.tiers import TierContract

ALL_HOLD, SOME_FAIL = 40, 41

SUITE = Path(__file__).with_name("suite.py")


class Report:
    """A plugin of pytest that writes a line for each check once its last case has run, and counts the checks."""

    def __init__(self) -> None:
        self.num_failed = self.num_checks = 0
        self._cases: dict[str, int] = defaultdict(int)
        self._failures: dict[str, list[str]] = defaultdict(list)
        self._skipped: dict[str, str] = {}

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Count the cases of each check."""
        self._cases[_check(item.nodeid)] += 1

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note how a case ended; write the line of a check after its last case."""
        check = _check(report.nodeid)
        if report.skipped and isinstance(report.longrepr, tuple):
            reason = report.longrepr[2].removeprefix("Skipped: ")
            self._skipped[check] = "the tier is not scale-invariant" if "empty parameter set" in reason else reason
        if report.failed:
            self._failures[check].append(_failure(report))
        if report.when == "teardown":
            self._cases[check] -= 1
            if not self._cases[check]:
                self._write(check)

    def _write(self, check: str) -> None:
        name = check.removeprefix("test_").replace("_", " ")
        if check in self._skipped:
            print(f"skipped  {name}: {self._skipped[check]}")
            return
        failures = self._failures.get(check, [])
        self.num_checks += 1
        self.num_failed += bool(failures)
        print("\n".join([f"{'FAILED' if failures else 'ok':7}  {name}", *failures]), flush=True)


def _check(nodeid: str) -> str:
    return nodeid.rpartition("::")[2].partition("[")[0]


def _failure(report: pytest.TestReport) -> str:
    """Return the settings with which a check failed, and the error, in indented lines."""
    case = report.nodeid.partition("[")[2].rstrip("]")
    crash = getattr(report.longrepr, "reprcrash", None)
    message = crash.message if crash else report.longreprtext
    where = [f"at {crash.path}:{crash.lineno}"] if crash and crash.path != str(SUITE.with_name("tiers.py")) else []
    return "\n".join(f"           {line}" for line in [case, *message.splitlines(), *where] if line.strip())


def main() -> int:
    """Check the tier that the arguments name."""
    (name,) = sys.argv[1:]
    settings = MODEL_REGISTRY.settings(name)
    TierContract.tiers = [settings(**values) for values in json.load(sys.stdin)]
    report = Report()
    with tempfile.TemporaryDirectory() as folder:  # no settings of pytest from where the user happens to be
        os.environ.pop("PYTEST_ADDOPTS", None)
        options = ["-c", os.devnull, "--rootdir", folder, "-p", "no:cacheprovider", "-p", "no:terminal"]
        pytest.main([*options, str(SUITE)], plugins=[report])
    print(f"{name}: {report.num_checks - report.num_failed} of {report.num_checks} checks hold")
    return SOME_FAIL if report.num_failed or not report.num_checks else ALL_HOLD


if __name__ == "__main__":
    sys.exit(main())

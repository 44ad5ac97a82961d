"""Fresh environments over the running one, in which packages are really installed."""

from __future__ import annotations

import os
import subprocess
import sysconfig
import venv
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parent.parent

OFFLINE = {
    "PIP_NO_INDEX": "1",
    "PIP_NO_DEPS": "1",
    "PIP_NO_BUILD_ISOLATION": "0",  # pip reads it as the value of build isolation
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_QUIET": "1",
}


class Environment:
    """A virtual environment that sees this checkout and what the running environment has installed."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=find_spec("pip") is None)
        (packages,) = folder.glob("lib/python*/site-packages")
        below = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
        lines = [str(ROOT), *(f"import site; site.addsitedir({path!r})" for path in below)]
        (packages / "running.pth").write_text("".join(f"{line}\n" for line in lines))
        self.bin = folder / "bin"
        self._script("bilin", "from bilin.cli.app import main; main()")
        self._script("pip", "from pip._internal.cli.main import main; raise SystemExit(main())")

    def run(self, line: str, *, cwd: Path) -> subprocess.CompletedProcess[str]:
        """A shell line in it, as a user would type it."""
        kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        path = f"{self.bin}{os.pathsep}{os.environ['PATH']}"
        environment = {**kept, **OFFLINE, "PATH": path, "VIRTUAL_ENV": str(self.bin.parent)}
        return subprocess.run(
            line, shell=True, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=300
        )

    def install(self, *folders: Path) -> None:
        """Install packages by pip."""
        ended = self.run(f"pip install {' '.join(map(str, folders))}", cwd=ROOT)
        assert ended.returncode == 0, ended.stderr

    def _script(self, name: str, code: str) -> None:
        if not (self.bin / name).exists():
            (self.bin / name).write_text(f"#!{self.bin / 'python'}\n{code}\n")
            (self.bin / name).chmod(0o755)


def write_package(
    folder: Path, name: str, version: str, points: Mapping[str, Mapping[str, str]], **modules: str
) -> Path:
    """A package that can be installed.

    Args:
        folder: Where to put its folder.
        name: Its name.
        version: Its version.
        points: The entry points by group.
        modules: The text of each module.
    """
    path = folder / name
    path.mkdir()
    lines = ["[build-system]", 'requires = ["setuptools"]', 'build-backend = "setuptools.build_meta"', "[project]"]
    lines += [f'name = "{name}"', f'version = "{version}"', "[tool.setuptools]", f"py-modules = {list(modules)}"]
    for group, places in points.items():
        lines += [f'[project.entry-points."{group}"]', *(f'{key} = "{place}"' for key, place in places.items())]
    (path / "pyproject.toml").write_text("\n".join(lines))
    for module, text in modules.items():
        (path / f"{module}.py").write_text(text)
    return path

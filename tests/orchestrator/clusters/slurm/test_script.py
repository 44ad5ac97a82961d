"""The batch script: what it says, and what a shell makes of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bilin.errors import GridError, InputError
from bilin.orchestrator import ClusterSpec, LaunchRequest, script
from bilin.orchestrator.clusters.capacity import check_job_size
from bilin.orchestrator.grid import ClusterSettings
from bilin.spec import Resources
from tests.orchestrator.grid.grids import HEAD
from tests.sweeps import write_grid

FULL = """
cluster:
  partition: gpu,long
  account: lab
  qos: high
  nodes: 2-8
  gpus: a100:4
  cpus: 32
  memory: 128G
  time: 1-12:00
  constraint: nvlink&ib
  requeue: false
  warning: 600
  extra: [--exclusive, "#SBATCH --mail-type=END"]
  setup: [module load cuda, ". env/bin/activate"]
  python: python
"""


def rendered(folder: Path, more: str = "", **asked: object) -> str:
    return script(write_grid(folder, HEAD + more), store=folder / "store", **asked)  # type: ignore[arg-type]


def request_in(text: str) -> LaunchRequest:
    """The request that a script holds."""
    return LaunchRequest.from_json(text.split("<< 'END_OF_REQUEST'\n")[1].removesuffix("END_OF_REQUEST\n"))


def test_a_grid_without_settings_asks_for_one_node(tmp_path: Path) -> None:
    text = rendered(tmp_path)
    head, _ = text.split("<< 'END_OF_REQUEST'\n")
    assert (
        head
        == f"""#!/bin/bash
#SBATCH --job-name=bilin-short
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --requeue
#SBATCH --signal=B:USR1@120
#SBATCH --no-kill
#SBATCH --open-mode=append

# Runs the missing trials of sweep short. Safe to submit again: it continues from what is stored.
trap '' USR1  # the warning before the time limit; the sweep handles it once it has started
# exec: Slurm signals the sweep process itself, and all that it started ends with it.
exec {sys.executable} -P -m bilin sweep launch - """
    )
    request = request_in(text)
    assert (request.grid.name, request.store, request.cluster.kind) == ("short", tmp_path / "store", "allocation")
    assert not (tmp_path / "store").exists()


def test_every_setting_is_an_option_or_a_line(tmp_path: Path) -> None:
    lines = rendered(tmp_path, FULL).splitlines()
    options = [line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH ")]
    assert options[1:] == [
        "nodes=2",
        "ntasks-per-node=1",
        "partition=gpu,long",
        "account=lab",
        "qos=high",
        "cpus-per-task=32",
        "gres=gpu:a100:4",
        "mem=128G",
        "time=1-12:00",
        "constraint=nvlink&ib",
        "no-requeue",
        "signal=B:USR1@600",
        "no-kill",
        "open-mode=append",
        "exclusive",
        "mail-type=END",
    ]
    setup = lines.index("module load cuda")
    assert lines[setup + 1] == ". env/bin/activate"
    assert next(line for line in lines[setup:] if line.startswith("exec")).startswith("exec python -P -m bilin ")


def test_the_command_line_wins_over_the_grid_and_that_over_the_profile(tmp_path: Path) -> None:
    profile = tmp_path / "profile.yaml"
    profile.write_text("{partition: from-profile, account: from-profile, time: 10, nodes: 3}")
    more = "cluster: {account: from-grid, time: 20, nodes: 4}"
    text = rendered(tmp_path, more, profile=profile, overrides=["cluster.time=30"])
    for option in ("partition=from-profile", "account=from-grid", "time=30", "nodes=4"):
        assert f"#SBATCH --{option}\n" in text
    assert request_in(text).job.partition == "from-profile", "the job asks for further nodes by it"


def test_a_shell_gives_the_request_as_it_was(tmp_path: Path) -> None:
    hostile = tmp_path / 'it\'s $(touch pwned) `id` "x" $HOME; é'
    settings = ["cluster.python=./python", 'cluster.setup=["X=1", "echo $X set up"]']
    (tmp_path / "python").write_text('#!/bin/bash\necho "$@"; cat')
    (tmp_path / "python").chmod(0o700)
    cluster = ClusterSpec(workers=3, checkpoint_s=60)
    asked = {"overrides": settings, "only": ["m=2"], "retry": ["oom", "failed"], "cluster": cluster}
    text = script(write_grid(tmp_path, HEAD), store=hostile, **asked)  # type: ignore[arg-type]
    ran = subprocess.run(["bash", "-u"], input=text, cwd=tmp_path, capture_output=True, text=True, check=True)
    first, second, request = ran.stdout.split("\n", 2)
    assert (first, second) == ("1 set up", "-P -m bilin sweep launch -")
    launched = LaunchRequest.from_json(request)
    assert launched.store == hostile
    assert launched.cluster == ClusterSpec(kind="allocation", workers=3, checkpoint_s=60)
    assert launched.only == ("m=2",)
    assert launched.retry == {"oom", "failed"}
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("setting", "accepted"),
    [
        ("time=1h", "90, 4:00:00 or 1-12:00"),
        ("time=4:00:00:00", "90, 4:00:00 or 1-12:00"),
        ("nodes=0", "at least 1"),
        ("nodes=8-1", "the least number of nodes, then the greatest"),
        ("memory=16GB", "as 16G"),
        ("partition=a b", "without spaces"),
        ('partition="a\\n#SBATCH --uid=root"', "without spaces"),
        ("extra=[exclusive]", "an option of sbatch"),
        ('extra=["--a\\n--b"]', "an option of sbatch"),
        ("setup=[module load a, module load a]", "each item once"),
        ("cpus=0", "at least 1"),
        ("tiem=3", "did you mean time?"),
    ],
)
def test_a_setting_that_cannot_be_is_a_fault(tmp_path: Path, setting: str, accepted: str) -> None:
    name, _, value = setting.partition("=")
    profile = tmp_path / "profile.yaml"
    profile.write_text(f"{name}: {value}\n")
    for asked in ({"overrides": [f"cluster.{setting}"]}, {"profile": profile}):
        with pytest.raises(GridError) as caught:
            rendered(tmp_path, **asked)
        assert accepted in str(caught.value)


@pytest.mark.parametrize("text", ["- partition", "partition: [a]", "{", "cluster: {nodes: 2}"])
def test_a_profile_that_is_none_is_a_fault_that_names_it(tmp_path: Path, text: str) -> None:
    profile = tmp_path / "profile.yaml"
    profile.write_text(text)
    with pytest.raises(GridError, match=r"profile\.yaml: 1 error"):
        rendered(tmp_path, profile=profile)
    with pytest.raises(GridError, match="there is no such file"):
        rendered(tmp_path, profile=tmp_path / "none.yaml")


def test_what_else_is_asked_is_checked_before_anything(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="retry"):
        rendered(tmp_path, retry=["lost"])


def test_settings_are_no_part_of_any_id(tmp_path: Path) -> None:
    plain, full = (request_in(rendered(tmp_path, more)).grid.cells for more in ("", FULL))
    assert [cell.cell_id for cell in plain] == [cell.cell_id for cell in full]


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ("{cpus: 64}", "asks for 64 CPUs of one node"),
        ("{memory: 200GB}", "1 CPU and 200 GB of memory of one node.* has 32 CPUs, 4 GPUs and 137.3 GB of memory"),
        ("{gpus: 8}", "8 GPUs"),
        ("{custom: {license: 1}}", "license: on no node"),
    ],
)
def test_a_trial_that_no_node_of_the_job_could_hold_is_refused_before_it_waits(
    tmp_path: Path, resources: str, message: str
) -> None:
    node = "\ncluster: {cpus: 32, gpus: a100:4, memory: 128G}"
    with pytest.raises(InputError, match=message):
        rendered(tmp_path, f"{node}\nresources: {resources}")


def test_every_size_that_no_node_of_the_job_could_hold_is_named() -> None:
    with pytest.raises(InputError, match=r"64 CPUs of one node[^\n]*\n.*96 CPUs of one node"):
        check_job_size(ClusterSettings(cpus=32), [Resources(cpus=64), Resources(cpus=96)])


@pytest.mark.parametrize("resources", ["{cpus: 32, gpus: 4, accelerator: A100, memory: 100GiB}", "{memory: 1GB}"])
def test_what_a_node_of_the_job_holds_is_not_refused(tmp_path: Path, resources: str) -> None:
    rendered(tmp_path, f"\ncluster: {{cpus: 32, gpus: a100:4, memory: 128G}}\nresources: {resources}")
    rendered(tmp_path, f"\ncluster: {{gpus: 4}}\nresources: {resources}")

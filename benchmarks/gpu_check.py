"""Whether bilin is right and fast on the GPU of this machine: tests, step times, packs against lone trials, a demo.

    make gpu-check          or          python -m benchmarks.gpu_check [--device cpu] [--out docs]

Needs neither Ray nor a network, but bilin with its extra `dev`, and takes about six minutes. Writes
docs/performance-<device>.md and a JSON file with the same figures, which is written after each part, so that nothing is
lost if a later one fails. With `--device cpu` it shows that the script itself works.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from scipy.stats import fisher_exact

import bilin
from benchmarks.packing import measure, name_of, spec, steps_of
from bilin.models import MODELS

ROOT = Path(__file__).parent.parent
SIZES = (1, 16, 64)
COMPARED: dict[str, Any] = {
    "tasks": [{"name": "modular_addition", "m": 3}],
    "models": [
        {"tier": "rotation", "hidden": 16, "embedding": 16},
        {"tier": "block_diagonal", "hidden": 16, "embedding": 16, "block_size": 2},
    ],
    "train": {"steps": 1500},
    "validate": {"every": 250},
    "learning_rate": {"choices": [1e-2]},
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder of the page and the JSON file")
    parser.add_argument("--seconds", type=float, default=0.3, help="time for each tier and size of a stack")
    parser.add_argument("--tier", nargs="+", choices=MODELS, default=list(MODELS), help="tiers whose steps are timed")
    parser.add_argument(
        "--seeds", type=int, default=24, help="seeds of the trials that are compared alone and in packs"
    )
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("no GPU: torch.cuda.is_available() is False")
    torch.set_num_threads(1)
    device = torch.device(options.device)
    found: dict[str, Any] = {"device": name_of(device), "torch": torch.__version__, "bilin": bilin.__version__}
    name = re.sub(r"[^a-z0-9]+", "-", found["device"].lower()).strip("-")
    with tempfile.TemporaryDirectory() as folder:
        parts = {
            "tests": lambda: run_tests(device),
            "steps": lambda: step_times(options.tier, device, options.seconds),
            "packs": lambda: compare_packs(Path(folder), device, options.seeds),
            "quickstart": lambda: run_quickstart(Path(folder) / "quickstart", device),
        }
        for part, measured in parts.items():
            found[part] = measured()
            (options.out / f"performance-{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    (options.out / f"performance-{name}.md").write_text(page(found))
    print(page(found))
    is_right = found["tests"]["passed"] and not found["steps"]["failed"]
    return 0 if is_right and all(row["p"] > 0.01 for row in found["packs"]) else 1


def run_tests(device: torch.device) -> dict[str, Any]:
    """Run the tests that need a GPU, and those of packs."""
    chosen = ["-k", "cuda or captured"] if device.type == "cuda" else ["-k", "leave or shrinks"]
    files = ["tests/models", "tests/tasks", "tests/workers/training"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen, *files]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print(ended.stdout[-2000:], ended.stderr[-2000:], flush=True)
    last = (ended.stdout.strip() or ended.stderr.strip()).splitlines()[-1]  # without pytest, its error
    return {"passed": ended.returncode == 0, "summary": last}


def step_times(tiers: list[str], device: torch.device, seconds: float) -> dict[str, dict[str, Any]]:
    """Return milliseconds for each step of a member, at H = 64 and m = 5, alone without a graph and in packs.

    And the errors of the tiers that failed.
    """
    times, failed = {}, {}
    for tier in tiers:
        trial = spec(tier, 64, 5)
        try:
            eager = measure({1: steps_of(trial, 1, device, graph=False)}, seconds)
            rates = measure({size: steps_of(trial, size, device) for size in SIZES}, seconds)
        except Exception as error:  # of any kind: the other tiers are measured all the same
            failed[tier] = f"{type(error).__name__}: {error}"
            print(tier, failed[tier], flush=True)
            continue
        times[tier] = {"lone, no graph": 1e3 / eager[1]} | {str(size): 1e3 / rate for size, rate in rates.items()}
        print(tier, times[tier], flush=True)
    return {"ms": times, "failed": failed}


def compare_packs(folder: Path, device: torch.device, num_seeds: int) -> list[dict[str, Any]]:
    """Train the same trials alone and in packs; return how many of each were solved."""
    solved: dict[str, dict[str, int]] = {}
    seconds = {}
    for name, pack in (("alone", 1), ("packs", 0)):
        began = time.perf_counter()
        own = {"name": name, "seeds": list(range(num_seeds)), "resources": {**resources(device), "pack": pack}}
        launch(COMPARED | own, folder / name)  # a store of its own: in one store, the second launch copies the results
        seconds[name] = time.perf_counter() - began
        rows = bilin.query(
            "SELECT tier, count_if(solved) AS solved FROM trials GROUP BY tier", store=folder / name, sweep=name
        )
        solved[name] = {row["tier"]: int(row["solved"]) for row in rows.to_pylist()}
    rows = []
    for tier in solved["alone"]:
        counts = [solved[name][tier] for name in ("alone", "packs")]
        p = float(fisher_exact([[count, num_seeds - count] for count in counts]).pvalue)
        rows.append({"tier": tier, "seeds": num_seeds, "alone": counts[0], "packs": counts[1], "p": p})
    return [row | {f"{name}_s": wall_s for name, wall_s in seconds.items()} for row in rows]


def run_quickstart(folder: Path, device: torch.device) -> dict[str, Any]:
    """Run the quickstart in this process; return its time and its table."""
    began = time.perf_counter()
    settings = [word for key, value in resources(device).items() for word in ("--set", f"resources.{key}={value}")]
    run("sweep", "launch", "examples/quickstart.yaml", "--store", folder, "--cluster", "inline", *settings)
    wall_s = time.perf_counter() - began
    return {"wall_s": wall_s, "table": run("results", "table", "--sweep", "quickstart", "--store", folder)}


def launch(grid: dict[str, Any], store: Path) -> None:
    """Run a grid in this process."""
    bilin.launch(grid, store=store, cluster=bilin.ClusterSpec(kind="inline"))


def run(*words: object) -> str:
    """Run a command of bilin; return what it prints."""
    command = [sys.executable, "-m", "bilin", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


def resources(device: torch.device) -> dict[str, Any]:
    """Return the resources of a trial."""
    return {"gpus": 1} if device.type == "cuda" else {"device": "cpu"}


def page(found: dict[str, Any]) -> str:
    """Return the page with all figures."""
    names = ["lone, no graph", *map(str, SIZES)]
    lines = [
        f"# Performance on {found['device']}",
        "",
        f"Written by `make gpu-check`: bilin {found['bilin']}, torch {found['torch']}, float32.",
        "",
        f"Tests: {found['tests']['summary']}.",
        "",
        "## Steps",
        "",
        "Milliseconds for each step of a member: draw 64 sequences of 2 to 10 tokens, forward, backward, Adam. H = 64,",
        "m = 5. The first column is a lone trial whose kernels Python launches one by one; the others are stacks of so",
        "many members, captured as a CUDA graph.",
        "",
        "| tier |" + "".join(f" {name} |" for name in names),
        "|---|" + "--:|" * len(names),
        *(
            f"| {tier} |" + "".join(f" {times[name]:.4f} |" for name in names)
            for tier, times in found["steps"]["ms"].items()
        ),
        "",
        *(f"{tier} failed: {error}\n" for tier, error in found["steps"]["failed"].items()),
        "## Packs against lone trials",
        "",
        "The same trials alone and in packs, from the launch to the last row. p is that of Fisher's exact test for",
        "equal rates of success.",
        "",
        "| tier | seeds | solved alone | solved in packs | p |",
        "|---|--:|--:|--:|--:|",
        *(
            f"| {row['tier']} | {row['seeds']} | {row['alone']} | {row['packs']} | {row['p']:.2f} |"
            for row in found["packs"]
        ),
        "",
        "All of them took {alone_s:.0f} s alone and {packs_s:.0f} s in packs.".format_map(found["packs"][0]),
        "",
        "## Quickstart",
        "",
        f"`examples/quickstart.yaml` in one process: {found['quickstart']['wall_s']:.0f} s.",
        "",
        "```",
        found["quickstart"]["table"].rstrip(),
        "```",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

"""``import idinit`` costs little beside torch's own import, and everything public is there after it."""

from __future__ import annotations

import json
import subprocess
import sys

import idinit

HEAVY = {
    "pandas",
    "rich",
    "scipy",
    "matplotlib",
    "hydra",
    "omegaconf",
    "timm",
    "torchvision",
    "transformers",
    "datasets",
    "yaml",
}
PROBE = """
import json, sys, time
started = time.process_time()
import torch
with_torch, by_torch = time.process_time(), set(sys.modules)
import idinit
done = time.process_time()
idinit.diagnostics.effective_rank, idinit.diagnostics.largest_singular_values
print(json.dumps([(done - started) / (with_torch - started), sorted(set(sys.modules) - by_torch)]))
"""


def imported_alone() -> tuple[float, set[str]]:
    """CPU time of importing idinit, relative to that of torch, in a fresh process; and the modules that only idinit loads."""
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    ratio, modules = json.loads(done.stdout)
    return ratio, {name.partition(".")[0] for name in modules}


def test_the_import_is_light() -> None:
    ratio, modules = imported_alone()
    assert modules & HEAVY == set() and "numpy" not in modules and "idinit_suite" not in modules
    for _ in range(4):  # a loaded machine may slow one of the two imports down
        ratio = min(ratio, imported_alone()[0]) if ratio > 1.15 else ratio
    assert ratio <= 1.15


def test_every_public_name_is_there() -> None:
    assert [name for name in idinit.__all__ if not hasattr(idinit, name)] == []
    assert [name for name in idinit.diagnostics.__all__ if not hasattr(idinit.diagnostics, name)] == []

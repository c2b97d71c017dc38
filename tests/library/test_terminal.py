"""Commands print on terminals of any encoding, and stay quiet about tools for GPUs that are not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ENVIRONMENT = {**os.environ, "PYTHONIOENCODING": "ascii", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}


def test_a_table_is_printed_where_the_encoding_lacks_its_lines(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "idinit", "inspect", "timm:test_resnet", "--input", "3x32x32"]
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("timm:test_resnet: ResNet") and "branch_end" in done.stdout


@pytest.mark.parametrize("quiet", [True, False])
def test_tools_of_cuda_without_a_gpu_are_no_news(tmp_path: Path, quiet: bool) -> None:
    code = (
        "from idinit.terminal import prepare_output; "
        + ("prepare_output(); " if quiet else "")
        + ("import torch; import torch.utils.cpp_extension")
    )
    environment = {**ENVIRONMENT, "CUDA_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0
    assert ("No CUDA runtime is found" in done.stderr) is not quiet

"""Memory of the CPU is used again from step to step."""

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import ctypes
import resource
import torch
from idinit_suite.training.host_memory import keep_freed_memory

def faults():  # pages that a few rounds of allocations get from the system
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        tensors = [torch.zeros(2**19) for _ in range(64)]
        del tensors
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

for option in (-1, -3):
    ctypes.CDLL(None).mallopt(option, 128 * 1024)  # glibc's defaults, which it raises by itself, depending on what was freed
default = faults()
keep_freed_memory()
faults()
print(default, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")
def test_freed_memory_is_used_again_without_new_pages() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    default, kept = map(int, done.stdout.split())
    assert kept < default / 10

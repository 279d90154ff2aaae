from __future__ import annotations

import platform
import subprocess
import sys

import pytest

COUNT_FAULTS = """
import resource
import torch
from tinylesions.handlers import keep_freed_memory
{call}
def faults():
    for _ in range(4):
        torch.ones(16 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.ones(16 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults())
"""


def faults(call: str) -> int:
    answer = subprocess.run([sys.executable, "-c", COUNT_FAULTS.format(call=call)], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return int(answer.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_large_tensors_reuse_their_memory():
    assert faults("assert keep_freed_memory()") < faults("") / 10


def test_another_c_library_is_left_alone(monkeypatch):
    from tinylesions.handlers import keep_freed_memory

    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert keep_freed_memory() is False

"""The peak is this process's own, not that of whoever started it."""

import subprocess
import sys

import numpy as np
import pytest

from landscape.memory import peak_memory_mib


def test_the_peak_grows_with_what_is_used_and_stays():
    block = np.ones(32 << 20)  # 256 MiB, touched
    reached = peak_memory_mib()
    assert reached >= block.nbytes / 2**20
    del block
    assert peak_memory_mib() >= reached - 2  # the kernel's counts are off by a few pages a processor


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a mark of the address space alone")
def test_a_child_does_not_count_its_parents_memory():
    block = np.ones(64 << 20)  # 512 MiB held here while the child starts
    said = subprocess.run(
        [sys.executable, "-c", "from landscape.memory import peak_memory_mib; print(peak_memory_mib())"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert float(said.stdout) < block.nbytes / 2**20 / 2

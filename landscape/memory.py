"""The most memory this process has used so far.

The kernel's own mark of this address space where there is one (Linux): `getrusage` of a process counts in the peak of
whoever started it, since what vfork and exec leave behind is the parent's.
"""

import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_memory_mib() -> float:
    """Peak resident memory in MiB."""
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / 2**20 if sys.platform == "darwin" else used / 2**10

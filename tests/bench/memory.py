"""The kernel's own high-water mark of a process's memory (VmHWM, proc(5))."""

from __future__ import annotations

from pathlib import Path


def peak(pid: int) -> int:
    """The high-water mark of resident memory in bytes; 0 when the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)

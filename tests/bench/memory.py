"""The kernel's own figures of a process's resident memory: now (VmRSS), and its high-water mark (VmHWM, proc(5))."""

from __future__ import annotations

from pathlib import Path


def peak(pid: int) -> int:
    """The high-water mark of resident memory in bytes; 0 when the process is gone."""
    return _figure(pid, "VmHWM:")


def resident(pid: int) -> int:
    """Resident memory now in bytes; 0 when the process is gone."""
    return _figure(pid, "VmRSS:")


def _figure(pid: int, name: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name)), 0)

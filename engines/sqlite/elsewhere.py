"""Asks `apart` in a process of its own, and turns its answers into facts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from engines.errors import RestoreError
from engines.hooks import Progress, Stop, never, unmeasured
from engines.sqlite.connect import stopped

_SCRIPT = str(Path(__file__).with_name("apart.py"))
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL")  # nothing else: an environment may hold secrets


def ask_apart(
    request: dict[str, Any],
    *,
    total: int = 0,
    progress: Progress = unmeasured,
    stop: Stop = never,
) -> dict[str, Any]:
    """The answer to one request. Raises RestoreError when stopped or when the process gave none."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", _SCRIPT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
    )
    with process:
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise AssertionError("pipes were asked for")
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            for line in process.stdout:
                reply: dict[str, Any] = json.loads(line)
                if "ok" in reply:
                    return reply
                progress(int(reply["done"]), total)
                if stop():
                    raise stopped("copying")
            complaint = process.stderr.read().decode("utf-8", "replace").strip().splitlines()
        finally:
            process.kill()  # it has answered, failed or is not wanted any more; waited for by the with
    raise RestoreError(
        "The process that reads live files ended without an answer"
        + (f" ({complaint[-1]})" if complaint else "")
        + ". Nothing was changed.",
        "Start the step again; if it happens again, look at the system's log for why processes are killed.",
    )


def first_bytes(path: str, count: int) -> bytes:
    """The first bytes of a file that may be live. Raises OSError as open would."""
    reply = ask_apart({"do": "first_bytes", "path": path, "count": count})
    if not reply["ok"]:
        raise OSError(reply["errno"], reply["why"], path)
    return bytes.fromhex(reply["hex"])

"""The drills of a target as metrics, in the text format of Prometheus, for the node exporter's textfile collector.

Source: prometheus.io/docs/instrumenting/exposition_formats. Times are Unix seconds, durations seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from engines.errors import RestoreError
from engines.recipes.drills.outcome import Drilled, Outcome
from engines.session.journal import replace_file


def write(path: Path, found: Sequence[Drilled]) -> None:
    """Replace the file at once: a collector never reads half of it. Raises RestoreError."""
    try:
        # The exporter is another user; nothing in it is secret.
        replace_file(path, text(found).encode(), 0o644)
    except OSError as error:
        raise RestoreError(
            f"The metrics file {path} can't be written: {error.strerror}. The drill's record has everything.",
            "Make its folder writable for whoever runs drills, or correct `metrics`.",
        ) from error


def text(found: Sequence[Drilled]) -> str:
    """`found`: the drills of one target, newest first."""
    return "".join(f"{line}\n" for line in _lines(found))


def _lines(found: Sequence[Drilled]) -> Iterator[str]:
    if not found:
        return
    last, proven = found[0], next((one for one in found if one.outcome is Outcome.PROVEN), None)
    label = f'{{target="{_escaped(last.target)}"}}'
    yield from _gauge("last_run_timestamp_seconds", "When the last drill began.", label, last.at.timestamp())
    succeeded = float(last.outcome is Outcome.PROVEN)
    yield from _gauge("last_success", "Whether the last drill proved its backup.", label, succeeded)
    if proven is None:
        return
    at = proven.at.timestamp()
    yield from _gauge("last_success_timestamp_seconds", "When the last drill that proved its backup began.", label, at)
    for name, about, value in (
        ("restore_seconds", "How long the last proven drill took, from its beginning to the proof.", proven.seconds),
        ("backup_age_seconds", "How old the backup was when the last proven drill began.", proven.age),
        ("backup_bytes", "How large it was.", float(proven.size)),
        ("rto_seconds", "The target's recovery time objective.", proven.rto),
        ("rpo_seconds", "The target's recovery point objective.", proven.rpo),
    ):
        if value is not None:
            yield from _gauge(name, about, label, value)


def _gauge(name: str, about: str, label: str, value: float) -> Iterator[str]:
    yield f"# HELP reinstate_drill_{name} {about}"
    yield f"# TYPE reinstate_drill_{name} gauge"
    yield f"reinstate_drill_{name}{label} {value:.17g}"


def _escaped(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

"""Drills as they stand in a journal, without one having been made."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from engines.recipes.drills.outcome import Drilled, Outcome

AT = datetime(2026, 11, 25, 3, 30, tzinfo=UTC)


def drill_of(days_ago: int = 0, outcome: Outcome = Outcome.PROVEN, **changed: object) -> Drilled:
    told: dict[str, object] = {
        "session": f"2026-11-{25 - days_ago:02}T03-30-00Z-drill-00{days_ago:02}",
        "target": "box",
        "at": AT - timedelta(days=days_ago),
        "outcome": outcome,
        "reason": "" if outcome is Outcome.PROVEN else "staged copy: counts: users MISMATCH",
        "backup": "monday.sqlite",
        "sha256": "ab" * 32,
        "size": 12288,
        "seconds": 250.0 if outcome is Outcome.PROVEN else None,
        "age": 3600.0,
        "rto": 3600.0,
        "rpo": None,
        "expectations": "the live target",
    }
    return Drilled(**(told | changed))  # type: ignore[arg-type]

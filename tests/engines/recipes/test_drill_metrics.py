"""The drills of a target as a file for Prometheus."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from engines.errors import RestoreError
from engines.recipes.drills import metrics
from engines.recipes.drills.outcome import Outcome, latest
from tests.engines.recipes.drills_of import AT, drill_of

# prometheus.io/docs/instrumenting/exposition_formats
_LINE = re.compile(r'# (HELP|TYPE) [a-z_]+ \S.*|[a-z_]+\{target="(?:[^"\\\n]|\\["\\n])*"\} [0-9.e+-]+')


def values(text: str) -> dict[str, float]:
    for line in text.splitlines():
        assert _LINE.fullmatch(line), line
    return {line.partition("{")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[0] != "#"}


def test_the_last_drill_and_the_last_that_proved_its_backup_are_told_apart() -> None:
    found = values(metrics.text((drill_of(0, Outcome.NOT_PROVEN), drill_of(1), drill_of(2, seconds=99.0))))
    assert found == {
        "reinstate_drill_last_run_timestamp_seconds": AT.timestamp(),
        "reinstate_drill_last_success": 0.0,
        "reinstate_drill_last_success_timestamp_seconds": AT.timestamp() - 86_400,
        "reinstate_drill_restore_seconds": 250.0,
        "reinstate_drill_backup_age_seconds": 3600.0,
        "reinstate_drill_backup_bytes": 12288.0,
        "reinstate_drill_rto_seconds": 3600.0,
    }


def test_a_target_without_a_proven_drill_has_no_time_of_success() -> None:
    found = values(metrics.text((drill_of(0, Outcome.REFUSED),)))
    assert found["reinstate_drill_last_success"] == 0.0
    assert "reinstate_drill_last_success_timestamp_seconds" not in found


def test_a_name_with_quotes_stays_one_label() -> None:
    assert 'target="a\\"b\\\\c"' in metrics.text((drill_of(target='a"b\\c'),))
    values(metrics.text((drill_of(target='a"b\\c'),)))


def test_the_file_is_replaced_at_once_and_can_be_read_by_the_exporter(tmp_path: Path) -> None:
    file = tmp_path / "reinstate-box.prom"
    metrics.write(file, (drill_of(1),))
    with file.open() as read_meanwhile:
        metrics.write(file, (drill_of(0, seconds=1.0), drill_of(1)))
        assert values(read_meanwhile.read())["reinstate_drill_restore_seconds"] == 250.0
    assert values(file.read_text())["reinstate_drill_restore_seconds"] == 1.0
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_a_folder_that_is_not_there_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(RestoreError, match="can't be written"):
        metrics.write(tmp_path / "gone" / "box.prom", (drill_of(),))


def test_each_backups_last_proof_counts_and_a_drill_that_was_cut_off_is_none() -> None:
    found = (
        drill_of(0, Outcome.CUT_OFF),
        drill_of(1, Outcome.NOT_PROVEN),
        drill_of(2),
        drill_of(3, backup="sunday.sqlite"),
    )
    assert {name: one.at for name, one in latest(found).items()} == {
        "monday.sqlite": found[1].at,
        "sunday.sqlite": found[3].at,
    }

"""The benches themselves: small runs of them, and what is kept of a result."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter

import pytest

from tests.bench import (
    catalogue,
    console_load,
    console_ready,
    growth,
    log_flood,
    sqlite_checksum,
    sqlite_restore,
    startup,
)
from tests.bench.__main__ import BENCHES, main
from tests.bench.limited_bucket import Limit
from tests.bench.measure import Ratio, in_turn, keep

RATIO = Ratio("sqlite-checksum", 0.2, 0.35, {"reinstate": 1.0, "sha256sum -c": 5.0}, 5, "12 copies")


def test_a_ratio_is_printed_with_its_aim_and_medians() -> None:
    assert str(RATIO) == (
        "ratio sqlite-checksum 0.20 (aim <= 0.35)  median of 5: reinstate 1.000 s, sha256sum -c 5.000 s; 12 copies"
    )


def test_contenders_take_turns_after_one_round_that_does_not_count() -> None:
    turns: list[str] = []
    medians = in_turn({"ours": lambda: turns.append("ours"), "theirs": lambda: turns.append("theirs")}, rounds=2)
    assert turns == ["ours", "theirs"] * 3
    assert list(medians) == ["ours", "theirs"]


def test_results_are_appended_and_nothing_else_is_overwritten(tmp_path: Path) -> None:
    results = tmp_path / "bench.json"
    keep(RATIO, results)
    keep(RATIO, results)
    kept = json.loads(results.read_text())
    assert [entry["value"] for entry in kept] == [0.2, 0.2]
    assert kept[0]["medians"] == {"reinstate": 1.0, "sha256sum -c": 5.0}
    results.write_text("{}")
    with pytest.raises(TypeError, match="move it away"):
        keep(RATIO, results)


def test_the_checksum_bench_proves_its_copies_on_both_sides() -> None:
    ratio = sqlite_checksum.run(copies=2, bytes_each=100_000, rounds=1)
    assert ratio.value > 0
    assert ratio.on == "2 copies of 100 kB, in the page cache"


def test_the_restore_bench_ends_with_the_backup_live_on_both_sides() -> None:
    ratio = sqlite_restore.run(size_wanted=300_000, rounds=1)
    assert ratio.value > 0
    assert list(ratio.medians) == ["reinstate", "by hand"]
    assert "the safety snapshot apart" in ratio.on


def test_the_start_and_the_console_are_measured_beside_bare_programs() -> None:
    assert startup.run(rounds=1).value > 0
    ratio = console_ready.run(rounds=1)
    assert list(ratio.medians) == ["reinstate", "bare Textual app"]
    assert min(ratio.medians.values()) > 0


def test_a_catalogue_is_filtered_letter_by_letter_on_both_sides() -> None:
    ready, filtered = catalogue.run(backups=3000, rounds=1)
    assert ready.value > 0
    assert filtered.rounds == 4


def test_keys_are_answered_while_a_step_floods_its_log() -> None:
    ratio = log_flood.run(lines=20_000, keys=4)
    assert ratio.value > 0
    assert "20 000 lines" in ratio.on


def test_a_soak_tells_how_memory_grew_and_a_line_its_bytes() -> None:
    ratio = console_load.soak(seconds=3, pace=1000)
    assert 0.5 < ratio.value < 2
    assert "memory" in ratio.on


def test_a_limited_line_gives_each_connection_or_all_of_them_so_much() -> None:
    begun = perf_counter()
    limit = Limit(1_000_000)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: limit.wait_for(100_000), range(4)))
    assert perf_counter() - begun >= 0.3


def test_growth_is_the_cost_of_each_at_the_largest_over_the_smallest() -> None:
    costs = {
        1: growth.Cost(100, 1.0, 50, 3, 40),
        4: growth.Cost(400, 4.4, 55, 3, 40),
        16: growth.Cost(1600, 24.0, 60, 3, 40),
    }
    time, memory = growth.ratios("load", "bytes", costs)
    assert (time.name, memory.name) == ("growth-load-time", "growth-load-memory")
    assert (time.value, memory.value) == pytest.approx((1.5, 1.2))
    assert "1x 1.00, 4x 1.10, 16x 1.50" in time.on


def test_a_cost_is_measured_in_a_process_of_its_own() -> None:
    seconds, most, bare = growth.alone(bytearray, 200_000_000)
    assert seconds > 0
    assert most - bare > 150_000_000


def test_the_table_of_benches_has_each_one() -> None:
    told = (Path(__file__).resolve().parents[2] / "docs" / "speed.md").read_text()
    assert [name for name in BENCHES if f"| `{name}` |" not in told] == []


def test_an_unknown_bench_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["speed"]) == 2
    assert "there are: sqlite-checksum" in capsys.readouterr().err

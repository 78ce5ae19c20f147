"""The application's settings are kept privately, and none of their values is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.application.environment import export
from engines.errors import RestoreError


def test_settings_are_copied_privately_and_only_their_names_are_told(tmp_path: Path) -> None:
    source = tmp_path / ".env"
    source.write_text("APP_KEY=base64:c2VjcmV0\n# DB_OLD=1\nexport DB_PASSWORD = hunter2\n\nAPP_KEY=again\n")
    found = export(source, tmp_path / "kept")
    assert found.names == ("APP_KEY", "DB_PASSWORD")
    assert (tmp_path / "kept").read_bytes() == source.read_bytes()
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o600
    assert "hunter2" not in repr(found)
    assert "c2VjcmV0" not in repr(found)


def test_an_earlier_copy_is_replaced_not_followed(tmp_path: Path) -> None:
    source, elsewhere = tmp_path / ".env", tmp_path / "elsewhere"
    source.write_text("A=1\n")
    elsewhere.write_text("untouched")
    (tmp_path / "kept").symlink_to(elsewhere)
    export(source, tmp_path / "kept")
    assert elsewhere.read_text() == "untouched"


@pytest.mark.parametrize("kind", ["missing", "folder", "large"])
def test_what_are_no_settings_is_refused_and_leaves_nothing(tmp_path: Path, kind: str) -> None:
    source = tmp_path / ".env"
    if kind == "folder":
        source.mkdir()
    if kind == "large":
        source.write_bytes(b"A" * 1_000_001)
    with pytest.raises(RestoreError) as refused:
        export(source, tmp_path / "kept")
    assert "Nothing was changed" in refused.value.message
    assert "env_file" in refused.value.hint
    assert not (tmp_path / "kept").exists()

"""What the console says about one step before it runs."""

from __future__ import annotations

import pytest

from engines.session.plan import Step
from tui.widgets.steps import exact


@pytest.mark.parametrize(
    ("undo", "params", "told"),
    [
        ("thaw deploys", {}, "Undo: thaw deploys"),
        ("", {}, "Undo: none needed"),
        ("", {"puts_right": "replace"}, "Undo: none needed: it takes back what an earlier step changed"),
    ],
)
def test_a_step_without_an_undo_does_not_claim_that_nothing_is_changed(
    undo: str, params: dict[str, object], told: str
) -> None:
    step = Step(id="6.7", title="Put it back", action="put-back", shows=("rename",), undo=undo, params=params)
    assert [line for line in exact(step) if line.startswith("Undo")] == [told]

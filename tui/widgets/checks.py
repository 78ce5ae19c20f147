"""Draws checks: the verdict as a word, the evidence, and for the selected one what to do."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from engines.checks import Check, Panel, Verdict
from engines.session.state import CheckState, SessionState
from engines.text import both_zones, drawable, size
from tui.theme import BOLD, DIM, PLAIN, style_of
from tui.widgets.cells import Line, fit
from tui.widgets.rows import Rows

_VERDICT = 8  # cells of the longest verdict and a blank
_NAME = 24
_ORDER = (Verdict.FAIL, Verdict.UNKNOWN, Verdict.WARN, Verdict.OK)


def of_panel(state: SessionState, panel: Panel) -> list[CheckState]:
    """The panel's checks, those that need somebody first.

    Of those that need nobody, on Validation the latest answers first: what the application's log and its health say
    now stands above what was counted in the staged copy before going live.
    """
    known = [known for known in state.checks.values() if known.check.panel is panel]
    blocking, rest = [check for check in known if check.blocks], [check for check in known if not check.blocks]
    if panel is Panel.VALIDATION:
        rest.sort(key=lambda check: check.at, reverse=True)
    return blocking + sorted(rest, key=_gravity)


def _gravity(known: CheckState) -> int:
    return 0 if known.override else _ORDER.index(known.check.verdict) + 1


def _tally(known: Sequence[CheckState]) -> str:
    """`2 BLOCKING, 1 WARN, 9 OK`."""
    blocking = sum(check.blocks for check in known)
    passed = sum(check.override is not None for check in known)
    words = [f"{blocking} BLOCKING"] if blocking else []
    words += [f"{passed} overridden"] if passed else []
    for verdict in (Verdict.WARN, Verdict.OK):
        count = sum(check.check.verdict is verdict for check in known)
        words += [f"{count} {verdict}"] if count else []
    return ", ".join(words)


def show_checks(rows: Rows, known: Sequence[CheckState], heading: str) -> None:
    """The checks in `rows`, gravest first. Until it is moved by hand, the cursor is on the first: it is seen."""
    rows.show(
        [check.check.name for check in known],
        lambda index, width: check_line(known[index], width),
        heading=heading,
        note=_tally(known),
        prefer=known[0].check.name if known else "",
    )


def check_line(known: CheckState, width: int) -> Line:
    check = known.check
    word = "PASSED*" if known.override else str(check.verdict)
    name = min(_NAME, max(width // 3, 8))
    rest = width - _VERDICT - name - 1
    told = _space(check) if check.panel is Panel.SPACE and check.needed is not None else check.evidence
    return (
        (fit(word, _VERDICT), style_of(str(check.verdict))),
        (fit(check.name, name) + " ", BOLD if known.blocks else PLAIN),
        (fit(told, rest), PLAIN),
    )


def _space(check: Check) -> str:
    """`needs 8.1 GB, free 120 GB, after 112 GB`."""
    if check.needed is None:
        return check.evidence
    if check.free is None:
        return f"needs {size(check.needed)}, free is not known"
    left = check.free - check.needed
    after = f"after {size(left)}" if left >= 0 else f"short of {size(-left)}"
    return f"needs {size(check.needed)}, free {size(check.free)}, {after}"


def about(known: CheckState | None) -> Text:
    """Everything about the selected check: evidence, what to do, who let it pass."""
    if known is None:
        return Text("")
    check = known.check
    text = Text()
    text.append(f"{check.verdict} {drawable(check.name)}  ", style_of(str(check.verdict)))
    text.append(drawable(check.evidence))
    if check.hint:
        text.append(f"\nDo: {drawable(check.hint)}", BOLD)
    if known.override:
        who = f"{known.override.actor.name}: {known.override.reason}"
        text.append(f"\n* let pass by {drawable(who)}", style_of("WARN"))
    text.append(f"  (asked {both_zones(known.at)})", DIM)
    return text

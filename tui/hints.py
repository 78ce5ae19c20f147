"""One sentence for the first time on each page: what it is, and which key is likely next."""

from __future__ import annotations

from engines.session.plan import PlanKind
from engines.session.state import SessionState
from tui.view import Page


def hint(page: Page, state: SessionState) -> str:
    """What a page is for, as things stand; empty where there is nothing that would help."""
    match page:
        case Page.START:
            return "Choose what to restore: ↑ ↓ move, Tab changes panels, Enter opens."
        case Page.BACKUPS if not _begun(state):
            return "Choose a VERIFIED copy from before the damage, with Enter."
        case Page.READINESS if not state.approvals and not _begun(state):
            return "Nothing is changed yet. Look at the checks, then approve the plan."
        case Page.READINESS:
            return "What was asked before the restore. A check that blocks is dealt with here."
        case Page.RESTORE:
            return "Each step waits for Enter; on the right is what exactly it does."
        case Page.VALIDATION:
            return "What came back beside what was expected, differences first."
        case Page.HANDOVER if state.ended is None:
            return "Both sign off here by name. The record is for the post-mortem."
        case _:
            return ""


def _begun(state: SessionState) -> bool:
    """Has a step been begun that is not only preparation, or is it all over?"""
    return state.ended is not None or any(known.plan is not PlanKind.PREPARE and known.attempt for known in state.steps)

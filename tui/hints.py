"""One sentence for the first time on each page: what it is, and which key is likely next."""

from __future__ import annotations

from collections.abc import Mapping

from tui.view import Page

HINTS: Mapping[Page, str] = {
    Page.START: "Choose what to restore: ↑ ↓ move, Tab changes panels, Enter opens.",
    Page.BACKUPS: "Choose a VERIFIED copy from before the damage, with Enter.",
    Page.READINESS: "Nothing is changed yet. Look at the checks, then approve the plan.",
    Page.RESTORE: "Each step waits for Enter; on the right is what exactly it does.",
    Page.VALIDATION: "What came back beside what was expected, differences first.",
    Page.HANDOVER: "Both sign off here by name. The record is for the post-mortem.",
}

"""What comes after the restore, at the console: the owner's answers, follow-ups, the checklist, what did not arrive."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

from engines.checklist import Edit, Line
from engines.config import to_table
from engines.session import commands as c
from engines.session.answers import functional_check
from engines.session.events import CheckAnswered, NoteAdded, NoticeSent
from tests.tui.driving import at_the_console
from tests.tui.outsides import joined
from tests.tui.story import ANA, APPLICATION, SHOP, Story

CHECKLIST = Path("/srv/shop/docs/security-checklist.md")
PAYMENT = "functional: payment flow"


def with_checklist() -> Story:
    story = Story()
    shop = replace(SHOP, application=replace(APPLICATION, security_checklist=CHECKLIST))
    story.begun()
    begun = replace(story.state.begun, target=to_table(shop))  # type: ignore[type-var]  # it has begun
    story.state = replace(story.state, begun=begun)
    return story


async def test_the_owner_answers_what_they_tried() -> None:
    told = Story().handed_over().checked(functional_check("payment flow"), functional_check("authentication"))
    async with at_the_console(joined(told)) as operator:
        await operator.sees("The application owner tries by hand and answers (f): payment flow, authentication.")
        await operator.press("enter")
        await operator.sees("UNKNOWN: functional: payment flow")
        await operator.press("f")
        await operator.sees("Did it pass?")
        await operator.types("perhaps")
        await operator.press("tab")
        await operator.types("omar")
        await operator.press("enter")
        await operator.sees("'perhaps' is neither yes nor no. Nothing was changed.")
        assert operator.world.asked == []
        await operator.press("shift+tab", *["backspace"] * 7)
        await operator.types("no")
        await operator.press("tab", "tab")
        await operator.types("the form stays shut")
        await operator.press("enter")
        await operator.until(lambda: bool(operator.world.asked), "it is asked")
        assert operator.world.asked == [c.Answer(PAYMENT, False, "omar", "the form stays shut")]


async def test_a_follow_up_gets_its_owner_and_date() -> None:
    told = Story().handed_over().tell(NoteAdded(ANA, "todo: alert on mass deletes"))
    async with at_the_console(joined(told)) as operator:
        await operator.press("5")
        await operator.sees("alert on mass deletes")
        await operator.sees("Blameless review")
        await operator.sees("2 without owner or date")
        await operator.press("f")
        await operator.sees("What is to be done")
        await operator.types("bo")
        await operator.press("tab")
        await operator.types("2026-12-04")
        await operator.press("enter")
        await operator.until(lambda: bool(operator.world.asked), "it is asked")
        assert operator.world.asked == [c.FollowUp("todo-1", "alert on mass deletes", "bo", "2026-12-04", "")]
        for size in ((80, 24), (60, 20)):
            assert "Follow-ups" in await operator.at(*size)


async def test_the_checklists_change_is_shown_and_then_written() -> None:
    told = with_checklist()
    world = joined(told)
    head, row = b"| Date | What |\n|---|---|\n", "| 2026-11-22 | x |"
    world.edit = Edit(CHECKLIST, head, head + row.encode() + b"\n", row)
    async with at_the_console(world) as operator:
        await operator.press("5")
        await operator.sees("Enter this restore in /srv/shop")
        await operator.press("c")
        await operator.sees("Write this into the security checklist?")
        await operator.sees("+| 2026-11-22 | x |")
        await operator.press("enter")
        await operator.sees("Enter does nothing here")
        assert operator.world.asked == [], "Enter is pressed by habit"
        await operator.press("y")
        await operator.until(lambda: bool(operator.world.asked), "it is asked")
        assert operator.world.asked == [c.Checklist(world.edit.old_sha256, world.edit.new_sha256)]
    assert world.entered == [
        Line(date(2026, 11, 22), "restore of shop (production), INC-2041", "ana", told.state.id),
    ]


async def test_without_a_checklist_the_key_says_so() -> None:
    async with at_the_console(joined(Story().handed_over())) as operator:
        await operator.press("5", "c")
        await operator.sees("No security checklist is configured. Nothing was written.")


async def test_what_did_not_arrive_is_shown_and_sent_again() -> None:
    story = Story()
    story.begun()
    begun = replace(story.state.begun, notify=({"name": "incidents", "on": ["authorised"]},))  # type: ignore[type-var]
    story.state = replace(story.state, begun=begun)
    story.planned().ran("2.1").planned()
    story.approved()
    number = story.state.notices[0].number
    story.tell(NoticeSent(number, "authorised", "incidents", False, "the webhook answered 403", "text"))
    async with at_the_console(joined(story)) as operator:
        await operator.press("5")
        await operator.sees("NOT SENT authorised to incidents: the webhook answered 403")
        await operator.press("m")
        await operator.until(lambda: bool(operator.world.asked), "it is asked")
        assert operator.world.asked == [c.SendAgain()]


async def test_what_failed_stands_first_among_the_checks() -> None:
    told = Story().handed_over().checked(functional_check("payment flow"))
    told.tell(CheckAnswered(PAYMENT, False, "the form stays shut", ANA))
    async with at_the_console(joined(told)) as operator:
        await operator.sees("failed, says ana: the form stays shut")

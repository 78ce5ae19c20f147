"""What is stopped around a restore and started again after it, whatever the engine."""

from __future__ import annotations

from dataclasses import dataclass

from engines.application.commands import everywhere
from engines.process import Command
from engines.targets import Application


@dataclass(frozen=True, slots=True)
class Stopping:
    """One thing that is stopped and later proven running again. The three names are keys of `Application`."""

    key: str
    number: int  # its place in the phase
    stop: str
    start: str
    check: str
    stop_title: str
    start_title: str
    undo: str
    off: str = ""  # what is true, and checked, once it is stopped
    on: str = ""  # and once it is started again
    asks_off: bool = False  # does its check say yes while it is off?
    note: str = ""  # {proof} stands for the step that proves that nobody uses the database
    without: str = ""  # what to do where no command is configured

    @property
    def stop_action(self) -> str:
        return f"stop-{self.key}"

    @property
    def start_action(self) -> str:
        return f"start-{self.key}"


STOPPING = (
    Stopping(
        "deploys",
        1,
        "freeze_deploys",
        "thaw_deploys",
        "freeze_check",
        "Freeze deploys",
        "Thaw deploys",
        "thaw deploys",
        off="deploys are frozen",
        on="deploys may start again",
        asks_off=True,
        without="Tell the release manager, and note whom you told (n).",
    ),
    Stopping(
        "maintenance",
        2,
        "maintenance_on",
        "maintenance_off",
        "maintenance_check",
        "Maintenance mode on",
        "Maintenance mode off",
        "take the application out of maintenance mode",
        off="maintenance mode is on",
        on="maintenance mode is off",
        asks_off=True,
        note="Web requests write too: what they wrote from here on would be lost.",
        without="Web requests write too: make sure that nobody reaches the application.",
    ),
    Stopping(
        "workers",
        3,
        "workers_stop",
        "workers_start",
        "workers_check",
        "Stop the queue workers",
        "Start the queue workers",
        "start the queue workers",
        off="workers stopped",
        on="workers running again",
        note="queue:restart is a signal only; step {proof} proves that they are gone.",
        without="Stop them by hand where there are any; step {proof} proves that they are gone.",
    ),
    Stopping(
        "scheduler",
        4,
        "scheduler_stop",
        "scheduler_start",
        "scheduler_check",
        "Stop the scheduler",
        "Start the scheduler",
        "start the scheduler",
        off="scheduler stopped",
        on="scheduler running again",
        without="Disable its cron entry or timer by hand where there is one. schedule:finish does not do that.",
    ),
)


def commands_of(application: Application, key: str) -> tuple[Command, ...]:
    """The configured command, ready to run on each machine of the application; none where it is not configured."""
    argv: tuple[str, ...] = getattr(application, key) if key else ()
    return everywhere(application, argv) if argv else ()

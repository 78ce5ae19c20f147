"""The command line: what was typed becomes a call, an error becomes a sentence and an exit code.

Textual, boto3 and the engines are imported where a command first needs them: `--help` imports none.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from engines.errors import RestoreError
from engines.text import drawable
from tui.completion import SHELLS, completion
from tui.contradictions import refuse_contradictions
from tui.environment import importing
from tui.pasting import pasted

DONE, FAILED, USAGE, REFUSED, INTERRUPTED = 0, 1, 2, 3, 130

EPILOG = """exit codes: 0 done, 1 failed or not as expected, 2 usage or configuration, 3 refused by a gate or a check,
4 a drill's backup is not proven, 130 interrupted.  Without a command, the console opens."""


class _Parser(argparse.ArgumentParser):
    """argparse, but what was typed wrongly is told like every other error, and drawn as text."""

    def error(self, message: str) -> NoReturn:
        _tell(f"{message[:1].upper()}{message[1:]}.", f"{self.prog} --help")
        sys.exit(USAGE)


def parser() -> argparse.ArgumentParser:
    top = _Parser(
        prog="reinstate",
        description="Walks an operator through a database restore, key by key, and leaves a record.",
        epilog=EPILOG,
    )
    top.add_argument("--version", action="store_true", help="say the version and stop")
    _common(top)
    _incident(top)
    top.set_defaults(incident=None)
    commands = top.add_subparsers(dest="command", metavar="COMMAND")

    def command(name: str, text: str, *, json: bool = False) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        _common(made)
        if json:
            made.add_argument("--json", action="store_true", help="print JSON")
        return made

    _session_of(command("attach", "watch a running session, or take its keyboard"))
    made = command("restore", "restore a target")
    _target(made)
    made.add_argument("--backup", help="the backup's name; without it the console lets you choose")
    _until(made)
    _incident(made)
    _plain(made)
    made = command("plan", "show what a restore would do, and change nothing", json=True)
    _target(made)
    made.add_argument("--backup", help="the backup's name (default: the newest good one from before the incident)")
    _until(made)
    _incident(made)
    _session_of(command("resume", "go on with a session whose runner died"))
    made = _session_of(command("undo", "take a session's restore back"))
    made.add_argument("--reason", required=True, help="why; it goes into the record")
    made = _session_of(command("abandon", "end a session as it stands"))
    made.add_argument("--reason", required=True, help="why; it goes into the record")
    _session(command("notify", "send again what people were to be told and did not arrive"))
    made = _session(command("tickets", "file a session's follow-ups as issues on GitHub"))
    made.add_argument("--only", action="append", default=[], metavar="KEY", help="this follow-up, as todo-1")
    _saying(command("approve", "approve a session's plan from your own login, or accept a risk that it states"))
    _saying(command("sign-off", "sign a session off from your own login"))
    command("sessions", "list the sessions", json=True)
    _session(command("show", "show where a session stands", json=True))
    made = _session(command("transactions", "look into the binary logs that a session has staged", json=True))
    made.add_argument(
        "--around", metavar="MOMENT", help="a time with its zone, FILE:POSITION or a GTID (default: the stop)"
    )
    made.add_argument("--search", action="append", default=[], metavar="WORD", help="what it does: DROP, DELETE, …")
    made.add_argument("--table", default="", help="a table, or schema.table, that it touches")
    made.add_argument("--count", type=int, default=20, help="how many before and after the moment (default: 20)")
    made = command("verify", "prove a session's record against its journal and logs", json=True)
    made.add_argument("record", help="a session.toml, a session's folder, or a session's name")
    made.add_argument("--signers", type=Path, metavar="FILE", help="the SSH keys that you believe (allowed_signers)")
    made.add_argument("--revoked", type=Path, metavar="FILE", help="keys that you do not believe any more")
    made = _session(command("report", "print a session's report for the post-mortem"))
    made.add_argument("--format", choices=("md", "json"), default="md", help="Markdown, or JSON (default: md)")
    made.add_argument("--roles", action="store_true", help="with everybody's role in place of their name")
    made = _session(command("export", "make one archive of a session"))
    made.add_argument("--to", type=Path, help="the archive to write (default: ./NAME.tar.gz)")
    made.add_argument("--logs", action="store_true", help="with the step logs, which may hold the application's output")
    made = command("backups", "list a target's restore points with their checksum status", json=True)
    _target(made)
    made.add_argument("--unchecked", action="store_true", help="do not read the files")
    made = command("check", "check the ground for a restore, and change nothing", json=True)
    _target(made)
    _incident(made)
    made = command("drill", "restore a backup into a scratch place, by itself, to prove that it restores", json=True)
    _target(made)
    which = made.add_mutually_exclusive_group()
    which.add_argument("--backup", help="the backup's name (default: the newest)")
    which.add_argument("--random", action="store_true", help="a random one")
    _incident(made)
    made.add_argument(
        "--expect",
        choices=("live", "last", "nothing"),
        help="what counts are compared with where there is no incident report (default: as configured)",
    )
    made = command("drills", "list the drills: which backup restored, how fast, and how old it was", json=True)
    _target(made)
    made = command("prune", "remove the safety snapshots, or the sessions, that are past their date")
    made.add_argument("target", nargs="?", help="the target's name (default: all)")
    made.add_argument("--sessions", action="store_true", help="sessions instead of snapshots")
    made.add_argument("--records", type=Path, metavar="DIR", help="keep the record of each such session there")
    made.add_argument("--yes", action="store_true", help="remove them; without it they are only listed")
    made = command("completion", "print the script that lets a shell complete commands and options")
    made.add_argument("shell", choices=SHELLS, help="which shell")
    made = command("demo", "build a sandbox and restore it")
    made.add_argument(
        "--engine",
        choices=("sqlite", "mysql", "mariadb"),
        default="sqlite",
        help="which database (default: sqlite); for mysql and mariadb a throwaway server is started",
    )
    made.add_argument("--folder", type=Path, help="where (default: a new temporary folder)")
    _plain(made)
    return top


def _common(made: argparse.ArgumentParser) -> None:
    made.add_argument("--config", type=Path, default=argparse.SUPPRESS, help="the configuration file")
    made.add_argument("--name", default=argparse.SUPPRESS, help="your name, for the record (default: your login)")
    made.add_argument(
        "--theme",
        choices=("dark", "high-contrast"),  # as engines.config.Look, which --help does not import; a test compares them
        default=argparse.SUPPRESS,
        help="the console's colours (default: the configuration's, else dark)",
    )


def _target(made: argparse.ArgumentParser) -> None:
    made.add_argument("target", nargs="?", help="the target's name in the configuration")


def _until(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--until",
        help="how far to replay binary logs after a dump: dump, end, a time with its zone, FILE:POSITION, or a GTID; "
        "it stops just before that moment or transaction",
    )
    made.add_argument(
        "--exclude", action="append", default=[], metavar="TRANSACTION", help="leave out this FILE:POSITION or GTID"
    )


def _incident(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--incident", type=Path, default=argparse.SUPPRESS, help="incident.toml, or the report in Markdown"
    )


def _session(made: argparse.ArgumentParser) -> argparse.ArgumentParser:
    made.add_argument("session", nargs="?", default="last", help="its name, the end of it, or 'last' (default)")
    return made


def _session_of(made: argparse.ArgumentParser) -> argparse.ArgumentParser:
    _plain(made)
    return _session(made)


def _saying(made: argparse.ArgumentParser) -> None:
    _session(made)
    made.add_argument("--yes", metavar="TARGET", help="the target's name, in place of typing it; needs --plan")
    made.add_argument("--plan", metavar="SHA256", help="the plan that was read: 12 or more digits of its sha256")
    made.add_argument("--print", action="store_true", help="print the text that a signature has to be over, and stop")
    made.add_argument("--signature", metavar="FILE", help="bring a signature: FILE.sig beside FILE, or both on -")
    if made.prog.endswith("approve"):
        made.add_argument("--override", metavar="CHECK", help="let this check pass, instead of approving")
        made.add_argument("--reason", help="why it may pass; it goes into the record")


def _plain(made: argparse.ArgumentParser) -> None:
    made.add_argument("--plain", action="store_true", help="line by line instead of the console")
    made.add_argument("--answers", type=Path, help="a file that answers for you, for rehearsals (implies --plain)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit code."""
    arguments = parser().parse_args(argv)
    if arguments.version:
        from engines.version import tool  # here: --help needs none of it

        sys.stdout.write(tool() + "\n")
        return DONE
    try:
        if arguments.command == "completion":
            return completion(parser(), arguments)
        refuse_contradictions(arguments)
        return _run(arguments)
    except RestoreError as error:
        config = getattr(arguments, "config", None)
        _tell(pasted(error.message, config), pasted(error.hint, config))
        return error.exit_code
    except KeyboardInterrupt:
        again = pasted("reinstate sessions", getattr(arguments, "config", None))
        sys.stderr.write(f"\nInterrupted. A session's runner goes on: {again}.\n")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read has left (`| head`). Python would complain when it flushes at its end: let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _tell(f"{where}{error.strerror or error}.", "Look at that path and its permissions, then try again.")
        return FAILED


def _tell(message: str, hint: str) -> None:
    """One error: what is wrong, on as many lines as there are things wrong, then what to do."""
    told = "\n".join(drawable(line) for line in f"{message}\n  {hint}".split("\n"))
    sys.stderr.write(f"reinstate: {told}\n")


def _run(arguments: argparse.Namespace) -> int:
    # Each brings its engines along: the console, which steers, comes up without those of the others.
    with importing():
        from tui import steering

    if run := steering.COMMANDS.get(arguments.command):
        return run(arguments)
    from tui import approving

    if run := approving.COMMANDS.get(arguments.command):
        return run(arguments)
    from tui import drilling

    if run := drilling.COMMANDS.get(arguments.command):
        return run(arguments)
    from tui import pruning

    if run := pruning.COMMANDS.get(arguments.command):
        return run(arguments)
    from tui import reading

    return reading.COMMANDS[arguments.command](arguments)


if __name__ == "__main__":
    sys.exit(main())

"""The application's commands run on the machines that it is on: each word as it stands, each host named."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from engines.application import commands, environment, logs
from engines.application.commands import answer, denies, everywhere, on_each, succeeds
from engines.application.host_logs import fetched
from engines.application.hosts import on_host, reachable, read_file
from engines.application.probe import configured, reached
from engines.checks import Verdict
from engines.errors import RestoreError
from engines.process import Command, Ended, shown
from engines.surroundings import Host
from engines.targets import Application, Framework
from engines.text import utc_now
from tests.servers.sshd import SshServer, ssh_server
from tests.servers.waiting import until


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[SshServer, SshServer]]:
    with ssh_server() as first, ssh_server() as second:
        yield first, second


def host_of(server: SshServer, **changed: object) -> Host:
    usual = Host(
        f"{server.login}@127.0.0.1",
        server.port,
        server.folder / "user_key",
        server.folder / "known_hosts",
        timedelta(seconds=5),
    )
    return replace(usual, **changed)  # type: ignore[arg-type]  # the test says what it changes


@pytest.fixture
def hosts(servers: tuple[SshServer, SshServer]) -> tuple[Host, Host]:
    return host_of(servers[0]), host_of(servers[1])


# Which of the two servers a command came through is told by the port of its connection.
PORT = "$(echo $SSH_CONNECTION | cut -d' ' -f4)"


def test_every_word_reaches_the_program_as_it_stands_and_the_folder_is_the_applications(
    hosts: tuple[Host, Host], tmp_path: Path
) -> None:
    folder = tmp_path / "a folder with 'quotes'; and $signs"
    folder.mkdir()
    words = ("a b", "'", '"', "$HOME", "`id`", "$(id)", "*", "", "\\", ";", "-n", "--", "é", "!x", "~", "#")
    said = answer(on_host(hosts[0], ("printf", "<%s>", *words), folder=folder))
    assert said.output == "".join(f"<{word}>" for word in words)
    assert answer(on_host(hosts[0], ("pwd",), folder=folder)).output.strip() == str(folder)


def test_a_command_is_shown_as_one_could_type_it() -> None:
    host = Host("deploy@web1", 2222, Path("/k"))
    command = on_host(host, ("php", "artisan", "up"), folder=Path("/srv/shop"), user="www-data")
    assert shown(command) == ("ssh -p 2222 deploy@web1 'cd /srv/shop && sudo -n -u www-data -- php artisan up'")
    assert shown(on_host(replace(host, port=22), ("true",), user="deploy")) == "ssh deploy@web1 true"
    words = " ".join(command.argv)
    for option in ("BatchMode=yes", "StrictHostKeyChecking=yes", "ConnectTimeout=10", "-i /k", "-- deploy@web1 "):
        assert option in words


def test_it_runs_as_the_applications_user(hosts: tuple[Host, Host]) -> None:
    if os.geteuid() != 0:
        pytest.fail("This needs root: the login may become another user.")
    assert answer(on_host(hosts[0], ("id", "-un"), user="www-data")).output.strip() == "www-data"
    refused = answer(on_host(hosts[0], ("id", "-un"), user="nobody-of-that-name"))
    assert refused.ended is not None
    assert refused.ended.exit == 255, "what could not be begun is never the command's own answer"
    assert not refused.known


@pytest.mark.parametrize(
    ("exit_code", "output", "yes", "no"),
    [
        (0, "", Verdict.OK, Verdict.FAIL),
        (1, "", Verdict.FAIL, Verdict.OK),
        (255, "ssh: connect to host web1 port 22: Connection refused", Verdict.UNKNOWN, Verdict.UNKNOWN),
        (1, "sudo: a password is required", Verdict.UNKNOWN, Verdict.UNKNOWN),
        (1, "sudo: unable to resolve host web1: Name or service not known", Verdict.FAIL, Verdict.OK),
        (0, "sudo: a notice", Verdict.OK, Verdict.FAIL),
    ],
)
def test_only_the_commands_own_no_is_a_no(exit_code: int, output: str, yes: Verdict, no: Verdict) -> None:
    def ask(_command: Command) -> tuple[Ended, bytes]:
        return Ended(exit_code, None, 0.1), output.encode()

    command = on_host(Host("deploy@web1"), ("workers", "status"), user="www-data")
    assert succeeds("workers run", command, "Start them.", ask=ask).verdict is yes
    assert denies("workers stopped", command, "Stop them.", ask=ask).verdict is no


def test_a_folder_that_is_not_there_is_no_answer(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    command = on_host(hosts[0], ("test", "-e", "down"), folder=tmp_path / "gone")
    assert denies("maintenance is off", command, "Look.").verdict is Verdict.UNKNOWN


def test_several_hosts_give_one_answer_and_the_worst_is_named(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    application = Application(tmp_path, Framework.NONE, hosts=hosts)
    touch = ("sh", "-c", f"touch up-{PORT}")
    ended = [commands.answer(command).ended for command in everywhere(application, touch)]
    assert [one.ok for one in ended if one] == [True, True]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"up-{host.port}" for host in hosts)

    def asked() -> tuple[Verdict, str]:
        told = everywhere(application, ("sh", "-c", f"test -e up-{PORT}"))
        check = on_each("up", told, lambda command: succeeds("up", command, "Look."))
        assert check.name == "up"
        return check.verdict, check.evidence

    verdict, evidence = asked()
    assert verdict is Verdict.OK
    assert evidence.count("exit 0") == 2
    (tmp_path / f"up-{hosts[1].port}").unlink()
    verdict, evidence = asked()
    assert verdict is Verdict.FAIL
    assert evidence.count("exit 1") == 1
    assert "exit 0" not in evidence


def test_a_host_that_can_not_be_reached_is_named_with_what_to_do(
    servers: tuple[SshServer, SshServer], tmp_path: Path
) -> None:
    good, other = host_of(servers[0]), host_of(servers[1])
    assert reachable(good).verdict is Verdict.OK
    stranger = tmp_path / "known_hosts"
    stranger.write_text((servers[1].folder / "known_hosts").read_text().replace(str(other.port), str(good.port)))
    for host, why, hint in (
        (replace(good, port=1), "Connection refused", "port"),
        (replace(good, known_hosts=tmp_path / "empty"), "Host key verification failed", "known_hosts"),
        (replace(good, known_hosts=stranger), "Host key verification failed", "known_hosts"),
        (replace(good, identity=servers[1].folder / "user_key"), "Permission denied", "authorized_keys"),
        (replace(good, address="deploy@no-such-host.invalid"), "Could not resolve hostname", "address"),
    ):
        check = reachable(host)
        assert check.verdict is Verdict.FAIL, host
        assert check.name == f"host {host.name}"
        assert why in check.evidence
        assert hint in check.hint


def test_what_each_host_has_is_asked_before_anything_relies_on_it(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    artisan = tmp_path / "artisan"
    listing = (
        '{"commands":[{"name":"up","definition":{"arguments":[],"options":[]}},'
        '{"name":"down","definition":{"arguments":[],"options":{"render":{"name":"--render"}}}}]}'
    )
    artisan.write_text(f"#!/bin/sh\ncat <<'END'\n{listing}\nEND\n")
    artisan.chmod(0o755)
    application = Application(
        tmp_path,
        hosts=hosts,
        maintenance_on=("./artisan", "down", "--render=errors::503-maintenance"),
        maintenance_off=("./artisan", "up"),
        workers_stop=("./artisan", "queue:restart"),
        scheduler_stop=("no-such-ctl", "stop"),
    )
    found = {check.name: check for check in configured(application)}
    assert {name: check.verdict for name, check in found.items()} == {
        "maintenance_on": Verdict.FAIL,
        "maintenance_off": Verdict.OK,
        "workers_stop": Verdict.FAIL,
        "scheduler_stop": Verdict.FAIL,
    }
    assert "there is no view 503-maintenance" in found["maintenance_on"].evidence
    assert "no command 'queue:restart'" in found["workers_stop"].evidence
    assert "there is no program no-such-ctl" in found["scheduler_stop"].evidence
    assert found["maintenance_off"].evidence.count("the application has up") == 2
    views = tmp_path / "resources" / "views" / "errors"
    views.mkdir(parents=True)
    (views / "503-maintenance.blade.php").touch()
    assert {check.name: check.verdict for check in configured(application)}["maintenance_on"] is Verdict.OK

    cut_off = replace(application, hosts=(hosts[0], replace(hosts[1], port=1)))
    assert [check.verdict for check in reached(cut_off)] == [Verdict.OK, Verdict.FAIL]
    assert {check.verdict for check in configured(cut_off)} == {Verdict.UNKNOWN, Verdict.FAIL}


def test_settings_of_a_host_are_kept_whole_and_for_nobody_else(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    content = b"APP_KEY=base64:canary\nDB_PASSWORD='x y'\n\xff\x00 no text\n"
    (tmp_path / ".env").write_bytes(content)
    kept = tmp_path / "kept"
    found = environment.export_from(hosts[0], tmp_path / ".env", None, kept)
    assert kept.read_bytes() == content
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert found.names == ("APP_KEY", "DB_PASSWORD")
    (tmp_path / ".env").write_bytes(b"x" * 1_000_001)
    with pytest.raises(RestoreError, match="larger than"):
        environment.export_from(hosts[0], tmp_path / ".env", None, kept)
    for host, path in ((hosts[0], tmp_path / "gone"), (replace(hosts[0], port=1), tmp_path / ".env")):
        with pytest.raises(RestoreError, match=r"can't be read") as refusal:
            read_file(host, path, None, 100)
        assert host.name in refusal.value.message


def test_the_hosts_logs_are_searched_and_their_lines_told_by_host(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    log = tmp_path / "laravel.log"
    log.write_text(f"[{utc_now():%Y-%m-%d %H:%M:%S}] production.ERROR: it broke\n")
    application = Application(tmp_path, logs=(log,), log_errors=(r"\.ERROR:",), hosts=hosts)
    with fetched(application) as there:
        folder = there.folder
        scan = there.named(logs.recent(there.application, utc_now()))
    assert folder is not None
    assert not folder.exists()
    assert scan.errors == 2, "one on each host"
    assert {line.file for line in scan.found} == {f"{host.address}_{host.port}{log}" for host in hosts}
    assert logs.check(scan).verdict is Verdict.FAIL
    for wrong in (
        replace(application, hosts=(replace(hosts[0], port=1),)),
        replace(application, logs=(log.parent / "x",)),
    ):
        with fetched(wrong) as there:
            check = logs.check(there.named(logs.recent(there.application, utc_now())))
        assert check.verdict is Verdict.UNKNOWN
        assert str(tmp_path) in check.evidence
        assert "reinstate-logs-" not in check.evidence


def test_a_line_that_is_cut_leaves_the_answer_unknown(servers: tuple[SshServer, SshServer], tmp_path: Path) -> None:
    command = on_host(host_of(servers[1]), ("sh", "-c", "touch begun; exec sleep 60"), folder=tmp_path)
    told: list[commands.Answer] = []
    asking = threading.Thread(target=lambda: told.append(answer(command)))
    asking.start()
    until(lambda: (tmp_path / "begun").exists(), "it runs there")
    servers[1].drop()
    asking.join(20)
    assert not told[0].known

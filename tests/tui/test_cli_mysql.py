"""The command line on MySQL and MariaDB targets, on real servers: what comes back, and that nothing is changed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from engines.config import load
from engines.recipes.mysql.until import Kind, Until
from engines.text import parse_stamp, stamp, utc_now
from tests.engines.recipes.mysql_world import GOOD, MysqlWorld, build, new_session, programs_of
from tests.engines.recipes.test_mysql_sessions import run as run_session
from tests.servers.databases import Server
from tests.servers.s3 import REGION, S3Server
from tests.tui.cli_ground import Said, is_drawable, is_one_clear_error, tree, typed

DONE, FAILED, USAGE, REFUSED = 0, 1, 2, 3


@pytest.fixture
def world(server: Server, tmp_path: Path) -> Iterator[MysqlWorld]:
    with programs_of(server):
        yield build(tmp_path / "world", server)


def reinstate(world: MysqlWorld, *words: str | Path) -> Said:
    return typed("--config", world.folder / "reinstate.toml", *words)


def told(world: MysqlWorld, *words: str | Path) -> str:
    said = reinstate(world, *words, "--incident", world.folder / "incident.toml")
    assert said.code == DONE, said.all
    assert is_drawable(said)
    return said.out


def json_of(world: MysqlWorld, *words: str | Path) -> Any:  # noqa: ANN401 - JSON is what it is
    said = reinstate(world, *words, "--json")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", said.out), ascii(said.out)
    return json.loads(said.out)


def configured(world: MysqlWorld, key: str, value: str, more: str = "") -> None:
    """Write another value of the target's `key` into the configuration."""
    path = world.folder / "reinstate.toml"
    written, number = re.subn(rf"(?m)^{key} = .*$", lambda _found: f"{key} = {value}{more}", path.read_text(), count=1)
    assert number == 1
    path.write_text(written)


def unchanged(world: MysqlWorld) -> tuple[object, ...]:
    """The world as it is now: files, schemas, accounts, and the schema's content where there is one."""
    content = world.content() if world.schema in world.schemas() else b""
    return tree(world.folder), world.schemas(), world.accounts(), content


# -- commands that only look --------------------------------------------------------------------------------


def test_check_asks_the_server_and_changes_nothing(world: MysqlWorld) -> None:
    before = unchanged(world)
    said = told(world, "check", "box")
    for name in ("The live schema", "The login may do what the steps need", "newest verified backup"):
        assert f"OK      {name}: " in said
    checks = json_of(world, "check")
    assert {check["verdict"] for check in checks} <= {"OK", "WARN"}
    assert {check["panel"] for check in checks} == {"prerequisites"}
    assert unchanged(world) == before


@pytest.mark.parametrize("method", ["auto", "in-place", "staged"])
def test_a_plan_says_what_it_can_without_reading_the_dump(world: MysqlWorld, method: str) -> None:
    configured(world, "writers_timeout", '"5s"', f'\nmethod = "{method}"')
    before = unchanged(world)
    said = told(world, "plan", "--until", world.bad, "--exclude", "binlog.000001:157")
    assert f"from the dump's own position to just before {world.bad}, without binlog.000001:157" in said
    assert ("Swap the schemas" in said) is (method != "in-place")
    assert ("Load the dump in place" in said) is (method == "in-place")
    assert "known once the dump has been read" in said
    assert "the transactions that are replayed, and the exact stop" in said
    assert re.search(r"(?m)^  sha256    [0-9a-f]{64}$", said)
    assert "OK      backup checksum: VERIFIED" in said
    assert unchanged(world) == before


def test_the_plan_as_json_has_the_same_keys_as_an_sqlite_one(world: MysqlWorld) -> None:
    whole = json_of(world, "plan", "--backup", world.dump, "--until", "2026-11-22T20:10:00Z")
    assert set(whole) == {"sha256", "plan", "checks", "later"}
    plan = whole["plan"]
    assert plan["target"]["details"]["server"]
    assert plan["backup"]["name"] == world.dump
    assert plan["loss"]["start"].startswith("2026-11-22T20:09:59")
    assert plan["estimate"] is None
    assert any("how long it takes" in line for line in whole["later"])
    assert json_of(world, "plan")["plan"]["loss"]["start"].startswith("2026-11-22T20:00:00")
    assert json_of(world, "plan", "--until", world.bad)["plan"]["loss"] is None


def test_a_plan_of_a_damaged_dump_is_whole_and_refused(world: MysqlWorld) -> None:
    dump = world.folder / "dumps" / world.dump
    dump.write_bytes(dump.read_bytes()[:-1] + b"x")
    said = reinstate(world, "plan", "--json")
    is_one_clear_error(Said(said.code, "", said.err), REFUSED)
    assert "backup checksum" in said.err
    (check,) = [one for one in json.loads(said.out)["checks"] if one["name"] == "backup checksum"]
    assert check["evidence"].startswith("MISMATCH")


def test_backups_are_listed_with_what_their_bytes_are_worth(world: MysqlWorld) -> None:
    assert re.search(rf"VERIFIED .*{world.dump}  dump", reinstate(world, "backups").out)
    assert [row["status"] for row in json_of(world, "backups")["backups"]] == ["VERIFIED"]
    (world.folder / "dumps" / "checksums.txt").write_text("")
    is_one_clear_error(Said((said := reinstate(world, "backups")).code, "", said.err), FAILED)
    assert "NOT LISTED" in said.out


@pytest.mark.parametrize("listed", [True, False])
def test_of_a_dump_in_a_bucket_the_service_is_asked_and_the_dump_is_not_fetched(
    world: MysqlWorld, s3: S3Server, listed: bool
) -> None:
    bucket = f"plan-{world.schema.replace('_', '-')}-{str(listed).lower()}"
    client = s3.client()
    client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    for path in (world.folder / "dumps").iterdir():
        if listed or path.name == world.dump:
            client.put_object(Bucket=bucket, Key=f"nightly/{path.name}", Body=path.read_bytes())
    configured(world, "backups", f'"s3://{bucket}/nightly"', f'\ns3_endpoint = "{s3.endpoint}"')
    said = reinstate(world, "plan", "--json")
    (check,) = [one for one in json.loads(said.out)["checks"] if one["name"] == "backup checksum"]
    if listed:
        assert (check["verdict"], check["evidence"][:9]) == ("WARN", "UNCHECKED")
        assert "compared while it is staged" in check["hint"]
    else:
        assert (said.code, check["verdict"], check["evidence"][:10]) == (REFUSED, "FAIL", "NOT LISTED")
    assert not (world.folder / "state" / "staging").exists()


# -- after a session ------------------------------------------------------------------------------------------


def test_a_finished_session_is_shown_verified_exported_and_its_snapshot_pruned(world: MysqlWorld) -> None:
    folder = new_session(world, Until(Kind.DUMP))
    run_session(folder)
    assert world.customers() == GOOD
    shown = reinstate(world, "show").out
    assert "signed off" in shown
    assert re.search(r"customers +0 +400 +400 +0  MATCH", shown), shown
    record = json_of(world, "show")
    assert record["session"]["id"] == folder.name
    assert "CONSISTENT" in reinstate(world, "verify", "last").out
    archive = world.folder.parent / "export.tar.gz"
    assert reinstate(world, "export", "last", "--to", archive).code == DONE
    assert archive.exists()

    kinds = {row["kind"]: row for row in json_of(world, "backups")["backups"]}
    assert set(kinds) == {"dump", "safety snapshot"}
    assert kinds["safety snapshot"]["status"] == "VERIFIED"
    snapshot = kinds["safety snapshot"]["name"]
    assert json_of(world, "plan", "--backup", snapshot)["plan"]["backup"]["name"] == snapshot
    assert "No safety snapshot is past its date" in reinstate(world, "prune", "box").out
    snapshots = load(world.folder / "reinstate.toml", privileged=False).targets["box"].snapshots
    for description in Path(snapshots).glob("*.toml"):
        text = description.read_text()
        (kept,) = re.findall(r'keep_until = "([^"]+)"', text)
        past = stamp(utc_now() - timedelta(days=1))
        assert parse_stamp(kept) > utc_now()
        description.write_text(text.replace(kept, past))
    assert "due since" in reinstate(world, "prune", "box").out
    assert "removed" in reinstate(world, "prune", "box", "--yes").out
    assert [row["kind"] for row in json_of(world, "backups")["backups"]] == ["dump", "dump"], "one is new"


# -- bad input --------------------------------------------------------------------------------------------------


def login_missing(world: MysqlWorld) -> None:
    (world.folder / "login.cnf").unlink()


def login_open(world: MysqlWorld) -> None:
    (world.folder / "login.cnf").chmod(0o644)


def login_wrong(world: MysqlWorld) -> None:
    path = world.folder / "login.cnf"
    path.write_text(re.sub(r"(?m)^password=.*$", 'password="s3cret-but-wrong"', path.read_text()))


def server_down(world: MysqlWorld) -> None:
    configured(world, "port", "1")


def no_dumps(world: MysqlWorld) -> None:
    configured(world, "backups", f'"{world.folder}/nowhere"')


def dumps_no_folder(world: MysqlWorld) -> None:
    configured(world, "backups", f'"{world.folder}/incident.toml"')


def bucket_down(world: MysqlWorld) -> None:
    configured(world, "backups", '"s3://caope-db-backups/x"', '\ns3_endpoint = "http://127.0.0.1:1"')


Damage = Callable[[MysqlWorld], None]
# What is damaged, and how check, plan and backups end then, and what they say.
BAD: tuple[tuple[Damage, tuple[int, int, int], str], ...] = (
    (login_missing, (FAILED, FAILED, DONE), "The login file"),
    (login_open, (REFUSED, REFUSED, DONE), "can be read by others"),
    (login_wrong, (FAILED, FAILED, DONE), "1045"),
    (server_down, (FAILED, FAILED, DONE), "Is the server up"),
    (no_dumps, (REFUSED, FAILED, FAILED), "does not exist"),
    (dumps_no_folder, (REFUSED, FAILED, FAILED), "incident.toml"),
    (bucket_down, (REFUSED, FAILED, FAILED), "the service can't be reached"),
)


@pytest.mark.parametrize(("damage", "codes", "says"), BAD, ids=lambda one: getattr(one, "__name__", ""))
def test_bad_input_is_one_clear_error_and_changes_nothing(
    world: MysqlWorld, s3: S3Server, damage: Damage, codes: tuple[int, int, int], says: str
) -> None:
    assert s3  # its credentials are in the environment
    damage(world)
    before = unchanged(world)
    for command, code in zip(("check", "plan", "backups"), codes, strict=True):
        said = reinstate(world, command, "box")
        assert said.code == code, said.all
        if code == DONE:
            assert is_drawable(said)
            continue
        is_one_clear_error(Said(said.code, "", said.err) if code == REFUSED else said, code)
        assert says in said.all
        assert "s3cret" not in said.all
        as_json = reinstate(world, command, "box", "--json")
        assert as_json.code == code
        assert not as_json.out or json.loads(as_json.out)
    assert unchanged(world) == before


def test_a_schema_that_is_not_there_is_said_and_can_be_planned(world: MysqlWorld) -> None:
    world.server.sql(f"DROP DATABASE {world.schema}")
    before = unchanged(world)
    assert f"WARN    The live schema: {world.schema} does not exist" in told(world, "check")
    said = told(world, "plan")
    assert "no snapshot: there is nothing in" in said
    (step,) = [one for one in json_of(world, "plan")["plan"]["steps"] if one["destructive"]]
    assert [gate["kind"] for gate in step["gates"]] == ["accept", "typed"]
    assert unchanged(world) == before


@pytest.mark.parametrize("words", [("--until", "yesterday"), ("--until", "2026-11-22T20:10:00"), ("--exclude", "x")])
def test_a_moment_that_is_none_is_a_usage_error(world: MysqlWorld, words: tuple[str, str]) -> None:
    is_one_clear_error(reinstate(world, "plan", *words), USAGE)

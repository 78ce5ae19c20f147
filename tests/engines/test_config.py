"""The configuration: found in one place, read whole or refused with everything that is wrong, documented key by key."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import textwrap
from dataclasses import MISSING, Field, fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engines import config, tables, targets
from engines.config import Application, Approval, Config, Environment, MysqlTarget, Review, SqliteTarget, Target
from engines.drilling import Drill
from engines.errors import ConfigError, Problem, UsageError
from engines.notify import Channel
from engines.people import Person, Role, in_role
from engines.surroundings import GitHub, Host, Tickets
from engines.values import duration_text
from engines.watched import Prometheus

ROOT = Path(__file__).parents[2]
LEAST = """
[target.shop]
engine = "sqlite"
environment = "local"
database = "database/database.sqlite"
backups = "/srv/backups"
"""
DOCUMENTED = (
    Config,
    Approval,
    Person,
    Channel,
    Review,
    Tickets,
    SqliteTarget,
    MysqlTarget,
    Prometheus,
    Drill,
    Application,
    Host,
    GitHub,
)
TABLES_OF_THEIR_OWN = {
    "target",
    "person",
    "approval",
    "application",
    "notify",
    "review",
    "tickets",
    "prometheus",
    "drill",
    "metric",
    "host",
    "github",
}


def load(text: str, folder: Path) -> Config:
    path = folder / "reinstate.toml"
    path.write_text(text)
    return config.load(path, privileged=False)


def refused(text: str, folder: Path) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as refusal:
        load(text, folder)
    assert refusal.value.exit_code == 2
    assert refusal.value.hint
    assert "Nothing was started" in refusal.value.message
    return refusal.value.problems


def meanings(cls: type[Any]) -> dict[str, str]:
    """The string beneath each field, on one line, under the field's key."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    by_field = {
        statement.target.id: " ".join(below.value.value.split())
        for statement, below in zip(body.body, body.body[1:], strict=False)
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str)
    }
    return {tables.key_of(f): by_field[f.name] for f in fields(cls) if not f.metadata.get("internal")}


def commented(text: str) -> str:
    """The text of all comments, on one line."""
    return " ".join(" ".join(line.removeprefix("#").split()) for line in text.splitlines() if line.startswith("#"))


def with_comments_taken_off(text: str) -> str:
    return re.sub(r"(?m)^# ([a-z0-9_]+ = )", r"\1", text)


# --- reading


def test_the_least_configuration_has_the_documented_defaults(tmp_path: Path) -> None:
    loaded = load(LEAST, tmp_path)
    shop = loaded.targets["shop"]
    assert (shop.name, shop.engine, shop.environment) == ("shop", "sqlite", Environment.LOCAL)
    assert shop.database == tmp_path / "database/database.sqlite"
    assert shop.backups == Path("/srv/backups")
    assert shop.snapshots == loaded.state / "snapshots/shop"
    assert shop.holders_timeout == timedelta(seconds=120)
    assert shop.application.maintenance_on == ()


def test_an_applications_folder_is_where_its_targets_paths_start(tmp_path: Path) -> None:
    text = LEAST + '[target.shop.application]\npath = "../shop"\nenv_file = ".env.live"\n'
    shop = load(text, tmp_path).targets["shop"]
    home = tmp_path.parent / "shop"
    assert shop.application.path == home
    assert shop.database == home / "database/database.sqlite"
    assert shop.application.env_file == home / ".env.live"
    assert shop.application.logs == (home / "storage/logs/laravel.log",)


def test_laravels_commands_are_the_defaults_where_they_work(tmp_path: Path) -> None:
    text = LEAST + '[target.shop.application]\npath = "."\nworkers_stop = false\nmigrations = ["bin/migrations"]\n'
    application = load(text, tmp_path).targets["shop"].application
    assert application.maintenance_on == ("php", "artisan", "down", "--render=errors::503-maintenance")
    assert application.maintenance_off == ("php", "artisan", "up")
    assert application.workers_stop == ()
    assert application.migrations == ("bin/migrations",)
    assert application.scheduler_stop == ()


def test_another_framework_has_no_default_commands(tmp_path: Path) -> None:
    text = LEAST + '[target.shop.application]\npath = "."\nframework = "none"\n'
    application = load(text, tmp_path).targets["shop"].application
    assert (application.maintenance_on, application.migrations, application.logs) == ((), (), ())


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    problems = refused(
        """
stat = "/x"
[approval]
self_approval = ["production"]
window = "0s"
[[person]]
name = "Ana"
login = "ana"
roles = ["boss"]
[target.shop]
engine = "sqlite"
environment = "prod"
databse = "a"
backups = "b"
mode = "0777"
keep_days = 0
pattern = "../*"
[target.shop.application]
path = "."
maintenance_on = "php artisan down"
log_errors = ["("]
log_zone = "Mars/Olympus"
log_pattern = "x"
health_url = "https://ana:secret@shop/up"
""",
        tmp_path,
    )
    assert {p.key for p in problems} == {
        "stat",
        "approval.window",
        "person[1].roles[1]",
        "target.shop.environment",
        "target.shop.databse",
        "target.shop.database",
        "target.shop.mode",
        "target.shop.keep_days",
        "target.shop.pattern",
        "target.shop.application.maintenance_on",
        "target.shop.application.log_errors[1]",
        "target.shop.application.log_zone",
        "target.shop.application.log_pattern",
        "target.shop.application.health_url",
    }
    assert "secret" not in str(problems)


def test_production_can_not_be_approved_by_its_own_operator(tmp_path: Path) -> None:
    (problem,) = refused('[approval]\nself_approval = ["production"]\n' + LEAST, tmp_path)
    assert problem.key == "approval.self_approval"


def test_without_typed_names_each_role_can_still_say_yes(tmp_path: Path) -> None:
    refusing = "[approval]\nasserted = false\n"
    problems = refused(refusing + LEAST, tmp_path)
    assert [problem.key for problem in problems] == ["approval.asserted", "target.shop", "target.shop"]
    people = "".join(
        f'[[person]]\nname = "{name}"\nlogin = "{name}"\nroles = ["{role}"]\n'
        for name, role in (("ivo", "commander"), ("olu", "owner"))
    )
    (problem,) = refused(refusing + LEAST + people, tmp_path)
    assert "more than a typed name" in problem.message
    signing = refusing + 'signers = "keys/signers"\n' + LEAST + people
    assert load(signing, tmp_path).approval.signers == tmp_path / "keys" / "signers"
    assert load('watchers = "restore"\n' + refusing + LEAST + people, tmp_path).watchers == "restore"


def test_keys_are_taken_away_only_where_there_are_some(tmp_path: Path) -> None:
    (problem,) = refused('[approval]\nrevoked = "krl"\n' + LEAST, tmp_path)
    assert problem.key == "approval.revoked"


def test_a_privileged_run_refuses_signers_that_others_can_write(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "signers").write_text("")
    (tmp_path / "signers").chmod(0o666)
    (tmp_path / "reinstate.toml").write_text('[approval]\nsigners = "signers"\n' + LEAST)
    if os.geteuid() != 0:
        return  # what belongs to us is not root's
    with pytest.raises(ConfigError) as error:
        config.load(tmp_path / "reinstate.toml", privileged=True)
    assert {problem.key for problem in error.value.problems} >= {"approval.signers"}


def test_production_has_a_commander(tmp_path: Path) -> None:
    production = LEAST.replace('"local"', '"production"')
    person = '[[person]]\nname = "ivo"\nlogin = "ivo"\nroles = ["{}"]\n'
    (problem,) = refused(production, tmp_path)
    assert problem.key == "target.shop"
    assert "nobody is configured as its commander" in problem.message
    assert refused(person.format("operator") + production, tmp_path) == (problem,)
    elsewhere = person.format("commander") + 'targets = ["other"]\n'
    other = LEAST.replace("target.shop", "target.other").replace("database/data", "other/data")
    assert refused(elsewhere + production + other, tmp_path) == (problem,)
    assert load(person.format("commander") + production, tmp_path).targets["shop"]


@pytest.mark.parametrize(
    ("stop", "start"),
    [
        ("maintenance_on", "maintenance_off"),
        ("workers_stop", "workers_start"),
        ("scheduler_stop", "scheduler_start"),
        ("freeze_deploys", "thaw_deploys"),
    ],
)
def test_what_is_stopped_has_a_command_that_starts_it_again(stop: str, start: str, tmp_path: Path) -> None:
    text = LEAST + f'[target.shop.application]\npath = "."\nframework = "none"\n{stop} = ["off"]\n'
    (problem,) = refused(text, tmp_path)
    assert problem.key == f"target.shop.application.{start}"
    assert problem.hint == "Write both, or neither."
    assert load(text + f'{start} = ["on"]\n', tmp_path).targets["shop"]


def test_workers_that_are_only_sent_a_signal_need_no_start(tmp_path: Path) -> None:
    loaded = load(LEAST + '[target.shop.application]\npath = "."\n', tmp_path)
    application = loaded.targets["shop"].application
    assert "queue:restart" in application.workers_stop
    assert not application.workers_start


def test_keys_in_the_address_of_a_bucket_are_refused_and_not_quoted(tmp_path: Path) -> None:
    text = '[target.b]\nengine = "mysql"\nenvironment = "local"\ndatabase = "b"\nlogin = "l"\nbackups = "{}"\n'
    (problem,) = refused(text.format("s3://AKIA1:SECRET@bucket/nightly"), tmp_path)
    assert problem.key == "target.b.backups"
    assert "holds a key or a password" in problem.message
    assert "SECRET" not in str(problem)


def test_an_address_with_a_query_would_get_into_the_record_and_is_refused(tmp_path: Path) -> None:
    address = "https://shop/up?token=SECRET-TOKEN-123"
    text = LEAST + f'[target.shop.application]\npath = "."\nhealth_url = "{address}"\n'
    (problem,) = refused(text, tmp_path)
    assert problem.key == "target.shop.application.health_url"
    assert "holds a query" in problem.message
    assert "SECRET" not in str(problem)


def test_an_engine_that_is_not_there_is_named_alone(tmp_path: Path) -> None:
    (problem,) = refused('[target.shop]\nengine = "oracle"\nhost = "db1"\n', tmp_path)
    assert problem.key == "target.shop.engine"
    assert problem.message == "'oracle' is no engine."
    assert problem.hint == 'Known: "sqlite", "mysql", "mariadb".'


def test_a_server_needs_a_login_that_is_a_file_and_a_schema_that_is_not_its_own(tmp_path: Path) -> None:
    problems = refused(
        '[target.o]\nengine = "mysql"\nenvironment = "local"\ndatabase = "mysql"\nport = 0\n'
        'backups = "ftp://x"\nlogn = "x"\n',
        tmp_path,
    )
    found = {problem.key: problem.message for problem in problems}
    assert set(found) == {f"target.o.{key}" for key in ("database", "port", "backups", "logn", "login")}
    assert "never restored" in found["target.o.database"]
    assert [problem.hint for problem in problems if problem.key == "target.o.logn"] == ['Did you mean "login"?']


def test_the_client_program_can_not_load_beside_the_live_schema(tmp_path: Path) -> None:
    (problem,) = refused(
        '[target.o]\nengine = "mysql"\nenvironment = "local"\ndatabase = "o"\nbackups = "dumps"\n'
        'login = "client.cnf"\nclient = "mysql"\nmethod = "staged"\n',
        tmp_path,
    )
    assert problem.key == "target.o.client"
    assert "in-place" in problem.hint


@pytest.mark.parametrize("nodes", ['["db2"]', '["db2:0"]', '["db1:3306"]', '["db2:3306", "db2:3306"]', '["db 2:3306"]'])
def test_other_nodes_are_addresses_of_others(nodes: str, tmp_path: Path) -> None:
    (problem,) = refused(
        '[target.o]\nengine = "mysql"\nenvironment = "local"\ndatabase = "o"\nbackups = "dumps"\nhost = "db1"\n'
        f'login = "client.cnf"\nnodes = {nodes}\n',
        tmp_path,
    )
    assert problem.key.startswith("target.o.nodes")
    assert problem.hint


def test_snapshots_of_a_server_may_go_to_a_bucket_and_those_of_sqlite_may_not(tmp_path: Path) -> None:
    server = """[target.orders]
engine = "mysql"
environment = "local"
database = "orders"
login = "client.cnf"
backups = "dumps"
snapshots = "{}"
"""
    kept = [load(server.format(at), tmp_path).targets["orders"].snapshots for at in ("s3://bucket/safety", "kept")]
    assert kept == ["s3://bucket/safety", str(tmp_path / "kept")]
    (problem,) = refused(server.format("s3:///safety"), tmp_path)
    assert (problem.key, problem.message) == ("target.orders.snapshots", "names no bucket.")
    (problem,) = refused(f'{LEAST}snapshots = "s3://bucket/safety"\n', tmp_path)
    assert (problem.key, problem.message) == ("target.shop.snapshots", "is a bucket.")
    assert "mysql and mariadb" in problem.hint


def test_a_folder_of_dumps_is_made_absolute_and_a_bucket_is_left_as_it_is(tmp_path: Path) -> None:
    text = """[target.{0}]
engine = "mariadb"
environment = "local"
database = "{0}"
login = "client.cnf"
backups = "{1}"
"""
    loaded = load(text.format("a", "dumps") + text.format("b", "s3://bucket/nightly"), tmp_path)
    a, b = loaded.targets["a"], loaded.targets["b"]
    assert isinstance(a, MysqlTarget)
    assert isinstance(b, MysqlTarget)
    assert (a.backups, b.backups) == (str(tmp_path / "dumps"), "s3://bucket/nightly")
    assert a.login == tmp_path / "client.cnf"
    assert a.address == "127.0.0.1:3306/a"
    assert config.from_table(config.to_table(a)) == a


@pytest.mark.parametrize("text", ["# nothing\n", "target = {}\n"])
def test_a_configuration_without_a_target_is_refused(text: str, tmp_path: Path) -> None:
    (problem,) = refused(text, tmp_path)
    assert problem.message == "there is no target."


def test_two_targets_on_one_database_are_refused(tmp_path: Path) -> None:
    second = LEAST.replace("target.shop", "target.copy").replace("database/data", "./database//data")
    (problem,) = refused(LEAST + second, tmp_path)
    assert problem.key == "target.copy.database"


@pytest.mark.parametrize("name", ["../etc", "a b", "-x", "a\\u001b[2J", "x" * 64])
def test_a_name_that_could_not_be_typed_or_put_into_a_path_is_refused(name: str, tmp_path: Path) -> None:
    (problem,) = refused(LEAST.replace("target.shop", f'target."{name}"'), tmp_path)
    assert problem.key.endswith(".name")
    assert "\x1b" not in str(problem)


def test_people_are_found_by_role_and_target(tmp_path: Path) -> None:
    person = '[[person]]\nname = "{}"\nlogin = "x"\nroles = {}\ntargets = {}\n'
    text = LEAST + person.format("Ana", '["operator", "incident commander"]', "[]")
    people = load(text + person.format("Bo", '["commander"]', '["shop"]'), tmp_path).people
    assert [p.name for p in in_role(people, Role.COMMANDER, "shop")] == ["Ana", "Bo"]
    assert [p.name for p in in_role(people, Role.COMMANDER, "other")] == ["Ana"]
    assert in_role(people, Role.OWNER, "shop") == ()


def test_a_person_twice_and_a_person_for_no_target_are_refused(tmp_path: Path) -> None:
    person = '[[person]]\nname = "Ana"\nlogin = "ana"\nroles = ["owner"]\ntargets = ["shp"]\n'
    assert [p.key for p in refused(LEAST + person * 2, tmp_path)] == [
        "person[1].targets",
        "person[2].name",
        "person[2].targets",
    ]


# --- a target in a plan


def full(folder: Path) -> SqliteTarget:
    """A target in which every key is given."""
    text = with_comments_taken_off((ROOT / "config.example.toml").read_text())
    shop = load(text, folder).targets["shop"]
    assert isinstance(shop, SqliteTarget)
    return shop


def test_a_target_survives_a_plan_unchanged(tmp_path: Path) -> None:
    for target in (full(tmp_path), load(LEAST, tmp_path).targets["shop"]):
        assert config.from_table(json.loads(json.dumps(config.to_table(target)))) == target


def test_a_target_survives_msgspec_with_paths_as_text(tmp_path: Path) -> None:
    target = full(tmp_path)
    plain = msgspec.to_builtins(target, enc_hook=str)
    assert msgspec.convert(plain, SqliteTarget, dec_hook=lambda kind, value: kind(value)) == target


def test_a_target_that_was_changed_into_nonsense_is_refused(tmp_path: Path) -> None:
    table = config.to_table(full(tmp_path)) | {"environment": "prod", "more": 1}
    with pytest.raises(ConfigError) as refusal:
        config.from_table(table)
    assert {p.key for p in refusal.value.problems} == {"environment", "more"}


# --- finding


def test_what_is_named_goes_before_what_is_found(tmp_path: Path) -> None:
    here, home = tmp_path / "here", tmp_path / "home"
    (home / ".config/reinstate").mkdir(parents=True)
    here.mkdir()
    users = home / ".config/reinstate/config.toml"
    local = here / "reinstate.toml"
    users.touch()
    local.touch()
    named = {"REINSTATE_CONFIG": "/named.toml"}
    assert config.find(Path("given.toml"), named, here, home, privileged=False) == here / "given.toml"
    assert config.find(None, named, here, home, privileged=False) == Path("/named.toml")
    assert config.find(None, {"REINSTATE_CONFIG": ""}, here, home, privileged=False) == local
    local.unlink()
    assert config.find(None, {}, here, home, privileged=False) == users


def test_a_privileged_run_does_not_look_into_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "reinstate.toml").touch()
    with pytest.raises(UsageError) as refusal:
        config.find(None, {}, tmp_path, tmp_path / "home", privileged=True)
    assert str(tmp_path / "reinstate.toml") not in refusal.value.message
    assert "privileged run" in refusal.value.hint


def test_where_it_looked_is_said_when_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refusal:
        config.find(None, {"XDG_CONFIG_HOME": "/x"}, tmp_path, tmp_path, privileged=False)
    for place in ("--config", "REINSTATE_CONFIG", f"{tmp_path}/reinstate.toml", "/x/reinstate/config.toml"):
        assert place in refusal.value.message


# --- bad input


def test_a_configuration_that_is_missing_or_a_folder_is_one_problem(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(ConfigError) as refusal:
            config.load(path, privileged=False)
        assert len(refusal.value.problems) == 1


def test_a_configuration_that_may_not_be_read_is_one_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)  # root may read everything
    with pytest.raises(ConfigError) as refusal:
        config.load(tmp_path / "x.toml", privileged=False)
    assert "can't be opened: Permission denied." in refusal.value.message


def test_a_configuration_cut_short_at_any_character_is_refused(tmp_path: Path) -> None:
    text = LEAST.strip()  # its last key is one that must be given
    for end in range(len(text)):
        assert refused(text[:end], tmp_path), end


def test_a_privileged_run_refuses_a_state_folder_that_others_can_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_UID", str(os.getuid()))  # the tests need not run as root
    tmp_path.chmod(0o755)
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(0o777)
    path = tmp_path / "reinstate.toml"
    path.write_text(f'state = "{state}"\n' + LEAST)
    path.chmod(0o644)
    with pytest.raises(ConfigError) as refusal:
        config.load(path, privileged=True)
    assert any(f"{state} can be written by everybody" in p.message for p in refusal.value.problems)


@pytest.mark.parametrize(
    ("written", "wrong"),
    [
        ('[target.shop.application.github]\nrepository = "shop"', "github.repository"),
        ('[target.shop.application.github]\nrepository = "a/b"\napi = "http://github.corp/api/v3"', "github.api"),
        ('[target.shop.application.github]\nrepository = "a/b"\ntoken_file = "token"', "github.token_file"),
        ('[target.shop.application.github]\nrepository = "a/b"\ntoken_variable = "ghp_1-2"', "github.token_variable"),
        ('[target.shop.application.github]\nrepository = "a/b"\nworkflow = "../deploy.yml"', "github.workflow"),
        ('freeze_check = ["true"]\n[target.shop.application.github]\nrepository = "a/b"', "freeze_deploys"),
        ('[[target.shop.application.host]]\naddress = "-oProxyCommand=x"', "host[1].address"),
        ('[[target.shop.application.host]]\naddress = "a b"', "host[1].address"),
        ('[[target.shop.application.host]]\naddress = "a"\nidentity = "key"', "host[1].identity"),
        ('[[target.shop.application.host]]\naddress = "a"\n' * 2, "host[2].address"),
        ("skip_ids = -1", "skip_ids"),
    ],
)
def test_what_stands_around_an_application_is_refused_where_it_can_not_be_meant(
    written: str, wrong: str, tmp_path: Path
) -> None:
    text = f'{LEAST}[target.shop.application]\npath = "/srv/shop"\nframework = "none"\n{written}\n'
    assert [problem.key for problem in refused(text, tmp_path)] == [f"target.shop.application.{wrong}"]


# --- the example and the documentation


def test_the_example_loads_as_it_is_and_with_every_key_taken_out_of_its_comment(tmp_path: Path) -> None:
    text = (ROOT / "config.example.toml").read_text()
    assert list(load(text, tmp_path).targets) == ["shop", "orders"]
    assert list(load(with_comments_taken_off(text), tmp_path).targets) == ["shop", "orders"]


def test_the_example_shows_true_defaults(tmp_path: Path) -> None:
    """Keys in comments that are not called an example change nothing when they are taken out."""
    text = (ROOT / "config.example.toml").read_text()
    defaults = re.sub(r"(?m)^# ([a-z0-9_]+ = .*)$", lambda key: key[0] if "# an example" in key[1] else key[1], text)
    bare, shown = load(text, tmp_path), load(defaults, tmp_path)
    for_root = Path("/var/lib/reinstate")
    assert shown.state == for_root
    assert shown.targets["shop"].snapshots == for_root / "snapshots/shop"
    shop, orders = bare.targets["shop"], bare.targets["orders"]
    assert isinstance(shop, SqliteTarget)
    assert isinstance(orders, MysqlTarget)
    kept = str(for_root / "snapshots/orders")
    expected: dict[str, Target] = {
        "shop": replace(shop, snapshots=for_root / "snapshots/shop"),
        "orders": replace(orders, snapshots=kept, staging=for_root / "staging/orders"),
    }
    assert shown == replace(bare, state=for_root, targets=expected)


@pytest.mark.parametrize("cls", DOCUMENTED)
def test_the_example_has_every_key_with_its_meaning(cls: type[Any]) -> None:
    text = (ROOT / "config.example.toml").read_text()
    words = commented(text)
    for key, meaning in meanings(cls).items():
        assert meaning in words, key
        if key not in TABLES_OF_THEIR_OWN:
            assert re.search(rf"(?m)^(# )?{key} = ", text), key


def default_of(cls: type[Any], field: Field[Any]) -> object:
    if cls is Application and field.name in targets.LARAVEL:
        return targets.LARAVEL[field.name]
    value = field.default if field.default_factory is MISSING else field.default_factory()
    return [str(one) for one in value] if isinstance(value, tuple) else value


@pytest.mark.parametrize("cls", DOCUMENTED)
def test_the_documentation_has_every_key_with_its_meaning_and_default(cls: type[Any]) -> None:
    rows = {
        (key, meaning): default
        for key, default, meaning in re.findall(
            r"(?m)^\| `([a-z0-9_]+)` \| (.*) \| ((?:[^|]|\\\|)*) \|$", (ROOT / "docs/configuration.md").read_text()
        )
    }
    known = {tables.key_of(f): f for f in fields(cls)}
    for key, meaning in meanings(cls).items():
        if key in TABLES_OF_THEIR_OWN:
            continue
        shown = rows[key, meaning].replace("\\|", "|")
        default = default_of(cls, known[key])
        if default is MISSING:
            assert shown == "must be given", key
        elif shown == "see there":
            assert "Default: " in meaning, key
        elif default in (None, []):
            assert shown == "none", key
        else:
            expected = values_text(default)
            assert shown in (f"`{expected}`", f"`{expected}`".replace("\\\\", "\\").replace('"', "'")), key


def values_text(default: object) -> str:
    if isinstance(default, timedelta):
        return f'"{duration_text(default)}"'
    return json.dumps(default)

"""Which credentials a session used, by name: they are rotated afterwards. Never the secret itself."""

from __future__ import annotations

from engines.surroundings import GitHub
from engines.targets import MysqlTarget, Target


def of_server(target: MysqlTarget, account: str) -> list[dict[str, str]]:
    """The database user, and the keys for each bucket."""
    found = [{"name": f"database user {account}", "where": str(target.login)}]
    places = (target.backups, target.binlogs, target.snapshots)
    buckets = dict.fromkeys(
        place.removeprefix("s3://").partition("/")[0] for place in places if place and place.startswith("s3://")
    )
    keys = f"profile {target.s3_profile}" if target.s3_profile else "as boto3 finds them"
    return [*found, *({"name": f"keys for bucket {bucket}", "where": keys} for bucket in buckets)]


def of_github(conf: GitHub) -> list[dict[str, str]]:
    where = str(conf.token_file) if conf.token_file else f"${conf.token_variable}"
    return [{"name": f"GitHub token for {conf.repository}", "where": where}]


def of_prometheus(target: Target) -> list[dict[str, str]]:
    server = target.prometheus
    if server is None or server.token_file is None:
        return []
    return [{"name": f"token for {server.url}", "where": str(server.token_file)}]

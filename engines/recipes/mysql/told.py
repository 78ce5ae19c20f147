"""Statements of the steps after a rewind, as the plan of a MySQL or MariaDB target shows them."""

from __future__ import annotations

from engines.mysql import aftermath


class _Sql:
    def aside(self, table: str, kept: str) -> tuple[str, ...]:
        return aftermath.aside_sql(table, kept)

    def back(self, table: str, kept: str) -> tuple[str, ...]:
        return aftermath.back_sql(table, kept)

    def skip(self, by: int) -> tuple[str, ...]:
        return aftermath.skip_sql(by)


SQL = _Sql()

"""A schema with everything that a dump can hold, for both servers: the measure of a faithful load.

The scripts are for the client program, so that DELIMITER works. Names, strings and types are chosen to be awkward.
"""

from __future__ import annotations

from pathlib import Path

from engines.mysql.flavour import Flavour

_HERE = Path(__file__).parent


def everything(flavour: Flavour) -> str:
    """A script for the client program that makes all of it in the current schema."""
    return "".join((_HERE / f"everything.{name}.sql").read_text() for name in ("common", flavour.value))

"""From a bucket to a staged and verified dump, against `aws s3 cp` and then `sha256sum`, on the same limited line.

The first figure has a limit per connection, which is how a service far away and Amazon's own behave, and where more
connections are faster: ours are more than the ten that `aws s3 cp` takes by default. The second has the same limit on
the whole line, where they can't be. Both sides are fresh processes; ours lists the bucket first and syncs its copy to
the disk at the end, which the aws command leaves to the kernel.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engines.text import size
from tests.bench.limited_bucket import limited
from tests.bench.measure import Ratio, in_turn
from tests.bench.pseudo_terminal import ROOT, python
from tests.engines.backups.objects import sha256
from tests.servers.s3 import credentials, s3_server

AIM = 0.6
AIM_SHARED = 1.0
ROUNDS = 3
BYTES = 320 << 20  # 40 parts of aws's, which its ten connections take in four full rounds
RATE = 4 << 20  # bytes a second, of each connection
RATE_SHARED = 40 << 20  # of all together: what aws's ten get in the first
_BUCKET, _KEY = "bench-stage", "shop-2026-11-22T03-00-00Z.sql"
_AWS = ROOT / ".venv" / "awscli"  # an environment of the bench's own: it is no dependency


def run(
    size_wanted: int = BYTES, rate: int = RATE, shared_rate: int = RATE_SHARED, rounds: int = ROUNDS
) -> tuple[Ratio, Ratio]:
    aws = _installed()
    chance = random.Random(6)  # noqa: S311 - the same bytes each time
    content = b"".join(chance.randbytes(1 << 20) for _ in range(size_wanted >> 20))
    with s3_server() as s3, tempfile.TemporaryDirectory(prefix="reinstate-bench-") as name:
        folder = Path(name)
        s3.bucket(_BUCKET)
        client = s3.client()
        client.put_object(Bucket=_BUCKET, Key=_KEY, Body=content)
        client.close()
        environment = {**os.environ, **credentials(folder), "PYTHONPATH": str(ROOT)}
        found = []
        for ratio, bound, shared in (("bucket-stage", rate, False), ("bucket-stage-shared", shared_rate, True)):
            with limited(s3.endpoint, _BUCKET, _KEY, bound, shared=shared) as endpoint:
                stage = _Contenders(folder, endpoint, environment, aws, sha256(content))
                medians = in_turn({"reinstate": stage.ours, "aws s3 cp, sha256sum": stage.theirs}, rounds)
            limit = (
                f"all connections together limited to {size(bound)}/s"
                if shared
                else f"each connection limited to {size(bound)}/s"
            )
            value = medians["reinstate"] / medians["aws s3 cp, sha256sum"]
            on = f"{size(size_wanted)}, {limit}; ours, {stage.said}"
            found.append(Ratio(ratio, value, AIM_SHARED if shared else AIM, medians, rounds, on))
    return found[0], found[1]


class _Contenders:
    def __init__(self, folder: Path, endpoint: str, environment: dict[str, str], aws: Path, digest: str) -> None:
        self._folder, self._endpoint, self._environment = folder, endpoint, environment
        self._aws, self._digest = aws, digest
        self.said = ""

    def ours(self) -> None:
        with self._emptied("ours") as into:
            command = python("-m", "tests.bench.stage_object", self._endpoint, _BUCKET, self._digest, str(into))
            done = subprocess.run(command, check=True, env=self._environment, stdout=subprocess.PIPE, text=True)
            self.said = done.stdout

    def theirs(self) -> None:
        with self._emptied("theirs") as into:
            copy = (
                "s3",
                "cp",
                "--no-progress",
                "--endpoint-url",
                self._endpoint,
                f"s3://{_BUCKET}/{_KEY}",
                str(into / _KEY),
            )
            subprocess.run((self._aws, *copy), check=True, env=self._environment, stdout=subprocess.DEVNULL)
            checked = subprocess.run(("sha256sum", into / _KEY), check=True, stdout=subprocess.PIPE, text=True)
            if checked.stdout.split()[0] != self._digest:
                raise AssertionError("aws s3 cp brought other bytes")

    @contextmanager
    def _emptied(self, name: str) -> Iterator[Path]:
        into = self._folder / name
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir()
        yield into


def _installed() -> Path:
    """The aws command, installed where it is not there yet."""
    program = _AWS / "bin" / "aws"
    if not program.exists():
        venv.create(_AWS, with_pip=True)
        subprocess.run((_AWS / "bin" / "pip", "install", "--quiet", "awscli"), check=True)
    return program

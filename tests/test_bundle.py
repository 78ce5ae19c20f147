"""The offline bundle: what it refuses, told in plain words, and that it installs without any network.

The refusals are tried on a bundle with a small load, in a moment. Making the real one and installing it takes a
minute or two and the package index, so that is part of `make torture`.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
REFUSED = 3
THIS = f"{sys.version_info.major}.{sys.version_info.minor}"


def bundle(folder: Path, changed: dict[str, str] | None = None) -> Path:
    """A bundle as scripts/bundle puts it together, for this machine unless `changed` says otherwise."""
    load = b"no wheels\n"
    facts = {"version": "0.1.0", "python": THIS, "machine": platform.machine(), "glibc": "2.17", **(changed or {})}
    facts |= {"sha256": hashlib.sha256(load).hexdigest(), "size": str(len(load)), "packages": "'textual==8.2.8'"}
    head, tail = (ROOT / "scripts/bundle-install").read_bytes().split(b"# FACTS\n")
    path = folder / "reinstate.sh"
    path.write_bytes(head + "".join(f"{key}={value}\n" for key, value in facts.items()).encode() + tail + load)
    return path


def sh(path: Path, *options: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    argv = ["sh", str(path), "--python", sys.executable, *map(str, options)]
    env = {"PATH": os.environ["PATH"], "HOME": str(path.parent), **environ}
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, env=env, cwd=path.parent)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"python": "3.99"}, f"is Python {THIS}; this file is for Python 3.99."),
        ({"machine": "vax"}, f"This machine is linux {platform.machine()}; this file is for linux vax."),
        ({"glibc": "99.1"}, "packages in this file need 99.1 or newer."),
    ],
)
def test_another_machine_is_refused_in_plain_words(changed: dict[str, str], told: str, tmp_path: Path) -> None:
    done = sh(bundle(tmp_path, changed), "--to", tmp_path / "there")
    assert done.returncode == REFUSED
    assert told in done.stderr
    assert "Nothing was installed." in done.stderr
    assert not (tmp_path / "there").exists()


def test_a_machine_without_python_is_told_so(tmp_path: Path) -> None:
    done = sh(bundle(tmp_path), "--python", "no-such-python")
    assert done.returncode == REFUSED
    assert f"There is no Python {THIS} here. Nothing was installed." in done.stderr


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_file_that_did_not_arrive_whole_is_refused(damage: str, tmp_path: Path) -> None:
    path = bundle(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] if damage == "cut" else whole[:-2] + b"!\n")
    done = sh(path, "--to", tmp_path / "there")
    assert done.returncode == REFUSED
    assert "cut short or damaged" in done.stderr
    assert not (tmp_path / "there").exists()


def test_a_folder_that_exists_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine").write_text("mine")
    done = sh(bundle(tmp_path), "--to", tmp_path / "there")
    assert done.returncode == REFUSED
    assert "there exists. Nothing was installed." in done.stderr
    assert (tmp_path / "there" / "mine").read_text() == "mine"


def test_an_installation_that_fails_leaves_nothing(tmp_path: Path) -> None:
    done = sh(bundle(tmp_path), "--to", tmp_path / "there")
    assert done.returncode != 0
    assert "was removed again" in done.stderr
    assert not (tmp_path / "there").exists()


def test_what_is_in_it_is_listed_and_checked_without_installing(tmp_path: Path) -> None:
    path = bundle(tmp_path)
    assert sh(path, "--list").stdout.strip() == "textual==8.2.8"
    done = sh(path, "--check")
    assert done.returncode == 0
    assert "The file is whole." in done.stdout
    assert sh(path, "--wat").returncode == REFUSED
    assert sorted(one.name for one in tmp_path.iterdir()) == [path.name]


@pytest.mark.torture
def test_the_real_one_installs_without_network_in_another_folder_and_runs_the_demo(tmp_path: Path) -> None:
    made = subprocess.run([ROOT / "scripts/bundle", tmp_path], capture_output=True, text=True, check=False, timeout=300)
    assert made.returncode == 0, made.stderr
    path = Path(made.stdout.strip())
    home = tmp_path / "some where"
    home.mkdir()
    alone = [*(["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]), "env", "-i"]
    alone += [f"HOME={home}", "PATH=/usr/bin:/bin", "TERM=dumb"]
    there = home / "reinstate"
    done = subprocess.run(
        [*alone, "sh", path, "--python", sys.executable, "--to", there],
        capture_output=True, text=True, check=False, timeout=300, cwd=home,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "nothing else was changed" in done.stdout
    assert list(home.iterdir()) == [there]
    done = subprocess.run(
        [*alone, there / "bin/reinstate", "demo", "--folder", home / "sandbox"],
        capture_output=True, text=True, check=False, timeout=120, cwd=home, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Session signed off." in done.stdout + done.stderr
    shutil.rmtree(home)

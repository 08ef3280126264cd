"""The store's contract (tests/unit/store_contract.c) on each store."""

import re
import subprocess

import harness
from aws_wire import closed_port


def run_contract(build, settings, tmp_path):
    return subprocess.run(
        [build.dir / "tests" / "unit" / "store_contract"],
        env={**harness.child_env(tmp_path), "CURT_CONF": "/dev/null",
             "APP_URL": "https://sho.rt/t/", **settings},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=300)


def test_store_keeps_its_contract(build, store_env, tmp_path):
    result = run_contract(build, store_env, tmp_path)
    reports = [p.read_text() for p in tmp_path.glob("sanitizer*")]
    assert result.returncode == 0, result.stdout
    assert reports == []
    ran = int(re.search(r"(\d+) test\(s\) run", result.stdout).group(1))
    passed = int(re.search(r"PASSED\s+\] (\d+) test", result.stdout).group(1))
    assert passed == ran >= 19, result.stdout
    assert "SKIPPED" not in result.stdout


def test_contract_fails_without_a_store(build, tmp_path):
    """The suite itself can fail: nothing listens where it is told to look."""
    with closed_port() as s:
        result = run_contract(build, {
            "STORE": "dynamodb", "AWS_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:%d" % s.getsockname()[1],
        }, tmp_path)
    assert result.returncode != 0
    assert "table: dynamodb:CreateTable" in result.stdout

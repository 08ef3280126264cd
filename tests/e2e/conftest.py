"""Fixtures of the end-to-end tests; see harness.py and webservers.py."""

import fnmatch
import os
import shutil
import sys
import uuid
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import harness
import webservers

# The files that take longest, in this order: they begin first, so that no
# process is left with one of them at the end. test_setup.py would wait for the
# package, which test_package.py builds.
LONG = ("test_package.py", "test_power_loss.py", "test_commands.py",
        "test_store_outage.py", "test_setup.py", "test_webservers.py",
        "test_doctor.py", "test_cache.py", "test_store_faults.py",
        "test_page.py", "test_dynamodb_wire.py", "test_aws_rotation.py",
        "test_janitor.py", "test_hits.py", "test_upgrade.py", "test_backup.py",
        "test_access.py", "test_options.py", "test_aws_secrets.py",
        "test_aws_credentials.py", "test_reload.py", "test_processes.py",
        "test_rules.py", "test_alone.py", "test_crash.py", "test_limits.py",
        "test_haproxy.py", "test_qr.py", "test_table.py", "test_store_away.py",
        "test_tutorial_items.py", "test_slow_clients.py",
        "test_throttled_table.py", "test_config.py", "test_policy.py",
        "test_tool_output.py", "test_tutorial.py", "test_doctor_dynamodb.py")


def pytest_addoption(parser):
    parser.addoption("--quick", action="store_true",
                     help="only the tests that quick.txt names")


def pytest_terminal_summary(terminalreporter):
    """The counts once more, for the end of tests/run.sh."""
    build = os.environ.get("CURT_BUILD")
    if build and not hasattr(terminalreporter.config, "workerinput"):
        Path(build, "e2e.counts").write_text("%d passed, %d failed\n" % tuple(
            sum(len(terminalreporter.stats.get(kind, [])) for kind in kinds)
            for kinds in (("passed",), ("failed", "error"))))


def quick_patterns():
    """The patterns of quick.txt, which has comments."""
    lines = Path(__file__).with_name("quick.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def is_quick(item, patterns):
    """Whether a pattern is the test's file::name, with its parameters or
    without."""
    name = item.path.name + "::" + item.name
    return any(fnmatch.fnmatchcase(text, pattern) for pattern in patterns
               for text in (name, name.partition("[")[0]))


def place(item):
    """Where an item stands in the order of a run: by file, then by set-up,
    which pytest orders by number where some tests have all and some a part."""
    site = getattr(item, "callspec", None) and item.callspec.params.get("site")
    return (LONG.index(item.path.name) if item.path.name in LONG else len(LONG),
            webservers.ALL_SETUPS.index(site) if site else -1)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    if config.getoption("--quick"):
        patterns = quick_patterns()
        kept = [item for item in items if is_quick(item, patterns)]
        config.hook.pytest_deselected(
            items=[item for item in items if item not in kept])
        items[:] = kept
    items.sort(key=place)


# Where curt searches for leaks at its end, see harness.search_leaks: each case
# of some files is another way through its code for errors; in others the first
# case of each function searches, and there the first pool of the file and the
# first run of each verb; and in some none does, because what their processes do
# there is also done by those of other files.
LEAKS_IN_EACH_CASE = ("test_aws_credentials.py", "test_dynamodb_wire.py",
                      "test_store_faults.py")
LEAKS_ELSEWHERE = ("test_aws_policy.py", "test_aws_rotation.py",
                   "test_cache.py", "test_crash.py",
                   "test_doctor.py", "test_doctor_dynamodb.py",
                   "test_hostile_lighttpd.py", "test_page.py",
                   "test_store_away.py", "test_store_outage.py",
                   "test_throttled_table.py", "test_tutorial.py",
                   "test_tutorial_items.py", "test_webservers.py")
searched = set()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Decides about the search, before the fixtures start a pool."""
    file, function = item.path.name, item.nodeid.partition("[")[0]
    harness.search_each = file in LEAKS_IN_EACH_CASE
    harness.search_leaks = harness.search_each or (
        function not in searched and file not in LEAKS_ELSEWHERE)
    if file not in searched:
        harness.searched.clear()
    searched.update((file, function))


@pytest.fixture(scope="session")
def build():
    """The programs under test; an error if they are not there."""
    b = harness.Build()
    b.check()
    return b


@pytest.fixture(scope="session")
def dynamodb_local():
    """One DynamoDB Local for the whole run; a table for each who asks."""
    from dynamodb_local import DynamoDBLocal

    server = DynamoDBLocal()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def browser():
    """One Chromium for the whole run; each page has a profile of its own."""
    from browser import Browser

    started = Browser()
    yield started
    started.close()


class StoreSettings:
    """Makes settings for a fresh store of either kind, and removes it."""

    def __init__(self, request):
        self.request = request
        self.dirs = []

    def __call__(self, store):
        top = harness.make_workdir()
        self.dirs.append(top)
        settings = {
            "STORE": store,
            "STATE_DIR": str(harness.make_dir(top / "state")),
            "RUNTIME_DIR": str(harness.make_dir(top / "run")),
        }
        if store == "dynamodb":
            server = self.request.getfixturevalue("dynamodb_local")
            settings["TABLE"] = "links-" + uuid.uuid4().hex[:12]
            settings["STORE_TIMEOUT"] = "15"
            settings.update(server.env())
            server.create_table(settings["TABLE"])
        return settings

    def cleanup(self):
        for path in self.dirs:
            shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def store_settings(request):
    """store_settings("sqlite"): settings for a fresh, empty store."""
    made = StoreSettings(request)
    yield made
    made.cleanup()


@pytest.fixture(scope="module")
def module_store_settings(request):
    """The same for fixtures that a whole module shares."""
    made = StoreSettings(request)
    yield made
    made.cleanup()


@pytest.fixture(params=webservers.STORES)
def store_env(request, store_settings):
    """Settings for a fresh, empty store, on each store in turn."""
    return store_settings(request.param)


@pytest.fixture(scope="module", params=webservers.ALL_SETUPS,
                ids=webservers.setup_id)
def site(request, build, module_store_settings):
    """Each of the five web-server set-ups on each store, shared by a module's
    tests; so a test looks at its own links only."""
    kind, store = request.param
    s = webservers.Site(build, kind, {**module_store_settings(store),
                                      "HITS_FLUSH": 1})
    s.store = store
    s.start()
    yield s
    s.stop()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Adds the ends of the logs to the report of a test that failed."""
    report = (yield).get_result()
    if report.failed:
        for process in harness.running:
            report.sections.append(
                ("log of " + process.name, process.logs()[-4000:]))

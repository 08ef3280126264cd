"""Fixtures of the end-to-end tests; see harness.py and webservers.py."""

import shutil
import sys
import uuid
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import harness
import webservers

STORES = ("sqlite", "dynamodb")


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


@pytest.fixture(params=STORES)
def store_env(request, store_settings):
    """Settings for a fresh, empty store, on each store in turn."""
    return store_settings(request.param)


@pytest.fixture(scope="module", params=[
    pytest.param((kind, store), id="%s-%s" % (kind, store))
    for store in STORES for kind in webservers.KINDS
])
def site(request, build, module_store_settings):
    """Each of the five web-server set-ups on each store, shared by a module's
    tests; so a test looks at its own links only."""
    kind, store = request.param
    s = webservers.Site(build, kind, module_store_settings(store))
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

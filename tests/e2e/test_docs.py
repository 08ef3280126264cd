"""The documents agree with the programs and with the tree: keys, verbs, options,
exit statuses, log lines, files, links, and the commands of README.md."""

import json
import os
import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

import harness
import webservers
from harness import ROOT, find_program
from proctools import make_link

DOC = ROOT / "doc"
README = ROOT / "README.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
SAMPLE = DOC / "curt.conf.sample"
MANUALS = ("curt.1", "curt.conf.5", "curt.fcgi.8")
PAGES = (README, CONTRIBUTING, ROOT / "SECURITY.md", *sorted(DOC.glob("*.md")),
         *sorted((ROOT / "deploy").glob("*/README.md")))

# Where the documents place a directory, if curt is built as in README.md.
DOCUMENTED_DIRS = (("runstatedir", "/run"), ("localstatedir", "/var"))
SOURCES = sorted((ROOT / "src").rglob("*.c"))


def run(command, tmp_path, env=None):
    return subprocess.run(
        [str(c) for c in command], env=harness.child_env(tmp_path, env),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, timeout=60)


def section_of(page, title):
    """A section of a manual."""
    text = (DOC / page).read_text()
    return text.split(".Sh %s\n" % title)[1].split("\n.Sh ")[0]


def built_in_dirs(build):
    """[(built-in directory, documented directory)]"""
    text = (build.dir / "Makefile").read_text()
    variables = dict(re.findall(r"^(\w+) = (.*)$", text, re.M))

    def expand(value):
        while "${" in value:
            value = re.sub(r"\$\{(\w+)\}", lambda m: variables[m[1]], value)
        return value

    return [(expand(variables[name]), documented)
            for name, documented in DOCUMENTED_DIRS]


@pytest.fixture
def keys(build, tmp_path):
    """{name: (type, range, default or "", reload or restart)} of `curt keys`."""
    done = run([build.tool, "keys"], tmp_path)
    assert done.returncode == 0, done.stderr
    found = {}
    for line in done.stdout.splitlines():
        name, kind, values, default, change = line.split("\t")
        if kind == "directory":
            # The longest: runstatedir may be below localstatedir.
            built_in, documented = max(
                (d for d in built_in_dirs(build)
                 if default.startswith(d[0] + "/")), key=lambda d: len(d[0]))
            default = documented + default[len(built_in):]
        found[name] = (kind, values, "" if default == "-" else default, change)
    assert len(found) == len(done.stdout.splitlines()) > 20
    return found


# ---- Manuals ------------------------------------------------------------


@pytest.mark.parametrize("name", MANUALS)
def test_manual_is_clean(name, tmp_path):
    done = run([find_program("mandoc"), "-T", "lint", "-W", "warning",
                DOC / name], tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout


def verbs_of(build, tmp_path):
    shown = run([build.tool, "--help"], tmp_path).stdout
    found = re.findall(r"^  ([a-z]+(?: [a-z]+)?) +([A-Z]*|create\|check) ",
                       shown, re.M)
    assert len(found) > 5
    return found


def test_verbs_are_in_the_manual(build, tmp_path):
    there = set()
    for verb, argument in verbs_of(build, tmp_path):
        if "|" in argument:
            there |= {verb + " " + word for word in argument.split("|")}
        else:
            there.add((verb + " " + argument.lower()).strip())
    documented = {" ".join(m).replace("Ar ", "").strip() for m in re.findall(
        r"^\.It Cm ([a-z ]+?)(?: (Ar \w+)(?: \.\.\.)?)?$",
        (DOC / "curt.1").read_text(), re.M)}
    assert documented == there


def test_pages_name_verbs_that_exist(build, tmp_path):
    verbs = {verb.split()[0] for verb, _ in verbs_of(build, tmp_path)}
    for page in PAGES:
        used = set(re.findall(r"(?:`|sudo )curt ([a-z]+)", page.read_text()))
        assert used <= verbs, (page, used - verbs)


@pytest.mark.parametrize("program, name", [
    ("fcgi", "curt.fcgi.8"), ("tool", "curt.1")])
def test_options_are_in_the_manual(build, tmp_path, program, name):
    done = run([getattr(build, program), "-h"], tmp_path)
    assert done.returncode == 0
    options = "".join(re.findall(r"^  -.*\n", done.stdout, re.M))
    there = set(re.findall(r"(?<![\w-])(--?[A-Za-z][A-Za-z-]*)(?=[ ,\n])",
                           options))
    documented = set()
    for item in re.findall(r"^\.It (Fl .*)$", (DOC / name).read_text(), re.M):
        documented |= {"-" + n for n in re.findall(r"Fl (-?[\w-]+)", item)}
    assert documented == there
    assert {"-c", "-h", "-V"} <= there


@pytest.mark.parametrize("name, sources", [
    ("curt.1", r"(tool|doctor)/"), ("curt.fcgi.8", r"main\.c")])
def test_exit_statuses_are_in_the_manual(name, sources):
    documented = {int(n) for n in re.findall(
        r"^\.It (\d+)$", section_of(name, "EXIT STATUS"), re.M)}
    code = "".join(path.read_text() for path in SOURCES
                   if re.match(sources, str(path.relative_to(ROOT / "src"))))
    used = {getattr(os, n) for n in re.findall(r"\bEX_[A-Z]+\b", code)}
    assert documented == used | {0, 1}
    assert len(used) >= 3


def test_log_lines_of_the_manual_are_in_the_code():
    """Each line of DIAGNOSTICS, in a string as the compiler joins it."""
    code = "".join(path.read_text() for path in SOURCES)
    code = re.sub(r'"\s*(?:CURT_\w+|NAME)?\s*"', "", code)
    lines = re.findall(r"^\.It (.+)$", section_of("curt.fcgi.8", "DIAGNOSTICS"),
                       re.M)
    assert len(lines) > 50
    assert [line for line in lines if line not in code] == []


# ---- Configuration keys -------------------------------------------------


def described(text):
    """(type, range, default, change) of "number: 1 to 64; default 7; reload"
    or "string: text; no default; reload"."""
    m = re.fullmatch(
        r"(\w+): (.+?); (?:no default|default (.+?)); (reload|restart)", text)
    assert m, text
    return m[1], m[2], m[3] or "", m[4]


def test_keys_are_in_the_manual(keys):
    section = section_of("curt.conf.5", "KEYS")
    items = re.findall(r"^\.It Cm (\S+)\n\.Pq (.+)$", section, re.M)
    assert [name for name, _ in items] == list(keys)
    assert {name: described(text) for name, text in items} == keys
    assert len(re.findall(r"^\.It ", section, re.M)) == len(keys)


def test_keys_are_in_the_sample(keys):
    text = SAMPLE.read_text()
    items = re.findall(r"^# (\w+: .*; (?:reload|restart))\n#(\w+) =(.*)$", text,
                       re.M)
    assert [name for _, name, _ in items] == list(keys)
    assert {name: described(line) for line, name, _ in items} == keys
    for _, name, value in items:
        if name != "APP_URL":
            assert value.strip() == keys[name][2], name
    assert all(not line or line.startswith("#") for line in text.splitlines())


def config_of(build, tmp_path, path, env=None):
    done = run([build.tool, "-c", path, "config"], tmp_path, env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_sample_has_the_defaults(build, tmp_path):
    """As shipped, and with each setting enabled, it changes nothing."""
    env = {"APP_URL": "https://example.org/t/"}
    defaults = config_of(build, tmp_path, "/dev/null", env)
    assert config_of(build, tmp_path, SAMPLE, env) == defaults
    text, count = re.subn(r"^#([A-Z0-9_]+ =)", r"\1", SAMPLE.read_text(),
                          flags=re.M)
    assert count > 40
    for built_in, documented in built_in_dirs(build):
        text = re.sub(r"^(\w+_DIR = )%s/" % documented, r"\1%s/" % built_in,
                      text, flags=re.M)
    path = tmp_path / "curt.conf"
    path.write_text(text)
    # With a size that is set the cache does not adapt to the free space.
    assert config_of(build, tmp_path, path) == re.sub(
        r"# CACHE_SIZE is not set.*\n", "", defaults)


def test_examples_of_the_manual_load(build, tmp_path):
    examples = re.findall(r"^\.Bd .*\n((?:[A-Z].*\n)+)\.Ed",
                          section_of("curt.conf.5", "EXAMPLES"), re.M)
    assert len(examples) == 5
    for number, text in enumerate(examples):
        path = tmp_path / ("%d.conf" % number)
        path.write_text(text)
        assert "APP_URL = https://" in config_of(build, tmp_path, path)


# ---- Pages --------------------------------------------------------------


def anchors(text):
    """The anchors that a Markdown page gives its headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text,
                                               flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-")
            for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = page.read_text()
    for link in re.findall(r'\]\(([^)\s]+)\)|src="([^"]+)"', text):
        link = "".join(link)
        if re.match(r"https?://", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        if target.suffix == ".svg":
            ElementTree.parse(target)
        if anchor:
            assert anchor in anchors(target.read_text()), link


def test_pages_are_short():
    for page, limit in ((README, 200), (CONTRIBUTING, 150)):
        assert len(page.read_text().splitlines()) <= limit, page


def test_readme_names_every_document():
    files = [p for p in DOC.iterdir()
             if re.fullmatch(r"\.(md|sample|yaml|\d)", p.suffix)]
    assert {p.name for p in files if p.suffix[1:].isdigit()} == set(MANUALS)
    # A folder with a page of its own has its files there; what is in setup/ is
    # built into the tool.
    guides = list((ROOT / "deploy").glob("*/README.md"))
    files += guides + [p for p in (ROOT / "deploy").glob("*/*.conf")
                       if p.parent / "README.md" not in guides
                           and p.parent.name != "setup"]
    assert len(files) >= 13
    for path in files:
        assert "(%s)" % path.relative_to(ROOT) in README.read_text(), path


def test_named_paths_and_code_exist():
    for page in PAGES:
        for name in re.findall(
                r"(?<![\w/.<-])((?:src|tests|deploy|doc)/[\w./*-]*\w/?)",
                re.sub(r"\]\([^)]*\)", "", page.read_text())):
            assert list(ROOT.glob(name)), (page, name)
    code = "".join(p.read_text() for p in (ROOT / "src").rglob("*.[ch]"))
    for block in re.findall(r"^```c\n(.*?)^```", CONTRIBUTING.read_text(),
                            re.M | re.S):
        assert block in code, block


def test_build_packages_of_the_readme():
    """The packages that deploy/debian-packages.sh installs to build."""
    script = (ROOT / "deploy" / "debian-packages.sh").read_text()
    wanted = re.search(r"^    build\)\n        echo ((?:.*\\\n)*.*)$", script,
                       re.M)[1]
    wanted = {w.strip('"').split("|")[0]
              for w in wanted.replace("\\\n", " ").split()}
    listed = re.search(r"apt-get install ((?:.*\\\n)*.*)$", README.read_text(),
                       re.M)[1]
    listed = set(listed.replace("\\\n", " ").split())
    assert listed == wanted | {"libcmocka-dev", "spawn-fcgi"}


def test_quick_start_of_the_readme(build, tmp_path):
    """Each command prints the lines below it, apart from ids and times. (What
    deploy/quickstart.sh does is tested by test_commands.py.)"""
    [text] = re.findall(r"^```console\n(.*?)^```$", README.read_text(),
                        re.M | re.S)
    documented_id = re.search(r"/t/(\w+)", text)[1]
    with webservers.Site(build, "lighttpd", {}) as site:
        new = {"http://127.0.0.1:8080": site.url,
               "build-quickstart/curt ": "%s " % build.tool,
               "build-quickstart/run/curt.conf": str(site.conf)}
        for step in text.split("$ ")[1:]:
            command, _, expected = step.partition("\n")
            for old, value in new.items():
                command = command.replace(old, value)
                expected = expected.replace(old, value)
            done = run(["sh", "-c", command], tmp_path)
            assert done.returncode == 0, done.stderr
            if documented_id not in new:
                new[documented_id] = done.stdout.rpartition("/")[2]
                expected = expected.replace(documented_id, new[documented_id])
            for line in expected.splitlines():
                if re.match(r"X-Amzn|Created|Expires|  user_agent", line):
                    line = line.split()[0]
                assert line == "..." or line in done.stdout, (line, done)


def test_version_is_the_same_everywhere(build, tmp_path):
    version = run([build.tool, "-V"], tmp_path).stdout.split()[1]
    assert run([build.fcgi, "-V"], tmp_path).stdout.split()[1] == version
    news = (ROOT / "NEWS").read_text()
    assert news.splitlines()[0].split() == ["curt", version]
    api = yaml.safe_load((DOC / "openapi.yaml").read_text())
    assert api["info"]["version"] == version
    assert version.rpartition(".")[0] in (ROOT / "SECURITY.md").read_text()


def test_actions_are_those_of_the_policies():
    rows = re.findall(r"^\| .+ \| \[(iam-\w+\.json)\]\S+ \| (.+) \|$",
                      (DOC / "dynamodb.md").read_text(), re.M)
    assert {name for name, _ in rows} == {
        p.name for p in (ROOT / "deploy" / "aws").glob("iam-*.json")}
    for name, cell in rows:
        policy = json.loads((ROOT / "deploy" / "aws" / name).read_text())
        actions = [a for statement in policy["Statement"]
                   for a in ([statement["Action"]] if
                             isinstance(statement["Action"], str)
                             else statement["Action"])]
        assert set(re.findall(r"`(dynamodb:\w+)`", cell)) == set(actions)


# ---- Files --------------------------------------------------------------


def files_of(store):
    """{path: text} of FILES in curt.fcgi(8) that exist with that store."""
    other = {"sqlite": "With DynamoDB:", "dynamodb": "With SQLite:"}[store]
    found = {}
    names = []
    for item in section_of("curt.fcgi.8", "FILES").split("\n.It Pa ")[1:]:
        path, _, text = item.partition("\n")
        names.append(path)
        if text:
            names += [str(Path(path).parent / name) for name in re.findall(
                r"^\.Pa (curt\.db-(?:wal|shm))\b", text, re.M)]
            found.update({n: text for n in names
                          if other not in text and "With lists" not in text
                          and n.startswith(("/var", "/run"))})
            names = []
    return found


def settings_for(store, store_settings, tmp_path):
    """Settings of a fresh store; AWS keys are not in curt.conf."""
    settings = {**store_settings(store), "LIMITS": "on"}
    if store == "dynamodb":
        path = tmp_path / "aws-credentials"
        path.write_text("[default]\n" + "".join(
            "%s = %s\n" % (name.lower(), settings.pop(name))
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")))
        settings["AWS_SHARED_CREDENTIALS_FILE"] = str(path)
    return settings


@pytest.mark.parametrize("store", ["sqlite", "dynamodb"])
def test_files_of_the_manual(build, store, store_settings, tmp_path):
    """They are there and no others, private, and may be deleted while curt is
    stopped and nothing is pending, except the links."""
    documented = files_of(store)
    with harness.Pool(build, settings_for(store, store_settings, tmp_path),
                      workers=1) as pool:
        pool.start()
        short_id = make_link(pool)
        assert pool.request("GET", "/t/" + short_id).status == 301
        dirs = {"/var/lib/curt": Path(pool.settings["STATE_DIR"]),
                "/run/curt": Path(pool.settings["RUNTIME_DIR"])}
        if store == "sqlite":  # the janitor writes that one
            clock = dirs["/var/lib/curt"] / "clock"
            harness.wait_until(
                lambda: clock.exists() and not clock.with_suffix(".new").exists(),
                "the clock's file")
        there = {"%s/%s" % (name, path.name): path
                 for name, path in dirs.items() for path in path.iterdir()}
        assert set(there) == set(documented)
        for name, path in there.items():
            shared = path.name in ("hits", "cache", "limits", "circuit",
                                   "credentials")
            allowed = 0o600 if shared else 0o660
            assert path.stat().st_mode & 0o777 & ~allowed == 0, name
        assert "32 MiB" in documented["/var/lib/curt/hits"]
        assert round((dirs["/var/lib/curt"] / "hits").stat().st_size / 2**20) == 32
        pool.stop()
        assert json.loads(pool.tool("-j", "hits").stdout)["pending"] == 0
        for name, text in documented.items():
            if "Never delete" not in text:
                there[name].unlink()
        pool.start()
        assert pool.request("GET", "/t/" + short_id).status == 301


@pytest.mark.parametrize("kind", ["service", "socket"])
def test_units_of_instances_are_those_of_the_service(kind):
    """But for the name, so that one is not forgotten in a change."""
    def settings(name):
        text = (ROOT / "deploy/systemd" / ("%s.%s" % (name, kind))).read_text()
        for instance in ("curt.aws:curt-%i.aws", "curt.aws"), \
                ("/%i.conf", "/curt.conf"), ("-%i", ""), ("@%i", ""), \
                (" (%i)", ""):
            text = text.replace(*instance)
        return [line for line in text.splitlines()
                if line and not line.startswith("#")]

    assert settings("curt@") == settings("curt")

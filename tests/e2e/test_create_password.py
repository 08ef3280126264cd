"""The variant "a password for /create" of the files in deploy/, and the command
of README.md that makes its password file."""

import base64
import os
import re
import sqlite3
import subprocess
import urllib.error
import urllib.request

import pytest

import harness
import webservers
from harness import ROOT, find_program

README = ROOT / "README.md"


@pytest.mark.parametrize("status", [0, 1])
def test_password_file_of_the_readme(tmp_path, status):
    """No entry is written if openssl fails: two passwords that differ, say."""
    [recipe] = re.findall(r"^    hash=.*\n(?:        .*\n)*",
                          README.read_text(), re.M)
    users = tmp_path / "htpasswd"
    for name, text in (("sudo", 'exec "$@"'), (
            "openssl", "[ %d = 0 ] && echo '$6$salt$hash' || exit 1" % status)):
        path = tmp_path / name
        path.write_text("#!/bin/sh\n%s\n" % text)
        path.chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", recipe.replace("/etc/curt/htpasswd", str(users))],
        env={"PATH": "%s:%s" % (tmp_path, os.environ["PATH"])},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", "")
    assert users.exists() == (status == 0)
    if status == 0:
        assert users.read_text() == "alice:$6$salt$hash\n"


def enable_password(text, users):
    """The shipped file without the comment signs of the variant."""
    [block] = re.findall(
        r"^ *# Variant: a password for /create\..*\n(?: *#.*\n)+", text, re.M)
    lines = re.sub(r"^( *)#     ", r"\1", block, flags=re.M)
    assert lines.count("/etc/curt/htpasswd\"") + lines.count("htpasswd;") == 1
    return text.replace(block, lines.replace("/etc/curt/htpasswd", str(users)))


class WithPassword:
    """A web server with the variant enabled."""

    @property
    def modules(self):  # of Apache httpd
        return super().modules + ("auth_basic", "authn_core", "authn_file",
                                  "authz_user")

    def deploy_file(self):
        path = super().deploy_file()
        users = self.workdir / "htpasswd"
        done = subprocess.run(
            [find_program("openssl"), "passwd", "-6", "-stdin"],
            input="open sesame\n", stdout=subprocess.PIPE, text=True,
            check=True, timeout=60)
        users.write_text("alice:" + done.stdout)
        users.chmod(0o644)
        path.write_text(enable_password(path.read_text(), users))
        return path


@pytest.fixture(params=sorted(webservers.KINDS))
def site_with_password(request, build, store_settings, monkeypatch):
    kind = request.param
    server = type("Server", (WithPassword, webservers.KINDS[kind]), {})
    monkeypatch.setitem(webservers.KINDS, kind, server)
    with webservers.Site(build, kind, store_settings("sqlite")) as site:
        yield site


def post_create(site, path="/create", password=None, form=False):
    """(status, body) of a create over HTTP; form: as a browser sends it. A
    refusal makes a browser ask for the password."""
    body = b'{"long_url": "https://www.debian.org/"}'
    headers = {"Content-Type": "application/json"}
    if form:
        body = b"long_url=https%3A%2F%2Fwww.debian.org%2F"
        headers = {"Accept": "text/html,*/*;q=0.8", "Origin": site.url,
                   "Sec-Fetch-Site": "same-origin"}
    request = urllib.request.Request(site.url + path, body, headers)
    if password:
        value = base64.b64encode(("alice:" + password).encode()).decode()
        request.add_header("Authorization", "Basic " + value)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as e:
        if e.code == 401:
            assert e.headers["WWW-Authenticate"].startswith(
                'Basic realm="curt"')
        return e.code, e.read().decode()


def raw_post(site, target):
    """The whole answer to a create whose request line has this target."""
    body = b'{"long_url": "https://www.debian.org/"}'
    answer = b""
    with harness.socket.create_connection(("127.0.0.1", site.port), 20) as s:
        s.sendall(b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                  b"Content-Type: application/json\r\nConnection: close\r\n"
                  b"Content-Length: %d\r\n\r\n%s"
                  % (target.encode(), len(body), body))
        while more := s.recv(65536):
            answer += more
    return answer


# Ways to write /create of which one might pass by the password.
DISGUISES = (
    "/%63reate", "/create?x", "/create#/t/x", "/create#/../t/x",
    "/create?/../t/x", "/t/../create", "/t/%2e%2e/create", "/t/..%2fcreate",
    "//create", "/./create", "/create/", "/create/../create", "/create%00",
    "/create;x", "/CREATE", "\\create", "/t/x/../../create",
    "http://127.0.0.1/create", "http://127.0.0.1/%63reate",
    "http://127.0.0.1/create#/../t/x", "/create%23/../t/x",
    "/create%3f/../t/x", "/create/../t/x", "/create/..", "/create#/..",
    "/create?/..", "/create%23/..", "/create%3f/../robots.txt",
)


def test_password_protects_create(site_with_password):
    site = site_with_password
    assert post_create(site)[0] == 401
    assert post_create(site, password="wrong")[0] == 401
    status, short_url = post_create(site, password="open sesame")
    assert status == 200
    for target in DISGUISES:
        answer = raw_post(site, target)
        assert answer and site.app_url.encode() not in answer, target
    # Links are followed without it.
    client = urllib.request.build_opener(NoRedirect)
    with pytest.raises(urllib.error.HTTPError) as followed:
        client.open(short_url, timeout=20)
    assert followed.value.code == 301
    assert followed.value.headers["Location"] == "https://www.debian.org/"
    # So is the page, whose form needs it.
    with client.open(site.url + "/", timeout=20) as page:
        assert 'action="/create"' in page.read().decode()
    assert post_create(site, form=True)[0] == 401
    # And nothing was made on the way.
    path = site.settings["STATE_DIR"] + "/curt.db"
    with sqlite3.connect(path, timeout=20) as db:
        assert db.execute("SELECT count(*) FROM links").fetchone() == (1,)
    status, text = post_create(site, password="open sesame", form=True)
    assert status == 200 and text.startswith("<!DOCTYPE html>")
    assert site.app_url in text


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None

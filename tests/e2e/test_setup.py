"""`curt setup`: from a domain and a web server of Debian to a certificate that
is renewed, on a machine for each server."""

import re
import shutil
import subprocess
import time

import pytest

import harness
from acme import Pebble
from debian_package import Package
from machine import Machine

SERVERS = {"nginx": "nginx", "apache": "apache2", "lighttpd": "lighttpd"}
SITES = {"apache": "/etc/apache2/sites-available/curt.conf",
         "lighttpd": "/etc/lighttpd/conf-available/60-curt.conf",
         "nginx": "/etc/nginx/sites-available/curt"}
NAMES = ("sho.rt", "www.sho.rt", "other.test", "wild.test", "a.wild.test",
         "xn--krz-hoa.test", "late.test")
TARGET = "https://www.debian.org/"

# A life of the certificates to renew. certbot renews what ends within 30 days,
# and mod_md by the configuration of the test after 6 seconds.
LIFE = {"apache": 60, "lighttpd": 3600, "nginx": 3600}

# Requests on new connections, 10 a second for each URL, until standard input
# ends. Each is a line: the host, the serial number of its certificate, and the
# status, or the fault.
LOAD = """
import http.client, ssl, sys, threading, urllib.parse
urls, roots = sys.argv[1:-1], sys.argv[-1]
context = ssl.create_default_context(cafile=roots)
stop = threading.Event()
def run(host, path):
    while not stop.wait(0.2):
        serial = "?"
        try:
            connection = http.client.HTTPSConnection(
                host, context=context, timeout=60)
            connection.connect()
            serial = connection.sock.getpeercert()["serialNumber"]
            connection.request("GET", path)
            result = connection.getresponse().status
            connection.close()
        except (OSError, http.client.HTTPException) as e:
            result = repr(e)
        sys.stdout.write("%s %s %s\\n" % (host, serial, result))
        sys.stdout.flush()
for url in 2 * urls:
    parts = urllib.parse.urlsplit(url)
    threading.Thread(target=run, args=(parts.netloc, parts.path)).start()
sys.stdin.read()
stop.set()
"""


class Load:
    """LOAD in the machine."""

    def __init__(self, host, urls, path):
        self.path = path
        with open(path, "wb") as out:
            self.process = host.machine.start(
                ["python3", "-c", LOAD, *urls, host.pebble.roots],
                stdin=subprocess.PIPE, stdout=out, stderr=out)

    def lines(self):
        """The whole ones: [host, serial number, result] each."""
        text = self.path.read_text()
        return [line.split(None, 2)
                for line in text[:text.rfind("\n") + 1].splitlines()]

    def serials(self, name):
        return [serial for host, serial, _ in self.lines() if host == name]

    def wait_requests(self, more, names):
        goal = {name: len(self.serials(name)) + more for name in names}
        harness.wait_until(
            lambda: all(len(self.serials(n)) >= goal[n] for n in names),
            "%d requests" % more, 60, 0.1)

    def stop(self):
        self.process.communicate()
        assert self.process.returncode == 0


def install_curt(machine, build):
    """What the package has, without what its scripts do."""
    shutil.copyfile(Package(build).deb, machine.root / "root/curt.deb")
    machine.run("dpkg-deb --fsys-tarfile /root/curt.deb | "
                "tar -x -C / --keep-directory-symlink && systemd-sysusers && "
                "systemctl daemon-reload")


class Host:
    """A machine with a web server of Debian, curt and pebble."""

    def __init__(self, machine, server):
        self.machine = machine
        self.server = server
        self.service = SERVERS[server]
        self.pebble = Pebble(machine, NAMES, LIFE[server])

    def setup(self, *options, status=0, acme=Pebble.url):
        done = self.machine.run(
            ["curt", "setup", "--server", self.server, "--acme-server", acme,
             *options], check=False, timeout=300)
        assert done.returncode == status, (
            done.stdout + done.stderr + self.machine.run(
                "tail -n 20 /var/log/*/error.log", check=False).stdout)
        return done.stdout + done.stderr

    def etc(self):
        """All files and links of /etc, with a digest or a target."""
        return self.machine.run(
            "find /etc -type f -exec sha256sum {} + | sort; "
            "find /etc -type l -printf '%p %l\\n' | sort").stdout

    def curl(self, url, *options, form="%{http_code} %{redirect_url}",
             check=True):
        """With no other roots than pebble's."""
        done = self.machine.run(
            ["curl", "-sS", "--cacert", self.pebble.roots, "--capath", "/none",
             "-o", "/dev/null", "-w", form, *options, url], check=check)
        return done.stdout.strip()

    def create(self, conf="/etc/curt/curt.conf"):
        return self.machine.run(["curt", "-c", conf, "create",
                                 TARGET]).stdout.strip()


@pytest.fixture(scope="module", params=SERVERS)
def host(request, build):
    with Machine() as machine:
        install_curt(machine, build)
        site = Host(machine, request.param)
        yield site
        site.pebble.stop()


# For what does not depend on the server. The first one, so that pytest makes no
# further machine for it.
ONE_SERVER = pytest.mark.parametrize("host", ["nginx"], indirect=True)

ALIAS = ("--domain", "sho.rt", "--alias", "www.sho.rt")


def test_dry_run_changes_nothing(host):
    before = host.etc()
    shown = host.setup(*ALIAS, "--dry-run")
    assert host.etc() == before
    assert "write " + SITES[host.server] in shown
    assert "    | APP_URL = https://sho.rt/" in shown
    assert "run " in shown and "service %s start" % host.service in shown
    if host.server != "apache":
        assert "certbot certonly" in shown
    assert "dry run: nothing was changed" in shown


def test_http_at_a_prefix(host):
    """As the package does it before there is a domain: on the name of this
    host, which Apache gives to its default site as well."""
    host.setup("--http", "--prefix", "/t/", "--domain", "machine.example")
    short = host.create()
    assert short.startswith("http://machine.example/t/")
    assert host.curl(short) == "301 " + TARGET
    assert host.curl("http://machine.example/tea").startswith("404")
    assert host.curl("http://machine.example/robots.txt").startswith("200")
    if host.server == "apache":  # whose link of this name comes first
        fault = host.machine.root / "etc/apache2/conf-enabled/fault.conf"
        fault.write_text("<IfFile sites-enabled/curt.conf>\nNone\n</IfFile>\n")
        before = host.etc()
        said = host.setup("--http", "--domain", "sho.rt", status=78)
        assert "take back /etc/apache2/sites-enabled/000-curt.conf" in said
        assert host.etc() == before
        fault.unlink()


def test_issue(host, record_property):
    begin = time.monotonic()
    said = host.setup(*ALIAS)
    seconds = time.monotonic() - begin
    print("%s: setup to https in %.1f s" % (host.server, seconds))
    record_property("seconds", seconds)
    assert "ready: " in said
    short = host.create()
    assert short.startswith("https://sho.rt/")
    assert host.curl(short, form="%{http_code} %{redirect_url} %{http_version}"
                     ) == "301 %s 2" % TARGET
    for name in ("sho.rt", "www.sho.rt"):
        # Two hops: to https with the path and the query, and to the target.
        plain = short.replace("https://sho.rt", "http://" + name)
        assert host.curl(plain + "?a=%20b") == "301 %s?a=%%20b" % short
        assert host.curl("https://%s/%s" % (name, short.rpartition("/")[2])
                         ) == "301 " + TARGET
    head = host.machine.run(["curl", "-sSi", "--cacert", host.pebble.roots,
                             short]).stdout
    assert re.search("^strict-transport-security: max-age=[0-9]{8}", head,
                     re.M | re.I)
    assert host.curl(short, "--tls-max", "1.2") == "301 " + TARGET
    assert "000" in host.curl(short, "--tls-max", "1.1", "--ciphers",
                              "DEFAULT@SECLEVEL=0", check=False)
    assert host.curl("http://sho.rt/.well-known/acme-challenge/x"
                     ).startswith("404")
    assert host.curl("http://machine.example/").startswith("200")


@ONE_SERVER
def test_edited_files_are_kept(host):
    """The configuration stays edited; the pool has read it."""
    site = host.machine.root / SITES[host.server].lstrip("/")
    conf = host.machine.root / "etc/curt/curt.conf"
    text = site.read_text()
    site.write_text(text + "# mine\n")
    conf.write_text(conf.read_text() + "LINK_TTL = 0\n")
    before = host.etc()
    said = host.setup(*ALIAS)
    assert "keep " + SITES[host.server] in said
    assert "keep /etc/curt/curt.conf" in said
    assert "try-restart curt.service" in said
    said = host.setup("--domain", "sho.rt", status=78)
    assert SITES[host.server] + ": edited" in said
    said = host.setup(*ALIAS, "--store", "dynamodb", status=78)
    assert "STORE = dynamodb" in said and "by hand" in said
    assert host.etc() == before
    site.write_text(text)


def test_again_changes_nothing(host):
    """Also after a run that was killed: its files are there, but the server
    has not read them."""
    link = next(path for path in host.machine.run(
        "find /etc -type l -lname '*/%s'" % SITES[host.server].rpartition("/")[2]
        ).stdout.split() if "-enabled/" in path)
    before = host.etc()
    host.machine.run("mv %s /root/link && service %s reload" % (
        link, host.service))
    short = host.create()
    harness.wait_until(
        lambda: not host.curl(short, check=False).startswith("301"),
        "the server without the site", interval=0.2)
    host.machine.run("mv /root/link " + link)
    said = host.setup(*ALIAS)
    assert "nothing to change" in said and "\nwrite " not in said
    assert "try-restart" not in said
    assert host.curl(short) == "301 " + TARGET
    assert host.etc() == before


def test_invalid_server_configuration(host):
    path = host.machine.root / {
        "apache": "etc/apache2/sites-enabled/x.conf",
        "lighttpd": "etc/lighttpd/conf-enabled/99-x.conf",
        "nginx": "etc/nginx/conf.d/x.conf"}[host.server]
    path.write_text("server.modules += ( \"mod_none\" )\n")
    before = host.etc()
    said = host.setup("--domain", "other.test", "--instance", "other",
                      status=78)
    assert "invalid, before any change" in said
    assert host.etc() == before
    path.unlink()


@ONE_SERVER
def test_change_is_taken_back(host):
    """The server refuses the site."""
    root = host.machine.root
    link = root / "etc/nginx/sites-enabled/curt"
    link.rename(root / "root/link")
    fault = root / "etc/nginx/conf.d/x.conf"
    fault.write_text("ssl_session_cache shared:curt:5m;\n")
    host.machine.run("mkdir -p /etc/letsencrypt/live/late.test && cp -L "
                     "/etc/letsencrypt/live/sho.rt/* "
                     "/etc/letsencrypt/live/late.test")
    before = host.etc()
    said = host.setup("--domain", "late.test", "--instance", "late", status=78)
    assert "take back " in said and "the change was taken back" in said
    assert host.etc() == before
    host.machine.run("rm -r /etc/letsencrypt/live/late.test")
    fault.unlink()
    (root / "root/link").rename(link)


def test_second_domain_and_its_renewal(host, tmp_path):
    """Its certificate ends soon: it is renewed under load, and no request of
    either domain is lost."""
    names = "sho.rt", "other.test"
    renewal = host.machine.root / "etc/apache2/conf-enabled/x.conf"
    if host.server == "apache":
        renewal.write_text("MDCheckInterval 1s\nMDRenewWindow 90%\n")
    said = host.setup("--instance", "other", "--domain", "other.test",
                      acme=Pebble.short)
    assert "/renewed" not in said  # whose change reloads Apache
    first, second = host.create(), host.create("/etc/curt/other.conf")
    assert second.startswith("https://other.test/")
    assert host.curl(second) == "301 " + TARGET
    assert host.curl(first) == "301 " + TARGET
    assert host.curl(second.replace("other.test", "sho.rt")
                     ).startswith("404")
    load = Load(host, (first, second), tmp_path / "load")
    try:
        load.wait_requests(10, names)
        if host.server != "apache":
            host.machine.run("systemctl start certbot.service")
        harness.wait_until(
            lambda: len(set(load.serials("other.test"))) > 1,
            "the renewed certificate", 150, 0.2)
        load.wait_requests(10, names)
    finally:
        load.stop()
    assert {result for _, _, result in load.lines()} == {"301"}
    assert len(set(load.serials("sho.rt"))) == 1
    assert not set(load.serials("sho.rt")) & set(load.serials("other.test"))
    assert host.machine.run("systemctl is-active " + host.service
                            ).stdout.strip() == "active"
    renewal.unlink(missing_ok=True)


def test_site_on_the_name_of_the_host(host):
    """As the package installs it: Apache gives this name to its default site
    as well."""
    host.setup("--http", "--prefix", "/t/", "--domain", "machine.example",
               "--instance", "own")
    url = host.create("/etc/curt/own.conf")
    assert url.startswith("http://machine.example/t/")
    assert host.curl(url) == "301 " + TARGET


def test_wildcard_by_dns(host):
    host.setup("--instance", "wild", "--domain", "wild.test", "--alias",
               "*.wild.test", "--dns-hook", Pebble.hook)
    short = host.create("/etc/curt/wild.conf")
    assert host.curl(short) == "301 " + TARGET
    assert host.curl(short.replace("wild.test", "a.wild.test")
                     ) == "301 " + TARGET
    names = host.machine.run(
        "openssl s_client -connect a.wild.test:443 -servername a.wild.test "
        "</dev/null 2>/dev/null | openssl x509 -noout -ext subjectAltName"
        ).stdout
    assert "DNS:*.wild.test" in names and "DNS:wild.test" in names


@ONE_SERVER
def test_domain_that_does_not_lead_here(host):
    """The cause is shown, and the command can be repeated."""
    host.pebble.fail("xn--krz-hoa.test")
    options = ("--instance", "late", "--domain", "k\u00fcrz.test")
    said = host.setup(*options, status=75)
    assert "Domain: xn--krz-hoa.test" in said and "run this again" in said
    assert host.curl("http://xn--krz-hoa.test/").startswith("502")
    host.pebble.fail("xn--krz-hoa.test", False)
    assert "ready: " in host.setup(*options)
    said = host.setup("--dry-run", "--domain", "nosuch.test", "--instance",
                      "no")
    assert "warning: nosuch.test does not resolve" in said


@ONE_SERVER
def test_refusals_of_the_machine(host):
    run = host.machine.run
    done = run("curt setup --domain sho.rt", check=False)
    assert done.returncode == 64 and "--server lighttpd, apache" in done.stderr
    done = run("setpriv --reuid=www-data --clear-groups curt setup --server "
               "nginx --domain sho.rt", check=False)
    assert done.returncode == 77 and "by root" in done.stderr
    done = run("curt setup --server apache --domain sho.rt", check=False)
    assert done.returncode == 78
    assert "in use by nginx, not apache2" in done.stderr


@pytest.mark.parametrize("options, text", [
    ("", "needs --domain"),
    ("--domain sho.rt --server iis", "expected lighttpd, apache, nginx or none"),
    ("--server none --domain sho", "not a domain name"),
    ("--server none --domain 192.0.2.1", "not a domain name"),
    ("--server none --domain sho.rt/x", "not a domain name"),
    ("--server none --domain sho.rt --prefix t", "expected / or a name"),
    ("--server none --domain sho.rt --prefix /a/b/", "expected / or a name"),
    ("--server none --domain sho.rt --store mysql", "sqlite or dynamodb"),
    ("--server none --domain sho.rt --instance A", "expected 1 to 32"),
    ("--server none --domain sho.rt --instance acme", "or \"acme\""),
    ("--server none --domain -sho.rt", "not a domain name"),
    ("--server none --domain 0x7f --http", "not a domain name"),
    ("--server none --domain sho.rt --email me", "not an address"),
    ("--server none --domain sho.rt --acme-server http://x/", "an https URL"),
    ("--server none --domain sho.rt --dns-hook /none", "path of a program"),
    ("--server none --domain sho.rt --alias *.sho.rt", "with --dns-hook"),
    ("--server none --domain *.sho.rt", "is for --alias"),
])
def test_options(build, options, text):
    done = subprocess.run([build.tool, "setup", *options.split()],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 64, done
    assert text in done.stderr

"""deploy/dns/: the zone files on knot, and on nsd as its secondary; the same
records for Route 53; challenges of dns-01 by the hook."""

import ipaddress
import json
import os
import re
import subprocess

import botocore.session
import botocore.validate
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rdata
import dns.rdatatype
import dns.zone
import pytest
import yaml

import harness
from test_aws_policy import Loader, references

DEPLOY = harness.ROOT / "deploy" / "dns"
DOMAIN = "sho.rt."
ACME = "acme.example.net."

# {(name, type): (TTL, values)}: what a resolver gets to know.
RECORDS = {
    ("sho.rt.", "A"): (300, {"192.0.2.10", "198.51.100.20"}),
    ("sho.rt.", "AAAA"): (300, {"2001:db8:1::10", "2001:db8:2::20"}),
    ("host1.sho.rt.", "A"): (3600, {"192.0.2.10"}),
    ("host1.sho.rt.", "AAAA"): (3600, {"2001:db8:1::10"}),
    ("host2.sho.rt.", "A"): (3600, {"198.51.100.20"}),
    ("host2.sho.rt.", "AAAA"): (3600, {"2001:db8:2::20"}),
    ("sho.rt.", "CAA"): (3600, {
        '0 issue "letsencrypt.org"', '0 issuewild "letsencrypt.org"',
        '0 iodef "mailto:hostmaster@example.net"'}),
    ("sho.rt.", "HTTPS"): (300, {'1 . alpn="h2"'}),
    ("_acme-challenge.sho.rt.", "CNAME"): (
        3600, {"sho.rt.acme.example.net."}),
}


def canonical(records):
    """The same with values that can be compared."""
    return {(name, kind): (int(ttl), {dns.rdata.from_text("IN", kind, v)
                                      for v in values})
            for (name, kind), (ttl, values) in records.items()}


# ---- The servers --------------------------------------------------------


def run_readme(section, start, replaces):
    """Runs the commands of README.md from one on, to the first that would
    use the installed service, with other paths."""
    text = (DEPLOY / "README.md").read_text().split("## %s\n" % section)[1]
    block = text[text.index("    " + start):].split("\n\n")[0]
    script = re.split(r"^ *sudo (?:knotc|systemctl)", block, flags=re.M)[0]
    assert script
    for old, new in replaces:
        assert old in script, old
        script = script.replace(old, str(new) + "/" * old.endswith("/"))
    script = script.replace("sudo ", "")
    if os.geteuid() != 0:
        script = re.sub(r" -[og] knot", "", script)
    done = subprocess.run(["sh", "-ec", script], cwd=DEPLOY, text=True,
                          stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), (script, done)


class NameServer(harness.Process):
    def __init__(self):
        super().__init__()
        self.workdir.chmod(0o777)
        self.port = harness.free_port()

    def adapt(self, name, replaces):
        """Gives a file in the work directory this test's addresses."""
        path = self.workdir / name
        text = path.read_text()
        for old, new in replaces:
            assert old in text, old
            text = text.replace(old, str(new))
        path.write_text(text)
        return path

    def query(self, name, kind):
        query = dns.message.make_query(name, kind)
        return dns.query.tcp(query, "127.0.0.1", 10, self.port)

    def knows(self, name, kind="SOA"):
        """None: it starts, or nsd ends connections to read its zones again."""
        try:
            return bool(self.query(name, kind).answer)
        except (OSError, EOFError):
            return None

    def records(self, wanted):
        """What it answers, {(name, type): (TTL, {rdata})}."""
        found = {}
        for name, kind in wanted:
            answer = self.query(name, kind)
            assert answer.rcode() == 0 and answer.flags & dns.flags.AA
            [rrset] = answer.answer
            assert (rrset.name, rrset.rdtype) == (
                dns.name.from_text(name), dns.rdatatype.from_text(kind))
            found[name, kind] = rrset.ttl, set(rrset)
        return found


class Knot(NameServer):
    """The primary, installed by the commands of README.md."""

    name = "knotd"

    def start(self, secondary_port):
        run_readme("A server of your own", "sudo keymgr", (
            ("/etc/knot/", self.workdir), ("/var/lib/knot/", self.workdir)))
        self.key = self.workdir / "acme.key"
        self.conf = self.adapt("knot.conf", (
            ("[ 0.0.0.0@53, ::@53 ]", "127.0.0.1@%d" % self.port),
            ("198.51.100.53@53", "127.0.0.1@%d" % secondary_port),
            ("/etc/knot", self.workdir),
            ("/run/knot", self.workdir),
            ("/var/lib/knot", self.workdir),
            ("target: syslog", "target: stdout"),
            *([] if os.geteuid() == 0 else [("    user: knot:knot\n", "")])))
        done = self.knotc("conf-check")
        assert done.returncode == 0, done.stderr
        self.spawn([harness.find_program("knotd"), "-c", self.conf])
        self.wait_ready(lambda: self.knows(DOMAIN) and self.knows(ACME))
        return self

    def knotc(self, *args):
        return subprocess.run(
            [harness.find_program("knotc"), "-c", self.conf, *args],
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=60)


class Nsd(NameServer):
    """The secondary. Its main configuration is this test's."""

    name = "nsd"

    def start(self, primary_port):
        run_readme("A server of your own", "sudo install -m 0644 nsd.conf", (
            ("/etc/nsd/nsd.conf.d/sho.rt.conf", self.workdir / "nsd.conf"),))
        shipped = self.adapt("nsd.conf", (
            ("192.0.2.53@53", "127.0.0.1@%d" % primary_port),
            ("192.0.2.53", "127.0.0.1"),
            ("/var/lib/nsd", self.workdir)))
        conf = self.workdir / "main.conf"
        conf.write_text(f"""\
server:
    ip-address: 127.0.0.1@{self.port}
    username: ""
    database: ""
    pidfile: ""
    zonelistfile: "{self.workdir}/zone.list"
    xfrdfile: ""
    xfrdir: "{self.workdir}"
remote-control:
    control-enable: no
include: "{shipped}"
""")
        self.spawn([harness.find_program("nsd"), "-d", "-c", conf])
        self.wait_ready(lambda: self.knows(DOMAIN))
        return self


@pytest.fixture(scope="module")
def servers():
    with Knot() as knot, Nsd() as nsd:
        knot.start(nsd.port)
        nsd.start(knot.port)
        yield {"knot": knot, "nsd": nsd}


# ---- The records --------------------------------------------------------


@pytest.mark.parametrize("server", ["knot", "nsd"])
def test_each_record_is_answered(servers, server):
    assert servers[server].records(RECORDS) == canonical(RECORDS)


def test_the_zone_has_no_other_records():
    zone = dns.zone.from_file(str(DEPLOY / "sho.rt.zone"), relativize=False)
    found = {(str(name), dns.rdatatype.to_text(rdataset.rdtype))
             for name, rdataset in zone.iterate_rdatasets()}
    assert found == set(RECORDS) | {("sho.rt.", "SOA"), ("sho.rt.", "NS")}


@pytest.mark.parametrize("zone", [DOMAIN, ACME])
def test_nsd_loads_the_zone(zone):
    done = subprocess.run(
        [harness.find_program("nsd-checkzone"), zone,
         DEPLOY / (zone + "zone")], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "is ok" in done.stdout


def test_what_browsers_and_authorities_read(servers):
    """The parameters as the wire has them."""
    answer = servers["knot"].records([("sho.rt.", "HTTPS"),
                                      ("sho.rt.", "CAA")])
    [https] = answer["sho.rt.", "HTTPS"][1]
    assert (https.priority, https.target) == (1, dns.name.root)
    [(key, value)] = https.params.items()
    assert (key, value.ids) == (1, (b"h2",))
    assert {(r.flags, r.tag, r.value) for r in answer["sho.rt.", "CAA"][1]} == {
        (0, b"issue", b"letsencrypt.org"),
        (0, b"issuewild", b"letsencrypt.org"),
        (0, b"iodef", b"mailto:hostmaster@example.net")}


def test_the_guide_queries_them(servers):
    """The queries of doc/production.md, with the answers that it has."""
    text = (harness.ROOT / "doc" / "production.md").read_text()
    steps = re.findall(r"^\$ kdig \+short @ns1.example.net (.*)\n((?:.+\n)*?)"
                       r"(?=\$|```)", text, re.M)
    assert len(steps) == 5
    for query, expected in steps:
        done = subprocess.run(
            ["kdig", "+short", "@127.0.0.1", "-p",
             str(servers["knot"].port), *query.split()],
            capture_output=True, text=True, check=True, timeout=60)
        assert sorted(map(str.strip, done.stdout.splitlines())) == sorted(
            expected.splitlines())


def test_the_addresses_are_for_documentation():
    nets = [ipaddress.ip_network(n) for n in (
        "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")]
    for path in DEPLOY.iterdir():
        for word in re.findall(
                r"(?<![\w.])(?:\d+\.){3}\d+|[0-9a-f]+:[0-9a-f:]*::[0-9a-f]+",
                path.read_text()):
            address = ipaddress.ip_address(word)
            assert (word in ("0.0.0.0", "127.0.0.1")
                    or any(address in net for net in nets)), (path, word)


def test_a_change_reaches_the_secondary(servers):
    """As README.md has it: a new serial, a check, a reload."""
    knot, nsd = servers["knot"], servers["nsd"]
    path = knot.workdir / "sho.rt.zone"
    text = path.read_text()
    try:
        for serial, line in ((2, "new A 192.0.2.30\n"), (3, "")):
            path.write_text(text.replace("1           ; serial",
                                         "%d ; serial" % serial) + line)
            for command in ("zone-check", "zone-reload"):
                done = knot.knotc(command, "sho.rt")
                assert done.returncode == 0, done.stderr
            harness.wait_until(
                lambda line=line:
                nsd.knows("new.sho.rt.", "A") is bool(line),
                "the change on the secondary")
    finally:
        path.write_text(text)


# ---- Route 53 -----------------------------------------------------------


def test_the_json_has_the_records_of_the_zone(servers):
    batch = json.loads((DEPLOY / "route53.json").read_text())
    shape = botocore.session.get_session().get_service_model(
        "route53").operation_model("ChangeResourceRecordSets").input_shape
    report = botocore.validate.ParamValidator().validate(
        {"HostedZoneId": "Z0123456789EXAMPLE", "ChangeBatch": batch}, shape)
    assert not report.has_errors(), report.generate_report()
    assert {c["Action"] for c in batch["Changes"]} == {"UPSERT"}
    sets = [c["ResourceRecordSet"] for c in batch["Changes"]]
    found = {(s["Name"], s["Type"]): (
        s["TTL"], [r["Value"] for r in s["ResourceRecords"]]) for s in sets}
    assert len(found) == len(sets)
    assert canonical(found) == servers["knot"].records(RECORDS)


TEMPLATE = yaml.load((DEPLOY / "route53.yaml").read_text(), Loader)


def evaluate(value, parameters):
    """value as CloudFormation makes it; None for AWS::NoValue."""
    if isinstance(value, list):
        return [e for e in (evaluate(v, parameters) for v in value)
                if e is not None]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        [(function, argument)] = value.items()
        if function == "Ref":
            return parameters.get(argument)
        if function == "Sub":
            return re.sub(r"\$\{(\w+)\}", lambda m: parameters[m[1]], argument)
        if function == "Select":
            number, items = argument
            return evaluate(items, parameters)[number]
        if function == "If":
            condition, *branches = argument
            equal = TEMPLATE["Conditions"][condition]["Equals"]
            left, right = evaluate(equal, parameters)
            return evaluate(branches[left != right], parameters)
    return {k: evaluate(v, parameters) for k, v in value.items()}


def parameters_of_the_readme(**more):
    """Those of the command in README.md, and the defaults."""
    text = (DEPLOY / "README.md").read_text()
    command = re.search(r"--parameter-overrides ((?:.*\\\n)*.*)", text)[1]
    given = dict(word.split("=") for word in command.replace("\\", "").split())
    found = {name: p["Default"] for name, p in TEMPLATE["Parameters"].items()
             if "Default" in p}
    found.update(given, **more)
    assert set(found) == set(TEMPLATE["Parameters"])
    for name, parameter in TEMPLATE["Parameters"].items():
        if parameter["Type"] == "CommaDelimitedList":
            found[name] = found[name].split(",")
        assert found[name] in parameter.get("AllowedValues", [found[name]])
        assert re.fullmatch(parameter.get("AllowedPattern", ".*"),
                            str(found[name]))
    return found


@pytest.mark.parametrize("https", ["false", "true"])
def test_the_template_has_the_records_of_the_zone(servers, https):
    parameters = parameters_of_the_readme(Https=https)
    [group] = TEMPLATE["Resources"].values()
    assert group["Type"] == "AWS::Route53::RecordSetGroup"
    properties = evaluate(group["Properties"], parameters)
    assert properties.pop("HostedZoneId") == parameters["HostedZoneId"]
    sets = properties.pop("RecordSets")
    assert properties == {}
    for record_set in sets:
        assert set(record_set) == {"Name", "Type", "TTL", "ResourceRecords"}
    found = {(s["Name"], s["Type"]): (s["TTL"], s["ResourceRecords"])
             for s in sets}
    assert len(found) == len(sets)
    wanted = servers["knot"].records(RECORDS)
    if https == "false":
        del wanted["sho.rt.", "HTTPS"]
    assert canonical(found) == wanted


def test_the_template_uses_its_parameters():
    text = (DEPLOY / "route53.yaml").read_text()
    used = set(references(TEMPLATE)) | set(re.findall(r"\$\{(\w+)\}", text))
    assert used == (set(TEMPLATE["Parameters"]) | set(TEMPLATE["Conditions"])
                    | {"AWS::NoValue"})


# ---- dns-01 -------------------------------------------------------------


def hook(knot, *args, **env):
    return subprocess.run(
        [DEPLOY / "acme-hook.sh", *args], capture_output=True, text=True,
        timeout=60, stdin=subprocess.DEVNULL, env=harness.child_env(
            knot.workdir, {"ACME_SERVER": "127.0.0.1 %d" % knot.port,
                           "ACME_KEY": str(knot.key), **env}))


def challenges(knot, name):
    """The TXT records of a name's challenges, as an authority finds them."""
    [alias] = knot.query("_acme-challenge." + name, "CNAME").answer[0]
    return {s for rrset in knot.query(alias.target, "TXT").answer
            for r in rrset for s in r.strings}


def test_dehydrated_and_the_hook(servers):
    """A domain and its wildcard: two values at one name, one after the other
    and at once."""
    knot = servers["knot"]
    assert hook(knot, "startup_hook").returncode == 0
    assert challenges(knot, DOMAIN) == set()
    first, second = ("sho.rt", "token-1", "value_1-"), ("sho.rt", "t", "v2")
    for args, expected in (
        (("deploy_challenge", *first), {b"value_1-"}),
        (("deploy_challenge", *second), {b"value_1-", b"v2"}),
        (("deploy_cert", "sho.rt", "key", "cert"), {b"value_1-", b"v2"}),
        (("clean_challenge", *first), {b"v2"}),
        (("clean_challenge", *second), set()),
        (("deploy_challenge", *first, *second), {b"value_1-", b"v2"}),
        (("clean_challenge", *first, *second), set()),
    ):
        done = hook(knot, *args)
        assert (done.returncode, done.stderr) == (0, ""), (args, done)
        assert challenges(knot, DOMAIN) == expected, args


def test_certbot_and_the_hook(servers):
    knot = servers["knot"]
    env = {"CERTBOT_DOMAIN": "sho.rt", "CERTBOT_VALIDATION": "v3"}
    for action, expected in (("deploy_challenge", {b"v3"}),
                             ("clean_challenge", set())):
        done = hook(knot, action, **env)
        assert (done.returncode, done.stderr) == (0, "")
        assert challenges(knot, DOMAIN) == expected


def test_curt_setup_and_the_hook(servers):
    """A domain and its wildcard; Apache httpd removes without a value."""
    knot = servers["knot"]
    for args, expected in (
        (("setup", "sho.rt", "v4"), {b"v4"}),
        (("setup", "sho.rt", "v5"), {b"v4", b"v5"}),
        (("teardown", "sho.rt", "v4"), {b"v5"}),
        (("setup", "sho.rt", "v4"), {b"v4", b"v5"}),
        (("teardown", "sho.rt"), set()),
    ):
        done = hook(knot, *args)
        assert (done.returncode, done.stderr) == (0, ""), (args, done)
        assert challenges(knot, DOMAIN) == expected, args


def test_the_hook_reports_a_failure(servers, tmp_path):
    """A refused update must not look like a challenge that is there."""
    knot = servers["knot"]
    key = tmp_path / "acme.key"
    key.write_text("hmac-sha256:acme:AAAA" + knot.key.read_text()[-41:])
    assert hook(knot, "deploy_challenge", "sho.rt", "t", "v",
                ACME_KEY=str(key)).returncode != 0
    assert challenges(knot, DOMAIN) == set()


@pytest.mark.parametrize("zone, update", [
    (DOMAIN, "update add evil.sho.rt. 60 TXT v"),
    (ACME, "update add evil.acme.example.net. 60 A 192.0.2.66"),
    (ACME, "update delete acme.example.net. NS"),
])
def test_the_key_changes_only_challenges(servers, zone, update):
    """knot answers BADKEY where no ACL allows the update with that key."""
    knot = servers["knot"]
    before = knot.query(zone, "SOA").answer
    done = subprocess.run(
        ["knsupdate", "-v", "-k", knot.key], text=True, capture_output=True,
        timeout=60, input="server 127.0.0.1 %d\nzone %s\n%s\nsend\n"
        % (knot.port, zone, update))
    assert done.returncode != 0
    assert "status: BADKEY" in done.stdout
    assert knot.query(zone, "SOA").answer == before


def test_the_readme_names_every_file():
    text = (DEPLOY / "README.md").read_text()
    for path in DEPLOY.iterdir():
        if path.name != "README.md":
            assert "`%s`" % path.name in text, path.name

"""Pebble, Debian's test server for ACME (RFC 8555), in a machine of its own.

It validates on the machine's ports 80 and 443, and by the DNS of
pebble-challtestsrv. Its own certificate is from an authority that the machine
trusts; what it issues is from another one, a new one at each start.
"""

import json

import harness

DIR = "/srv/pebble"

# The authority, and a certificate of it for the server.
MAKE_CERTIFICATE = """
set -e
mkdir -p {dir} && cd {dir}
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 \\
    -subj /CN=pebble-test -keyout ca.key -out ca.pem
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \\
    -subj /CN=localhost -keyout key.pem -out request.pem
echo 'subjectAltName = DNS:localhost,IP:127.0.0.1' >extensions
openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial \\
    -days 9 -extfile extensions -out cert.pem
cat ca.pem >>/etc/ssl/certs/ca-certificates.crt
"""

# What `curt setup --dns-hook` calls; a record that exists stays.
DNS_HOOK = """#!/bin/sh
case $1 in
setup) path=set-txt ;;
teardown) path=clear-txt ;;
esac
exec curl -fsS -o /dev/null http://localhost:8055/$path \\
    -d "{\\"host\\": \\"_acme-challenge.$2.\\", \\"value\\": \\"$3\\"}"
"""


class Pebble:
    """Two of them: the certificates of the second one, at `short`, have a life
    of `seconds`. All names resolve to the machine but those of fail(); `names`
    are in its /etc/hosts as well."""

    hook = DIR + "/dns-hook"
    url = "https://localhost:14000/dir"
    short = "https://localhost:14001/dir"
    roots = DIR + "/roots.pem"

    def __init__(self, machine, names, seconds):
        self.machine = machine
        self.processes = []
        machine.run(MAKE_CERTIFICATE.format(dir=DIR))
        self.write("dns-hook", DNS_HOOK).chmod(0o755)
        with open(machine.root / "etc/hosts", "a", encoding="ascii") as hosts:
            hosts.write("127.0.0.1 %s\n" % " ".join(names))
        self.start(["pebble-challtestsrv", "-defaultIPv4", "127.0.0.1",
                    "-defaultIPv6", "", "-dns01", "127.0.0.1:8053", "-http01",
                    "", "-https01", "", "-tlsalpn01", ""])
        self.serve(0, 90 * 86400)
        self.serve(1, seconds)
        # The machine trusts them, for `curt doctor`.
        machine.run("cd %s && cat root-*.pem >roots.pem && cat roots.pem "
                    ">>/etc/ssl/certs/ca-certificates.crt" % DIR)

    def write(self, name, text):
        path = self.machine.root / DIR.lstrip("/") / name
        path.write_text(text)
        return path

    def start(self, command):
        self.processes.append(self.machine.start(
            ["sh", "-c", 'exec "$@" >>%s/log 2>&1' % DIR, "sh", *command]))

    def serve(self, number, seconds):
        self.write("config-%d.json" % number, json.dumps({"pebble": {
            "listenAddress": "127.0.0.1:%d" % (14000 + number),
            "managementListenAddress": "127.0.0.1:%d" % (15000 + number),
            "certificate": DIR + "/cert.pem", "privateKey": DIR + "/key.pem",
            "httpPort": 80, "tlsPort": 443, "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
            "certificateValidityPeriod": seconds}}))
        self.start(["env", "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0",
                    "pebble", "-config", "%s/config-%d.json" % (DIR, number),
                    "-dnsserver", "127.0.0.1:8053"])
        fetch = ("cd %s && curl -fsS --cacert ca.pem -o root-%d.pem "
                 "https://localhost:%d/roots/0" % (DIR, number, 15000 + number))
        harness.wait_until(
            lambda: self.machine.run(fetch, check=False).returncode == 0,
            "pebble", interval=0.1)

    def fail(self, name, failing=True):
        """Its DNS answers SERVFAIL."""
        self.machine.run([
            "curl", "-fsS", "-d", json.dumps({"host": name}),
            "http://localhost:8055/%s-servfail" % ("set" if failing else "clear")])

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()

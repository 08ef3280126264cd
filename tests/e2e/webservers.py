"""The five set-ups of a web server in front of curt.

Each writes a small main configuration, that of a site which exists already,
and lets it include the file from deploy/ exactly as shipped: only the paths of
the socket, the program and the configuration file are replaced.
"""

import os
import re
import shutil
import signal
import urllib.error
import urllib.request
from pathlib import Path

import harness
from harness import ROOT, Process, find_program, make_dir

DEPLOY = ROOT / "deploy"

SITE_ERROR = "the error page of the site\n"

# What the site had before curt came. Some of it curt hides, or does not by a
# hair.
SITE_FILES = {
    "index.html": "the front page of the site\n",
    "robots.txt": "the robots.txt of the site\n",
    "favicon.ico": "the icon of the site\n",
    "error.html": SITE_ERROR,
    "t.html": "a page called t\n",
    "tea/index.html": "a page about tea\n",
    "created.html": "a page called created\n",
    "create.d/index.html": "a page below create.d\n",
    "sub/t/index.html": "a page below sub/t\n",
    "t/index.html": "a page that curt hides\n",
    ".well-known/acme-challenge/token": "a token of the site\n",
}


def uncomment(text, *starts):
    """Activates example lines of a shipped file: those whose text, after the
    comment sign and its indentation, begins with one of `starts`. Each must
    be there."""
    for start in starts:
        pattern = r"^( *)# +(%s.*)$" % re.escape(start)
        text, count = re.subn(pattern, r"\1\2", text, flags=re.M)
        assert count == 1, "%r: %d lines" % (start, count)
    return text


def variant(shipped, title):
    """The lines of a variant in the comments of a shipped file, activated."""
    block = re.search(r"^# Variant: %s.*\n(?:(?!# Variant:)#.*\n)+" % title,
                      (DEPLOY / shipped).read_text(), re.M)[0]
    return "".join(line + "\n" for line in re.findall(r"^#     (.*)", block, re.M))


class WebServer(Process):
    """A site on a loopback port with one of the deployment files.

    spawns: the server starts curt.fcgi itself, so there is no pool.
    examples: commented lines of the shipped file to activate.
    at_root: take the variant for ids at the root of the host.
    own_home: do what the shipped file says for a site that has its own page at
    "/", robots.txt and favicon.ico.
    """

    shipped = None
    root_replaces = None  # a pattern for what the variant at the root replaces
    root_variant = None   # the file that has it, where it is another
    home_pattern = None   # what a site with a page of its own removes
    spawns = False
    forwarded_examples = ()

    def __init__(self, port, workdir, socket_path, program, conf, examples=(),
                 at_root=False, own_home=False):
        super().__init__(workdir)
        self.at_root = at_root
        self.own_home = own_home
        self.port = port
        self.url = "http://127.0.0.1:%d" % port
        self.socket_path = socket_path
        self.program = program
        self.conf = conf
        self.examples = examples
        self.docroot = self.workdir / "site"
        self.error_log = self.workdir / "error.log"
        for name, text in SITE_FILES.items():
            path = self.docroot / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def deploy_file(self):
        """The shipped file in the work directory, with this test's paths."""
        text = (DEPLOY / self.shipped).read_text()
        text = uncomment(text, *self.examples)
        if self.at_root:
            lines = variant(self.root_variant or self.shipped, "ids at the root")
            text, count = re.subn(self.root_replaces, lambda _: lines, text,
                                  flags=re.M | re.S)
            assert count == 1
        if self.own_home:
            text = self.without_home(text)
        for old, new in (
            ("/run/curt/curt.sock", self.socket_path),
            ("/usr/local/sbin/curt.fcgi", self.program),
            ("/etc/curt/curt.conf", self.conf),
        ):
            text = text.replace(old, str(new))
        path = self.workdir / ("shipped-" + self.shipped.rpartition("/")[2])
        path.write_text(text)
        return path

    def without_home(self, text):
        """What the comment in the file says that such a site does."""
        text, count = re.subn(self.home_pattern, "", text, flags=re.M | re.S)
        assert count == 1
        return text

    def write_main(self, include):
        """Writes the site's configuration; returns the command to run."""
        raise NotImplementedError

    def start(self):
        include = self.deploy_file()
        self.spawn(self.write_main(include), harness.child_env(self.workdir))
        self.wait_ready(self.answers)
        return self

    def answers(self):
        try:
            path = ("/.well-known/acme-challenge/token" if self.at_root
                    else "/index.html")
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def stop(self, deadline=harness.STOP_DEADLINE):
        """Also waits for what the server started, which it may not do, so
        that nothing is missed of what those say when they end."""
        if self.process is None:
            return
        started = harness.descendants_of(self.pid)
        try:
            super().stop(deadline)
            harness.wait_until(
                lambda: not any(map(harness.alive, started)),
                "end of the processes of " + self.name, deadline)
        finally:
            for pid in filter(harness.alive, started):
                os.kill(pid, signal.SIGKILL)
        self.check_sanitizers()

    def logs(self):
        text = super().logs()
        for path in sorted(self.workdir.glob("error.log*")):
            text += path.read_text(errors="replace")
        return text

    def write(self, name, text):
        path = self.workdir / name
        path.write_text(text)
        return path


class Lighttpd(WebServer):
    name = "lighttpd"
    # The graceful end. After TERM the status is 1 where a client still had a
    # connection.
    stop_signal = signal.SIGINT
    shipped = "lighttpd/curt.conf"
    root_replaces = r'^\$HTTP\["url"\].*^\}\n(?=\n# Variant)'
    home_pattern = r'^\$HTTP\["url"\] =~ .*?^\}\n'
    forwarded_examples = (
        'server.modules += ( "mod_extforward" )',
        "extforward.forwarder",
        "extforward.headers",
    )

    def write_main(self, include):
        user = harness.web_user()
        account = (
            'server.username = "%s"\nserver.groupname = "%s"\n'
            % (user.pw_name, user.pw_name) if user else "")
        main = self.write("main.conf", f"""\
server.document-root = "{self.docroot}"
server.bind = "127.0.0.1"
server.port = {self.port}
{account}server.errorlog = "{self.error_log}"
server.breakagelog = "{self.error_log}.children"
server.upload-dirs = ( "{make_dir(self.workdir / 'upload')}" )
server.modules = ( "mod_access", "mod_indexfile", "mod_staticfile" )
url.access-deny = ( "~", ".inc" )
index-file.names = ( "index.html" )
mimetype.assign = ( ".html" => "text/html" )
server.error-handler-404 = "/error.html"
server.error-intercept = "enable"
include "{include}"
""")
        # They are opened after lighttpd changed to its account.
        for log in (self.error_log, Path(f"{self.error_log}.children")):
            log.touch()
            log.chmod(0o666)
        return [find_program("lighttpd"), "-D", "-f", main]


class LighttpdBinPath(Lighttpd):
    name = "lighttpd-bin-path"
    shipped = "lighttpd/curt-bin-path.conf"
    root_variant = "lighttpd/curt.conf"
    spawns = True
    forwarded_examples = ()


class Apache(WebServer):
    modules = ()
    root_replaces = r"^<LocationMatch [^\n]*\n"
    forwarded_examples = (
        "RemoteIPHeader",
        "RemoteIPInternalProxy",
    )
    in_vhost = True
    extra = ""

    def without_home(self, text):
        lines = variant(self.shipped, "a site with a page")
        text, count = re.subn(self.root_replaces, lambda _: lines, text,
                              flags=re.M)
        assert count == 1
        return text

    def module_dir(self):
        for path in ("/usr/lib/apache2/modules", "/usr/lib64/httpd/modules"):
            if os.path.isdir(path):
                return path
        raise RuntimeError("no Apache modules found")

    def write_main(self, include):
        user = harness.web_user()
        account = f"User {user.pw_name}\nGroup {user.pw_name}\n" if user else ""
        modules = ["mpm_event", "authz_core", "dir", "mime", "rewrite",
                   "remoteip", "reqtimeout", *self.modules]
        load = "".join(
            f"LoadModule {m}_module {self.module_dir()}/mod_{m}.so\n"
            for m in modules)
        here = f"Include {include}\n"
        # The .htaccess file is that of many a CMS: what is no file goes to
        # the front page.
        (self.docroot / ".htaccess").write_text("""\
RewriteEngine On
RewriteCond %{REQUEST_FILENAME} !-f
RewriteCond %{REQUEST_FILENAME} !-d
RewriteRule ^cms/ /index.html [L]
RewriteRule ^(create$|t/) /index.html [L]
""")
        main = self.write("main.conf", f"""\
ServerRoot "{self.workdir}"
PidFile "{self.workdir}/httpd.pid"
Mutex "file:{make_dir(self.workdir / 'mutex')}" default
ErrorLog "{self.error_log}"
LogLevel info
Listen 127.0.0.1:{self.port}
ServerName 127.0.0.1
{account}{load}TypesConfig /etc/mime.types
LimitRequestBody 102400
# As Debian's mods-available have it.
StartServers 2
MinSpareThreads 25
MaxSpareThreads 75
ThreadLimit 64
ThreadsPerChild 25
MaxRequestWorkers 150
RequestReadTimeout header=20-40,minrate=500 body=10,minrate=500
Include {DEPLOY}/apache/curt-mpm.conf
{self.extra}
<Directory />
    AllowOverride None
    Require all denied
</Directory>
<Directory "{self.docroot}">
    AllowOverride All
    Require all granted
</Directory>
{"" if self.in_vhost else here}
<VirtualHost 127.0.0.1:{self.port}>
    DocumentRoot "{self.docroot}"
    ErrorDocument 404 /error.html
    {here if self.in_vhost else ""}
</VirtualHost>
""")
        return [find_program("apache2", "httpd"), "-DFOREGROUND", "-f", main]


class ApacheProxy(Apache):
    name = "apache-proxy-fcgi"
    shipped = "apache/curt-proxy-fcgi.conf"
    modules = ("proxy", "proxy_fcgi")
    # A site that has its own opinion on the errors of what is behind it.
    extra = "ProxyErrorOverride On"


class ApacheFcgid(Apache):
    name = "apache-fcgid"
    shipped = "apache/curt-fcgid.conf"
    modules = ("alias", "fcgid")
    spawns = True
    in_vhost = False
    forwarded_examples = ()

    @property
    def extra(self):
        return (f'FcgidIPCDir "{make_dir(self.workdir / "ipc")}"\n'
                f'FcgidProcessTableFile "{self.workdir}/fcgid_shm"')


class Nginx(WebServer):
    name = "nginx"
    shipped = "nginx/curt.conf"
    root_replaces = r"^location \^~ /t/ \{\n"
    home_pattern = r"^location ~ [^\n]*\n"
    forwarded_examples = ("set_real_ip_from", "real_ip_header")

    def write_main(self, include):
        user = harness.web_user()
        account = f"user {user.pw_name} {user.pw_name};\n" if user else ""
        temp = make_dir(self.workdir / "temp")
        main = self.write("main.conf", f"""\
{account}worker_processes 1;
pid {self.workdir}/nginx.pid;
error_log {self.error_log} info;
events {{ worker_connections 768; }}
http {{
    access_log off;
    client_body_temp_path {temp}/body;
    proxy_temp_path {temp}/proxy;
    fastcgi_temp_path {temp}/fastcgi;
    uwsgi_temp_path {temp}/uwsgi;
    scgi_temp_path {temp}/scgi;
    types {{ text/html html; }}
    default_type application/octet-stream;
    fastcgi_intercept_errors on;
    server {{
        listen 127.0.0.1:{self.port};
        server_name 127.0.0.1;
        root {self.docroot};
        index index.html;
        error_page 404 405 410 413 415 /error.html;
        location ~ \\.php$ {{ return 403; }}
        include {include};
    }}
}}
""")
        return [find_program("nginx"), "-p", self.workdir, "-c", main,
                "-e", self.error_log, "-g", "daemon off;"]


class NginxProxy(Nginx):
    """A reverse proxy before another site (http://127.0.0.1:8080 in the shipped
    file). It is not one of the set-ups of curt itself."""

    name = "nginx-proxy"
    shipped = "nginx/curt-proxy.conf"
    home_pattern = r"^location ~ .*?^\}\n"

    def __init__(self, port, workdir, backend, edit=lambda text: text,
                 at_root=False, own_home=False):
        super().__init__(port, workdir, "", "", "", at_root=at_root,
                         own_home=own_home)
        self.backend = backend
        self.edit = edit

    def deploy_file(self):
        path = super().deploy_file()
        text = path.read_text()
        assert text.count("http://127.0.0.1:8080") == 3 - self.own_home
        path.write_text(self.edit(text).replace("http://127.0.0.1:8080",
                                                self.backend))
        return path


KINDS = {
    c.name: c
    for c in (Lighttpd, LighttpdBinPath, ApacheProxy, ApacheFcgid, Nginx)
}


STORES = ("sqlite", "dynamodb")

# Parameters of the fixture "site": each server with each store, and each
# server once with the stores in turn, for what does not depend on the store.
# They are the same objects: for an equal one pytest would start another site.
ALL_SETUPS = [(kind, store) for store in STORES for kind in KINDS]
EACH_SERVER = [ALL_SETUPS[i + i % 2 * len(KINDS)] for i in range(len(KINDS))]


def setup_id(setup):
    return "%s-%s" % setup


class Site:
    """A web server with curt behind it, one way or the other.

    settings: configuration keys without APP_URL, which follows the port.
    at_root: links are http://sho.rt/ID, by the variant for that.
    own_home: the site keeps its own page at "/", robots.txt and favicon.ico.
    """

    def __init__(self, build, kind, settings, workers=2, examples=(),
                 at_root=False, own_home=False):
        cls = KINDS[kind]
        self.build = build
        self.kind = kind
        self.workdir = harness.make_workdir()
        self.port = harness.free_port()
        self.url = "http://127.0.0.1:%d" % self.port
        self.app_url = "http://sho.rt/" if at_root else self.url + "/t/"
        self.settings = {**harness.OPEN_SETTINGS, **settings,
                         "APP_URL": self.app_url}
        self.pool = None
        socket_path = self.workdir / "curt.sock"
        conf = self.workdir / "curt.conf"
        program = build.fcgi
        if cls.spawns:
            harness.write_conf(conf, self.settings)
            # Where the web server's account can surely reach it.
            program = self.workdir / "curt.fcgi"
            shutil.copy(build.fcgi, program)
            self.workdir.chmod(0o777)
        else:
            self.pool = harness.Pool(build, self.settings, workers,
                                     workdir=self.workdir)
            conf = self.pool.conf
        self.conf = conf
        self.server = cls(self.port, self.workdir, socket_path, program, conf,
                          examples, at_root, own_home)

    def start(self):
        try:
            if self.pool:
                self.pool.start()
            self.server.start()
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self):
        """Ends everything, asserts that it ended well, removes the files."""
        try:
            self.server.stop()
            if self.pool:
                self.pool.stop()
        finally:
            self.kill()

    def kill(self):
        self.server.kill()
        if self.pool:
            self.pool.kill()
        shutil.rmtree(self.workdir, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.stop()
        else:
            self.kill()

    def logs(self):
        return self.server.logs() + (self.pool.logs() if self.pool else "")

    def tool(self, *args, check=True):
        """Runs the curt tool with the configuration of this site."""
        return harness.run_tool(self.build, self.workdir,
                                harness.child_env(self.workdir),
                                ("-c", self.conf), args, check)

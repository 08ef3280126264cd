/* curt setup: from a domain and a web server of Debian to https://sho.rt/. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <ifaddrs.h>
#include <json-c/json.h>
#include <netdb.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "doctor/doctor.h"
#include "link/host.h"
#include "tool/main.h"
#include "tool/setup.h"

#define WEBROOT "/var/lib/curt-acme"
#define RENEWED WEBROOT "/renewed" /* mod_md writes a domain into it */

/* Mozilla's intermediate settings, without DHE: no server has parameters for
 * it (https://ssl-config.mozilla.org/, version 5.7). */
#define CIPHERS                                                                \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"               \
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"               \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"

/* How long mod_md may take for a certificate, in milliseconds, and how often it
 * may fail in that time. */
#define MD_WAIT_MS  90000
#define MD_FAILURES 2

/* How long a server may take to listen on its ports, in milliseconds. */
#define PORT_WAIT_MS 10000

#define NAMES_MAX 8192

/* The modules that Apache needs, those that others need first. */
static const char *const apache_modules[] = {
    "proxy", "proxy_fcgi", "socache_shmcb", "ssl", "http2", "headers", "md",
};
#define APACHE_HTTP_MODULES 2 /* of them, without a certificate */
#define APACHE_MODULES      (sizeof(apache_modules) / sizeof(apache_modules[0]))

/* A web server as Debian has it. */
struct setup_server {
    const char *name;    /* of the option, and of its templates */
    const char *service; /* of its package, its service and its processes */
    const char *test[5]; /* the command that checks its configuration */
    const char *shipped; /* curt's file for it */
    const char *snippet, *site, *link; /* where they are; with @FILE@ */
    const char *target;                /* of the link */
    const char *needs[2][2]; /* for a certificate: a file, its package */
};

static const struct setup_server servers[] = {
    {"lighttpd",
     "lighttpd",
     {"/usr/sbin/lighttpd", "-tt", "-f", "/etc/lighttpd/lighttpd.conf"},
     "lighttpd/curt.conf",
     "/etc/lighttpd/@FILE@.conf",
     "/etc/lighttpd/conf-available/60-@FILE@.conf",
     "/etc/lighttpd/conf-enabled/60-@FILE@.conf",
     "../conf-available/60-@FILE@.conf",
     {{"/usr/lib/lighttpd/mod_openssl.so", "lighttpd-mod-openssl"},
      {"/usr/bin/certbot", "certbot"}}},
    {"apache",
     "apache2",
     {"/usr/sbin/apache2ctl", "configtest"},
     "apache/curt-proxy-fcgi.conf",
     "/etc/apache2/conf-available/@FILE@.conf",
     "/etc/apache2/sites-available/@FILE@.conf",
     "/etc/apache2/sites-enabled/@FILE@.conf",
     "../sites-available/@FILE@.conf",
     {{"/etc/apache2/mods-available/md.load", "apache2"}}},
    {"nginx",
     "nginx",
     {"/usr/sbin/nginx", "-t"},
     "nginx/curt.conf",
     "/etc/nginx/snippets/@FILE@.conf",
     "/etc/nginx/sites-available/@FILE@",
     "/etc/nginx/sites-enabled/@FILE@",
     "/etc/nginx/sites-available/@FILE@",
     {{"/usr/bin/certbot", "certbot"}}},
};
#define SERVER_COUNT (sizeof(servers) / sizeof(servers[0]))

struct setup {
    struct setup_steps steps;
    const struct ctl *ctl;
    const struct setup_server *server; /* NULL: only the configuration */
    bool tls, running,
        obtaining; /* the server runs; a certificate is missing */
    const char *instance, *prefix;
    const char *new_modules[APACHE_MODULES + 4]; /* a command line */
    struct buf domain, names, aliases, hosts;    /* "a b", "a\.b|c\.d" */
    char *file, *app_url, *conf_path, *socket, *certificate, *email;
    struct setup_pair pairs[32];
};

/* ---- Options --------------------------------------------------------- */

static bool refuse(const char *option, const char *value, const char *why)
{
    ctl_say(stderr, "curt: --%s %s: %s; see: curt help setup", option, value,
            why);
    return false;
}

static bool is_word(const char *s, const char *characters)
{
    return s[0] != '\0' && s[strspn(s, characters)] == '\0';
}

/* Appends a name to the lists. */
static void add_name(struct setup *s, bool wildcard, const char *name)
{
    const char *star = wildcard ? "*." : "";
    if (s->domain.len == 0)
        buf_add_str(&s->domain, name);
    else
        buf_addf(&s->aliases, "%s%s%s", s->aliases.len > 0 ? " " : "", star,
                 name);
    buf_addf(&s->names, "%s%s%s", s->names.len > 0 ? " " : "", star, name);
    buf_addf(&s->hosts, "%s%s", s->hosts.len > 0 ? "|" : "",
             wildcard ? "[^.]+\\." : "");
    for (const char *c = name; *c != '\0'; c++)
        buf_addf(&s->hosts, *c == '.' ? "\\%c" : "%c", *c);
}

/* Takes the value of --domain or --alias: a name, in punycode or not. */
static bool take_name(struct setup *s, const char *option, const char *value)
{
    const bool wildcard = strncmp(value, "*.", 2) == 0;
    const char *rest = value + (wildcard ? 2 : 0);
    struct buf name;
    if (wildcard && (strcmp(option, "domain") == 0 ||
                     (s->tls && ctl_option(s->ctl, "dns-hook") == NULL)))
        return refuse(option, value,
                      "a wildcard is for --alias, with --dns-hook");
    buf_init(&name, 300);
    bool ok = rest[0] != '\0' &&
              host_normalise(rest, strlen(rest), &name) == NULL &&
              is_word(name.data, TEXT_LOWER TEXT_DIGITS "-.");
    /* A name without a dot is enough for http. */
    const char *last = ok ? strrchr(name.data, '.') : NULL;
    ok = ok &&
         (last == NULL ? !s->tls && name.data[0] > '9'
                       : last[1] != '\0' && !is_word(last + 1, TEXT_DIGITS));
    if (ok)
        add_name(s, wildcard, name.data);
    buf_free(&name);
    return ok || refuse(option, value, "not a domain name such as sho.rt");
}

/* Sets the server: the named one, or the only one that is installed. */
static bool choose_server(struct setup *s)
{
    const char *name = ctl_option(s->ctl, "server");
    size_t count = 0;
    for (size_t i = 0; i < SERVER_COUNT; i++)
        if (name != NULL ? strcmp(name, servers[i].name) == 0
                         : access(servers[i].test[0], X_OK) == 0) {
            s->server = &servers[i];
            count++;
        }
    if (name != NULL && count == 0 && strcmp(name, "none") != 0)
        return refuse("server", name,
                      "expected lighttpd, apache, nginx or none");
    if (name == NULL && count != 1) {
        ctl_say(stderr, count == 0
                            ? "curt: no web server is installed; install "
                              "lighttpd, apache2 or nginx, or use --server none"
                            : "curt: several web servers are installed; choose "
                              "one with --server lighttpd, apache or nginx");
        return false;
    }
    return true;
}

static bool check_options(const struct ctl *ctl)
{
    const char *instance = ctl_option(ctl, "instance");
    const char *prefix = ctl_option(ctl, "prefix");
    const char *store = ctl_option(ctl, "store");
    const char *hook = ctl_option(ctl, "dns-hook");
    const char *url = ctl_option(ctl, "acme-server");
    const char *email = ctl_option(ctl, "email");
    const size_t len = prefix != NULL ? strlen(prefix) : 0;
    if (instance != NULL && (!is_word(instance, TEXT_LOWER TEXT_DIGITS "-") ||
                             strlen(instance) > 32 || instance[0] == '-' ||
                             strcmp(instance, "curt") == 0))
        return refuse("instance", instance,
                      "expected 1 to 32 of a-z, 0-9 and -, not \"curt\"");
    if (prefix != NULL && strcmp(prefix, "/") != 0 &&
        (len < 3 || prefix[0] != '/' || prefix[len - 1] != '/' ||
         strspn(prefix + 1, TEXT_ALNUM "-_") != len - 2))
        return refuse("prefix", prefix, "expected / or a name such as /t/");
    if (store != NULL && strcmp(store, "sqlite") != 0 &&
        strcmp(store, "dynamodb") != 0)
        return refuse("store", store, "expected sqlite or dynamodb");
    if (hook != NULL && (hook[0] != '/' || access(hook, X_OK) != 0 ||
                         !is_word(hook, TEXT_ALNUM "/._-")))
        return refuse("dns-hook", hook,
                      "expected the path of a program, without special "
                      "characters");
    if (url != NULL && (strncmp(url, "https://", 8) != 0 ||
                        !is_word(url, TEXT_ALNUM ":/._-~?&=%")))
        return refuse("acme-server", url, "expected an https URL");
    if (email != NULL &&
        (strchr(email, '@') == NULL || !is_word(email, TEXT_ALNUM "@._-+")))
        return refuse("email", email, "not an address");
    return true;
}

static void add_pair(struct setup *s, const char *key, const char *text)
{
    size_t i = 0;
    while (s->pairs[i].key != NULL)
        i++;
    s->pairs[i] = (struct setup_pair){key, text};
}

/* What differs from server to server, and from domain to domain, in the
 * templates and in the shipped files. */
static void set_pairs(struct setup *s)
{
    const char *hook = ctl_option(s->ctl, "dns-hook");
    const int ipv6 = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    add_pair(s, "@FILE@", s->file);
    add_pair(s, "@DOMAIN@", s->domain.data);
    add_pair(s, "@NAMES@", s->names.data);
    add_pair(s, "@ALIASES@", s->aliases.len > 0 ? s->aliases.data : NULL);
    add_pair(s, "@HOSTS@", s->hosts.data);
    add_pair(s, "@WEBROOT@", WEBROOT);
    add_pair(s, "@CIPHERS@", CIPHERS);
    add_pair(s, "@EMAIL@", s->email);
    add_pair(s, "@ACME_SERVER@", ctl_option(s->ctl, "acme-server"));
    add_pair(s, "@CHALLENGE@", hook != NULL ? "dns-01" : "http-01");
    add_pair(s, "@DNS_HOOK@", hook);
    if (s->server != NULL)
        add_pair(s, "@SNIPPET@", setup_fill(s->server->snippet, s->pairs));
    if (ipv6 >= 0)
        close(ipv6);
    else
        add_pair(s, "listen [::]:", NULL);
    add_pair(s, "/run/curt/curt.sock", s->socket);
    add_pair(s, "https://example.org/t/", s->app_url);
    add_pair(s, "server.modules += ( \"mod_fastcgi\" )",
             "# The file that includes this one loads mod_fastcgi.");
    if (strcmp(s->prefix, "/") == 0) { /* their variant for the root */
        add_pair(s, "\"^/(t/|(create|robots\\.txt|favicon\\.ico)?$)\"",
                 "\"^/(?!\\.well-known/)\"");
        add_pair(s, "location ^~ /t/ {",
                 "location ^~ /.well-known/ { }\nlocation / {");
        add_pair(s, "$HTTP[\"url\"] =^ \"/t/\" {",
                 "$HTTP[\"url\"] !~ \"^/\\.well-known/\" {");
    } else {
        add_pair(s, "/t/", s->prefix);
        add_pair(s, "(t/|", mem_printf("(%s|", s->prefix + 1));
    }
}

/* Reads the options into s. False: one cannot be used, which is reported. */
static bool read_options(struct setup *s)
{
    const struct ctl *ctl = s->ctl;
    const char *domain = ctl_option(ctl, "domain");
    s->tls = ctl_option(ctl, "http") == NULL;
    s->instance = ctl_option(ctl, "instance");
    s->prefix = ctl_option(ctl, "prefix");
    s->prefix = s->prefix != NULL ? s->prefix : "/";
    s->steps.out = ctl->json ? stderr : stdout;
    s->steps.dry_run = ctl_option(ctl, "dry-run") != NULL;
    buf_init(&s->domain, NAMES_MAX);
    buf_init(&s->names, NAMES_MAX);
    buf_init(&s->aliases, NAMES_MAX);
    buf_init(&s->hosts, 2 * NAMES_MAX);
    if (domain == NULL) {
        ctl_say(stderr, "curt: setup needs --domain, such as: curt setup "
                        "--domain sho.rt");
        return false;
    }
    if (!check_options(ctl) || !choose_server(s) ||
        !take_name(s, "domain", domain))
        return false;
    for (size_t i = 0; i < ctl->option_count; i++)
        if (strcmp(ctl->options[i].name, "alias") == 0 &&
            !take_name(s, "alias", ctl->options[i].value))
            return false;
    const char *dash = s->instance != NULL ? "-" : "";
    const char *name = s->instance != NULL ? s->instance : "";
    s->file = mem_printf("curt%s%s", dash, name);
    s->socket = mem_printf("/run/curt%s%s/curt.sock", dash, name);
    s->conf_path = mem_printf(CURT_SYSCONFDIR "/curt/%s.conf",
                              s->instance != NULL ? name : "curt");
    s->app_url = mem_printf("http%s://%s%s", s->tls ? "s" : "", s->domain.data,
                            s->prefix);
    const char *email = ctl_option(ctl, "email"); /* mod_md needs one */
    s->email = email != NULL ? mem_dup(email)
                             : mem_printf("webmaster@%s", s->domain.data);
    s->certificate =
        mem_printf(s->server != NULL && strcmp(s->server->name, "apache") == 0
                       ? "/etc/apache2/md/domains/%s/pubcert.pem"
                       : "/etc/letsencrypt/live/%s/fullchain.pem",
                   s->domain.data);
    set_pairs(s);
    return true;
}

/* ---- Checks ---------------------------------------------------------- */

static bool is_server(const struct setup *s, const char *name)
{
    return s->server != NULL && strcmp(s->server->name, name) == 0;
}

static bool has_systemd(void)
{
    return access("/run/systemd/system", F_OK) == 0;
}

/* Whether ports 80 and 443 are free or the server's; sets running. */
static void check_ports(struct setup *s)
{
    static const char *const ss[] = {"/usr/bin/ss", "-Hltnp",
                                     "sport = :80 or sport = :443", NULL};
    struct buf list;
    buf_init(&list, SETUP_TEXT_MAX);
    const bool known = setup_probe(ss, &list) == 0;
    for (char *at = list.data; known && (at = strstr(at, "((\"")) != NULL;) {
        at += strlen("((\"");
        const size_t len = strcspn(at, "\"");
        if (len == strlen(s->server->service) &&
            strncmp(at, s->server->service, len) == 0)
            s->running = true;
        else if (!s->steps.failed)
            setup_fail(&s->steps,
                       "stop it (systemctl disable --now NAME), or choose it "
                       "with --server",
                       "port 80 or 443 is in use by %.*s, not %s", (int)len, at,
                       s->server->service);
    }
    buf_free(&list);
}

/* Whether the server is installed and its configuration is sound. */
static void check_server(struct setup *s)
{
    const struct setup_server *server = s->server;
    struct buf output;
    if (access(server->test[0], X_OK) != 0) {
        setup_fail(&s->steps, "apt install it, or choose another --server",
                   "%s is not installed", server->service);
        return;
    }
    for (size_t i = 0; s->tls && i < 2 && server->needs[i][0] != NULL; i++)
        if (access(server->needs[i][0], F_OK) != 0) {
            char *advice = mem_printf("apt install %s", server->needs[i][1]);
            setup_fail(&s->steps, advice, "%s does not exist",
                       server->needs[i][0]);
            free(advice);
            return;
        }
    buf_init(&output, SETUP_TEXT_MAX);
    if (setup_probe(server->test, &output) != 0)
        setup_fail(&s->steps, "fix the server's configuration first",
                   "the configuration of %s is invalid, before any change:\n%s",
                   server->service, output.data);
    buf_free(&output);
    if (!s->steps.failed)
        check_ports(s);
}

static bool is_own_address(const struct sockaddr *a, const struct ifaddrs *own)
{
    for (; own != NULL; own = own->ifa_next) {
        const struct sockaddr *b = own->ifa_addr;
        if (b == NULL || b->sa_family != a->sa_family)
            continue;
        const size_t at = a->sa_family == AF_INET
                              ? offsetof(struct sockaddr_in, sin_addr)
                              : offsetof(struct sockaddr_in6, sin6_addr);
        const size_t len = a->sa_family == AF_INET ? 4 : 16;
        if (memcmp((const char *)a + at, (const char *)b + at, len) == 0)
            return true;
    }
    return false;
}

/* A warning if the domain does not lead to this host. */
static void check_dns(const struct setup *s)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    struct ifaddrs *own = NULL;
    const int fault = getaddrinfo(s->domain.data, NULL, &hints, &found);
    if (fault != 0) {
        ctl_say(stderr,
                "curt: warning: %s does not resolve: %s; a certificate and "
                "visitors need its A or AAAA record",
                s->domain.data, gai_strerror(fault));
        return;
    }
    bool here = getifaddrs(&own) != 0;
    for (const struct addrinfo *a = found; a != NULL && !here; a = a->ai_next)
        here = is_own_address(a->ai_addr, own);
    if (!here)
        ctl_say(stderr,
                "curt: warning: %s does not resolve to an address of this "
                "host; ignore this if an address is translated or a proxy is "
                "in between",
                s->domain.data);
    freeifaddrs(own);
    freeaddrinfo(found);
}

/* ---- The configuration ----------------------------------------------- */

/* Appends the lines of the configuration. An existing STORE stays if there is
 * no option for it. */
static void add_conf(const struct setup *s, struct buf *out)
{
    const char *store = ctl_option(s->ctl, "store");
    struct conf conf;
    struct buf faults;
    buf_init(&faults, CONF_FAULTS_MAX);
    if (store == NULL && access(s->conf_path, F_OK) == 0 &&
        conf_load(s->conf_path, &conf, &faults) == RESULT_OK) {
        store = conf.store == CONF_STORE_DYNAMODB ? "dynamodb" : NULL;
        conf_free(&conf);
    }
    buf_free(&faults);
    buf_addf(out, "APP_URL = %s\n", s->app_url);
    if (store != NULL)
        buf_addf(out, "STORE = %s\n", store);
    if (s->instance != NULL)
        buf_addf(out,
                 "STATE_DIR = " CURT_LOCALSTATEDIR "/lib/curt-%s\n"
                 "RUNTIME_DIR = " CURT_RUNSTATEDIR "/curt-%s\n",
                 s->instance, s->instance);
}

/* Whether the administrator's file has these lines in effect. Reports each one
 * that it has not. */
static bool has_conf(struct setup *s, char *lines)
{
    struct conf conf;
    struct buf text, missing;
    buf_init(&text, SETUP_TEXT_MAX);
    buf_init(&missing, SETUP_TEXT_MAX);
    if (conf_load(s->conf_path, &conf, &text) != RESULT_OK) {
        setup_fail(&s->steps, "fix it, then run this again", "%s", text.data);
    } else {
        buf_reset(&text);
        for (size_t i = 0; i < conf_key_count(); i++) {
            const char *name = conf_key(i).name;
            buf_addf(&text, "%s = ", name);
            conf_value(&conf, i, &text);
            buf_add_char(&text, '\n');
        }
        char *rest = NULL;
        for (char *line = strtok_r(lines, "\n", &rest); line != NULL;
             line = strtok_r(NULL, "\n", &rest)) {
            char *whole = mem_printf("%s\n", line);
            if (strstr(text.data, whole) == NULL)
                buf_addf(&missing, "\n    %s", line);
            free(whole);
        }
        conf_free(&conf);
        if (missing.len > 0)
            setup_fail(&s->steps, "set them by hand, then run this again",
                       "%s: edited, or not written by curt setup; it lacks%s",
                       s->conf_path, missing.data);
    }
    const bool has = !s->steps.failed;
    buf_free(&text);
    buf_free(&missing);
    return has;
}

/* Writes the configuration. True: it has changed. */
static bool write_conf(struct setup *s)
{
    struct buf text;
    bool written = false;
    const struct group *group = getgrnam("curt");
    if (s->steps.failed)
        return false;
    if (group == NULL) {
        setup_fail(&s->steps,
                   "install the package curt, or: adduser --system --group "
                   "--no-create-home curt",
                   "the group curt does not exist");
        return false;
    }
    buf_init(&text, SETUP_TEXT_MAX);
    add_conf(s, &text);
    if (!setup_is_foreign(s->conf_path, text.data))
        written =
            setup_write(&s->steps, s->conf_path, group->gr_gid, text.data);
    else if (has_conf(s, text.data) && !s->steps.checking)
        ctl_say(s->steps.out, "keep %s, which has these settings",
                s->conf_path);
    buf_free(&text);
    return written;
}

/* ---- The site -------------------------------------------------------- */

/* Writes a built-in file to a path, both with their pairs replaced. */
static void write_filled(struct setup *s, const char *name, const char *path)
{
    char *text = setup_fill_file(name, s->pairs);
    char *to = setup_fill(path, s->pairs);
    setup_write(&s->steps, to, (gid_t)-1, text);
    free(text);
    free(to);
}

/* The modules that are not enabled yet. */
static void enable_modules(struct setup *s)
{
    const char **argv = s->new_modules;
    const size_t all = s->tls ? APACHE_MODULES : APACHE_HTTP_MODULES;
    size_t count = 0;
    argv[count++] = "/usr/sbin/a2enmod";
    argv[count++] = "-q";
    for (size_t i = 0; i < all; i++) {
        char *path =
            mem_printf("/etc/apache2/mods-enabled/%s.load", apache_modules[i]);
        if (access(path, F_OK) != 0)
            argv[count++] = apache_modules[i];
        free(path);
    }
    argv[count] = NULL;
    if (count > 2 && !s->steps.checking) {
        setup_run(&s->steps, argv, "check the Apache installation");
        s->steps.changed = true;
    }
}

/* Writes the files of the site, for https or not. */
static void write_site(struct setup *s, bool tls)
{
    const struct setup_server *server = s->server;
    const char *port = "/etc/lighttpd/conf-available/59-curt-port.conf";
    char *site = mem_printf("setup/%s%s.conf", server->name, tls ? "-tls" : "");
    char *link = setup_fill(server->link, s->pairs);
    char *target = setup_fill(server->target, s->pairs);
    write_filled(s, server->shipped, server->snippet);
    if (is_server(s, "apache")) {
        enable_modules(s);
        if (tls && has_systemd()) {
            write_filled(s, "setup/curt-apache.path",
                         "/etc/systemd/system/curt-apache.path");
            write_filled(s, "setup/curt-apache.service",
                         "/etc/systemd/system/curt-apache.service");
        }
    }
    /* Another site of this server may have opened the port. */
    if (is_server(s, "lighttpd") && tls &&
        access("/etc/lighttpd/conf-enabled/10-ssl.conf", F_OK) != 0) {
        if (s->instance == NULL || access(port, F_OK) != 0)
            write_filled(s, "setup/lighttpd-port.conf", port);
        setup_link(&s->steps, "../conf-available/59-curt-port.conf",
                   "/etc/lighttpd/conf-enabled/59-curt-port.conf");
    }
    write_filled(s, site, server->site);
    setup_link(&s->steps, target, link);
    free(site);
    free(link);
    free(target);
}

/* Whether the server listens on port 80, or 443. */
static bool has_port(bool tls)
{
    const char *const ss[] = {"/usr/bin/ss", "-Hltn",
                              tls ? "sport = :443" : "sport = :80", NULL};
    struct buf list;
    buf_init(&list, SETUP_TEXT_MAX);
    const bool has = setup_probe(ss, &list) == 0 && list.len > 0;
    buf_free(&list);
    return has;
}

/* lighttpd reads the key again with the rights of www-data at each reload.
 * certbot keeps group and mode when it renews. */
static void open_key(struct setup *s)
{
    const struct group *group = getgrnam("www-data");
    char *pattern =
        mem_printf("/etc/letsencrypt/archive/%s/privkey*.pem", s->domain.data);
    glob_t keys;
    struct stat st;
    const bool found = glob(pattern, 0, NULL, &keys) == 0;
    for (size_t i = 0; found && i < keys.gl_pathc; i++) {
        const char *path = keys.gl_pathv[i];
        const gid_t gid = group != NULL ? group->gr_gid : 0;
        if (stat(path, &st) != 0 || (st.st_gid == gid && st.st_mode & 040))
            continue;
        ctl_say(s->steps.out, "let www-data read %s", path);
        s->steps.changed = true;
        if (!s->steps.dry_run &&
            (chown(path, (uid_t)-1, gid) != 0 || chmod(path, 0640) != 0 ||
             chmod("/etc/letsencrypt/live", 0711) != 0 ||
             chmod("/etc/letsencrypt/archive", 0711) != 0))
            setup_fail(&s->steps, "check the permissions", "%s: %s", path,
                       strerror(errno));
    }
    if (found)
        globfree(&keys);
    else
        ctl_say(s->steps.out, "let www-data read %s", pattern);
    free(pattern);
}

/* Writes the site, tests the configuration and lets the server use it; takes
 * everything back if it is refused. */
static void use_site(struct setup *s, bool tls)
{
    struct setup_steps *steps = &s->steps;
    const bool changed_before = steps->changed;
    steps->changed = false;
    if (is_server(s, "lighttpd") && tls && !steps->failed)
        open_key(s);
    write_site(s, tls);
    const bool changed = steps->changed;
    steps->changed = changed || changed_before;
    if (changed)
        setup_run(steps, s->server->test,
                  "see the message; the change was taken back");
    if (steps->failed) {
        setup_take_back(steps);
        if (s->new_modules[0] != NULL && s->new_modules[2] != NULL) {
            s->new_modules[0] = "/usr/sbin/a2dismod";
            s->new_modules[1] = "-qf";
            setup_probe(s->new_modules, NULL);
        }
        return;
    }
    setup_keep(steps);
    /* After a reload mod_md tries again what failed. */
    if (!changed && s->running &&
        (!is_server(s, "apache") || !tls || access(s->certificate, F_OK) == 0))
        return;
    /* Only root can open port 443: a reload of lighttpd cannot. mod_md begins
     * at once after a start, and late after a reload. */
    const bool restart = tls && (is_server(s, "lighttpd")
                                     ? !has_port(true)
                                     : is_server(s, "apache") &&
                                           access(s->certificate, F_OK) != 0);
    const char *action = !s->running ? "start" : restart ? "restart" : "reload";
    const char *const argv[] = {"/usr/sbin/service", s->server->service, action,
                                NULL};
    setup_run(steps, argv, "see the server's log");
    s->running = true;
    /* Debian's unit of lighttpd is up before its ports are. */
    for (int i = 0; i < PORT_WAIT_MS / 50 && !steps->failed &&
                    !steps->dry_run && !has_port(tls);
         i++)
        clock_pause_ms(50);
}

/* ---- The certificate ------------------------------------------------- */

static void make_webroot(struct setup *s)
{
    struct stat st;
    if (stat(WEBROOT, &st) == 0 || s->steps.failed)
        return;
    ctl_say(s->steps.out, "create " WEBROOT);
    s->steps.changed = true;
    if (!s->steps.dry_run &&
        (mkdir(WEBROOT, 0755) != 0 || chmod(WEBROOT, 0755) != 0))
        setup_fail(&s->steps, "check /var/lib", WEBROOT ": %s",
                   strerror(errno));
}

static void run_certbot(struct setup *s)
{
    const char *argv[64] = {"/usr/bin/certbot",      "certonly",
                            "--non-interactive",     "--agree-tos",
                            "--keep-until-expiring", "--renew-with-new-domains",
                            "--cert-name",           s->domain.data};
    const char *const email = ctl_option(s->ctl, "email");
    const char *const url = ctl_option(s->ctl, "acme-server");
    const char *const hook = ctl_option(s->ctl, "dns-hook");
    char *reload = mem_printf("service %s reload", s->server->service);
    char *set = NULL, *clear = NULL;
    size_t n = 8;
    argv[n++] = email != NULL ? "--email" : "--register-unsafely-without-email";
    if (email != NULL)
        argv[n++] = email;
    argv[n++] = "--deploy-hook";
    argv[n++] = reload;
    if (url != NULL) {
        argv[n++] = "--server";
        argv[n++] = url;
    }
    if (hook == NULL) {
        argv[n++] = "--webroot";
        argv[n++] = "--webroot-path";
        argv[n++] = WEBROOT;
    } else {
        const char *const call = "%s %s \"$CERTBOT_DOMAIN\" "
                                 "\"$CERTBOT_VALIDATION\"";
        set = mem_printf(call, hook, "setup");
        clear = mem_printf(call, hook, "teardown");
        argv[n++] = "--manual";
        argv[n++] = "--preferred-challenges";
        argv[n++] = "dns";
        argv[n++] = "--manual-auth-hook";
        argv[n++] = set;
        argv[n++] = "--manual-cleanup-hook";
        argv[n++] = clear;
    }
    char *names = mem_dup(s->names.data), *rest = NULL;
    for (char *name = strtok_r(names, " ", &rest); name != NULL && n < 62;
         name = strtok_r(NULL, " ", &rest)) {
        argv[n++] = "--domain";
        argv[n++] = name;
    }
    setup_run(&s->steps, argv,
              "fix the cause, such as the DNS record of the domain or a "
              "firewall before port 80, and run this again; until then the "
              "site answers on http");
    free(names);
    free(reload);
    free(set);
    free(clear);
}

/* Why mod_md has no certificate yet, which the caller frees; NULL: it has not
 * failed often enough since a time. */
static char *md_failure(const struct setup *s, int64_t since)
{
    struct stat st;
    char *path =
        mem_printf("/etc/apache2/md/staging/%s/job.json", s->domain.data);
    char *text = setup_read(path), *reason = NULL;
    json_object *job = NULL, *errors = NULL, *last = NULL;
    if (text != NULL && stat(path, &st) == 0 && st.st_mtime > since &&
        json_parse(text, strlen(text), JSON_LEVELS, &job) == RESULT_OK &&
        json_object_object_get_ex(job, "errors", &errors) &&
        json_object_get_int(errors) >= MD_FAILURES) {
        const char *detail = json_object_object_get_ex(job, "last", &last)
                                 ? json_text_at(last, "detail")
                                 : NULL;
        reason = mem_dup(detail != NULL ? detail : "see its error log");
    }
    json_object_put(job);
    free(text);
    free(path);
    return reason;
}

/* Waits until Apache has its first certificate and uses it. */
static void wait_for_md(struct setup *s)
{
    static const char *const reload[] = {"/usr/sbin/service", "apache2",
                                         "reload", NULL};
    struct stat st = {0};
    const int64_t begin = clock_monotonic_ms(), since = clock_now();
    char *reason = NULL;
    if (s->steps.failed || access(s->certificate, F_OK) == 0)
        return;
    ctl_say(s->steps.out, "wait until mod_md has the certificate");
    while (!s->steps.dry_run && reason == NULL &&
           (stat(RENEWED, &st) != 0 || st.st_size == 0)) {
        clock_pause_ms(100);
        reason = clock_monotonic_ms() - begin < MD_WAIT_MS
                     ? md_failure(s, since)
                     : mem_dup("there is no answer yet");
    }
    if (reason != NULL)
        setup_fail(&s->steps,
                   "fix the cause, such as the DNS record of the domain or a "
                   "firewall before port 80; Apache tries again, and this "
                   "command can be repeated; until then https answers 503",
                   "mod_md did not get the certificate: %s", reason);
    free(reason);
    setup_run(&s->steps, reload, "see the server's log");
    for (int i = 0; i < PORT_WAIT_MS / 50 && !s->steps.failed &&
                    !s->steps.dry_run && access(s->certificate, F_OK) != 0;
         i++)
        clock_pause_ms(50); /* the reload goes on after its command */
}

/* The file that mod_md writes into, as www-data, when it has renewed. */
static void make_renewed(struct setup *s)
{
    const struct passwd *user = getpwnam("www-data");
    if (s->steps.failed || s->steps.dry_run || user == NULL)
        return;
    const int fd = open(RENEWED, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0 || fchown(fd, user->pw_uid, user->pw_gid) != 0 ||
        (access(s->certificate, F_OK) != 0 && ftruncate(fd, 0) != 0))
        setup_fail(&s->steps, "check the directory", RENEWED ": %s",
                   strerror(errno));
    if (fd >= 0)
        close(fd);
}

/* ---- The story ------------------------------------------------------- */

/* Starts units now and at each boot. */
static void enable_units(struct setup *s, const char *unit, const char *second)
{
    const char *const active[] = {"/usr/bin/systemctl", "is-active", "-q", unit,
                                  NULL};
    const char *const enabled[] = {"/usr/bin/systemctl", "is-enabled", "-q",
                                   unit, NULL};
    const char *const enable[] = {
        "/usr/bin/systemctl", "enable", "-q", "--now", unit, second, NULL};
    if (s->steps.failed ||
        (setup_probe(active, NULL) == 0 && setup_probe(enabled, NULL) == 0))
        return;
    s->steps.changed = true;
    setup_run(&s->steps, enable, "see journalctl -xe");
}

/* Starts the pool, or lets it read a new configuration. */
static void start_pool(struct setup *s, bool conf_written)
{
    const char *const at = s->instance != NULL ? "@" : "";
    const char *const name = s->instance != NULL ? s->instance : "";
    char *socket = mem_printf("curt%s%s.socket", at, name);
    char *service = mem_printf("curt%s%s.service", at, name);
    const char *const exists[] = {"/usr/bin/systemctl", "cat", socket, NULL};
    const char *const restart[] = {"/usr/bin/systemctl", "try-restart", service,
                                   NULL};
    if (has_systemd() && setup_probe(exists, NULL) == 0) {
        if (conf_written) /* the socket keeps the requests meanwhile */
            setup_run(&s->steps, restart, "see the journal of the unit");
        enable_units(s, socket, service);
    } else if (!s->steps.failed) {
        char *dir = mem_dup(s->socket);
        *strrchr(dir, '/') = '\0';
        ctl_say(s->steps.out,
                "not done: there is no systemd with %s here; start the pool "
                "with\n    install -d -o curt -m 0755 %s && CURT_CONF=%s "
                "spawn-fcgi -s %s -M 0660 -u curt -U www-data -b 1024 -P "
                "/run/%s.pid -- " CURT_SBINDIR "/curt.fcgi",
                socket, dir, s->conf_path, s->socket, s->file);
        free(dir);
    }
    free(socket);
    free(service);
}

/* The site and its certificate: first on http, where there is none yet. */
static void set_up_server(struct setup *s)
{
    const bool md = is_server(s, "apache");
    const bool first = access(s->certificate, F_OK) != 0;
    check_dns(s);
    if (s->tls)
        make_webroot(s);
    if (s->tls && md)
        make_renewed(s);
    use_site(s, s->tls && (md || !first));
    if (s->steps.failed || !s->tls)
        return;
    if (md)
        wait_for_md(s);
    else
        run_certbot(s);
    s->obtaining = s->steps.failed;
    if (first && !md)
        use_site(s, true);
    if (has_systemd())
        enable_units(s, md ? "curt-apache.path" : "certbot.timer", NULL);
}

static void free_setup(struct setup *s)
{
    for (size_t i = 0; s->pairs[i].key != NULL; i++)
        if (strcmp(s->pairs[i].key, "@SNIPPET@") == 0 ||
            strcmp(s->pairs[i].key, "(t/|") == 0)
            free((char *)(uintptr_t)s->pairs[i].text);
    buf_free(&s->domain);
    buf_free(&s->names);
    buf_free(&s->aliases);
    buf_free(&s->hosts);
    free(s->file);
    free(s->app_url);
    free(s->conf_path);
    free(s->socket);
    free(s->certificate);
    free(s->email);
}

static int set_up(struct setup *s)
{
    if (geteuid() != 0) {
        ctl_say(stderr, "curt: setup must be run by root, such as with sudo");
        return EX_NOPERM;
    }
    umask(022); /* of the commands: servers read what they write */
    s->steps.checking = true;
    if (s->server != NULL)
        check_server(s);
    if (s->server != NULL && !s->steps.failed)
        write_site(s, s->tls);
    write_conf(s);
    s->steps.checking = false;
    if (s->steps.failed)
        return EX_CONFIG;
    ctl_say(s->steps.out, "%s with %s", s->app_url,
            s->server != NULL ? s->server->service : "no web server");
    if (s->server != NULL)
        set_up_server(s);
    const bool conf_written = write_conf(s);
    setup_keep(&s->steps);
    if (s->server != NULL)
        start_pool(s, conf_written);
    if (s->steps.failed)
        return s->obtaining ? EX_TEMPFAIL : EX_CONFIG;
    ctl_say(s->steps.out, s->steps.dry_run    ? "dry run: nothing was changed"
                          : !s->steps.changed ? "nothing to change"
                                              : "done");
    fflush(s->steps.out);
    return s->server == NULL || s->steps.dry_run
               ? 0
               : doctor_run(s->conf_path, s->ctl->json);
}

int ctl_setup(struct ctl *ctl, const char *argument)
{
    (void)argument;
    struct setup s = {.ctl = ctl};
    const int status = read_options(&s) ? set_up(&s) : EX_USAGE;
    free_setup(&s);
    return status;
}

/* curt setup: from a domain and a web server of Debian to https://sho.rt/. */
#include <errno.h>
#include <grp.h>
#include <json-c/json.h>
#include <netdb.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
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

/* A web server as Debian has it. Texts with @KEY@ are templates. */
struct setup_server {
    const char *name;    /* of the option, and of its templates */
    const char *service; /* of its package, its service and its processes */
    const char *program; /* and the command that checks its files */
    const char *test;
    const char *shipped;               /* curt's file for it */
    const char *snippet, *site, *link; /* where they are */
    const char *target;                /* of the link */
    const char *certificate;
    const char *needs[2][2]; /* for a certificate: a file, its package */
};

#define LIVE "/etc/letsencrypt/live/@DOMAIN@/"

static const struct setup_server servers[] = {
    {"lighttpd",
     "lighttpd",
     "/usr/sbin/lighttpd",
     "/usr/sbin/lighttpd -tt -f /etc/lighttpd/lighttpd.conf",
     "lighttpd/curt.conf",
     "/etc/lighttpd/@FILE@.conf",
     "/etc/lighttpd/conf-available/60-@FILE@.conf",
     "/etc/lighttpd/conf-enabled/60-@FILE@.conf",
     "../conf-available/60-@FILE@.conf",
     LIVE "fullchain.pem",
     {{"/usr/lib/lighttpd/mod_openssl.so", "lighttpd-mod-openssl"},
      {"/usr/bin/certbot", "certbot"}}},
    {"apache",
     "apache2",
     "/usr/sbin/apache2ctl",
     "/usr/sbin/apache2ctl configtest",
     "apache/curt-proxy-fcgi.conf",
     "/etc/apache2/conf-available/@FILE@.conf",
     "/etc/apache2/sites-available/@FILE@.conf",
     "/etc/apache2/sites-enabled/@ORDER@@FILE@.conf",
     "../sites-available/@FILE@.conf",
     "/etc/apache2/md/domains/@DOMAIN@/pubcert.pem",
     {{"/etc/apache2/mods-available/md.load", "apache2"}}},
    {"nginx",
     "nginx",
     "/usr/sbin/nginx",
     "/usr/sbin/nginx -t",
     "nginx/curt.conf",
     "/etc/nginx/snippets/@FILE@.conf",
     "/etc/nginx/sites-available/@FILE@",
     "/etc/nginx/sites-enabled/@FILE@",
     "/etc/nginx/sites-available/@FILE@",
     LIVE "fullchain.pem",
     {{"/usr/bin/certbot", "certbot"}}},
};
#define SERVER_COUNT (sizeof(servers) / sizeof(servers[0]))

static const char certbot[] =
    "/usr/bin/certbot certonly --non-interactive --agree-tos "
    "--keep-until-expiring --renew-with-new-domains --cert-name @DOMAIN@ "
    "--domains @LIST@ --deploy-hook 'service @SERVICE@ reload'\n"
    "--email @OWN_EMAIL@\n"
    "--register-unsafely-without-email@NO_EMAIL@\n"
    "--server @ACME_SERVER@\n"
    "--webroot --webroot-path @WEBROOT@@NO_HOOK@\n"
    "--manual --preferred-challenges dns "
    "--manual-auth-hook '@DNS_HOOK@ setup \"$CERTBOT_DOMAIN\" "
    "\"$CERTBOT_VALIDATION\"' "
    "--manual-cleanup-hook '@DNS_HOOK@ teardown \"$CERTBOT_DOMAIN\" "
    "\"$CERTBOT_VALIDATION\"'\n";

struct setup {
    struct setup_steps steps;
    const struct ctl *ctl;
    const struct setup_server *server; /* NULL: only the configuration */
    bool tls;                          /* with a certificate */
    bool https;                        /* likewise, the site as it is now */
    bool running;                      /* the server runs */
    bool obtaining;   /* the step that failed is that of the certificate */
    int64_t since;    /* when mod_md began, in seconds since 1970 */
    long newest;      /* process of the server before a reload */
    struct buf names; /* the domain and its aliases, with spaces */
    const char *domain, *app_url, *conf, *certificate, *modules;
};

static bool is_server(const struct setup *s, const char *name)
{
    return s->server != NULL && strcmp(s->server->name, name) == 0;
}

static bool has_systemd(void)
{
    return access("/run/systemd/system", F_OK) == 0;
}

/* ---- Options --------------------------------------------------------- */

static bool refuse(const char *option, const char *value, const char *why)
{
    ctl_say(stderr, "curt: --%s %s: %s; see: curt help setup", option, value,
            why);
    return false;
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
              name.data[strspn(name.data, TEXT_LOWER TEXT_DIGITS "-.")] == '\0';
    /* A name without a dot is enough for http. */
    const char *last = ok ? strrchr(name.data, '.') : NULL;
    ok = ok && name.data[0] != '-' &&
         (last != NULL ? last[1 + strspn(last + 1, TEXT_DIGITS)] != '\0'
                       : !s->tls);
    if (ok)
        buf_addf(&s->names, "%s%s%s", s->names.len > 0 ? " " : "",
                 wildcard ? "*." : "", name.data);
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
                         : access(servers[i].program, X_OK) == 0) {
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

/* Whether each option has a value that fits. None can have a space, a quote or
 * a character that is special in the files of a server. */
static bool check_options(const struct ctl *ctl)
{
    static const struct {
        const char *option, *pattern, *why;
    } rules[] = {
        {"instance", "^[a-z0-9][a-z0-9-]{0,31}$",
         "expected 1 to 32 of a-z, 0-9 and -, not \"curt\" or \"acme\""},
        {"prefix", "^/([A-Za-z0-9_-]+/)?$", "expected / or a name such as /t/"},
        {"store", "^(sqlite|dynamodb)$", "expected sqlite or dynamodb"},
        {"dns-hook", "^/[A-Za-z0-9/._-]+$",
         "expected the path of a program, without special characters"},
        {"acme-server", "^https://[A-Za-z0-9:/._~?&=%-]+$",
         "expected an https URL"},
        {"email", "^[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+$", "not an address"},
    };
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        regex_t pattern;
        const char *value = ctl_option(ctl, rules[i].option);
        if (value == NULL)
            continue;
        if (regcomp(&pattern, rules[i].pattern, REG_EXTENDED | REG_NOSUB) != 0)
            abort();
        bool ok = regexec(&pattern, value, 0, NULL, 0) == 0;
        regfree(&pattern);
        if (strcmp(rules[i].option, "instance") == 0)
            ok = ok && strcmp(value, "curt") != 0 &&
                 strcmp(value, "acme") != 0; /* WEBROOT */
        if (strcmp(rules[i].option, "dns-hook") == 0)
            ok = ok && access(value, X_OK) == 0;
        if (!ok)
            return refuse(rules[i].option, value, rules[i].why);
    }
    return true;
}

/* The keys of the names: in a list of words, of a command and of a regular
 * expression. */
static void add_names(struct setup *s)
{
    struct setup_steps *steps = &s->steps;
    struct buf hosts;
    const char *aliases = strchr(s->names.data, ' ');
    setup_add_pair(steps, "@NAMES@", s->names.data);
    setup_add_pair(steps, "@ALIASES@", aliases != NULL ? aliases + 1 : NULL);
    buf_init(&hosts, 4 * NAMES_MAX);
    for (char *c = s->names.data; *c != '\0'; c++) {
        if (*c == '.' || *c == '*')
            buf_add_str(&hosts, *c == '.' ? "\\." : "[^.]+");
        else
            buf_add_char(&hosts, *c == ' ' ? '|' : *c);
        *c = *c == ' ' ? ',' : *c;
    }
    setup_add_pair(steps, "@HOSTS@", hosts.data);
    setup_add_pair(steps, "@LIST@", s->names.data);
    s->names.data[strcspn(s->names.data, ",")] = '\0';
    s->domain = setup_add_pair(steps, "@DOMAIN@", s->names.data);
    buf_free(&hosts);
}

/* The store of the option, else that of the present configuration; NULL: the
 * default. */
static const char *choose_store(const struct setup *s)
{
    const char *store = ctl_option(s->ctl, "store");
    struct conf conf;
    struct buf faults;
    buf_init(&faults, CONF_FAULTS_MAX);
    if (store == NULL && access(s->conf, F_OK) == 0 &&
        conf_load(s->conf, &conf, &faults) == RESULT_OK) {
        store = conf.store == CONF_STORE_DYNAMODB ? "dynamodb" : NULL;
        conf_free(&conf);
    }
    buf_free(&faults);
    return store;
}

/* Whether the domain is the name of this host, which Apache gives to sites
 * without a name: its default site would take the requests. */
static bool is_host_name(struct setup *s)
{
    struct buf name;
    buf_init(&name, SETUP_TEXT_MAX);
    setup_probe(&s->steps, "/bin/hostname -f", &name);
    name.data[strcspn(name.data, "\n")] = '\0';
    const bool is = strcmp(name.data, s->domain) == 0;
    buf_free(&name);
    return is;
}

/* What differs from server to server, and from domain to domain, in the
 * templates, in the shipped files and in commands. */
static void add_pairs(struct setup *s)
{
    struct setup_steps *steps = &s->steps;
    const char *instance = ctl_option(s->ctl, "instance");
    const char *prefix = ctl_option(s->ctl, "prefix");
    const char *hook = ctl_option(s->ctl, "dns-hook");
    const char *email = ctl_option(s->ctl, "email");
    const struct setup_server *server = s->server;
    const bool root = prefix == NULL || strcmp(prefix, "/") == 0;
    const int ipv6 = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    add_names(s);
    setup_add_pair(steps, "@INSTANCE@", instance);
    setup_add_pair(steps, "@PREFIX@", root ? "/" : prefix);
    s->app_url = setup_add_pair(steps, "@APP_URL@",
                                s->tls ? "https://@DOMAIN@@PREFIX@"
                                       : "http://@DOMAIN@@PREFIX@");
    s->conf = setup_add_pair(steps, "@CONF@",
                             instance != NULL
                                 ? CURT_SYSCONFDIR "/curt/@INSTANCE@.conf"
                                 : CURT_SYSCONFDIR "/curt/curt.conf");
    s->certificate = setup_add_pair(steps, "@CERTIFICATE@",
                                    server != NULL ? server->certificate : "");
    const struct {
        const char *key, *text;
    } pairs[] = {
        {"@FILE@", instance != NULL ? "curt-@INSTANCE@" : "curt"},
        {"@ORDER@", is_host_name(s) ? "000-" : ""},
        {"@UNIT@", instance != NULL ? "curt@@INSTANCE@" : "curt"},
        {"@STORE@", choose_store(s)},
        {"@STATE_DIR@",
         instance != NULL ? CURT_LOCALSTATEDIR "/lib/@FILE@" : NULL},
        {"@RUNTIME_DIR@", instance != NULL ? CURT_RUNSTATEDIR "/@FILE@" : NULL},
        {"@BELOW@", root ? "" : prefix + 1},
        {"@SERVICE@", server != NULL ? server->service : "no web server"},
        {"@SNIPPET@", server != NULL ? server->snippet : NULL},
        {"@WEBROOT@", WEBROOT},
        {"@CIPHERS@", CIPHERS},
        {"@OWN_EMAIL@", email},
        {"@NO_EMAIL@", email == NULL ? "" : NULL},
        {"@EMAIL@", email != NULL ? email : "webmaster@@DOMAIN@"},
        {"@ACME_SERVER@", ctl_option(s->ctl, "acme-server")},
        {"@CHALLENGE@", hook != NULL ? "dns-01" : "http-01"},
        {"@DNS_HOOK@", hook},
        {"@NO_HOOK@", hook == NULL ? "" : NULL},
        /* From here on, what the shipped files have. */
        {"listen [::]:", ipv6 >= 0 ? "listen [::]:" : NULL},
        {"/run/curt/curt.sock", "/run/@FILE@/curt.sock"},
        {"https://example.org/t/", "@APP_URL@"},
        {"server.modules += ( \"mod_fastcgi\" )",
         "# The file that includes this one loads mod_fastcgi."},
        /* Their variant for the root. */
        {"\"^/(t/|(create|robots\\.txt|favicon\\.ico)?$)\"",
         root ? "\"^/(?!\\.well-known/)\""
              : "\"^/(@BELOW@|(create|robots\\.txt|favicon\\.ico)?$)\""},
        {"location ^~ /t/ {",
         root ? "location ^~ /.well-known/ { }\nlocation / {"
              : "location ^~ @PREFIX@ {"},
        {"$HTTP[\"url\"] =^ \"/t/\" {",
         root ? "$HTTP[\"url\"] !~ \"^/\\.well-known/\" {"
              : "$HTTP[\"url\"] =^ \"@PREFIX@\" {"},
        {"(t/|", root ? "(t/|" : "(@BELOW@|"},
        {"/t/", root ? "/t/" : "@PREFIX@"},
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
        setup_add_pair(steps, pairs[i].key, pairs[i].text);
    if (ipv6 >= 0)
        close(ipv6);
}

/* Reads the options into s. False: one cannot be used, which is reported. */
static bool read_options(struct setup *s)
{
    const struct ctl *ctl = s->ctl;
    const char *domain = ctl_option(ctl, "domain");
    s->tls = ctl_option(ctl, "http") == NULL;
    s->steps.out = ctl->json ? stderr : stdout;
    s->steps.dry_run = ctl_option(ctl, "dry-run") != NULL;
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
    add_pairs(s);
    return true;
}

/* ---- Checks ---------------------------------------------------------- */

/* Whether ports 80 and 443 are free or the server's; sets running. */
static void check_ports(struct setup *s)
{
    const char *service = s->server->service;
    struct buf list;
    buf_init(&list, SETUP_TEXT_MAX);
    const bool known =
        setup_probe(&s->steps,
                    "/usr/bin/ss -Hltnp 'sport = :80 or sport = :443'",
                    &list) == 0;
    for (char *at = list.data; known && (at = strstr(at, "((\"")) != NULL;) {
        at += strlen("((\"");
        const size_t len = strcspn(at, "\"");
        if (len == strlen(service) && strncmp(at, service, len) == 0)
            s->running = true;
        else if (!s->steps.failed)
            setup_fail(&s->steps,
                       "stop it (systemctl disable --now NAME), or choose it "
                       "with --server",
                       "port 80 or 443 is in use by %.*s, not %s", (int)len, at,
                       service);
    }
    buf_free(&list);
}

/* Whether the server is installed and its configuration is sound. */
static void check_server(struct setup *s)
{
    const struct setup_server *server = s->server;
    struct buf output;
    if (access(server->program, X_OK) != 0) {
        setup_fail(&s->steps, "apt install it, or choose another --server",
                   "%s is not installed", server->service);
        return;
    }
    for (size_t i = 0; s->tls && i < 2 && server->needs[i][0] != NULL; i++)
        if (access(server->needs[i][0], F_OK) != 0) {
            setup_fail(&s->steps, "apt install this package",
                       "%s, of the package %s, does not exist",
                       server->needs[i][0], server->needs[i][1]);
            return;
        }
    buf_init(&output, SETUP_TEXT_MAX);
    if (setup_probe(&s->steps, server->test, &output) != 0)
        setup_fail(&s->steps, "fix the server's configuration first",
                   "the configuration of %s is invalid, before any change:\n%s",
                   server->service, output.data);
    buf_free(&output);
    if (!s->steps.failed)
        check_ports(s);
}

/* A warning if the domain does not lead to this host. */
static void check_dns(const struct setup *s)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_DGRAM};
    struct addrinfo *found = NULL;
    bool here = false;
    const int fault = getaddrinfo(s->domain, NULL, &hints, &found);
    if (fault != 0) {
        ctl_say(stderr,
                "curt: warning: %s does not resolve: %s; a certificate and "
                "visitors need its A or AAAA record",
                s->domain, gai_strerror(fault));
        return;
    }
    /* Only an address of this host can be bound. */
    for (const struct addrinfo *a = found; a != NULL && !here; a = a->ai_next) {
        const int fd = socket(a->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        here = fd >= 0 && bind(fd, a->ai_addr, a->ai_addrlen) == 0;
        if (fd >= 0)
            close(fd);
    }
    if (!here)
        ctl_say(stderr,
                "curt: warning: %s does not resolve to an address of this "
                "host; ignore this if an address is translated or a proxy is "
                "in between",
                s->domain);
    freeaddrinfo(found);
}

/* ---- The configuration ----------------------------------------------- */

static const char conf_lines[] = "APP_URL = @APP_URL@\n"
                                 "STORE = @STORE@\n"
                                 "STATE_DIR = @STATE_DIR@\n"
                                 "RUNTIME_DIR = @RUNTIME_DIR@\n";

/* Whether the administrator's file has these lines in effect; it is reported if
 * not. */
static bool has_conf(struct setup *s)
{
    struct conf conf;
    struct buf text;
    buf_init(&text, SETUP_TEXT_MAX);
    if (conf_load(s->conf, &conf, &text) != RESULT_OK) {
        setup_fail(&s->steps, "fix it, then run this again", "%s", text.data);
        buf_free(&text);
        return false;
    }
    buf_reset(&text);
    for (size_t i = 0; i < conf_key_count(); i++) {
        buf_addf(&text, "%s = ", conf_key(i).name);
        conf_value(&conf, i, &text);
        buf_add_char(&text, '\n');
    }
    conf_free(&conf);
    char *lines = setup_fill(&s->steps, conf_lines);
    for (char *line = lines, *end; *line != '\0'; line = end) {
        end = strchr(line, '\n') + 1;
        char *one = mem_dup_bytes(line, (size_t)(end - line));
        if (!s->steps.failed && strstr(text.data, one) == NULL)
            setup_fail(&s->steps, "set them by hand, then run this again",
                       "%s: edited, or not written by curt setup; it must "
                       "have:\n%s",
                       s->conf, lines);
        free(one);
    }
    free(lines);
    buf_free(&text);
    return !s->steps.failed;
}

/* Writes the configuration. True: it has changed. */
static bool write_conf(struct setup *s)
{
    const struct group *group = getgrnam("curt");
    if (s->steps.failed)
        return false;
    if (group == NULL)
        setup_fail(&s->steps,
                   "install the package curt, or: adduser --system --group "
                   "--no-create-home curt",
                   "the group curt does not exist");
    else if (!setup_is_foreign(&s->steps, s->conf, conf_lines))
        return setup_write(&s->steps, s->conf, group->gr_gid, conf_lines);
    else if (has_conf(s) && !s->steps.checking)
        ctl_say(s->steps.out, "keep %s, which has these settings", s->conf);
    return false;
}

/* ---- The site -------------------------------------------------------- */

/* Finds out which modules Apache lacks; those that others need are first. */
static void find_modules(struct setup *s)
{
    static const char *const modules[] = {
        "proxy", "proxy_fcgi", "socache_shmcb", "ssl", "http2", "headers", "md",
    };
    const size_t all = s->tls ? sizeof(modules) / sizeof(modules[0]) : 2;
    struct buf missing;
    buf_init(&missing, SETUP_TEXT_MAX);
    for (size_t i = 0; is_server(s, "apache") && i < all; i++) {
        char *path =
            mem_printf("/etc/apache2/mods-enabled/%s.load", modules[i]);
        if (access(path, F_OK) != 0)
            buf_addf(&missing, " %s", modules[i]);
        free(path);
    }
    s->modules = setup_add_pair(&s->steps, "@MODULES@",
                                missing.len > 0 ? missing.data : NULL);
    buf_free(&missing);
}

/* Writes the files of the site, for https or not. */
static void write_site(struct setup *s, bool tls)
{
    static const char port[] = "/etc/lighttpd/conf-available/59-curt-port.conf";
    struct setup_steps *steps = &s->steps;
    const struct setup_server *server = s->server;
    char *site = mem_printf("setup/%s%s.conf", server->name, tls ? "-tls" : "");
    setup_write_file(steps, server->snippet, server->shipped);
    if (s->modules != NULL) {
        setup_run(steps, "/usr/sbin/a2enmod -q@MODULES@",
                  "check the Apache installation");
        steps->changed = true;
    }
    if (is_server(s, "apache") && tls && has_systemd()) {
        setup_write_file(steps, "/etc/systemd/system/curt-apache.path",
                         "setup/curt-apache.path");
        setup_write_file(steps, "/etc/systemd/system/curt-apache.service",
                         "setup/curt-apache.service");
    }
    /* Another site of this server may have opened the port. */
    if (is_server(s, "lighttpd") && tls &&
        access("/etc/lighttpd/conf-enabled/10-ssl.conf", F_OK) != 0) {
        if (ctl_option(s->ctl, "instance") == NULL || access(port, F_OK) != 0)
            setup_write_file(steps, port, "setup/lighttpd-port.conf");
        setup_link(steps, "../conf-available/59-curt-port.conf",
                   "/etc/lighttpd/conf-enabled/59-curt-port.conf");
    }
    setup_write_file(steps, server->site, site);
    /* Where this domain takes the place of another one. */
    if (is_server(s, "apache"))
        setup_unlink(steps, server->target,
                     is_host_name(s)
                         ? "/etc/apache2/sites-enabled/@FILE@.conf"
                         : "/etc/apache2/sites-enabled/000-@FILE@.conf");
    setup_link(steps, server->target, server->link);
    free(site);
}

/* Waits for something that happens soon, for at most some milliseconds. False:
 * it did not happen. */
static bool wait_for(struct setup *s, bool (*has_happened)(struct setup *),
                     int64_t ms)
{
    const int64_t end = clock_monotonic_ms() + ms;
    while (!s->steps.failed && !s->steps.dry_run && !has_happened(s)) {
        if (clock_monotonic_ms() > end)
            return false;
        clock_pause_ms(50);
    }
    return true;
}

/* Whether a server listens where the site is. */
static bool has_port(struct setup *s)
{
    struct buf list;
    buf_init(&list, SETUP_TEXT_MAX);
    const bool has = setup_probe(&s->steps,
                                 s->https ? "/usr/bin/ss -Hltn 'sport = :443'"
                                          : "/usr/bin/ss -Hltn 'sport = :80'",
                                 &list) == 0 &&
                     list.len > 0;
    buf_free(&list);
    return has;
}

static bool has_certificate(struct setup *s)
{
    return access(s->certificate, F_OK) == 0;
}

/* lighttpd reads the key again with the rights of www-data at each reload.
 * certbot keeps group and mode when it renews. */
static void open_key(struct setup *s)
{
    static const char advice[] = "check the permissions";
    struct setup_steps *steps = &s->steps;
    if (setup_probe(steps,
                    "/sbin/runuser -u www-data -- /usr/bin/test -r " LIVE
                    "privkey.pem",
                    NULL) == 0)
        return;
    setup_run(steps, "/bin/chgrp www-data " LIVE "privkey.pem", advice);
    setup_run(steps, "/bin/chmod 0640 " LIVE "privkey.pem", advice);
    setup_run(steps,
              "/bin/chmod 0711 /etc/letsencrypt/live /etc/letsencrypt/archive",
              advice);
    steps->changed = true;
}

/* The youngest process of the server; 0: none is known. */
static long newest_process(struct setup *s)
{
    struct buf pid;
    buf_init(&pid, SETUP_TEXT_MAX);
    const bool found =
        setup_probe(&s->steps, "/usr/bin/pgrep -n -x @SERVICE@", &pid) == 0;
    const long newest = found ? strtol(pid.data, NULL, 10) : 0;
    buf_free(&pid);
    return newest;
}

static bool has_new_process(struct setup *s)
{
    return newest_process(s) != s->newest;
}

/* Writes the site, tests the configuration and lets the server use it; takes
 * everything back if it is refused. */
static void use_site(struct setup *s, bool tls)
{
    struct setup_steps *steps = &s->steps;
    const bool lighttpd = is_server(s, "lighttpd"), md = is_server(s, "apache");
    const bool changed_before = steps->changed;
    steps->changed = false;
    s->https = tls;
    if (lighttpd && tls)
        open_key(s);
    write_site(s, tls);
    const bool changed = steps->changed;
    steps->changed |= changed_before;
    if (changed)
        setup_run(steps, s->server->test,
                  "see the message; the change was taken back");
    if (steps->failed) {
        setup_take_back(steps);
        if (s->modules != NULL)
            setup_probe(steps, "/usr/sbin/a2dismod -qf@MODULES@", NULL);
        return;
    }
    setup_keep(steps);
    /* Without a change as well: an earlier run may have been killed before
     * this, and mod_md tries again what failed. Only root can open port 443: a
     * reload of lighttpd cannot. mod_md begins at once after a start, and late
     * after a reload. */
    const bool was_running = s->running;
    s->newest = newest_process(s);
    const bool restart =
        tls && ((lighttpd && !has_port(s)) || (md && !has_certificate(s)));
    setup_run(steps,
              !s->running ? "/usr/sbin/service @SERVICE@ start"
              : restart   ? "/usr/sbin/service @SERVICE@ restart"
                          : "/usr/sbin/service @SERVICE@ reload",
              "see the server's log");
    s->running = true;
    /* Debian's unit of lighttpd is up before its ports are, and the others have
     * new processes a moment after the command of a reload. */
    wait_for(s, has_port, PORT_WAIT_MS);
    if (was_running && !restart && !lighttpd && s->newest > 0)
        wait_for(s, has_new_process, PORT_WAIT_MS);
}

/* ---- The certificate ------------------------------------------------- */

static const char certificate_advice[] =
    "fix the cause, such as the DNS record of the domain or a firewall before "
    "port 80, and run this again; until then the site does not answer on https";

/* Whether mod_md has the certificate, or has failed often enough since it
 * began, which is reported. */
static bool has_md_ended(struct setup *s)
{
    struct stat st;
    json_object *job = NULL, *errors = NULL, *last = NULL;
    if (stat(RENEWED, &st) == 0 && st.st_size > 0)
        return true;
    char *path =
        setup_fill(&s->steps, "/etc/apache2/md/staging/@DOMAIN@/job.json");
    char *text = setup_read(path);
    if (text != NULL && stat(path, &st) == 0 && st.st_mtime > s->since &&
        json_parse(text, strlen(text), JSON_LEVELS, &job) == RESULT_OK &&
        json_object_object_get_ex(job, "errors", &errors) &&
        json_object_get_int(errors) >= MD_FAILURES) {
        json_object_object_get_ex(job, "last", &last);
        const char *detail = json_text_at(last, "detail");
        setup_fail(&s->steps, certificate_advice,
                   "mod_md did not get the certificate: %s",
                   detail != NULL ? detail : "see the error log of Apache");
    }
    json_object_put(job);
    free(text);
    free(path);
    return s->steps.failed;
}

/* Waits until Apache has its first certificate and uses it. */
static void wait_for_md(struct setup *s)
{
    if (s->steps.failed || has_certificate(s))
        return;
    ctl_say(s->steps.out, "wait until mod_md has the certificate");
    s->since = clock_now();
    if (!wait_for(s, has_md_ended, MD_WAIT_MS))
        setup_fail(&s->steps, certificate_advice,
                   "mod_md did not get the certificate in %d seconds",
                   MD_WAIT_MS / 1000);
    setup_run(&s->steps, "/usr/sbin/service apache2 reload",
              "see the server's log");
    /* The reload goes on after its command. */
    wait_for(s, has_certificate, PORT_WAIT_MS);
}

/* The directories and files that answer the authority, and the one that mod_md
 * writes into, as www-data, when it has renewed. */
static void make_webroot(struct setup *s)
{
    static const char advice[] = "check /var/lib";
    const bool first = access(WEBROOT, F_OK) != 0;
    struct stat renewed;
    if (first)
        setup_run(&s->steps, "/usr/bin/install -d -m 0755 @WEBROOT@", advice);
    /* Root's is that of a killed run. Each change of it reloads Apache, which
     * can then miss the signal to stop, of a restart. */
    if (is_server(s, "apache") &&
        (stat(RENEWED, &renewed) != 0 || renewed.st_uid == 0))
        setup_run(&s->steps,
                  "/usr/bin/install -m 0644 -o www-data -g www-data "
                  "/dev/null " RENEWED,
                  advice);
    s->steps.changed |= first;
}

/* ---- The pool, and all steps ------------------------------------------ */

/* Starts units now and at each boot; systemctl reports them as active, and as
 * enabled, if one of them is. */
static void enable_units(struct setup *s, const char *units)
{
    char *active = mem_printf("/usr/bin/systemctl is-active -q %s", units);
    char *enabled = mem_printf("/usr/bin/systemctl is-enabled -q %s", units);
    char *enable = mem_printf("/usr/bin/systemctl enable -q --now %s", units);
    if (setup_probe(&s->steps, active, NULL) != 0 ||
        setup_probe(&s->steps, enabled, NULL) != 0) {
        setup_run(&s->steps, enable, "see journalctl -xe");
        s->steps.changed = true;
    }
    free(active);
    free(enabled);
    free(enable);
}

/* Whether the configuration has changed since the pool was started: by this
 * run, by hand, or by a run that was killed. */
static bool is_pool_outdated(const struct setup *s)
{
    struct timespec now;
    struct buf text;
    struct stat st;
    buf_init(&text, SETUP_TEXT_MAX);
    const int64_t started =
        setup_probe(&s->steps,
                    "/usr/bin/systemctl show -P ActiveEnterTimestampMonotonic "
                    "@UNIT@.service",
                    &text) == 0
            ? strtoll(text.data, NULL, 10) / 1000
            : 0;
    buf_free(&text);
    if (started <= 0 || stat(s->conf, &st) != 0)
        return false;
    clock_gettime(CLOCK_REALTIME, &now);
    const int64_t age = (now.tv_sec - st.st_mtim.tv_sec) * INT64_C(1000) +
                        (now.tv_nsec - st.st_mtim.tv_nsec) / 1000000;
    return age < clock_monotonic_ms() - started;
}

/* Starts the pool, or lets it read a new configuration. */
static void start_pool(struct setup *s, bool conf_written)
{
    if (s->steps.failed)
        return;
    if (has_systemd() &&
        setup_probe(&s->steps, "/usr/bin/systemctl cat @UNIT@.socket", NULL) ==
            0) {
        /* The socket keeps the requests meanwhile. */
        if (conf_written || is_pool_outdated(s))
            setup_run(&s->steps,
                      "/usr/bin/systemctl try-restart @UNIT@.service",
                      "see the journal of the unit");
        enable_units(s, "@UNIT@.socket @UNIT@.service");
        return;
    }
    char *text = setup_fill(
        &s->steps,
        "not done: the pool is not started, because systemd does not have "
        "@UNIT@.socket; start it with\n    install -d -o curt -m 0755 "
        "/run/@FILE@ && CURT_CONF=@CONF@ "
        "spawn-fcgi -s /run/curt/curt.sock -M 0660 -u curt -U www-data -b 1024 "
        "-P /run/@FILE@.pid -- " CURT_SBINDIR "/curt.fcgi");
    ctl_print_lines(s->steps.out, "", text);
    free(text);
}

/* The site and its certificate: first on http, where there is none yet. */
static void set_up_server(struct setup *s)
{
    const bool md = is_server(s, "apache"), first = !has_certificate(s);
    check_dns(s);
    if (s->tls)
        make_webroot(s);
    use_site(s, s->tls && (md || !first));
    if (s->steps.failed || !s->tls)
        return;
    if (md)
        wait_for_md(s);
    else
        setup_run(&s->steps, certbot, certificate_advice);
    s->obtaining = s->steps.failed;
    if (s->steps.failed)
        return;
    if (first && !md)
        use_site(s, true);
    if (!s->steps.failed && has_systemd())
        enable_units(s, md ? "curt-apache.path" : "certbot.timer");
}

static int set_up(struct setup *s)
{
    if (geteuid() != 0) {
        ctl_say(stderr, "curt: setup must be run by root, such as with sudo");
        return EX_NOPERM;
    }
    umask(022); /* of the commands: servers read what they write */
    find_modules(s);
    s->steps.checking = true;
    if (s->server != NULL)
        check_server(s);
    if (s->server != NULL && !s->steps.failed)
        write_site(s, s->tls);
    write_conf(s);
    s->steps.checking = false;
    s->steps.changed = false;
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
               : doctor_run(s->conf, s->ctl->json);
}

int ctl_setup(struct ctl *ctl, const char *argument)
{
    (void)argument;
    struct setup s = {.ctl = ctl};
    buf_init(&s.names, NAMES_MAX);
    const int status = read_options(&s) ? set_up(&s) : EX_USAGE;
    buf_free(&s.names);
    setup_free(&s.steps);
    return status;
}

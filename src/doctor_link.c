#include "doctor_parts.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "cache.h"
#include "clock.h"
#include "http_client.h"
#include "link.h"
#include "mem.h"

/* Where a probe leads to, followed by as many bytes as it is to have. Nobody
 * goes there. */
#define TARGET "https://example.com/curt-doctor"

/* Length of the probe's id: nobody else draws it, and nobody guesses it. */
#define ID_LENGTH 20

/* A probe that is not removed expires after these seconds. */
#define PROBE_TTL 300

/* How long the web server may take, in milliseconds. */
#define SITE_MS 5000

/* The largest page that is read. */
#define PAGE_MAX (1u << 20)

/* How long a store may take until all of it knows of a write, in
 * milliseconds. */
#define REPLICAS_MS 1000

/* ---- The store ------------------------------------------------------- */

/* Length of the probe for servers that do not pass on the long one. */
#define SHORT (sizeof(TARGET) - 1)

static void fill_probe(const struct doctor *d, const struct doctor_probe *p,
                       struct link *l)
{
    const struct link_client client = {.user_agent = "curt-doctor"};
    char created_at[CLOCK_TEXT_SIZE];
    const int64_t now = clock_now();
    clock_text(now, created_at);
    link_init(l);
    link_set(&l->short_id, p->id);
    link_set(&l->long_url, p->target);
    l->short_url = mem_printf("%s%s", d->conf->app_url, p->id);
    link_set(&l->created_at, created_at);
    l->ttl = now + PROBE_TTL;
    l->analytics = link_analytics(l->long_url, &client);
}

/* Stores a probe with a target of length bytes and reads it back; *what says
 * how far that came, and ms how long each took. */
static enum result store_probe(struct doctor *d, struct doctor_probe *p,
                               size_t length, const char **what, int64_t ms[2])
{
    struct link l, found;
    *p = (struct doctor_probe){.stored = false};
    memset(p->target, 'x', length);
    memcpy(p->target, TARGET, SHORT);
    *what = "no id was drawn for a probe";
    enum result r = ids_make(ID_LENGTH, ID_LENGTH, p->id);
    if (r != RESULT_OK)
        return r;
    *what = "a probe could not be written";
    /* A check does not create the database. */
    if (!d->running && store_newest(d->store, ms) == RESULT_UNAVAILABLE)
        return RESULT_NOT_FOUND;
    fill_probe(d, p, &l);
    link_init(&found);
    const int64_t begin = clock_monotonic_ms();
    r = store_create(d->store, &l, 0);
    ms[0] = clock_monotonic_ms() - begin;
    p->leftover = r == RESULT_OK || r == RESULT_UNKNOWN;
    if (r == RESULT_OK) {
        *what = "the probe was written and could not be read";
        r = store_get(d->store, p->id, STORE_WHOLE, 0, &found);
        if (r == RESULT_OK &&
            (strcmp(found.long_url, p->target) != 0 || found.ttl != l.ttl))
            r = store_fail(d->store, RESULT_CORRUPT,
                           "it came back with long_url %.100s, ttl %lld",
                           found.long_url, (long long)found.ttl);
        ms[1] = clock_monotonic_ms() - begin - ms[0];
    }
    p->stored = r == RESULT_OK;
    link_free(&found);
    link_free(&l);
    return r;
}

static enum result remove_probe(struct doctor *d, struct doctor_probe *p)
{
    enum result r = store_delete(d->store, p->id, 0);
    struct cache *cache = cache_open_existing(d->conf);
    cache_forget(cache, p->id);
    cache_close(cache);
    return r == RESULT_NOT_FOUND && !p->stored ? RESULT_OK : r;
}

/* Where other lines have named the fault of the store it is not repeated. */
static void add_store_error(struct doctor *d, enum report_level level,
                            enum result r, const char *what)
{
    static const char advice[] =
        "first fix the faults of the store in the lines above";
    const char *error = store_error(d->store);
    char *text =
        mem_printf("%s: %s", what, error[0] != '\0' ? error : result_text(r));
    if (d->blamed)
        report_add(d->report, level, "link", advice, "%.*s",
                   (int)strcspn(text, ";"), text);
    else
        report_add_error(d->report, level, "link",
                         "check the store, and see the log of curt.fcgi", text);
    free(text);
}

void doctor_make_link(struct doctor *d)
{
    const char *what;
    int64_t ms[2];
    enum result r = store_probe(d, &d->probe, URL_MAX, &what, ms);
    const bool none = r == RESULT_NOT_FOUND && !d->probe.leftover;
    if (r != RESULT_OK)
        add_store_error(d, none ? REPORT_WARN : REPORT_FAIL, r, what);
    else
        report_add(d->report, REPORT_OK, "link", NULL,
                   "a probe was written in %lld ms and read in %lld ms",
                   (long long)ms[0], (long long)ms[1]);
}

void doctor_remove_link(struct doctor *d)
{
    if (!d->probe.leftover)
        return;
    const int64_t begin = clock_monotonic_ms();
    enum result r = remove_probe(d, &d->probe);
    if (r == RESULT_OK)
        report_add(d->report, REPORT_OK, "link", NULL,
                   "the probe was removed in %lld ms",
                   (long long)(clock_monotonic_ms() - begin));
    else
        add_store_error(d, REPORT_WARN, r,
                        "the probe was not removed, and expires in five "
                        "minutes");
}

void doctor_wait_for_link(struct doctor *d, const struct doctor_probe *p)
{
    const struct timespec pause = {REPLICAS_MS / 1000,
                                   REPLICAS_MS % 1000 * 1000000};
    nanosleep(&pause, NULL);
    struct cache *cache = cache_open_existing(d->conf);
    cache_forget_missing(cache, p->id);
    cache_close(cache);
}

/* ---- The site -------------------------------------------------------- */

static enum result send_get(struct http_client *http, const char *url,
                            struct http_client_answer *answer)
{
    bool loopback = false;
    if (!http_client_check_url(url, &loopback))
        return RESULT_INVALID;
    const struct http_client_request request = {
        .method = "GET",
        .url = url,
        .deadline = clock_monotonic_ms() + SITE_MS,
        .may_repeat = true,
        .direct = loopback,
    };
    return http_client_send(http, &request, answer);
}

/* The length of an error text without what it advises for AWS's endpoints. */
static int fact_length(const char *error)
{
    const char *cut = strstr(error, "; ");
    return cut != NULL ? (int)(cut - error) : (int)strlen(error);
}

/* Why there is no answer, and what to check. */
static void add_connection_fault(struct doctor *d, struct http_client *http,
                                 enum result r, const char *url)
{
    const char *error = http_client_error(http);
    const char *advice;
    if (r == RESULT_DENIED)
        advice = "the certificate has expired, is for another name, or lacks "
                 "its chain: check the web server's TLS settings and the "
                 "renewal";
    else if (strstr(error, "wrong version number") != NULL)
        advice = "what listens at that port speaks http, not https: serve TLS "
                 "there, or let APP_URL name the host and port where TLS ends";
    else if (strncmp(error, "Could not resolve", 17) == 0)
        advice = "the name in APP_URL does not resolve here: check its DNS "
                 "record and /etc/resolv.conf";
    else if (http_client_timed_out(http))
        advice = "check the firewall, and whether this host can reach its own "
                 "public address";
    else
        advice = "is the web server running, and does it listen on the address "
                 "and port of APP_URL?";
    report_add(d->report, REPORT_FAIL, "redirect", advice, "GET %s: %.*s", url,
               fact_length(error), error);
}

/* Whether an error page is curt's own: those have a trace id. */
static bool is_curts(const struct http_client_answer *answer)
{
    return strstr(answer->body, "\"trace_id\"") != NULL;
}

/* The path that curt received, where its 404 tells and it is not the one of
 * url; the caller frees it. NULL: unknown, or unchanged. */
static char *changed_path(const char *url,
                          const struct http_client_answer *answer)
{
    static const char member[] = "\"instance\":\"";
    const char *path = strstr(url, "://") + 3;
    const char *found = strstr(answer->body, member);
    if (!is_curts(answer) || found == NULL)
        return NULL;
    found += sizeof(member) - 1;
    path += strcspn(path, "/");
    const size_t len = strcspn(found, "\"");
    return len == strlen(path) && strncmp(found, path, len) == 0
               ? NULL
               : mem_dup_bytes(found, len);
}

/* Whether this answer only shows that the pool is down. */
static bool misses_pool(const struct doctor *d,
                        const struct http_client_answer *answer)
{
    return !d->running && !d->hidden && answer->status >= 500 &&
           !is_curts(answer);
}

/* What to do about an answer that is not the expected one. */
static const char *advise_on(const struct doctor *d, const char *url,
                             const struct http_client_answer *answer)
{
    const long status = answer->status;
    const char *to = answer->location != NULL ? answer->location : "";
    if (status >= 300 && status < 400 && strcmp(to, url) == 0)
        return "it redirects to itself: TLS ends at a proxy, and the web "
               "server behind the proxy redirects http to https; let it trust "
               "X-Forwarded-Proto, or remove that rule there";
    if (status >= 300 && status < 400 &&
        strncmp(d->conf->app_url, "https://", 8) != 0 &&
        strncasecmp(to, "https://", 8) == 0)
        return "the web server wants https: let APP_URL begin with https://";
    if (status >= 300 && status < 400)
        return "another site or rule answers there: correct APP_URL, or route "
               "its path to curt before other rules";
    if (is_curts(answer) && status == 404)
        return "it is routed to another curt or another store: compare the "
               "socket in the web server's configuration with that of this "
               "pool, and restart the pool if TABLE or STATE_DIR changed";
    if (is_curts(answer))
        return "curt itself answers so: see the log of curt.fcgi";
    if (status >= 500)
        return "the web server does not get an answer from curt.fcgi: is the "
               "pool running, is its socket the one in the web server's "
               "configuration, may the web server open it?";
    if (status == 401 || status == 403)
        return "the web server forbids it: links must be open to all";
    return "it does not reach curt, the web server answers it: include curt's "
           "file from deploy/ in the virtual host of APP_URL, with the "
           "path of APP_URL and before other rewrite rules, and reload it; a "
           "proxy before it must pass on the path unchanged";
}

/* A line for an answer that is not the expected one: check is "redirect" or
 * "create". */
static void add_wrong_answer(struct doctor *d, const char *check,
                             const char *url, const char *wanted,
                             const char *advice,
                             const struct http_client_answer *answer)
{
    const char *to = answer->location != NULL ? answer->location : "";
    char *path = changed_path(url, answer);
    if (path != NULL)
        report_add(d->report, REPORT_FAIL, check,
                   "a proxy or a rewrite rule on the way changes the path; it "
                   "must pass it on as it is: nginx, proxy_pass without a path "
                   "after host and port; Apache httpd, ProxyPass with the same "
                   "path on both sides; lighttpd, no map-urlpath",
                   "GET %s: it reaches curt, but with the path %s", url, path);
    else
        report_add(d->report, REPORT_FAIL, check, advice,
                   "GET %s: status %ld%s%.200s and not %s", url, answer->status,
                   to[0] != '\0' ? " to " : "", to, wanted);
    free(path);
}

/* Follows a probe. True: it came back as it should. Otherwise *r and answer say
 * what came, of url, which the caller frees in any case. */
static bool follow_probe(struct doctor *d, struct http_client *http,
                         const struct doctor_probe *p, char **url,
                         enum result *r, struct http_client_answer *answer)
{
    *url = mem_printf("%s%s", d->conf->app_url, p->id);
    *r = send_get(http, *url, answer);
    if (*r == RESULT_OK && answer->status == 404 && is_curts(answer)) {
        doctor_wait_for_link(d, p);
        *r = send_get(http, *url, answer);
    }
    return *r == RESULT_OK && answer->status == 301 &&
           answer->location != NULL && strcmp(answer->location, p->target) == 0;
}

/* The probe through the web server, and a short one where that fails. False:
 * there is no web server. */
static bool follow_link(struct doctor *d, struct http_client *http)
{
    struct http_client_answer answer;
    struct doctor_probe small = {.stored = false};
    enum result r;
    const char *what;
    int64_t ms[2];
    char *url, *url2 = NULL;
    const int64_t begin = clock_monotonic_ms();
    const bool whole = follow_probe(d, http, &d->probe, &url, &r, &answer);
    const int64_t took = clock_monotonic_ms() - begin;
    char *seen = r == RESULT_OK ? mem_printf("status %ld", answer.status)
                                : mem_dup(http_client_error(http));
    bool routed = whole;
    if (!whole && d->probe.stored && answer.sends > 0 &&
        store_probe(d, &small, SHORT, &what, ms) == RESULT_OK)
        routed = follow_probe(d, http, &small, &url2, &r, &answer);
    if (whole)
        report_add(d->report, REPORT_OK, "redirect", NULL,
                   "%s leads to this curt and its store, in %lld ms",
                   d->conf->app_url, (long long)took);
    else if (routed)
        report_add(
            d->report, REPORT_FAIL, "redirect",
            "a buffer for response heads is too small, in the web server or in "
            "a proxy before it: nginx, proxy_buffer_size 16k and proxy_buffers "
            "4 16k as in deploy/nginx/curt-proxy.conf (with FastCGI "
            "fastcgi_buffer_size and fastcgi_buffers); HAProxy, tune.bufsize "
            "32768; Apache httpd, ProxyPass with responsefieldsize=16384",
            "GET %s: %.*s with a Location of %d bytes, the longest that curt "
            "stores; one of %zu bytes is passed on",
            url, fact_length(seen), seen, URL_MAX, SHORT);
    else if (r != RESULT_OK)
        add_connection_fault(d, http, r, url);
    else if (misses_pool(d, &answer))
        ; /* reported by the line of the pool */
    else if (d->probe.stored || !is_curts(&answer))
        add_wrong_answer(
            d, "redirect", url2 != NULL ? url2 : url, "the probe's redirect",
            advise_on(d, url2 != NULL ? url2 : url, &answer), &answer);
    else
        report_add(d->report, REPORT_WARN, "redirect",
                   "fix the store, then run this again",
                   "not known without a probe link; GET %s: status %ld", url,
                   answer.status);
    if (small.leftover && remove_probe(d, &small) != RESULT_OK)
        report_add(d->report, REPORT_WARN, "link", "nothing: it expires",
                   "a second probe was not removed, and expires in five "
                   "minutes");
    free(seen);
    free(url2);
    free(url);
    return r == RESULT_OK;
}

/* The URL of path on the host of APP_URL; the caller frees it. */
static char *host_url(const struct doctor *d, const char *path)
{
    const char *app_url = d->conf->app_url;
    const char *const end = strchr(strstr(app_url, "://") + 3, '/');
    return mem_printf("%.*s%s", (int)(end - app_url), app_url, path);
}

/* POST /create, as far as it can be seen without creating a link: curt refuses
 * GET there with its own 405. */
static void check_create(struct doctor *d, struct http_client *http)
{
    static const char advice[] =
        "route /create on the host of APP_URL to curt, as its files in "
        "deploy/ do";
    struct http_client_answer answer;
    char *url = host_url(d, "/create");
    if (send_get(http, url, &answer) != RESULT_OK)
        report_add(d->report, REPORT_FAIL, "create", advice, "GET %s: %.*s",
                   url, fact_length(http_client_error(http)),
                   http_client_error(http));
    else if (answer.status == 405 && is_curts(&answer))
        report_add(d->report, REPORT_OK, "create", NULL, "%s leads to curt",
                   url);
    else if (answer.status == 401 || answer.status == 403)
        report_add(d->report, REPORT_OK, "create", NULL,
                   "GET %s: status %ld: the web server wants a password, which "
                   "curt doctor does not have",
                   url, answer.status);
    else if (answer.status == 405)
        report_add(
            d->report, REPORT_WARN, "create",
            "let the web server pass on errors of curt unchanged, as the "
            "files in deploy/ do",
            "GET %s: 405 as it should, but with a page that is not "
            "curt's",
            url);
    else if (!misses_pool(d, &answer))
        add_wrong_answer(d, "create", url, "curt's 405", advice, &answer);
    free(url);
}

/* The page at "/", where a site may have a page of its own. */
static void check_page(struct doctor *d, struct http_client *http)
{
    struct http_client_answer answer;
    char *url = host_url(d, "/");
    if (send_get(http, url, &answer) != RESULT_OK)
        report_add(d->report, REPORT_WARN, "page", "run this again",
                   "GET %s: %s", url, http_client_error(http));
    else if (strstr(answer.body, "page.js?v=") != NULL)
        report_add(d->report, REPORT_OK, "page", NULL, "%s is curt's", url);
    else if (answer.status < 400 && strcmp(url, d->conf->app_url) != 0)
        report_add(d->report, REPORT_OK, "page", NULL,
                   "%s is the site's own; curt's page is %s", url,
                   d->conf->app_url);
    else if (answer.status < 500 || is_curts(&answer)) /* else see redirect */
        report_add(d->report, REPORT_WARN, "page",
                   "route / to curt, as its files in deploy/ do, or set "
                   "HOME = off",
                   "GET %s: status %ld and not the page", url, answer.status);
    free(url);
}

bool doctor_wake_pool(struct doctor *d)
{
    struct http_client *http = http_client_new(NULL, PAGE_MAX);
    struct http_client_answer answer;
    char *url = mem_printf("%s-", d->conf->app_url); /* an invalid id */
    const bool woken =
        send_get(http, url, &answer) == RESULT_OK && is_curts(&answer);
    free(url);
    http_client_free(http);
    return woken;
}

void doctor_check_site(struct doctor *d)
{
    struct http_client *http = http_client_new(NULL, PAGE_MAX);
    if (follow_link(d, http)) {
        check_create(d, http);
        if (strcmp(d->conf->home, "page") == 0)
            check_page(d, http);
    }
    http_client_free(http);
}

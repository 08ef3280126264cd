#include <stdlib.h>
#include <string.h>

#include "aws/http_client.h"
#include "base/clock.h"
#include "base/mem.h"
#include "doctor/checks.h"
#include "link/link.h"
#include "service/cache.h"

/* Where the probe leads to, followed by as many bytes as the target has. */
#define TARGET "https://example.com/curt-doctor"

/* Length of the probe's id, which cannot be drawn or guessed. */
#define ID_LENGTH 20

/* A probe that is not removed expires after these seconds. */
#define PROBE_TTL 300

/* How long the web server may take, in milliseconds, and the largest page that
 * is read. */
#define SITE_MS  5000
#define PAGE_MAX (1u << 20)

/* How long a store may take until all its replicas know of a write, in
 * milliseconds. */
#define REPLICAS_MS 1000

/* ---- The store ------------------------------------------------------- */

static void fill_probe(struct doctor *d, struct link *l)
{
    const struct link_client client = {.user_agent = "curt-doctor"};
    char created_at[CLOCK_TEXT_SIZE];
    const int64_t now = clock_now();
    memset(d->target, 'x', URL_MAX);
    memcpy(d->target, TARGET, sizeof(TARGET) - 1);
    clock_text(now, created_at);
    link_init(l);
    link_set(&l->short_id, d->id);
    link_set(&l->long_url, d->target);
    l->short_url = mem_printf("%s%s", d->conf->app_url, d->id);
    link_set(&l->created_at, created_at);
    l->ttl = now + PROBE_TTL;
    l->analytics = link_analytics(l->long_url, &client);
}

static void add_store_fault(struct doctor *d, enum report_level level,
                            enum result r, const char *what)
{
    const char *error = store_error(d->store);
    char *text =
        mem_printf("%s: %s", what, error[0] != '\0' ? error : result_text(r));
    report_add_error(d->report, level, "link",
                     "check the store, and see the log of curt.fcgi", text);
    free(text);
}

void doctor_make_link(struct doctor *d)
{
    struct link l, found;
    int64_t newest;
    enum result r = ids_make(ID_LENGTH, ID_LENGTH, d->id);
    if (r != RESULT_OK) {
        add_store_fault(d, REPORT_FAIL, r, "no id was drawn for a probe");
        return;
    }
    /* A check does not create the database. */
    if (!d->running && store_newest(d->store, &newest) == RESULT_UNAVAILABLE) {
        add_store_fault(d, REPORT_WARN, RESULT_NOT_FOUND,
                        "a probe was not written");
        return;
    }
    fill_probe(d, &l);
    link_init(&found);
    const int64_t begin = clock_monotonic_ms();
    r = store_create(d->store, &l, 0);
    const int64_t written = clock_monotonic_ms();
    d->leftover = r == RESULT_OK || r == RESULT_UNKNOWN;
    if (r != RESULT_OK) {
        add_store_fault(d, REPORT_FAIL, r, "a probe could not be written");
    } else {
        r = store_get(d->store, d->id, STORE_WHOLE, 0, &found);
        if (r == RESULT_OK &&
            (strcmp(found.long_url, d->target) != 0 || found.ttl != l.ttl))
            r = store_fail(d->store, RESULT_CORRUPT,
                           "it came back with long_url %.100s, ttl %lld",
                           found.long_url, (long long)found.ttl);
        d->stored = r == RESULT_OK;
        if (d->stored)
            report_add(d->report, REPORT_OK, "link", NULL,
                       "a probe was written in %lld ms and read in %lld ms",
                       (long long)(written - begin),
                       (long long)(clock_monotonic_ms() - written));
        else
            add_store_fault(d, REPORT_FAIL, r,
                            "the probe was written and could not be read");
    }
    link_free(&found);
    link_free(&l);
}

void doctor_remove_link(struct doctor *d)
{
    if (!d->leftover)
        return;
    const int64_t begin = clock_monotonic_ms();
    enum result r = store_purge(d->store, d->id, 0);
    if (r == RESULT_OK || (r == RESULT_NOT_FOUND && !d->stored))
        report_add(d->report, REPORT_OK, "link", NULL,
                   "the probe was removed in %lld ms",
                   (long long)(clock_monotonic_ms() - begin));
    else
        add_store_fault(d, REPORT_WARN, r,
                        "the probe was not removed, and expires in five "
                        "minutes");
    struct cache *cache = cache_open_existing(d->conf);
    cache_forget(cache, d->id);
    cache_close(cache);
}

void doctor_wait_for_link(struct doctor *d)
{
    clock_pause_ms(REPLICAS_MS);
    struct cache *cache = cache_open_existing(d->conf);
    cache_forget_missing(cache, d->id);
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

/* Whether an error page is curt's own: those have a trace id. */
static bool is_curts(const struct http_client_answer *answer)
{
    return strstr(answer->body, "\"trace_id\"") != NULL;
}

/* Without the advice for AWS endpoints, which follows a "; ". */
static void add_connection_fault(struct doctor *d, struct http_client *http,
                                 const char *check, const char *url)
{
    const char *error = http_client_error(http);
    const char *cut = strstr(error, "; ");
    report_add(d->report, REPORT_FAIL, check,
               "check that the web server is running and listens on the host "
               "and port of APP_URL, that the name resolves (DNS) to an "
               "address this host can reach, and for https that the port "
               "speaks TLS with a valid certificate of that name",
               "GET %s: %.*s", url,
               (int)(cut != NULL ? (size_t)(cut - error) : strlen(error)),
               error);
}

/* A line for an answer that is not the expected one, with the usual causes;
 * none where it only shows that the pool is down. */
static void add_wrong_answer(struct doctor *d, const char *check,
                             const char *url, const char *expected,
                             const struct http_client_answer *answer)
{
    static const char member[] = "\"instance\":\"";
    const bool curts = is_curts(answer);
    const char *to = answer->location != NULL ? answer->location : "";
    const char *path = curts ? strstr(answer->body, member) : NULL;
    const char *advice =
        "it did not reach curt: include curt's file from deploy/ in the "
        "virtual host of APP_URL, for /create and the path of APP_URL, before "
        "other rules and without a password; APP_URL must have the scheme that "
        "visitors use, and a web server after a TLS proxy must trust "
        "X-Forwarded-Proto";
    path = path != NULL ? path + sizeof(member) - 1 : "";
    if (answer->status >= 500 && !curts && !d->running && !d->hidden)
        return;
    if (curts && answer->status == 404)
        advice = "either a proxy on the way changes the path (nginx: use "
                 "proxy_pass without a path after host and port), or the web "
                 "server uses the socket of another curt, or the pool must be "
                 "restarted because TABLE or STATE_DIR changed";
    else if (curts)
        advice = "see the log of curt.fcgi";
    else if (answer->status >= 500)
        advice = "the usual causes: the web server does not use the socket of "
                 "this pool or may not open it, or a buffer for response heads "
                 "is too small (nginx: proxy_buffer_size 16k and proxy_buffers "
                 "4 16k, or fastcgi_buffer_size and fastcgi_buffers, as in "
                 "deploy/nginx; HAProxy: tune.bufsize; Apache httpd: "
                 "responsefieldsize)";
    report_add(d->report, REPORT_FAIL, check, advice,
               "GET %s: status %ld%s%.200s%s%.*s, expected %s", url,
               answer->status, to[0] != '\0' ? " to " : "", to,
               path[0] != '\0' ? " from curt for the path " : "",
               (int)strcspn(path, "\""), path, expected);
}

/* Requests the probe from the web server. False: no answer. */
static bool follow_link(struct doctor *d, struct http_client *http)
{
    struct http_client_answer answer;
    char *url = mem_printf("%s%s", d->conf->app_url, d->id);
    int64_t begin = clock_monotonic_ms();
    enum result r = send_get(http, url, &answer);
    if (r == RESULT_OK && d->stored && answer.status == 404 &&
        is_curts(&answer)) {
        doctor_wait_for_link(d);
        begin = clock_monotonic_ms();
        r = send_get(http, url, &answer);
    }
    d->routed = r == RESULT_OK && answer.status == 301 &&
                answer.location != NULL &&
                strcmp(answer.location, d->target) == 0;
    if (r != RESULT_OK)
        add_connection_fault(d, http, "redirect", url);
    else if (d->routed)
        report_add(d->report, REPORT_OK, "redirect", NULL,
                   "%s leads to this curt and its store, in %lld ms",
                   d->conf->app_url, (long long)(clock_monotonic_ms() - begin));
    else if (!d->stored && is_curts(&answer))
        report_add(d->report, REPORT_WARN, "redirect",
                   "fix the store, then run this again",
                   "GET %s: status %ld; without a probe there is nothing to "
                   "compare it with",
                   url, answer.status);
    else
        add_wrong_answer(d, "redirect", url, "the probe's redirect (301)",
                         &answer);
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
    struct http_client_answer answer;
    char *url = host_url(d, "/create");
    if (send_get(http, url, &answer) != RESULT_OK)
        add_connection_fault(d, http, "create", url);
    else if (answer.status == 405 && is_curts(&answer))
        report_add(d->report, REPORT_OK, "create", NULL, "%s leads to curt",
                   url);
    else if (answer.status == 401 || answer.status == 403)
        report_add(d->report, REPORT_OK, "create", NULL,
                   "GET %s: status %ld: the web server wants a password, which "
                   "curt doctor does not have",
                   url, answer.status);
    else if (answer.status == 405)
        report_add(d->report, REPORT_WARN, "create",
                   "let the web server pass on errors of curt unchanged, as "
                   "the files in deploy/ do",
                   "GET %s: status 405 as expected, but the page is not curt's",
                   url);
    else
        add_wrong_answer(d, "create", url, "curt's 405", &answer);
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
                   "GET %s: status %ld, expected the page", url, answer.status);
    free(url);
}

bool doctor_wake_pool(struct doctor *d)
{
    struct http_client *http = http_client_new(NULL, PAGE_MAX);
    struct http_client_answer answer;
    /* An invalid id, but not "~": Debian's lighttpd refuses what ends in it. */
    char *url = mem_printf("%s!", d->conf->app_url);
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

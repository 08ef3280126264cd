#include "doctor_parts.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "aws_http.h"
#include "cache.h"
#include "clock.h"
#include "link.h"
#include "mem.h"

/* Length of the probe's id: nobody else draws it, and nobody guesses it. */
#define ID_LENGTH 20

/* The probe goes away by itself when nobody removes it, in seconds. */
#define PROBE_TTL 300

/* How long the web server may take, in milliseconds. */
#define SITE_MS 5000

/* The largest page that is read. */
#define PAGE_MAX (1u << 20)

/* How long a store may take until all of it knows of a write, in
 * milliseconds. */
#define REPLICAS_MS 1000

/* ---- The store ------------------------------------------------------- */

static void fill_probe(const struct doctor *d, struct link *l)
{
    const struct link_client client = {.user_agent = "curt-doctor"};
    char created_at[CLOCK_TEXT_SIZE];
    const int64_t now = clock_now();
    clock_text(now, created_at);
    link_init(l);
    link_set(&l->short_id, d->id);
    link_set(&l->long_url, DOCTOR_TARGET);
    l->short_url = mem_printf("%s%s", d->conf->app_url, d->id);
    link_set(&l->created_at, created_at);
    l->ttl = now + PROBE_TTL;
    l->analytics = link_analytics(l->long_url, &client);
}

/* Where other lines have said what is wrong with the store it is not said
 * again. */
static void add_store_error(struct doctor *d, enum report_level level,
                            enum result r, const char *what)
{
    static const char advice[] =
        "mend first what the lines above say of the store";
    const char *error = store_error(d->store);
    char *text = mem_printf("%s: %s%s%s", what, result_text(r),
                            error[0] != '\0' ? ": " : "", error);
    if (d->blamed)
        report_add(d->report, level, "link", advice, "%.*s",
                   (int)strcspn(text, ";"), text);
    else
        report_add_error(d->report, level, "link",
                         "look at the store and at the log of curt.fcgi", text);
    free(text);
}

static enum result read_back(struct doctor *d, const struct link *wrote)
{
    struct link found;
    link_init(&found);
    enum result r = store_get(d->store, d->id, STORE_WHOLE, &found);
    if (r == RESULT_OK && (strcmp(found.long_url, wrote->long_url) != 0 ||
                           found.ttl != wrote->ttl))
        r = store_fail(d->store, RESULT_CORRUPT,
                       "it came back with long_url %s, ttl %lld",
                       found.long_url, (long long)found.ttl);
    link_free(&found);
    return r;
}

void doctor_make_link(struct doctor *d)
{
    struct link l;
    if (ids_make(ID_LENGTH, ID_LENGTH, d->id) != RESULT_OK) {
        report_add(d->report, REPORT_FAIL, "link", "look at OpenSSL",
                   "no random numbers can be had");
        return;
    }
    fill_probe(d, &l);
    const int64_t begin = clock_monotonic_ms();
    enum result r = store_create(d->store, &l);
    const int64_t written = clock_monotonic_ms();
    d->leftover = r == RESULT_OK || r == RESULT_UNKNOWN;
    if (r != RESULT_OK) {
        add_store_error(d, REPORT_FAIL, r, "a probe could not be written");
    } else {
        r = read_back(d, &l);
        d->stored = r == RESULT_OK;
        if (r != RESULT_OK)
            add_store_error(d, REPORT_FAIL, r,
                            "the probe was written and could not be read");
        else
            report_add(d->report, REPORT_OK, "link", NULL,
                       "a probe was written in %lld ms and read in %lld ms",
                       (long long)(written - begin),
                       (long long)(clock_monotonic_ms() - written));
    }
    link_free(&l);
}

void doctor_remove_link(struct doctor *d)
{
    if (!d->leftover)
        return;
    const int64_t begin = clock_monotonic_ms();
    enum result r = store_delete(d->store, d->id);
    struct cache *cache = cache_open_existing(d->conf);
    cache_forget(cache, d->id);
    cache_close(cache);
    if (r == RESULT_OK || (r == RESULT_NOT_FOUND && !d->stored))
        report_add(d->report, REPORT_OK, "link", NULL,
                   "the probe was removed in %lld ms",
                   (long long)(clock_monotonic_ms() - begin));
    else
        add_store_error(d, REPORT_WARN, r,
                        "the probe was not removed, and expires in five "
                        "minutes");
}

void doctor_wait_for_link(struct doctor *d)
{
    const struct timespec pause = {REPLICAS_MS / 1000,
                                   REPLICAS_MS % 1000 * 1000000};
    nanosleep(&pause, NULL);
    struct cache *cache = cache_open_existing(d->conf);
    cache_forget_missing(cache, d->id);
    cache_close(cache);
}

/* ---- The site -------------------------------------------------------- */

static enum result ask(struct aws_http *http, const char *url,
                       struct aws_http_answer *answer)
{
    bool loopback = false;
    if (!aws_http_check_url(url, &loopback))
        return RESULT_INVALID;
    const struct aws_http_request request = {
        .method = "GET",
        .url = url,
        .deadline = clock_monotonic_ms() + SITE_MS,
        .may_repeat = true,
        .direct = loopback,
    };
    return aws_http_send(http, &request, answer);
}

/* The length of an error text without what it advises for AWS's endpoints. */
static int fact_length(const char *error)
{
    const char *cut = strstr(error, "; ");
    return cut != NULL ? (int)(cut - error) : (int)strlen(error);
}

/* Why there is no answer, and where to look. */
static void add_connection_fault(struct doctor *d, struct aws_http *http,
                                 enum result r, const char *url)
{
    const char *error = aws_http_error(http);
    const char *advice;
    if (r == RESULT_DENIED)
        advice = "the certificate has expired, is for another name, or lacks "
                 "its chain: look at the web server's TLS settings and its "
                 "renewal";
    else if (strncmp(error, "Could not resolve", 17) == 0)
        advice = "the name in APP_URL does not resolve here: look at its DNS "
                 "record and at /etc/resolv.conf";
    else if (aws_http_timed_out(http))
        advice = "look at the firewall, and whether this host can reach its "
                 "own public address";
    else
        advice = "is the web server running, and does it listen on the address "
                 "and port of APP_URL?";
    report_add(d->report, REPORT_FAIL, "redirect", advice, "GET %s: %.*s", url,
               fact_length(error), error);
}

/* Whether an error page is curt's own: those have a trace id. */
static bool is_curts(const struct aws_http_answer *answer)
{
    return strstr(answer->body, "\"trace_id\"") != NULL;
}

static bool is_redirect(long status)
{
    return status >= 300 && status < 400;
}

/* Why an answer that is not the probe's redirect came. */
static const char *explain(const struct doctor *d,
                           const struct aws_http_answer *answer)
{
    const bool https = strncmp(d->conf->app_url, "https://", 8) == 0;
    if (is_redirect(answer->status) && !https && answer->location != NULL &&
        strncasecmp(answer->location, "https://", 8) == 0)
        return "the web server wants https: let APP_URL begin with https://";
    if (is_redirect(answer->status))
        return "another site or rule answers there: let APP_URL be where the "
               "links are, and route its path to curt first";
    if (answer->status == 404 && is_curts(answer))
        return "it is routed to another curt or another store: compare the "
               "socket in the web server's configuration with that of this "
               "pool, and restart the pool if TABLE or STATE_DIR changed";
    if (is_curts(answer))
        return "curt itself answers so: look at the log of curt.fcgi";
    if (answer->status == 404 || answer->status == 200)
        return "the web server answers by itself: include curt's file from "
               "deploy/ in the virtual host of APP_URL, before other rewrite "
               "rules, and reload the web server";
    if (answer->status == 401 || answer->status == 403)
        return "the web server forbids it: links must be open to all";
    if (answer->status >= 500)
        return "the web server does not get an answer from curt.fcgi: is the "
               "pool running, is its socket the one in the web server's "
               "configuration, may the web server open it?";
    return "look at the web server's rules for the path of APP_URL";
}

static void add_site_answer(struct doctor *d, const char *url,
                            const struct aws_http_answer *answer, int64_t ms)
{
    const char *location = answer->location != NULL ? answer->location : "";
    d->routed = answer->status == 301 && strcmp(location, DOCTOR_TARGET) == 0;
    if (d->routed)
        report_add(d->report, REPORT_OK, "redirect", NULL,
                   "%s leads to this curt and its store, in %lld ms",
                   d->conf->app_url, (long long)ms);
    else
        report_add(d->report, REPORT_FAIL, "redirect", explain(d, answer),
                   "GET %s: status %ld%s%s and not the probe's redirect", url,
                   answer->status, location[0] != '\0' ? " to " : "", location);
}

/* The probe through the web server. False: there is no web server. */
static bool follow(struct doctor *d, struct aws_http *http)
{
    struct aws_http_answer answer;
    char *url = mem_printf("%s%s", d->conf->app_url, d->id);
    int64_t begin = clock_monotonic_ms();
    enum result r = ask(http, url, &answer);
    if (r == RESULT_OK && answer.status == 404 && is_curts(&answer)) {
        doctor_wait_for_link(d);
        begin = clock_monotonic_ms();
        r = ask(http, url, &answer);
    }
    if (r != RESULT_OK)
        add_connection_fault(d, http, r, url);
    else if (d->stored)
        add_site_answer(d, url, &answer, clock_monotonic_ms() - begin);
    else
        report_add(d->report, REPORT_WARN, "redirect",
                   "mend the store, then run this again",
                   "not known without a probe link; GET %s: status %ld", url,
                   answer.status);
    free(url);
    return r == RESULT_OK;
}

/* POST /create, as far as it can be seen without making a link: curt refuses
 * GET there with its own 405. */
static void check_create(struct doctor *d, struct aws_http *http)
{
    static const char advice[] =
        "route /create on the host of APP_URL to curt, as its files in "
        "deploy/ do";
    struct aws_http_answer answer;
    const char *app_url = d->conf->app_url;
    const char *host = strstr(app_url, "://") + 3;
    const size_t len = (size_t)(host - app_url) + strcspn(host, "/");
    char *url = mem_printf("%.*s/create", (int)len, app_url);
    if (ask(http, url, &answer) != RESULT_OK)
        report_add(d->report, REPORT_FAIL, "create", advice, "GET %s: %.*s",
                   url, fact_length(aws_http_error(http)),
                   aws_http_error(http));
    else if (answer.status == 405 && is_curts(&answer))
        report_add(d->report, REPORT_OK, "create", NULL, "%s leads to curt",
                   url);
    else if (answer.status == 405)
        report_add(d->report, REPORT_WARN, "create",
                   "let the web server pass on errors of curt as they are, as "
                   "the files in deploy/ do",
                   "GET %s: 405 as it should, but with a page that is not "
                   "curt's",
                   url);
    else
        report_add(d->report, REPORT_FAIL, "create", advice,
                   "GET %s: status %ld and not curt's 405", url, answer.status);
    free(url);
}

void doctor_check_site(struct doctor *d)
{
    struct aws_http *http = aws_http_new(NULL, PAGE_MAX);
    if (follow(d, http))
        check_create(d, http);
    aws_http_free(http);
}

#include "dynamodb_doctor.h"

#include <stdlib.h>
#include <string.h>

#include "aws_credentials.h"
#include "aws_endpoint.h"
#include "aws_region.h"
#include "clock.h"
#include "dynamodb_table.h"
#include "http_client.h"
#include "mem.h"

/* How long an endpoint may take, in milliseconds, and the largest page that
 * is read from it. */
#define ENDPOINT_MS 4000
#define PAGE_MAX    65536

/* How far the clocks may be apart, in seconds: more than a slow answer makes
 * them seem; and close to the five minutes after which DynamoDB refuses. */
#define CLOCK_WARN 30
#define CLOCK_FAIL 240

/* Credentials that end so soon should have been refreshed, in seconds. */
#define EXPIRES_SOON 60

static const char *region_source(const struct conf *conf)
{
    if (conf->aws_region != NULL)
        return "AWS_REGION";
    if (conf->aws_default_region != NULL)
        return "AWS_DEFAULT_REGION";
    char *configured = aws_region_configured(conf);
    const bool in_profile = configured != NULL;
    free(configured);
    return in_profile ? "the profile" : "the instance's metadata";
}

/* ---- Credentials ----------------------------------------------------- */

static void add_found(struct report *report, const char *source,
                      int64_t expires)
{
    static const char advice[] =
        "curt refreshes them by itself; look at the log for why it does not";
    char at[CLOCK_TEXT_SIZE];
    const int64_t left = expires - clock_now();
    clock_text(expires, at);
    if (expires == 0)
        report_add(report, REPORT_OK, "credentials", NULL,
                   "from %s; they do not expire", source);
    else if (left <= 0)
        report_add(report, REPORT_FAIL, "credentials", advice,
                   "from %s; they expired at %sZ", source, at);
    else
        report_add(report, left < EXPIRES_SOON ? REPORT_WARN : REPORT_OK,
                   "credentials", left < EXPIRES_SOON ? advice : NULL,
                   "from %s; they expire at %sZ, in %lld min", source, at,
                   (long long)left / 60);
}

/* Whether there are any. */
static bool check_credentials(struct aws_client *aws, const struct conf *conf,
                              struct report *report)
{
    struct aws_credentials *provider = aws_client_credentials(aws);
    struct aws_keys keys;
    const int64_t deadline =
        clock_monotonic_ms() + (int64_t)conf->store_timeout * 1000;
    if (aws_credentials_get(provider, deadline, &keys) == RESULT_OK) {
        add_found(report, aws_credentials_source(provider),
                  aws_credentials_expires(provider));
        return true;
    }
    report_add(report, REPORT_FAIL, "credentials",
               "give the user that runs curt.fcgi credentials in one of these "
               "ways: curt.conf(5)",
               "%s", aws_credentials_error(provider));
    return false;
}

/* ---- Endpoints ------------------------------------------------------- */

static const char *connection_advice(const struct http_client *http,
                                     enum result r)
{
    if (r == RESULT_DENIED)
        return "let AWS_CA_BUNDLE name the file of authorities to trust, or "
               "update the system's (ca-certificates)";
    if (strncmp(http_client_error(http), "Could not resolve", 17) == 0)
        return "the name does not resolve: look at /etc/resolv.conf, the "
               "region, and AWS_ENDPOINT_URL_DYNAMODB";
    if (http_client_timed_out(http))
        return "look at the firewall, the routes, the VPC endpoint and the "
               "proxy";
    return "is the server running there? look at AWS_ENDPOINT_URL_DYNAMODB, "
           "the firewall and the proxy";
}

/* Asks an endpoint anything: each answer, a refusal too, shows that its name
 * resolves, that it can be reached and that its certificate is good. Returns
 * its clock, 0 if it does not say. */
static int64_t ask_endpoint(const struct aws_endpoints *endpoints, size_t i,
                            struct http_client *http, struct report *report,
                            enum report_level level)
{
    struct http_client_answer answer;
    const char *url = endpoints->all[i].url;
    const int64_t begin = clock_monotonic_ms();
    const struct http_client_request request = {
        .method = "GET",
        .url = url,
        .deadline = begin + ENDPOINT_MS,
        .may_repeat = true,
        .direct = endpoints->all[i].loopback,
    };
    enum result r = http_client_send(http, &request, &answer);
    if (r == RESULT_OK) {
        report_add(report, REPORT_OK, "endpoint", NULL, "%s answers in %lld ms",
                   url, (long long)(clock_monotonic_ms() - begin));
        return answer.date;
    }
    const char *error = http_client_error(http);
    const char *cut = strstr(error, "; ");
    report_add(report, level, "endpoint", connection_advice(http, r),
               "%s: %.*s", url,
               cut != NULL ? (int)(cut - error) : (int)strlen(error), error);
    return 0;
}

/* Asks them all. *ahead: how far the clock of one is ahead; false: none says
 * so. One of several that is away is no more than a warning. */
static bool ask_endpoints(const struct aws_endpoints *endpoints,
                          const struct conf *conf, struct report *report,
                          int64_t *ahead)
{
    struct http_client *http = http_client_new(conf->aws_ca_bundle, PAGE_MAX);
    const size_t count = endpoints->count;
    bool known = false;
    for (size_t i = 0; i < count; i++) {
        const int64_t date = ask_endpoint(
            endpoints, i, http, report, count > 1 ? REPORT_WARN : REPORT_FAIL);
        if (date != 0 && !known) {
            *ahead = date - clock_now();
            known = true;
        }
    }
    http_client_free(http);
    return known;
}

static void check_clock(struct report *report, bool known, int64_t ahead)
{
    static const char advice[] =
        "keep this host's clock with NTP (chrony or systemd-timesyncd)";
    const int64_t apart = ahead < 0 ? -ahead : ahead;
    if (!known)
        report_add(report, REPORT_WARN, "clock",
                   "AWS says it with each answer (DynamoDB Local does not): "
                   "look at the endpoint and at what is on the way to it",
                   "not known: no answer with a Date");
    else if (apart <= CLOCK_WARN)
        report_add(report, REPORT_OK, "clock", NULL,
                   "%lld s from that of the endpoint", (long long)apart);
    else
        report_add(report, apart > CLOCK_FAIL ? REPORT_FAIL : REPORT_WARN,
                   "clock", advice,
                   "this host is %lld s %s the endpoint, which refuses more "
                   "than 300 s",
                   (long long)apart, ahead > 0 ? "behind" : "ahead of");
}

static void check_endpoints(struct aws_client *aws, const struct conf *conf,
                            const char *region, struct report *report)
{
    struct aws_endpoints *endpoints;
    struct buf reason;
    int64_t ahead = 0;
    bool known = false;
    buf_init(&reason, 4096);
    if (aws_endpoints_new(conf, region, 0, &endpoints, &reason) == RESULT_OK) {
        known = ask_endpoints(endpoints, conf, report, &ahead);
        aws_endpoints_free(endpoints);
    } else {
        report_add_error(report, REPORT_FAIL, "endpoint",
                         "correct AWS_ENDPOINT_URL_DYNAMODB", reason.data);
    }
    buf_free(&reason);
    known = known || aws_client_server_ahead(aws, &ahead);
    check_clock(report, known, ahead);
}

/* ---- The table ------------------------------------------------------- */

static void add_lines(struct report *report, enum report_level level,
                      char *lines)
{
    char *rest = NULL;
    for (char *line = strtok_r(lines, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest))
        report_add_error(report, level, "table",
                         "see \"table create\" in curt(1)", line);
}

/* The table serves: what could be better is worth a warning. */
static void add_good_table(struct aws_client *aws, const struct conf *conf,
                           const char *region, struct report *report)
{
    struct buf notes;
    buf_init(&notes, 1u << 16);
    report_add(report, REPORT_OK, "table", NULL, "%s in %s is in order",
               conf->table, region);
    if (dynamodb_table_notes(aws, conf, &notes) == RESULT_OK)
        add_lines(report, REPORT_WARN, notes.data);
    buf_free(&notes);
}

/* The keys of a host that only serves need not be allowed to look at the
 * table: the probe shows whether they suffice. */
static enum report_level refusal_level(enum result r, const char *error)
{
    return r == RESULT_DENIED && strstr(error, "AccessDenied") != NULL
               ? REPORT_WARN
               : REPORT_FAIL;
}

static void add_bad_table(struct report *report, enum result r, char *findings,
                          const char *error)
{
    if (findings[0] != '\0')
        add_lines(report, REPORT_FAIL, findings);
    else
        report_add_error(report, refusal_level(r, error), "table",
                         "first fix what the lines above say", error);
}

void dynamodb_doctor(struct aws_client *aws, const struct conf *conf,
                     struct report *report)
{
    struct buf findings;
    buf_init(&findings, 1u << 16);
    /* First, because it finds the region. */
    enum result r = dynamodb_table_check(aws, conf, &findings);
    char *error = mem_dup(aws_client_error(aws));
    const char *region = aws_client_region(aws);
    if (region == NULL) {
        report_add_error(report, REPORT_FAIL, "region",
                         "set AWS_REGION to the region of the table", error);
    } else {
        report_add(report, REPORT_OK, "region", NULL, "%s, from %s", region,
                   region_source(conf));
        const bool keys = check_credentials(aws, conf, report);
        check_endpoints(aws, conf, region, report);
        if (r == RESULT_OK)
            add_good_table(aws, conf, region, report);
        else if (keys)
            add_bad_table(report, r, findings.data, error);
        else
            report_add(report, REPORT_FAIL, "table",
                       "fix the credentials first",
                       "not known: %s cannot be asked without credentials",
                       conf->table);
    }
    free(error);
    buf_free(&findings);
}

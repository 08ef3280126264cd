#include <stdlib.h>
#include <string.h>

#include "aws/credentials.h"
#include "aws/endpoint.h"
#include "aws/http_client.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/report.h"
#include "store/dynamodb/dynamodb.h"

/* How long an endpoint may take, in milliseconds, and the largest page that
 * is read from it. */
#define ENDPOINT_MS 4000
#define PAGE_MAX    65536

/* How far the clocks may differ, in seconds: more than a slow answer makes them
 * seem to; and close to the five minutes after which DynamoDB refuses. */
#define CLOCK_WARN 30
#define CLOCK_FAIL 240

/* Credentials that expire within these seconds should have been refreshed. */
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

/* Their source and their end, never the credentials. False: there are none. */
static bool check_credentials(struct aws_client *aws, const struct conf *conf,
                              struct report *report)
{
    struct aws_credentials *provider = aws_client_credentials(aws);
    struct aws_keys keys;
    char at[CLOCK_TEXT_SIZE];
    if (aws_credentials_get(provider,
                            clock_monotonic_ms() +
                                (int64_t)conf->store_timeout * 1000,
                            &keys) != RESULT_OK) {
        report_add(report, REPORT_FAIL, "credentials",
                   "give the user that runs curt.fcgi credentials from one of "
                   "the sources in curt.conf(5)",
                   "%s", aws_credentials_error(provider));
        return false;
    }
    const char *source = aws_credentials_source(provider);
    const int64_t expires = aws_credentials_expires(provider);
    const int64_t left = expires - clock_now();
    clock_text(expires, at);
    if (expires == 0)
        report_add(report, REPORT_OK, "credentials", NULL,
                   "from %s; they do not expire", source);
    else if (left >= EXPIRES_SOON)
        report_add(report, REPORT_OK, "credentials", NULL,
                   "from %s; they expire at %sZ, in %lld min", source, at,
                   (long long)left / 60);
    else
        report_add(report, left <= 0 ? REPORT_FAIL : REPORT_WARN, "credentials",
                   "they should have been refreshed automatically; see the "
                   "log of curt.fcgi",
                   "from %s; they expire at %sZ, now or within a minute",
                   source, at);
    return true;
}

/* Requests the root of each endpoint: any answer, also a refusal, shows that
 * its name resolves, that it can be reached and that its certificate is
 * trusted. *ahead: how far the clock of the first one that sends its time is
 * ahead; false: none does. One of several that does not answer is a warning. */
static bool check_endpoints(const struct aws_endpoints *endpoints,
                            const struct conf *conf, struct report *report,
                            int64_t *ahead)
{
    struct http_client *http = http_client_new(conf->aws_ca_bundle, PAGE_MAX);
    const size_t count = endpoints->count;
    bool known = false;
    for (size_t i = 0; i < count; i++) {
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
        if (http_client_send(http, &request, &answer) != RESULT_OK) {
            const char *error = http_client_error(http);
            report_add(report, count > 1 ? REPORT_WARN : REPORT_FAIL,
                       "endpoint",
                       "check AWS_ENDPOINT_URL_DYNAMODB and the region, that "
                       "the name resolves (/etc/resolv.conf), the firewall, "
                       "the proxy and the VPC endpoint, and for a certificate "
                       "AWS_CA_BUNDLE",
                       "%s: %.*s", url, (int)strcspn(error, ";"), error);
            continue;
        }
        report_add(report, REPORT_OK, "endpoint", NULL, "%s answers in %lld ms",
                   url, (long long)(clock_monotonic_ms() - begin));
        if (answer.date != 0 && !known)
            *ahead = answer.date - clock_now();
        known = known || answer.date != 0;
    }
    http_client_free(http);
    return known;
}

static void check_clock(struct report *report, bool known, int64_t ahead)
{
    const int64_t apart = ahead < 0 ? -ahead : ahead;
    if (!known)
        report_add(report, REPORT_WARN, "clock",
                   "AWS sends its time with each answer (DynamoDB Local does "
                   "not): check the endpoint and what is on the way to it",
                   "not known: no answer with a Date");
    else if (apart <= CLOCK_WARN)
        report_add(report, REPORT_OK, "clock", NULL,
                   "%lld s from that of the endpoint", (long long)apart);
    else
        report_add(report, apart > CLOCK_FAIL ? REPORT_FAIL : REPORT_WARN,
                   "clock",
                   "set this host's clock with NTP (chrony or "
                   "systemd-timesyncd)",
                   "this host is %lld s %s the endpoint, which refuses more "
                   "than 300 s",
                   (long long)apart, ahead > 0 ? "behind" : "ahead of");
}

static void add_lines(struct report *report, enum report_level level,
                      char *lines)
{
    char *rest = NULL;
    for (char *line = strtok_r(lines, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest))
        report_add_error(report, level, "table",
                         "see \"table create\" in curt(1)", line);
}

/* r, findings and notes are of dynamodb_table_check(). */
static void add_table(struct store *s, enum result r, struct buf *findings,
                      struct buf *notes, struct report *report)
{
    if (r == RESULT_OK) {
        report_add(report, REPORT_OK, "table", NULL, "%s in %s: OK",
                   s->conf->table,
                   aws_client_region(((struct store_dynamodb *)s)->aws));
        add_lines(report, REPORT_WARN, notes->data);
    } else if (findings->len > 0) {
        add_lines(report, REPORT_FAIL, findings->data);
    } else {
        /* A host that only serves does not need permission to describe the
         * table: the probe shows whether it has what it needs. */
        const bool denied = r == RESULT_DENIED &&
                            strstr(store_error(s), "AccessDenied") != NULL;
        report_add_error(report, denied ? REPORT_WARN : REPORT_FAIL, "table",
                         "fix the faults in the lines above first",
                         store_error(s));
    }
}

void dynamodb_doctor(struct store *s, struct report *report)
{
    struct aws_client *aws = ((struct store_dynamodb *)s)->aws;
    const struct conf *conf = s->conf;
    struct aws_endpoints *endpoints;
    struct buf findings, notes, reason;
    int64_t ahead = 0;
    bool known = false;
    buf_init(&findings, 1u << 16);
    buf_init(&notes, 1u << 16);
    buf_init(&reason, 4096);
    /* First, because it finds the region. */
    enum result r = dynamodb_table_check(s, &findings, &notes);
    const char *region = aws_client_region(aws);
    if (region == NULL) {
        report_add_error(report, REPORT_FAIL, "region",
                         "set AWS_REGION to the region of the table",
                         store_error(s));
    } else {
        report_add(report, REPORT_OK, "region", NULL, "%s, from %s", region,
                   region_source(conf));
        const bool has_keys = check_credentials(aws, conf, report);
        if (aws_endpoints_new(conf, region, 0, &endpoints, &reason) ==
            RESULT_OK)
            known = check_endpoints(endpoints, conf, report, &ahead);
        else
            report_add_error(report, REPORT_FAIL, "endpoint",
                             "correct AWS_ENDPOINT_URL_DYNAMODB", reason.data);
        aws_endpoints_free(endpoints);
        known = known || aws_client_server_ahead(aws, &ahead);
        check_clock(report, known, ahead);
        if (has_keys)
            add_table(s, r, &findings, &notes, report);
        else
            report_add(report, REPORT_FAIL, "table",
                       "fix the credentials first",
                       "%s: cannot be read without credentials", conf->table);
    }
    buf_free(&reason);
    buf_free(&notes);
    buf_free(&findings);
}

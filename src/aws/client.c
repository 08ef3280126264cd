#include "aws/client.h"

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aws/breaker.h"
#include "aws/endpoint.h"
#include "aws/http_client.h"
#include "aws/reply.h"
#include "aws/retry.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"

/* The largest item is 400 KiB; a string of it can grow sixfold in JSON. */
#define ANSWER_MAX (4u << 20)

#define ERROR_MAX 4096

/* What a probe may take beyond STORE_TIMEOUT, in milliseconds, before its
 * process counts as dead. */
#define PROBE_MARGIN_MS 1000

struct aws_client {
    const struct conf *conf;
    struct http_client *http;
    struct aws_credentials *credentials;
    struct breaker *breaker;         /* NULL: none */
    char *region;                    /* NULL until the first call, */
    struct aws_endpoints *endpoints; /* as these */
    struct aws_retry retry;
    int64_t clock_offset; /* what signatures add to this host's clock */
    int64_t server_ahead; /* at the last answer */
    bool server_said;     /* there was an answer with a Date */
    struct buf error;
    /* Of the call under way. */
    const char *action;
    bool keys_renewed;
};

struct aws_client *aws_client_new(const struct conf *conf, const char *owner)
{
    struct aws_client *c = mem_zalloc(sizeof(*c));
    c->conf = conf;
    c->http = http_client_new(conf->aws_ca_bundle, ANSWER_MAX);
    c->credentials = aws_credentials_new(conf, owner != NULL);
    if (owner != NULL)
        c->breaker = breaker_new(conf->runtime_dir, text_hash(owner));
    c->retry.quota = AWS_RETRY_QUOTA;
    buf_init(&c->error, ERROR_MAX);
    return c;
}

void aws_client_free(struct aws_client *c)
{
    if (c == NULL)
        return;
    http_client_free(c->http);
    aws_credentials_free(c->credentials);
    breaker_free(c->breaker);
    aws_endpoints_free(c->endpoints);
    free(c->region);
    buf_free(&c->error);
    free(c);
}

void aws_answer_free(struct aws_answer *answer)
{
    json_object_put(answer->body);
    answer->body = NULL;
}

const char *aws_client_error(const struct aws_client *c)
{
    return c->error.data;
}

const char *aws_client_region(const struct aws_client *c)
{
    return c->region;
}

bool aws_client_server_ahead(const struct aws_client *c, int64_t *seconds)
{
    *seconds = c->server_ahead;
    return c->server_said;
}

struct aws_credentials *aws_client_credentials(struct aws_client *c)
{
    return c->credentials;
}

/* Begins the error text: what was tried, and on what. */
static void begin_error(struct aws_client *c)
{
    buf_reset(&c->error);
    buf_addf(&c->error, "dynamodb:%s on table %s in %s: ", c->action,
             c->conf->table, c->region != NULL ? c->region : "no region");
}

static enum result client_fail(struct aws_client *c, enum result r,
                               const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum result client_fail(struct aws_client *c, enum result r,
                               const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    begin_error(c);
    buf_vaddf(&c->error, format, ap);
    va_end(ap);
    return r;
}

/* Region and endpoints, when they are first needed. */
static enum result client_prepare(struct aws_client *c, int64_t deadline)
{
    if (c->endpoints != NULL)
        return RESULT_OK;
    struct buf reason;
    buf_init(&reason, ERROR_MAX / 2);
    const struct aws_source_request source = {
        .conf = c->conf, .http = c->http, .deadline = deadline};
    enum result r = RESULT_OK;
    if (c->region == NULL)
        r = aws_region_find(&source, &c->region, &reason);
    if (r == RESULT_OK)
        r = aws_endpoints_new(c->conf, c->region, clock_jitter(), &c->endpoints,
                              &reason);
    if (r != RESULT_OK)
        client_fail(c, r, "%s", reason.data);
    buf_free(&reason);
    return r;
}

static enum result client_keys(struct aws_client *c, int64_t deadline,
                               struct aws_keys *keys)
{
    enum result r = aws_credentials_get(c->credentials, deadline, keys);
    return r == RESULT_OK
               ? r
               : client_fail(c, r, "%s", aws_credentials_error(c->credentials));
}

/* Sends text to the next endpoint and reads the answer; c->error has the reason
 * of a failure. On entry *reply is that of the attempt before, or RESULT_OK. An
 * attempt that is not the last takes half of the time at most, so that a server
 * that hangs leaves some for the others. Half, not an equal share: a new
 * connection to a region far away takes four round trips or more until the
 * answer, and each attempt that runs out of time connects again. */
static void client_attempt(struct aws_client *c,
                           const struct aws_request *request, const char *text,
                           const struct aws_keys *keys, struct aws_reply *reply)
{
    char target[64];
    snprintf(target, sizeof(target), "X-Amz-Target: DynamoDB_20120810.%s",
             request->action);
    const int64_t now_ms = clock_monotonic_ms();
    const int64_t left_ms = request->deadline - now_ms;
    const bool last = c->retry.attempts >= AWS_RETRY_ATTEMPTS;
    const size_t endpoint = aws_endpoints_choose(c->endpoints, now_ms);
    const char *url = c->endpoints->all[endpoint].url;
    const struct aws_signing signing = {
        .keys = *keys,
        .region = aws_endpoint_signing_region(c->region),
        .service = "dynamodb",
        .clock_offset = c->clock_offset};
    const struct http_client_request send = {
        .method = "POST",
        .url = url,
        .headers =
            (const char *const[]){"Content-Type: application/x-amz-json-1.0",
                                  target, NULL},
        .body = text,
        .sign = aws_sign_lines,
        .signing = &signing,
        .deadline = now_ms + (last ? left_ms : left_ms / 2),
        .may_repeat = request->may_repeat,
        .direct = c->endpoints->all[endpoint].loopback};
    struct http_client_answer http;
    const enum result r = http_client_send(c->http, &send, &http);
    bool alive = http.status != 0 || r == RESULT_CORRUPT;
    if (r == RESULT_OK) {
        if (http.date != 0) {
            c->server_ahead = http.date - clock_now();
            c->server_said = true;
        }
        begin_error(c);
        aws_reply_read(&http, c->credentials, reply, &c->error);
        reply->maybe_done = reply->maybe_done || http.sends > 1;
        alive = reply->answered; /* a proxy answers for a dead node as well */
    } else if (reply->result == RESULT_THROTTLED &&
               http_client_timed_out(c->http)) {
        /* The answer before says more, and the store is available. */
        reply->maybe_done = http.sends > 0;
    } else {
        client_fail(c, r, "%s", http_client_error(c->http));
        *reply = (struct aws_reply){
            .result = r,
            .cure = r == RESULT_UNAVAILABLE ? AWS_CURE_PAUSE : AWS_CURE_NONE,
            .maybe_done = http.sends > 0,
            .answered = r == RESULT_CORRUPT || r == RESULT_DENIED};
    }
    if (aws_endpoints_report(c->endpoints, endpoint, clock_monotonic_ms(),
                             alive)) {
        if (alive)
            log_info("endpoint %s answers again", url);
        else
            log_warning("endpoint %s disabled for %d s: %s", url,
                        AWS_ENDPOINT_ASIDE_MS / 1000,
                        r == RESULT_OK ? c->error.data
                                       : http_client_error(c->http));
    }
}

/* Whether the time of signatures has been corrected by the server's. */
static bool client_fix_clock(struct aws_client *c,
                             const struct aws_request *request)
{
    const int64_t ahead = c->server_ahead;
    if (!c->server_said || llabs(ahead - c->clock_offset) < AWS_SIGN_SKEW ||
        (request->dated && llabs(ahead) > AWS_CLIENT_SKEW_MAX))
        return false;
    if (llabs(ahead) < AWS_SIGN_SKEW) {
        c->clock_offset = 0;
        log_info("the clock agrees with DynamoDB's again");
        return true;
    }
    c->clock_offset = ahead;
    log_warning("the clock is %lld s %s DynamoDB's, compensating; fix the "
                "system clock",
                (long long)llabs(ahead), ahead > 0 ? "behind" : "ahead of");
    return true;
}

/* Whether to send once more, after the pause that this takes. */
static bool client_again(struct aws_client *c,
                         const struct aws_request *request,
                         const struct aws_reply *reply)
{
    if (reply->result == RESULT_OK || reply->cure == AWS_CURE_NONE ||
        (reply->maybe_done && !request->may_repeat))
        return false;
    if (reply->cure == AWS_CURE_CLOCK)
        return client_fix_clock(c, request) &&
               aws_retry_again(&c->retry, AWS_RETRY_FIXED);
    if (reply->cure == AWS_CURE_KEYS) {
        if (c->keys_renewed || !aws_credentials_expire(c->credentials))
            return false;
        c->keys_renewed = true;
        return aws_retry_again(&c->retry, AWS_RETRY_FIXED);
    }
    const bool throttled = reply->result == RESULT_THROTTLED;
    return !(throttled && request->gives_way) &&
           aws_retry_again(&c->retry, http_client_timed_out(c->http)
                                          ? AWS_RETRY_TIMED_OUT
                                      : throttled ? AWS_RETRY_THROTTLED
                                                  : AWS_RETRY_FAILED) &&
           aws_retry_pause(&c->retry, request->deadline);
}

enum result aws_client_call(struct aws_client *c,
                            const struct aws_request *request,
                            struct aws_answer *answer)
{
    const char *text = json_object_to_json_string_ext(
        request->body, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
    struct aws_keys keys;
    struct aws_reply reply = {.result = RESULT_OK};
    int64_t wait_ms;
    *answer = (struct aws_answer){.body = NULL};
    buf_reset(&c->error);
    c->action = request->action;
    c->keys_renewed = false;
    enum result r = client_prepare(c, request->deadline);
    if (r == RESULT_OK)
        r = client_keys(c, request->deadline, &keys);
    if (r != RESULT_OK)
        return r;
    const int64_t now_ms = clock_monotonic_ms();
    if (now_ms >= request->deadline) /* which is not the store's fault */
        return client_fail(c, RESULT_UNAVAILABLE, "not sent: no time is left");
    if (!breaker_allows(
            c->breaker, now_ms,
            (int64_t)c->conf->store_timeout * 1000 + PROBE_MARGIN_MS, &wait_ms))
        return client_fail(
            c, RESULT_UNAVAILABLE,
            "not sent: store unavailable for %lld s, next probe in %lld ms",
            (long long)breaker_open_ms(c->breaker, now_ms) / 1000,
            (long long)wait_ms);
    unsigned sent = 0;
    aws_retry_begin(&c->retry);
    do {
        if (sent > 0)
            r = client_keys(c, request->deadline, &keys);
        if (r != RESULT_OK)
            break;
        client_attempt(c, request, text, &keys, &reply);
        answer->maybe_done = answer->maybe_done || reply.maybe_done;
        sent++;
        /* Past the deadline, the last answer stays the reason. */
    } while (client_again(c, request, &reply) &&
             clock_monotonic_ms() < request->deadline);
    breaker_report(c->breaker, clock_monotonic_ms(), reply.answered);
    if (r != RESULT_OK)
        return r;
    answer->body = reply.body;
    memcpy(answer->type, reply.type, sizeof(answer->type));
    if (reply.result == RESULT_OK)
        aws_retry_succeeded(&c->retry);
    else if (sent > 1 && reply.result != RESULT_CONFLICT)
        buf_addf(&c->error, " (%u attempts)", sent);
    return reply.result;
}

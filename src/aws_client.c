#include "aws_client.h"

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aws_endpoint.h"
#include "aws_http.h"
#include "aws_region.h"
#include "aws_reply.h"
#include "aws_retry.h"
#include "circuit.h"
#include "clock.h"
#include "jitter.h"
#include "json.h"
#include "mem.h"
#include "store.h"

/* The largest item is 400 KiB; a string of it can grow sixfold in JSON. */
#define ANSWER_MAX (4u << 20)

#define ERROR_MAX 4096

/* What a probe may take beyond STORE_TIMEOUT, in milliseconds, before its
 * process counts as dead. */
#define PROBE_MARGIN_MS 1000

struct aws_client {
    const struct conf *conf;
    bool pooled;
    struct aws_http *http;
    struct aws_credentials *credentials;
    struct circuit *circuit;         /* NULL: none, or not opened yet */
    char *region;                    /* NULL until the first call, */
    struct aws_endpoints *endpoints; /* as these */
    size_t endpoint;                 /* of the last attempt */
    struct aws_retry retry;
    int64_t clock_offset; /* what signatures add to this host's clock */
    int64_t server_ahead; /* at the last answer */
    bool server_said;     /* it has told its time */
    struct buf error;
    const char *action; /* of the call under way */
};

struct aws_client *aws_client_new(const struct conf *conf, bool pooled)
{
    struct aws_client *c = mem_zalloc(sizeof(*c));
    c->conf = conf;
    c->pooled = pooled;
    c->http = aws_http_new(conf->aws_ca_bundle, ANSWER_MAX);
    c->credentials = aws_credentials_new(conf, pooled);
    aws_retry_init(&c->retry);
    buf_init(&c->error, ERROR_MAX);
    return c;
}

void aws_client_free(struct aws_client *c)
{
    if (c == NULL)
        return;
    aws_http_free(c->http);
    aws_credentials_free(c->credentials);
    circuit_close(c->circuit);
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

void aws_client_tend(struct aws_client *c, int64_t deadline)
{
    aws_credentials_tend(c->credentials, deadline);
}

/* ---- Errors ---------------------------------------------------------- */

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

/* ---- One attempt ----------------------------------------------------- */

static void learn_clock(struct aws_client *c,
                        const struct aws_http_answer *http)
{
    if (http->date == 0)
        return;
    c->server_ahead = http->date - clock_now();
    c->server_said = true;
}

/* No whole answer came. */
static void read_fault(struct aws_client *c, enum result r,
                       const struct aws_http_answer *http,
                       struct aws_reply *reply)
{
    *reply = (struct aws_reply){
        .result = client_fail(c, r, "%s", aws_http_error(c->http)),
        .cure = r == RESULT_UNAVAILABLE ? AWS_CURE_PAUSE : AWS_CURE_NONE,
        .maybe_done = http->sends > 0,
        .answered = r == RESULT_CORRUPT || r == RESULT_DENIED};
}

/* With several endpoints, one that fails is passed over for a while. c->error
 * says how it failed. */
static void note_endpoint(struct aws_client *c, bool answered, int64_t now_ms)
{
    const char *url = aws_endpoints_url(c->endpoints, c->endpoint);
    if (answered) {
        if (aws_endpoints_answered(c->endpoints, c->endpoint))
            log_info("%s answers again", url);
    } else if (aws_endpoints_failed(c->endpoints, c->endpoint, now_ms)) {
        log_warning("%s is not used for a while: %s", url, c->error.data);
    }
}

/* Sends text once, and waits for the answer until deadline. */
static void client_attempt(struct aws_client *c, const char *text,
                           const struct aws_keys *keys, bool may_repeat,
                           int64_t deadline, struct aws_reply *reply)
{
    char target[64];
    snprintf(target, sizeof(target), "X-Amz-Target: DynamoDB_20120810.%s",
             c->action);
    const char *const headers[] = {"Content-Type: application/x-amz-json-1.0",
                                   target, NULL};
    const struct aws_signing signing = {
        .keys = *keys,
        .region = aws_endpoint_signing_region(c->region),
        .service = "dynamodb",
        .clock_offset = c->clock_offset};
    c->endpoint = aws_endpoints_choose(c->endpoints, clock_monotonic_ms());
    const struct aws_http_request request = {
        .method = "POST",
        .url = aws_endpoints_url(c->endpoints, c->endpoint),
        .headers = headers,
        .body = text,
        .signing = &signing,
        .deadline = deadline,
        .may_repeat = may_repeat,
        .direct = aws_endpoints_is_loopback(c->endpoints, c->endpoint)};
    struct aws_http_answer http;
    enum result r = aws_http_send(c->http, &request, &http);
    if (r != RESULT_OK) {
        read_fault(c, r, &http, reply);
        note_endpoint(c, http.status != 0 || r == RESULT_CORRUPT,
                      clock_monotonic_ms());
        return;
    }
    learn_clock(c, &http);
    begin_error(c);
    aws_reply_read(&http, c->credentials, reply, &c->error);
    /* What stands in front of a node that is dead answers, too. */
    note_endpoint(c, reply->answered, clock_monotonic_ms());
    if (http.sends > 1)
        reply->maybe_done = true;
}

/* ---- All attempts at a call ------------------------------------------ */

/* What a call has tried already. */
struct effort {
    const struct aws_request *request;
    const char *text; /* the body */
    bool clock_mended;
    bool keys_mended;
};

static bool mend_clock(struct aws_client *c, struct effort *e)
{
    const int64_t off = c->server_ahead - c->clock_offset;
    if (e->clock_mended || !c->server_said || llabs(off) < AWS_SIGN_SKEW ||
        (e->request->dated && llabs(c->server_ahead) > AWS_CLIENT_SKEW_MAX))
        return false;
    e->clock_mended = true;
    if (llabs(c->server_ahead) < AWS_SIGN_SKEW) {
        c->clock_offset = 0;
        log_info("this host's clock and the store's agree again");
        return true;
    }
    c->clock_offset = c->server_ahead;
    log_warning("this host's clock is %lld s %s the store's; requests are "
                "signed with the store's time; set the clock right",
                (long long)llabs(c->server_ahead),
                c->server_ahead > 0 ? "behind" : "ahead of");
    return true;
}

static bool mend_keys(struct aws_client *c, struct effort *e)
{
    if (e->keys_mended || !aws_credentials_expire(c->credentials))
        return false;
    e->keys_mended = true;
    return true;
}

/* Whether to try once more, after the pause that this takes. */
static bool try_again(struct aws_client *c, struct effort *e,
                      const struct aws_reply *reply)
{
    if (reply->maybe_done && !e->request->may_repeat)
        return false;
    if (reply->cure == AWS_CURE_CLOCK)
        return mend_clock(c, e) && aws_retry_mended(&c->retry);
    if (reply->cure == AWS_CURE_KEYS)
        return mend_keys(c, e) && aws_retry_mended(&c->retry);
    if (reply->cure == AWS_CURE_NONE)
        return false;
    if (reply->result == RESULT_THROTTLED) {
        if (e->request->gives_way)
            return false;
        aws_retry_throttled(&c->retry);
    } else if (!aws_retry_again(&c->retry, aws_http_timed_out(c->http))) {
        return false;
    }
    int64_t pause = aws_retry_pause_ms(&c->retry, jitter_bits());
    if (clock_monotonic_ms() + pause >= e->request->deadline)
        return false;
    clock_pause_ms(pause);
    return true;
}

/* When the next attempt ends: a server that hangs must not take the time of
 * those that are left. Half of what there is, and not an equal share: a new
 * connection to a region far away takes four round trips or more until the
 * answer, and each attempt that runs out of time has to make it anew. */
static int64_t attempt_end(const struct aws_client *c,
                           const struct aws_request *request)
{
    const int64_t now_ms = clock_monotonic_ms();
    const int64_t left = request->deadline - now_ms;
    const bool last = c->retry.attempts >= AWS_RETRY_ATTEMPTS;
    return now_ms + (last ? left : left / 2);
}

/* Why there are no keys to sign with. */
static enum result no_keys(struct aws_client *c, enum result r)
{
    return client_fail(c, r, "%s", aws_credentials_error(c->credentials));
}

/* Sends until there is an answer that counts. *answered: the store is there.
 */
static enum result send_all(struct aws_client *c, struct effort *e,
                            struct aws_keys *keys, struct aws_answer *answer,
                            bool *answered)
{
    const struct aws_request *request = e->request;
    unsigned sent = 0;
    struct aws_reply reply;
    aws_retry_begin(&c->retry);
    do {
        if (sent++ > 0) {
            enum result r =
                aws_credentials_get(c->credentials, request->deadline, keys);
            if (r != RESULT_OK)
                return no_keys(c, r);
        }
        client_attempt(c, e->text, keys, request->may_repeat,
                       attempt_end(c, request), &reply);
        answer->maybe_done = answer->maybe_done || reply.maybe_done;
        *answered = reply.answered;
    } while (reply.result != RESULT_OK && try_again(c, e, &reply));
    answer->body = reply.body;
    memcpy(answer->type, reply.type, sizeof(answer->type));
    if (reply.result == RESULT_OK)
        aws_retry_succeeded(&c->retry);
    else if (sent > 1 && reply.result != RESULT_CONFLICT)
        buf_addf(&c->error, " (%u attempts)", sent);
    return reply.result;
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
        r = aws_endpoints_new(c->conf, c->region, jitter_bits(), &c->endpoints,
                              &reason);
    if (r == RESULT_OK && c->pooled && c->circuit == NULL)
        c->circuit = circuit_open(c->conf, store_identity(c->conf));
    if (r != RESULT_OK)
        client_fail(c, r, "%s", reason.data);
    buf_free(&reason);
    return r;
}

/* Sends the call if the circuit lets it through. */
static enum result send_if_closed(struct aws_client *c, struct effort *e,
                                  struct aws_keys *keys,
                                  struct aws_answer *answer)
{
    const int64_t now_ms = clock_monotonic_ms();
    const int64_t probe_ms =
        (int64_t)c->conf->store_timeout * 1000 + PROBE_MARGIN_MS;
    int64_t wait_ms = 0;
    if (now_ms >= e->request->deadline) /* which is not the store's fault */
        return client_fail(c, RESULT_UNAVAILABLE, "not sent: no time is left");
    if (circuit_ask(c->circuit, now_ms, probe_ms, &wait_ms) == CIRCUIT_WAIT)
        return client_fail(
            c, RESULT_UNAVAILABLE,
            "not sent: the store has not answered for %lld s; it is "
            "asked again in %lld ms",
            (long long)circuit_open_since(c->circuit, now_ms) / 1000,
            (long long)wait_ms);
    bool answered = false;
    enum result r = send_all(c, e, keys, answer, &answered);
    circuit_tell(c->circuit, clock_monotonic_ms(), answered);
    return r;
}

enum result aws_client_call(struct aws_client *c,
                            const struct aws_request *request,
                            struct aws_answer *answer)
{
    *answer = (struct aws_answer){.body = NULL};
    buf_reset(&c->error);
    c->action = request->action;
    enum result r = client_prepare(c, request->deadline);
    if (r != RESULT_OK)
        return r;
    struct aws_keys keys;
    r = aws_credentials_get(c->credentials, request->deadline, &keys);
    if (r != RESULT_OK)
        return no_keys(c, r);
    struct effort effort = {.request = request,
                            .text = json_text(request->body)};
    return send_if_closed(c, &effort, &keys, answer);
}

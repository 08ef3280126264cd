#include "aws/sts.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aws/endpoint.h"
#include "aws/reply.h"
#include "aws/retry.h"
#include "aws/sts_answer.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/percent.h"

#define VERSION "2011-06-15"

/* One attempt, in milliseconds. STS queries the identity provider in turn. */
#define TIMEOUT 5000

/* Bytes of a request: STS takes a web identity token of 20,000 characters. */
#define FORM_MAX 131072

/* ---- What STS refuses ------------------------------------------------- */

/* Without "Exception" at the end. passing: a later call may succeed. */
static const struct refusal {
    const char *code;
    bool passing;
    const char *advice;
} refusals[] = {
    {"IDPCommunicationError", true, NULL},
    {"InternalError", true, NULL},
    {"InternalFailure", true, NULL},
    {"PriorRequestNotComplete", true, NULL},
    {"RequestLimitExceeded", true, NULL},
    {"RequestThrottled", true, NULL},
    {"RequestTimeout", true, NULL},
    {"ServiceUnavailable", true, NULL},
    {"SlowDown", true, NULL},
    {"Throttled", true, NULL},
    {"Throttling", true, NULL},
    {"TooManyRequests", true, NULL},

    {"AccessDenied", false,
     "let the role's trust policy allow it, and the caller's policy where it "
     "needs one"},
    {"ExpiredToken", false,
     "the token or the credentials used have expired: renew them"},
    {"IDPRejectedClaim", false, "the identity provider must issue a new token"},
    {"InvalidClientTokenId", false, "the credentials used are unknown to AWS"},
    {"InvalidIdentityToken", false,
     "the role's account needs an identity provider for the token's issuer "
     "and audience"},
    {"RegionDisabled", false, "activate STS in this region in the account"},
    {"SignatureDoesNotMatch", false,
     "the secret key is not the one of the key id, or this host's clock is "
     "wrong"},
    {"RequestExpired", false, "this host's clock is wrong"},
};

static const struct refusal *find_refusal(const char *code)
{
    size_t len = strlen(code);
    const size_t suffix = sizeof("Exception") - 1;
    if (len > suffix && strcmp(code + len - suffix, "Exception") == 0)
        len -= suffix;
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        if (strlen(refusals[i].code) == len &&
            memcmp(refusals[i].code, code, len) == 0)
            return &refusals[i];
    }
    return NULL;
}

/* ---- A request -------------------------------------------------------- */

/* A request, and the secrets in it. */
struct call {
    const struct aws_source_request *request;
    const struct aws_sts_role *role;
    const char *action;
    const char *secrets[3]; /* of the request; some may be NULL */
    struct buf form;
};

void aws_sts_session(const char *host, char session[AWS_STS_SESSION_SIZE])
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "abcdefghijklmnopqrstuvwxyz"
                                  "0123456789_+=,.@-";
    static const char prefix[] = "curt-";
    size_t len = sizeof(prefix) - 1;
    memcpy(session, prefix, len);
    for (; *host != '\0' && len < AWS_STS_SESSION_SIZE - 1; host++)
        session[len++] = strchr(allowed, *host) != NULL ? *host : '-';
    session[len] = '\0';
}

/* Appends name and value, percent-encoded as a query string of AWS has it
 * (RFC 3986: a space is %20). NULL: nothing. */
static void add_parameter(struct buf *form, const char *name, const char *value)
{
    if (value == NULL)
        return;
    buf_addf(form, "&%s=", name);
    percent_encode(form, value, strlen(value), "");
}

/* Begins the form with the parameters of both actions. */
static void begin_form(struct call *call)
{
    char session[AWS_STS_SESSION_SIZE];
    const char *name = call->role->session;
    if (name == NULL) {
        char host[256] = "";
        if (gethostname(host, sizeof(host) - 1) != 0)
            host[0] = '\0';
        aws_sts_session(host, session);
        name = session;
    }
    buf_init(&call->form, FORM_MAX);
    buf_addf(&call->form, "Action=%s&Version=" VERSION, call->action);
    add_parameter(&call->form, "RoleArn", call->role->arn);
    add_parameter(&call->form, "RoleSessionName", name);
    add_parameter(&call->form, "DurationSeconds", call->role->duration);
}

/* A later call may succeed. */
static bool is_passing(const struct http_client_answer *http)
{
    if (aws_retry_is_passing(http))
        return true;
    struct aws_sts_answer answer;
    if (aws_sts_answer_read(http->body, http->len, &answer) != RESULT_OK)
        return http->status == 200; /* damaged on its way */
    const struct refusal *refusal =
        answer.code != NULL ? find_refusal(answer.code) : NULL;
    aws_sts_answer_free(&answer);
    return refusal != NULL && refusal->passing;
}

static enum result sts_refuse(const struct call *call,
                              const struct http_client_answer *http,
                              const struct aws_sts_answer *answer,
                              struct buf *reason)
{
    char code[AWS_ERROR_TYPE_SIZE];
    aws_error_type(answer->code, code);
    const struct refusal *refusal = find_refusal(code);
    buf_add_str(reason, code[0] != '\0' ? code : "an error without a code");
    const size_t before = reason->len;
    buf_add_str(reason, ": ");
    const size_t begin = reason->len;
    aws_sts_answer_add_message(reason, answer, call->secrets,
                               sizeof(call->secrets) /
                                   sizeof(call->secrets[0]));
    if (reason->len == begin)
        buf_truncate(reason, before);
    if (refusal != NULL && refusal->advice != NULL)
        buf_addf(reason, "; %s", refusal->advice);
    const bool passing = refusal != NULL && refusal->passing;
    return passing || aws_retry_is_passing(http) ? RESULT_UNAVAILABLE
                                                 : RESULT_DENIED;
}

static enum result sts_result(const struct call *call,
                              const struct http_client_answer *http,
                              struct aws_found *out, struct buf *reason)
{
    struct aws_sts_answer answer;
    int64_t expires;
    enum result r = aws_sts_answer_read(http->body, http->len, &answer);
    if (r == RESULT_OK && answer.code != NULL) {
        r = sts_refuse(call, http, &answer, reason);
    } else if (r != RESULT_OK || http->status != 200) {
        buf_addf(reason, "HTTP %ld with an answer that is not from STS",
                 http->status);
        r = http->status == 200 || aws_retry_is_passing(http)
                ? RESULT_UNAVAILABLE
                : RESULT_DENIED;
        if (r == RESULT_DENIED)
            buf_add_str(reason, "; AWS_ENDPOINT_URL_STS or AWS_ENDPOINT_URL "
                                "may name another service");
    } else if (!clock_parse(answer.expiration, &expires)) {
        buf_add_str(reason, "Expiration is not a valid time");
        r = RESULT_UNAVAILABLE;
    } else {
        const struct aws_keys keys = {answer.id, answer.secret, answer.token};
        char *what = mem_printf("role %s (STS)", call->role->arn);
        r = aws_found_take(out, &keys, expires > 0 ? expires : 1, what, reason);
        free(what);
    }
    aws_sts_answer_free(&answer);
    return r;
}

/* Sends the request, and once more with the time of STS where this host's clock
 * is off by more than a signature may be. */
static enum result send_in_time(const struct call *call,
                                struct aws_retry_call *http,
                                struct http_client_answer *answer)
{
    enum result r = aws_retry_send(call->request, http, answer);
    const struct aws_signing *signing = http->http.signing;
    if (r != RESULT_OK || signing == NULL || answer->status == 200 ||
        answer->date == 0)
        return r;
    struct aws_signing corrected = *signing;
    corrected.clock_offset = answer->date - clock_now();
    if (llabs(corrected.clock_offset) < AWS_SIGN_SKEW)
        return r;
    http->http.signing = &corrected;
    return aws_retry_send(call->request, http, answer);
}

/* Sends the form and wipes it. */
static enum result send_form(struct call *call,
                             const struct aws_signing *signing,
                             struct aws_found *out, struct buf *reason)
{
    static const char *const headers[] = {
        "Content-Type: application/x-www-form-urlencoded; charset=utf-8",
        "Accept: text/xml", NULL};
    char *url = aws_endpoint_sts(call->request->conf, call->role->region);
    bool loopback = false;
    enum result r = RESULT_DENIED;
    const size_t mark = reason->len;
    buf_addf(reason, "STS (%s), %s for %s: ",
             call->role->region != NULL ? call->role->region : "global",
             call->action, call->role->arn);
    if (buf_failed(&call->form)) {
        buf_add_str(reason, "the token is too large for STS");
    } else if (!http_client_check_url(url, &loopback)) {
        buf_add_str(reason, "AWS_ENDPOINT_URL_STS, or else AWS_ENDPOINT_URL, "
                            "must be an http or https URL of a host, without "
                            "user and query");
    } else {
        struct aws_retry_call http = {
            .http = {.method = "POST",
                     .url = url,
                     .headers = headers,
                     .body = call->form.data,
                     .sign = aws_sign_lines,
                     .signing = signing,
                     .may_repeat = true,
                     .direct = loopback},
            .timeout = TIMEOUT,
            .attempts = 3,
            .is_passing = is_passing,
        };
        struct http_client_answer answer;
        r = send_in_time(call, &http, &answer);
        if (r == RESULT_OK)
            r = sts_result(call, &answer, out, reason);
        else
            buf_add_str(reason, http_client_error(call->request->http));
    }
    if (r == RESULT_OK)
        buf_truncate(reason, mark);
    buf_wipe(&call->form);
    free(url);
    return r;
}

enum result aws_sts_web_identity(const struct aws_source_request *request,
                                 const struct aws_sts_role *role,
                                 const char *token, struct aws_found *out,
                                 struct buf *reason)
{
    struct call call = {
        .request = request,
        .role = role,
        .action = "AssumeRoleWithWebIdentity",
        .secrets = {token},
    };
    begin_form(&call);
    add_parameter(&call.form, "WebIdentityToken", token);
    return send_form(&call, NULL, out, reason);
}

enum result aws_sts_assume_role(const struct aws_source_request *request,
                                const struct aws_sts_role *role,
                                const struct aws_keys *keys,
                                struct aws_found *out, struct buf *reason)
{
    struct call call = {
        .request = request,
        .role = role,
        .action = "AssumeRole",
        .secrets = {keys->id, keys->secret, keys->token},
    };
    begin_form(&call);
    add_parameter(&call.form, "ExternalId", role->external_id);
    const struct aws_signing signing = {
        .keys = *keys,
        .region = aws_endpoint_signing_region(role->region),
        .service = "sts",
    };
    return send_form(&call, &signing, out, reason);
}

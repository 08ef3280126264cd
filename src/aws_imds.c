#include "aws_imds.h"

#include <stdlib.h>
#include <string.h>

#include "aws_retry.h"
#include "clock.h"
#include "mem.h"

#define TOKEN_PATH "/latest/api/token"
#define TOKEN_MAX  1024

struct aws_imds {
    const struct aws_source_request *request;
    char *base; /* without '/' at its end */
    /* The header that carries the token; NULL: there is none yet. */
    char *header;
};

/* ---- Asking ---------------------------------------------------------- */

static enum result imds_ask(struct aws_imds *imds, const char *method,
                            const char *path, const char *header,
                            struct http_client_answer *answer)
{
    char *url = mem_printf("%s%s", imds->base, path);
    const char *headers[] = {header, NULL};
    const struct aws_retry_call question = {
        .http = {.method = method,
                 .url = url,
                 .headers = headers,
                 .may_repeat = true,
                 .direct = true},
        .timeout = AWS_IMDS_TIMEOUT,
        .attempts = AWS_IMDS_ATTEMPTS,
    };
    enum result r = aws_retry_send(imds->request, &question, answer);
    free(url);
    return r;
}

static enum result no_answer(const struct aws_imds *imds, struct buf *reason)
{
    /* Where it was asked too late, it may still be there. */
    const bool late = clock_monotonic_ms() >= imds->request->deadline;
    buf_addf(reason, "no answer from %s, the instance metadata service (%s)",
             imds->base, http_client_error(imds->request->http));
    if (http_client_timed_out(imds->request->http))
        buf_add_str(reason,
                    "; in a container on an EC2 instance, the instance's "
                    "HttpPutResponseHopLimit must be 2 or more");
    return late ? RESULT_UNAVAILABLE : RESULT_NOT_FOUND;
}

static enum result no_token(const struct aws_imds *imds, long status,
                            struct buf *reason)
{
    buf_addf(reason, "what answers at %s, the instance metadata service, ",
             imds->base);
    if (status == 403) {
        buf_add_str(reason, "refuses a token (HTTP 403): it is switched off "
                            "for this instance (HttpEndpoint), or has no "
                            "IMDSv2");
        return RESULT_DENIED;
    }
    if (status == 404 || status == 405) {
        buf_addf(reason,
                 "has no IMDSv2 (HTTP %ld to the request for a token); IMDSv1 "
                 "is not used",
                 status);
        return RESULT_NOT_FOUND;
    }
    buf_addf(reason, "gave no usable token (HTTP %ld)", status);
    return RESULT_UNAVAILABLE;
}

/* Whether text can be a token: visible ASCII, as it goes into a header. */
static bool is_token(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] <= ' ' || text[i] >= 0x7f)
            return false;
    return len > 0 && len <= TOKEN_MAX;
}

static enum result get_token(struct aws_imds *imds, struct buf *reason)
{
    mem_free_secret(imds->header);
    imds->header = NULL;
    struct http_client_answer answer;
    enum result r =
        imds_ask(imds, "PUT", TOKEN_PATH,
                 "X-aws-ec2-metadata-token-ttl-seconds: 21600", &answer);
    if (r == RESULT_UNAVAILABLE)
        return no_answer(imds, reason);
    if (r != RESULT_OK) {
        buf_addf(reason, "the instance metadata service at %s: %s", imds->base,
                 http_client_error(imds->request->http));
        return r;
    }
    if (answer.status != 200 || !is_token(answer.body, answer.len))
        return no_token(imds, answer.status, reason);
    imds->header = mem_printf("X-aws-ec2-metadata-token: %s", answer.body);
    return RESULT_OK;
}

/* ---- The service ----------------------------------------------------- */

static char *find_base(const struct conf *conf)
{
    const char *configured = conf->aws_ec2_metadata_service_endpoint;
    if (configured == NULL)
        return mem_dup(conf->aws_ec2_metadata_service_endpoint_mode == 1
                           ? "http://[fd00:ec2::254]"
                           : "http://169.254.169.254");
    size_t len = strlen(configured);
    while (len > 0 && configured[len - 1] == '/')
        len--;
    return mem_dup_bytes(configured, len);
}

enum result aws_imds_open(const struct aws_source_request *request,
                          struct aws_imds **out, struct buf *reason)
{
    *out = NULL;
    if (request->conf->aws_ec2_metadata_disabled) {
        buf_add_str(reason, "AWS_EC2_METADATA_DISABLED is true");
        return RESULT_NOT_FOUND;
    }
    struct aws_imds *imds = mem_zalloc(sizeof(*imds));
    imds->request = request;
    imds->base = find_base(request->conf);
    enum result r = RESULT_DENIED;
    if (http_client_check_url(imds->base, NULL))
        r = get_token(imds, reason);
    else
        /* Not quoted: it may have a password in it. */
        buf_add_str(reason, "AWS_EC2_METADATA_SERVICE_ENDPOINT must be an http "
                            "or https URL of a host, without user and query");
    if (r == RESULT_OK)
        *out = imds;
    else
        aws_imds_close(imds);
    return r;
}

static enum result imds_result(const struct http_client_answer *answer,
                               const char *path, struct buf *out,
                               struct buf *reason)
{
    static const char who[] = "the instance metadata service";
    if (answer->status == 404 || (answer->status == 200 && answer->len == 0)) {
        buf_addf(reason, "%s has no %s", who, path);
        return RESULT_NOT_FOUND;
    }
    if (answer->status == 403) {
        buf_addf(reason, "%s refuses %s (HTTP 403)", who, path);
        return RESULT_DENIED;
    }
    if (answer->status != 200) {
        buf_addf(reason, "%s answers HTTP %ld to %s", who, answer->status,
                 path);
        return RESULT_UNAVAILABLE;
    }
    buf_add(out, answer->body, answer->len);
    if (!buf_failed(out))
        return RESULT_OK;
    buf_addf(reason, "%s has a larger %s than expected", who, path);
    return RESULT_UNAVAILABLE;
}

static enum result get_once(struct aws_imds *imds, const char *path,
                            struct http_client_answer *answer,
                            struct buf *reason)
{
    enum result r = imds_ask(imds, "GET", path, imds->header, answer);
    if (r != RESULT_OK)
        buf_addf(reason, "the instance metadata service at %s: %s", imds->base,
                 http_client_error(imds->request->http));
    return r;
}

enum result aws_imds_get(struct aws_imds *imds, const char *path,
                         struct buf *out, struct buf *reason)
{
    struct http_client_answer answer;
    enum result r = get_once(imds, path, &answer, reason);
    if (r == RESULT_OK && answer.status == 401) {
        /* The token has expired, or the service has forgotten it. */
        r = get_token(imds, reason);
        if (r == RESULT_NOT_FOUND)
            r = RESULT_UNAVAILABLE; /* it was there a moment ago */
        if (r == RESULT_OK)
            r = get_once(imds, path, &answer, reason);
    }
    return r == RESULT_OK ? imds_result(&answer, path, out, reason) : r;
}

void aws_imds_close(struct aws_imds *imds)
{
    if (imds == NULL)
        return;
    mem_free_secret(imds->header);
    free(imds->base);
    free(imds);
}

enum result aws_imds_read(const struct aws_source_request *request,
                          const char *path, struct buf *out, struct buf *reason)
{
    struct aws_imds *imds;
    enum result r = aws_imds_open(request, &imds, reason);
    if (r == RESULT_OK)
        r = aws_imds_get(imds, path, out, reason);
    aws_imds_close(imds);
    return r;
}

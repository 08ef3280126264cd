#include "aws/imds.h"

#include <stdlib.h>
#include <string.h>

#include "aws/retry.h"
#include "base/clock.h"
#include "base/mem.h"

/* Outside EC2 there is no answer, so this must not take long: one second as
 * AWS's SDKs, which differ in the attempts (1 to 3). */
#define TIMEOUT  1000
#define ATTEMPTS 2

#define TOKEN_PATH "/latest/api/token"
#define TOKEN_MAX  1024
#define ROLES      "/latest/meta-data/iam/security-credentials/"

#define ROLE_MAX     1024 /* bytes of the list of roles; there is one */
#define DOCUMENT_MAX 65536

struct aws_imds {
    const struct aws_source_request *request;
    char *base; /* without '/' at its end */
    /* The header with the token; NULL: none yet. */
    char *header;
};

/* ---- Requests ---------------------------------------------------------- */

static enum result imds_send(struct aws_imds *imds, const char *method,
                             const char *path, const char *header,
                             struct http_client_answer *answer)
{
    char *url = mem_printf("%s%s", imds->base, path);
    const char *headers[] = {header, NULL};
    const struct aws_retry_call call = {
        .http = {.method = method,
                 .url = url,
                 .headers = headers,
                 .may_repeat = true,
                 .direct = true},
        .timeout = TIMEOUT,
        .attempts = ATTEMPTS,
    };
    enum result r = aws_retry_send(imds->request, &call, answer);
    free(url);
    return r;
}

static enum result deny_token(const struct aws_imds *imds, long status,
                              struct buf *reason)
{
    buf_addf(reason, "the instance metadata service at %s ", imds->base);
    if (status == 403) {
        buf_add_str(reason, "refuses a token (HTTP 403): it is disabled for "
                            "this instance (HttpEndpoint), or does not support "
                            "IMDSv2");
        return RESULT_DENIED;
    }
    if (status == 404 || status == 405) {
        buf_addf(reason,
                 "does not support IMDSv2 (HTTP %ld to the request for a "
                 "token); IMDSv1 is not used",
                 status);
        return RESULT_NOT_FOUND;
    }
    buf_addf(reason, "gave no usable token (HTTP %ld)", status);
    return RESULT_UNAVAILABLE;
}

static enum result get_token(struct aws_imds *imds, struct buf *reason)
{
    mem_free_secret(imds->header);
    imds->header = NULL;
    struct http_client_answer answer;
    enum result r =
        imds_send(imds, "PUT", TOKEN_PATH,
                  "X-aws-ec2-metadata-token-ttl-seconds: 21600", &answer);
    if (r == RESULT_UNAVAILABLE) {
        buf_addf(reason,
                 "no answer from %s, the instance metadata service (%s)",
                 imds->base, http_client_error(imds->request->http));
        if (http_client_timed_out(imds->request->http))
            buf_add_str(reason,
                        "; in a container on an EC2 instance, the instance's "
                        "HttpPutResponseHopLimit must be 2 or more");
        /* After the deadline it may still exist. */
        return clock_monotonic_ms() >= imds->request->deadline
                   ? RESULT_UNAVAILABLE
                   : RESULT_NOT_FOUND;
    }
    if (r != RESULT_OK) {
        buf_addf(reason, "the instance metadata service at %s: %s", imds->base,
                 http_client_error(imds->request->http));
        return r;
    }
    if (answer.status != 200 || answer.len == 0 || answer.len > TOKEN_MAX ||
        strlen(answer.body) != answer.len ||
        !aws_source_is_visible(answer.body))
        return deny_token(imds, answer.status, reason);
    imds->header = mem_printf("X-aws-ec2-metadata-token: %s", answer.body);
    return RESULT_OK;
}

/* ---- The service ----------------------------------------------------- */

static void imds_close(struct aws_imds *imds)
{
    mem_free_secret(imds->header);
    free(imds->base);
}

/* Gets a token for the service. The caller releases *imds with imds_close() in
 * any case. */
static enum result imds_open(const struct aws_source_request *request,
                             struct aws_imds *imds, struct buf *reason)
{
    const struct conf *conf = request->conf;
    *imds = (struct aws_imds){.request = request};
    if (conf->aws_ec2_metadata_disabled) {
        buf_add_str(reason, "AWS_EC2_METADATA_DISABLED is true");
        return RESULT_NOT_FOUND;
    }
    const char *base = conf->aws_ec2_metadata_service_endpoint;
    if (base == NULL)
        base = conf->aws_ec2_metadata_service_endpoint_mode == 1
                   ? "http://[fd00:ec2::254]"
                   : "http://169.254.169.254";
    size_t len = strlen(base);
    while (len > 0 && base[len - 1] == '/')
        len--;
    imds->base = mem_dup_bytes(base, len);
    if (http_client_check_url(imds->base, NULL))
        return get_token(imds, reason);
    /* Not quoted: it may contain a password. */
    buf_add_str(reason, "AWS_EC2_METADATA_SERVICE_ENDPOINT must be an http or "
                        "https URL of a host, without user and query");
    return RESULT_DENIED;
}

static enum result imds_result(const struct http_client_answer *answer,
                               const char *path, struct buf *out,
                               struct buf *reason)
{
    static const char who[] = "the instance metadata service";
    if (answer->status == 404 || (answer->status == 200 && answer->len == 0)) {
        buf_addf(reason, "%s does not have %s", who, path);
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
    buf_addf(reason, "%s: %s is too large", who, path);
    return RESULT_UNAVAILABLE;
}

static enum result get_once(struct aws_imds *imds, const char *path,
                            struct http_client_answer *answer,
                            struct buf *reason)
{
    enum result r = imds_send(imds, "GET", path, imds->header, answer);
    if (r != RESULT_OK)
        buf_addf(reason, "the instance metadata service at %s: %s", imds->base,
                 http_client_error(imds->request->http));
    return r;
}

/* As aws_imds_read(). A token that is not accepted is replaced once. */
static enum result imds_get(struct aws_imds *imds, const char *path,
                            struct buf *out, struct buf *reason)
{
    struct http_client_answer answer;
    enum result r = get_once(imds, path, &answer, reason);
    if (r == RESULT_OK && answer.status == 401) {
        /* The token has expired or is unknown. */
        r = get_token(imds, reason);
        if (r == RESULT_NOT_FOUND)
            r = RESULT_UNAVAILABLE; /* it existed a moment ago */
        if (r == RESULT_OK)
            r = get_once(imds, path, &answer, reason);
    }
    return r == RESULT_OK ? imds_result(&answer, path, out, reason) : r;
}

enum result aws_imds_read(const struct aws_source_request *request,
                          const char *path, struct buf *out, struct buf *reason)
{
    struct aws_imds imds;
    enum result r = imds_open(request, &imds, reason);
    if (r == RESULT_OK)
        r = imds_get(&imds, path, out, reason);
    imds_close(&imds);
    return r;
}

/* ---- The source -------------------------------------------------------- */

/* The name of the role, from a list of one; it becomes a part of a URL. */
static enum result get_role(struct aws_imds *imds, struct buf *role,
                            struct buf *reason)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "abcdefghijklmnopqrstuvwxyz"
                                  "0123456789_+=,.@-";
    enum result r = imds_get(imds, ROLES, role, reason);
    if (r == RESULT_NOT_FOUND)
        buf_add_str(reason, ": the instance has no role");
    if (r != RESULT_OK)
        return r;
    buf_truncate(role, strcspn(role->data, "\r\n"));
    if (role->len > 0 && strspn(role->data, allowed) == role->len &&
        strspn(role->data, ".") != role->len)
        return RESULT_OK;
    buf_add_str(reason, "the instance metadata service gave an invalid name of "
                        "a role");
    return RESULT_UNAVAILABLE;
}

static enum result get_credentials(struct aws_imds *imds, const char *role,
                                   struct aws_found *out, struct buf *reason)
{
    char *path = mem_printf(ROLES "%s", role);
    char *what = mem_printf("role %s of the instance (metadata service)", role);
    struct buf document;
    buf_init(&document, DOCUMENT_MAX);
    enum result r = imds_get(imds, path, &document, reason);
    if (r == RESULT_NOT_FOUND)
        r = RESULT_UNAVAILABLE; /* it was listed a moment ago */
    if (r == RESULT_OK)
        r = aws_found_read_json(out, document.data, document.len, 0, what,
                                reason);
    if (r == RESULT_OK && (out->token == NULL || out->expires == 0)) {
        buf_addf(reason, "%s: %s is missing", what,
                 out->token == NULL ? "the token" : "Expiration");
        aws_found_free(out);
        r = RESULT_UNAVAILABLE;
    }
    buf_wipe(&document);
    free(what);
    free(path);
    return r;
}

enum result aws_source_instance(const struct aws_source_request *request,
                                struct aws_found *out, struct buf *reason)
{
    struct aws_imds imds;
    struct buf role;
    *out = (struct aws_found){0};
    buf_init(&role, ROLE_MAX);
    enum result r = imds_open(request, &imds, reason);
    if (r == RESULT_OK)
        r = get_role(&imds, &role, reason);
    if (r == RESULT_OK)
        r = get_credentials(&imds, role.data, out, reason);
    buf_free(&role);
    imds_close(&imds);
    return r;
}

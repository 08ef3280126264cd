#include "aws/metadata.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "aws/retry.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"

/* As botocore: two seconds and three attempts. */
#define CONTAINER_TIMEOUT  2000
#define CONTAINER_ATTEMPTS 3

#define RELATIVE "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
#define FULL     "AWS_CONTAINER_CREDENTIALS_FULL_URI"
#define TOKEN    "AWS_CONTAINER_AUTHORIZATION_TOKEN"

/* Outside EC2 there is no answer, so this must not take long: one second as
 * AWS's SDKs, which differ in the attempts (1 to 3). */
#define IMDS_TIMEOUT  1000
#define IMDS_ATTEMPTS 2

#define IMDS           "the instance metadata service"
#define IMDS_TOKEN     "/latest/api/token"
#define IMDS_TOKEN_MAX 1024
#define IMDS_ROLES     "/latest/meta-data/iam/security-credentials/"

#define ROLE_MAX     1024 /* bytes of the list of roles; there is one */
#define DOCUMENT_MAX 65536

/* ---- The container's agent: its URL ---------------------------------- */

struct container_place {
    const char *key; /* the setting that names it */
    char *url;
    bool direct;
};

/* Whether url is http and its host is the agent of ECS or EKS. Any other host
 * could see the request and the token in it. */
static bool container_is_agent(const char *url)
{
    static const char scheme[] = "http://";
    const size_t scheme_len = sizeof(scheme) - 1;
    if (strncasecmp(url, scheme, scheme_len) != 0)
        return false;
    const char *host = url + scheme_len;
    char name[INET6_ADDRSTRLEN + 1];
    const bool v6 = host[0] == '[';
    host += v6 ? 1 : 0;
    const size_t len = strcspn(host, v6 ? "]" : ":/");
    if (len >= sizeof(name))
        return false;
    memcpy(name, host, len);
    name[len] = '\0';
    if (!v6)
        return strcmp(name, "169.254.170.2") == 0 ||
               strcmp(name, "169.254.170.23") == 0;
    struct in6_addr agent, address;
    return inet_pton(AF_INET6, "fd00:ec2::23", &agent) == 1 &&
           inet_pton(AF_INET6, name, &address) == 1 &&
           memcmp(&agent, &address, sizeof(agent)) == 0;
}

/* The rule of the SDKs: https anywhere, http on this host or to an agent.
 * Returns the fault, or NULL. */
static const char *container_check_full(const char *full, bool *direct)
{
    bool loopback = false;
    char *url = mem_dup_bytes(full, strcspn(full, "?"));
    /* libcurl also takes http:/host: only a sure https counts. */
    const bool plain = strncasecmp(url, "https://", 8) != 0;
    const char *fault = NULL;
    if (!aws_source_is_visible(full) || strpbrk(full, "#\\") != NULL ||
        !http_client_check_url(url, &loopback))
        fault = "must be an http or https URL with a host and without a user";
    else if (plain && !loopback && !container_is_agent(url))
        fault = "must be https for this host: http is only for the local host "
                "(127.0.0.1, [::1], localhost) and for the agents of ECS and "
                "EKS (169.254.170.2, 169.254.170.23, [fd00:ec2::23])";
    *direct = plain || loopback;
    free(url);
    return fault;
}

/* On RESULT_OK the caller frees place->url. */
static enum result container_find(const struct conf *conf,
                                  struct container_place *place,
                                  struct buf *reason)
{
    const char *relative = conf->aws_container_credentials_relative_uri;
    const char *full = conf->aws_container_credentials_full_uri;
    const char *fault = NULL;
    *place = (struct container_place){.key = relative != NULL ? RELATIVE : FULL,
                                      .direct = true};
    if (relative == NULL && full == NULL) {
        buf_addf(reason, "neither %s nor %s is set", RELATIVE, FULL);
        return RESULT_NOT_FOUND;
    }
    if (relative == NULL)
        fault = container_check_full(full, &place->direct);
    else if (relative[0] != '/' || !aws_source_is_visible(relative) ||
             strchr(relative, '#') != NULL)
        fault = "must be a path that begins with '/'";
    if (fault != NULL) {
        buf_addf(reason, "%s %s", place->key, fault);
        return RESULT_DENIED;
    }
    place->url = relative != NULL
                     ? mem_printf("http://169.254.170.2%s", relative)
                     : mem_dup(full);
    return RESULT_OK;
}

/* ---- The container's agent: request and answer ----------------------- */

/* *header is the Authorization line, for the caller to free as a secret; NULL:
 * none is configured. The file is read each time, because its token changes; it
 * goes before the variable, as in the SDKs. */
static enum result container_authorization(const struct conf *conf,
                                           char **header, struct buf *reason)
{
    const char *path = conf->aws_container_authorization_token_file;
    const char *key = path != NULL ? TOKEN "_FILE" : TOKEN;
    char *token = path != NULL
                      ? aws_found_read_token(key, path, reason)
                      : mem_dup(conf->aws_container_authorization_token);
    *header = NULL;
    if (token == NULL)
        return path != NULL ? RESULT_DENIED : RESULT_OK;
    /* A line end would begin another header. */
    const char *at = token;
    while (*at >= ' ' && *at < 0x7f)
        at++;
    const bool usable = *at == '\0';
    if (usable)
        *header = mem_printf("Authorization: %s", token);
    else
        buf_addf(reason, "%s contains an invalid character", key);
    mem_free_secret(token);
    return usable ? RESULT_OK : RESULT_DENIED;
}

/* Nothing of the answer is shown: it may contain the token. */
static enum result container_query(const struct aws_source_request *request,
                                   const struct container_place *place,
                                   const char *authorization,
                                   struct aws_found *out, struct buf *reason)
{
    const char *headers[] = {"Accept: application/json", authorization, NULL};
    const struct aws_retry_call call = {
        .http = {.method = "GET",
                 .url = place->url,
                 .headers = headers,
                 .may_repeat = true,
                 .direct = place->direct},
        .timeout = CONTAINER_TIMEOUT,
        .attempts = CONTAINER_ATTEMPTS,
    };
    struct http_client_answer answer;
    enum result r = aws_retry_send(request, &call, &answer);
    if (r != RESULT_OK) {
        buf_addf(reason, "the service that %s names does not answer (%s)",
                 place->key, http_client_error(request->http));
        return r;
    }
    if (answer.status == 200) {
        char *what = mem_printf("container (%s)", place->key);
        r = aws_found_read_json(out, answer.body, answer.len, 0, what, reason);
        free(what);
        return r;
    }
    buf_addf(reason, "the service that %s names answers HTTP %ld", place->key,
             answer.status);
    if (aws_retry_is_passing(&answer))
        return RESULT_UNAVAILABLE;
    if (answer.status == 401 || answer.status == 403)
        buf_add_str(reason,
                    "; it does not accept " TOKEN " or the token in " TOKEN
                    "_FILE, or the container has no role");
    return RESULT_DENIED;
}

enum result aws_source_container(const struct aws_source_request *request,
                                 struct aws_found *out, struct buf *reason)
{
    struct container_place place;
    *out = (struct aws_found){0};
    enum result r = container_find(request->conf, &place, reason);
    if (r != RESULT_OK)
        return r;
    char *authorization = NULL;
    r = container_authorization(request->conf, &authorization, reason);
    if (r == RESULT_OK)
        r = container_query(request, &place, authorization, out, reason);
    mem_free_secret(authorization);
    free(place.url);
    return r;
}

/* ---- Instance metadata: requests ------------------------------------- */

struct imds {
    const struct aws_source_request *request;
    char *base; /* without '/' at its end */
    /* The header with the token; NULL: none yet. */
    char *header;
};

static enum result imds_send(struct imds *imds, const char *method,
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
        .timeout = IMDS_TIMEOUT,
        .attempts = IMDS_ATTEMPTS,
    };
    enum result r = aws_retry_send(imds->request, &call, answer);
    free(url);
    return r;
}

static enum result imds_deny_token(const struct imds *imds, long status,
                                   struct buf *reason)
{
    buf_addf(reason, IMDS " at %s ", imds->base);
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

static enum result imds_token(struct imds *imds, struct buf *reason)
{
    mem_free_secret(imds->header);
    imds->header = NULL;
    struct http_client_answer answer;
    enum result r =
        imds_send(imds, "PUT", IMDS_TOKEN,
                  "X-aws-ec2-metadata-token-ttl-seconds: 21600", &answer);
    if (r == RESULT_UNAVAILABLE) {
        buf_addf(reason, "no answer from %s, " IMDS " (%s)", imds->base,
                 http_client_error(imds->request->http));
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
        buf_addf(reason, IMDS " at %s: %s", imds->base,
                 http_client_error(imds->request->http));
        return r;
    }
    if (answer.status != 200 || answer.len == 0 ||
        answer.len > IMDS_TOKEN_MAX || strlen(answer.body) != answer.len ||
        !aws_source_is_visible(answer.body))
        return imds_deny_token(imds, answer.status, reason);
    imds->header = mem_printf("X-aws-ec2-metadata-token: %s", answer.body);
    return RESULT_OK;
}

static void imds_close(struct imds *imds)
{
    mem_free_secret(imds->header);
    free(imds->base);
}

/* Gets a token for the service. The caller releases *imds with imds_close() in
 * any case. */
static enum result imds_open(const struct aws_source_request *request,
                             struct imds *imds, struct buf *reason)
{
    const struct conf *conf = request->conf;
    *imds = (struct imds){.request = request};
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
        return imds_token(imds, reason);
    /* Not quoted: it may contain a password. */
    buf_add_str(reason, "AWS_EC2_METADATA_SERVICE_ENDPOINT must be an http or "
                        "https URL of a host, without user and query");
    return RESULT_DENIED;
}

/* As aws_metadata_read(). A token that is not accepted is replaced once. */
static enum result imds_get(struct imds *imds, const char *path,
                            struct buf *out, struct buf *reason)
{
    struct http_client_answer answer;
    for (bool renewed = false;; renewed = true) {
        enum result r = imds_send(imds, "GET", path, imds->header, &answer);
        if (r != RESULT_OK) {
            buf_addf(reason, IMDS " at %s: %s", imds->base,
                     http_client_error(imds->request->http));
            return r;
        }
        if (answer.status != 401 || renewed)
            break;
        r = imds_token(imds, reason);
        if (r == RESULT_NOT_FOUND)
            r = RESULT_UNAVAILABLE; /* it existed a moment ago */
        if (r != RESULT_OK)
            return r;
    }
    if (answer.status == 404 || (answer.status == 200 && answer.len == 0)) {
        buf_addf(reason, IMDS " does not have %s", path);
        return RESULT_NOT_FOUND;
    }
    if (answer.status == 403) {
        buf_addf(reason, IMDS " refuses %s (HTTP 403)", path);
        return RESULT_DENIED;
    }
    if (answer.status != 200) {
        buf_addf(reason, IMDS " answers HTTP %ld to %s", answer.status, path);
        return RESULT_UNAVAILABLE;
    }
    buf_add(out, answer.body, answer.len);
    if (!buf_failed(out))
        return RESULT_OK;
    buf_addf(reason, IMDS ": %s is too large", path);
    return RESULT_UNAVAILABLE;
}

enum result aws_metadata_read(const struct aws_source_request *request,
                              const char *path, struct buf *out,
                              struct buf *reason)
{
    struct imds imds;
    enum result r = imds_open(request, &imds, reason);
    if (r == RESULT_OK)
        r = imds_get(&imds, path, out, reason);
    imds_close(&imds);
    return r;
}

/* ---- Instance metadata: the role ------------------------------------- */

/* The name of the role, from a list of one; it becomes a part of a URL. */
static enum result imds_role(struct imds *imds, struct buf *role,
                             struct buf *reason)
{
    enum result r = imds_get(imds, IMDS_ROLES, role, reason);
    if (r == RESULT_NOT_FOUND)
        buf_add_str(reason, ": the instance has no role");
    if (r != RESULT_OK)
        return r;
    buf_truncate(role, strcspn(role->data, "\r\n"));
    if (role->len > 0 &&
        strspn(role->data, TEXT_ALNUM "_+=,.@-") == role->len &&
        strspn(role->data, ".") != role->len)
        return RESULT_OK;
    buf_add_str(reason, IMDS " gave an invalid name of a role");
    return RESULT_UNAVAILABLE;
}

static enum result imds_credentials(struct imds *imds, const char *role,
                                    struct aws_found *out, struct buf *reason)
{
    char *path = mem_printf(IMDS_ROLES "%s", role);
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
    struct imds imds;
    struct buf role;
    *out = (struct aws_found){0};
    buf_init(&role, ROLE_MAX);
    enum result r = imds_open(request, &imds, reason);
    if (r == RESULT_OK)
        r = imds_role(&imds, &role, reason);
    if (r == RESULT_OK)
        r = imds_credentials(&imds, role.data, out, reason);
    buf_free(&role);
    imds_close(&imds);
    return r;
}

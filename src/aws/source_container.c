/*
 * The container credential provider: an agent beside the container (ECS, EKS
 * Pod Identity, Greengrass) that gives the credentials of its role (AWS SDKs
 * and Tools Reference Guide, "Container credential provider").
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "aws/retry.h"
#include "aws/source.h"
#include "base/mem.h"

/* As botocore: two seconds and three attempts. */
#define TIMEOUT  2000
#define ATTEMPTS 3

#define RELATIVE "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
#define FULL     "AWS_CONTAINER_CREDENTIALS_FULL_URI"
#define TOKEN    "AWS_CONTAINER_AUTHORIZATION_TOKEN"

/* ---- URL --------------------------------------------------------------- */

struct place {
    const char *key; /* the setting that names it */
    char *url;
    bool direct;
};

/* Whether url is http and its host is the agent of ECS or EKS. Any other host
 * could see the request and the token in it. */
static bool is_agent(const char *url)
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
static const char *check_full(const char *full, bool *direct)
{
    bool loopback = false;
    char *url = mem_dup_bytes(full, strcspn(full, "?"));
    /* libcurl also takes http:/host: only a sure https counts. */
    const bool plain = strncasecmp(url, "https://", 8) != 0;
    const char *fault = NULL;
    if (!aws_source_is_visible(full) || strpbrk(full, "#\\") != NULL ||
        !http_client_check_url(url, &loopback))
        fault = "must be an http or https URL with a host and without a user";
    else if (plain && !loopback && !is_agent(url))
        fault = "must be https for this host: http is only for the local host "
                "(127.0.0.1, [::1], localhost) and for the agents of ECS and "
                "EKS (169.254.170.2, 169.254.170.23, [fd00:ec2::23])";
    *direct = plain || loopback;
    free(url);
    return fault;
}

/* On RESULT_OK the caller frees place->url. */
static enum result find_place(const struct conf *conf, struct place *place,
                              struct buf *reason)
{
    const char *relative = conf->aws_container_credentials_relative_uri;
    const char *full = conf->aws_container_credentials_full_uri;
    const char *fault = NULL;
    *place = (struct place){.key = relative != NULL ? RELATIVE : FULL,
                            .direct = true};
    if (relative == NULL && full == NULL) {
        buf_addf(reason, "neither %s nor %s is set", RELATIVE, FULL);
        return RESULT_NOT_FOUND;
    }
    if (relative == NULL)
        fault = check_full(full, &place->direct);
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

/* ---- Request and answer ------------------------------------------------ */

/* *header is the Authorization line, for the caller to free as a secret; NULL:
 * none is configured. The file is read each time, because its token changes; it
 * goes before the variable, as in the SDKs. */
static enum result make_authorization(const struct conf *conf, char **header,
                                      struct buf *reason)
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
                                   const struct place *place,
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
        .timeout = TIMEOUT,
        .attempts = ATTEMPTS,
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
    struct place place;
    *out = (struct aws_found){0};
    enum result r = find_place(request->conf, &place, reason);
    if (r != RESULT_OK)
        return r;
    char *authorization = NULL;
    r = make_authorization(request->conf, &authorization, reason);
    if (r == RESULT_OK)
        r = container_query(request, &place, authorization, out, reason);
    mem_free_secret(authorization);
    free(place.url);
    return r;
}

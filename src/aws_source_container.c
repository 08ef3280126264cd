/*
 * The container credential provider: an agent beside the container (ECS, EKS
 * Pod Identity, Greengrass) that gives its role's keys (AWS SDKs and Tools
 * Reference Guide, "Container credential provider").
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "aws_retry.h"
#include "aws_source.h"
#include "clock.h"
#include "mem.h"

/* As botocore: two seconds and three attempts. */
#define TIMEOUT  2000
#define ATTEMPTS 3

#define TOKEN_MAX 16384

#define RELATIVE "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
#define FULL     "AWS_CONTAINER_CREDENTIALS_FULL_URI"

/* ---- Where to ask ---------------------------------------------------- */

struct place {
    const char *key; /* which key of the configuration says so */
    char *url;
    bool direct;
};

static bool is_visible(const char *s)
{
    while (*s > ' ' && *s < 0x7f)
        s++;
    return *s == '\0';
}

/* Whether url is http and the agents of ECS or EKS listen at its host. Any
 * other host could be one that sees the request, and the token in it. */
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

/* The rule of the SDKs: https anywhere, http on this host or to an agent. */
static enum result check_full(struct place *place, struct buf *reason)
{
    bool loopback = false;
    char *url = mem_dup_bytes(place->url, strcspn(place->url, "?"));
    /* libcurl takes http:/host, too: only what is surely https counts. */
    const bool plain = strncasecmp(url, "https://", 8) != 0;
    const char *fault = NULL;
    if (!is_visible(place->url) || strchr(place->url, '#') != NULL ||
        strchr(place->url, '\\') != NULL ||
        !http_client_check_url(url, &loopback))
        fault = " must be an http or https URL of a host, without user";
    else if (plain && !loopback && !is_agent(url))
        fault = " names a host that is asked over https alone: http is for "
                "this host (127.0.0.1, [::1], localhost) and for the agents of "
                "ECS and EKS (169.254.170.2, 169.254.170.23, [fd00:ec2::23])";
    place->direct = plain || loopback;
    free(url);
    if (fault == NULL)
        return RESULT_OK;
    buf_addf(reason, "%s%s", place->key, fault);
    return RESULT_DENIED;
}

/* On RESULT_OK the caller frees place->url. */
static enum result find_place(const struct conf *conf, struct place *place,
                              struct buf *reason)
{
    const char *relative = conf->aws_container_credentials_relative_uri;
    const char *full = conf->aws_container_credentials_full_uri;
    if (relative != NULL) {
        if (relative[0] != '/' || !is_visible(relative) ||
            strchr(relative, '#') != NULL) {
            buf_addf(reason, "%s must be a path that begins with '/'",
                     RELATIVE);
            return RESULT_DENIED;
        }
        *place = (struct place){
            .key = RELATIVE,
            .url = mem_printf("http://169.254.170.2%s", relative),
            .direct = true,
        };
        return RESULT_OK;
    }
    if (full == NULL) {
        buf_addf(reason, "neither %s nor %s is set", RELATIVE, FULL);
        return RESULT_NOT_FOUND;
    }
    *place = (struct place){.key = FULL, .url = mem_dup(full)};
    enum result r = check_full(place, reason);
    if (r != RESULT_OK)
        free(place->url);
    return r;
}

/* ---- What lets curt in ----------------------------------------------- */

/* Whether token can be a header's value; a line end would begin another. */
static bool is_value(const char *token)
{
    for (const char *c = token; *c != '\0'; c++)
        if (*c < ' ' || *c == 0x7f)
            return false;
    return token[0] != '\0';
}

/* *header is the Authorization line, for the caller to free as a secret; NULL:
 * none is configured. The file is read anew each time, for its token changes;
 * it goes before the variable, as in the SDKs. */
static enum result make_authorization(const struct conf *conf, char **header,
                                      struct buf *reason)
{
    const char *path = conf->aws_container_authorization_token_file;
    const char *key = "AWS_CONTAINER_AUTHORIZATION_TOKEN";
    char *token = NULL;
    *header = NULL;
    if (path != NULL) {
        key = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
        token = aws_found_read_file(path, TOKEN_MAX);
        if (token == NULL) {
            buf_addf(reason, "%s, %s: %s", key, path,
                     errno == E2BIG || errno == EILSEQ
                         ? "the file does not contain a token"
                         : strerror(errno));
            return RESULT_DENIED;
        }
    } else {
        token = mem_dup(conf->aws_container_authorization_token);
        if (token == NULL)
            return RESULT_OK;
    }
    const bool usable = is_value(token);
    if (usable)
        *header = mem_printf("Authorization: %s", token);
    else
        buf_addf(reason, "%s %s", key,
                 token[0] == '\0' ? "is empty"
                                  : "has a control character in its token");
    mem_free_secret(token);
    return usable ? RESULT_OK : RESULT_DENIED;
}

/* ---- The answer ------------------------------------------------------ */

static enum result container_take(const struct place *place,
                                  const struct http_client_answer *answer,
                                  struct aws_found *out, struct buf *reason)
{
    char *what = mem_printf("container (%s)", place->key);
    size_t len = answer->len;
    while (len > 0 && strchr(" \t\r\n", answer->body[len - 1]) != NULL)
        len--;
    enum result r = aws_found_read_json(out, answer->body, len, what, reason);
    if (r == RESULT_OK && out->expires != 0 && out->expires <= clock_now()) {
        buf_addf(reason,
                 "%s has keys that have expired; is this host's clock right?",
                 what);
        aws_found_free(out);
        r = RESULT_UNAVAILABLE;
    }
    free(what);
    return r;
}

/* What answers is not quoted: it could be anything, the token included. */
static enum result container_refuse(const struct place *place,
                                    const struct http_client_answer *answer,
                                    struct buf *reason)
{
    buf_addf(reason, "what %s names answers HTTP %ld", place->key,
             answer->status);
    if (aws_retry_is_passing(answer))
        return RESULT_UNAVAILABLE;
    if (answer->status == 401 || answer->status == 403)
        buf_add_str(reason,
                    "; it does not accept AWS_CONTAINER_AUTHORIZATION_TOKEN or "
                    "the one in AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE, or the "
                    "container has no role");
    return RESULT_DENIED;
}

static enum result container_ask(const struct aws_source_request *request,
                                 const struct place *place,
                                 const char *authorization,
                                 struct aws_found *out, struct buf *reason)
{
    const char *headers[] = {"Accept: application/json", authorization, NULL};
    const struct aws_retry_call question = {
        .http = {.method = "GET",
                 .url = place->url,
                 .headers = headers,
                 .may_repeat = true,
                 .direct = place->direct},
        .timeout = TIMEOUT,
        .attempts = ATTEMPTS,
    };
    struct http_client_answer answer;
    enum result r = aws_retry_send(request, &question, &answer);
    if (r != RESULT_OK)
        buf_addf(reason, "what %s names does not answer (%s)", place->key,
                 http_client_error(request->http));
    else if (answer.status != 200)
        r = container_refuse(place, &answer, reason);
    else
        r = container_take(place, &answer, out, reason);
    return r;
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
        r = container_ask(request, &place, authorization, out, reason);
    mem_free_secret(authorization);
    free(place.url);
    return r;
}

#include "aws_chain.h"

#include <string.h>

#include "clock.h"
#include "http_client.h"

/* Longest answer of a source on the network, in bytes. */
#define ANSWER_MAX (128 * 1024)

/* Longest that one source can say, in bytes. */
#define REASON_MAX 2048

static const struct {
    const char *name;
    aws_source *ask;
} chain[] = {
    [AWS_CHAIN_ENVIRONMENT] = {"environment", aws_source_environment},
    {"web identity", aws_source_web_identity},
    {"shared files", aws_source_profile},
    {"container", aws_source_container},
    {"instance metadata", aws_source_instance},
};

#define SOURCES (sizeof(chain) / sizeof(chain[0]))

const char *aws_chain_name(size_t source)
{
    return source < SOURCES ? chain[source].name : "";
}

/* What callers are told: it is a matter of waiting, or of mending. */
static enum result chain_result(enum result r)
{
    return r == RESULT_UNAVAILABLE || r == RESULT_THROTTLED ||
                   r == RESULT_INTERNAL
               ? RESULT_UNAVAILABLE
               : RESULT_DENIED;
}

/* Appends, cut where it does not fit. */
static void chain_add(struct buf *b, const char *s)
{
    size_t room = b->max - b->len, len = strlen(s);
    buf_add(b, s, len < room ? len : room);
}

/* Asks one source; what it gave must be good now. */
static enum result chain_ask(size_t source,
                             const struct aws_source_request *request,
                             struct aws_found *found, struct buf *reason)
{
    char text[CLOCK_TEXT_SIZE];
    *found = (struct aws_found){0};
    enum result r = chain[source].ask(request, found, reason);
    if (r != RESULT_OK && reason->len == 0)
        buf_add_str(reason, result_text(r));
    if (r == RESULT_OK && found->expires != 0 &&
        found->expires <= clock_now()) {
        clock_text(found->expires, text);
        buf_addf(reason, "its keys expired at %sZ, by this host's clock", text);
        aws_found_free(found);
        return RESULT_UNAVAILABLE;
    }
    return r == RESULT_OK || r == RESULT_NOT_FOUND ? r : chain_result(r);
}

static void say_failed(size_t source, const struct buf *reason,
                       struct buf *error)
{
    buf_reset(error);
    chain_add(error, "credentials from ");
    chain_add(error, chain[source].name);
    chain_add(error, ": ");
    chain_add(error, reason->data);
}

static void say_looked(size_t source, const struct buf *reason,
                       struct buf *error)
{
    chain_add(error, source == 0 ? "no credentials; looked at: " : "; ");
    chain_add(error, chain[source].name);
    chain_add(error, " (");
    chain_add(error, reason->data);
    chain_add(error, ")");
}

enum result aws_chain_ask(const struct conf *conf, int64_t deadline,
                          struct aws_found *found, size_t *source,
                          struct buf *error)
{
    struct aws_source_request request = {
        .conf = conf,
        .http = http_client_new(conf->aws_ca_bundle, ANSWER_MAX),
        .deadline = deadline,
    };
    struct buf reason;
    enum result r = RESULT_NOT_FOUND;
    buf_init(&reason, REASON_MAX);
    buf_reset(error);
    for (size_t i = 0; i < SOURCES && r == RESULT_NOT_FOUND; i++) {
        buf_reset(&reason);
        r = chain_ask(i, &request, found, &reason);
        if (r == RESULT_OK)
            *source = i;
        else if (r == RESULT_NOT_FOUND)
            say_looked(i, &reason, error);
        else
            say_failed(i, &reason, error);
    }
    buf_free(&reason);
    http_client_free(request.http);
    return r == RESULT_NOT_FOUND ? RESULT_DENIED : r;
}

enum result aws_chain_ask_environment(const struct conf *conf,
                                      struct aws_found *found,
                                      struct buf *error)
{
    const struct aws_source_request request = {.conf = conf};
    struct buf reason;
    buf_init(&reason, REASON_MAX);
    enum result r = chain_ask(AWS_CHAIN_ENVIRONMENT, &request, found, &reason);
    if (r != RESULT_OK)
        say_failed(AWS_CHAIN_ENVIRONMENT, &reason, error);
    buf_free(&reason);
    return r;
}

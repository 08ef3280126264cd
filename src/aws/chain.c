#include "aws/chain.h"

#include <stdlib.h>
#include <string.h>

#include "aws/http_client.h"
#include "base/mem.h"

/* Longest answer of a source on the network, in bytes. */
#define ANSWER_MAX (128 * 1024)

/* Longest reason of one source, in bytes. */
#define REASON_MAX 2048

static const struct {
    const char *name;
    aws_source *ask;
} chain[] = {
    {"environment", aws_source_environment},
    {"web identity", aws_source_web_identity},
    {"shared files", aws_source_profile},
    {"container", aws_source_container},
    {"instance metadata", aws_source_instance},
};

/* Appends as much as fits. */
static void chain_add(struct buf *b, const char *s)
{
    size_t room = b->max - b->len, len = strlen(s);
    buf_add(b, s, len < room ? len : room);
}

/* Queries one source. */
static enum result chain_ask(size_t source,
                             const struct aws_source_request *request,
                             struct aws_found *found, struct buf *reason)
{
    const char *name = chain[source].name;
    *found = (struct aws_found){0};
    enum result r = chain[source].ask(request, found, reason);
    if (r == RESULT_OK && strcmp(found->where, name) != 0) {
        char *where = mem_printf("%s (%s)", name, found->where);
        free(found->where);
        found->where = where;
    }
    if (r != RESULT_OK && reason->len == 0)
        buf_add_str(reason, result_text(r));
    if (r == RESULT_OK || r == RESULT_NOT_FOUND)
        return r;
    return r == RESULT_UNAVAILABLE || r == RESULT_THROTTLED ||
                   r == RESULT_INTERNAL
               ? RESULT_UNAVAILABLE
               : RESULT_DENIED;
}

enum result aws_chain_ask(const struct conf *conf, int64_t deadline,
                          struct aws_found *found, struct buf *error)
{
    const size_t sources = sizeof(chain) / sizeof(chain[0]);
    struct aws_source_request request = {
        .conf = conf,
        .http = http_client_new(conf->aws_ca_bundle, ANSWER_MAX),
        .deadline = deadline,
    };
    struct buf reason;
    enum result r = RESULT_NOT_FOUND;
    buf_init(&reason, REASON_MAX);
    buf_reset(error);
    for (size_t i = 0; i < sources && r == RESULT_NOT_FOUND; i++) {
        buf_reset(&reason);
        r = chain_ask(i, &request, found, &reason);
        if (r == RESULT_OK)
            continue;
        if (r != RESULT_NOT_FOUND)
            buf_reset(error);
        chain_add(error, r != RESULT_NOT_FOUND ? "credentials from "
                         : i == 0              ? "no credentials; looked at: "
                                               : "; ");
        chain_add(error, chain[i].name);
        chain_add(error, r == RESULT_NOT_FOUND ? " (" : ": ");
        chain_add(error, reason.data);
        chain_add(error, r == RESULT_NOT_FOUND ? ")" : "");
    }
    buf_free(&reason);
    http_client_free(request.http);
    return r == RESULT_NOT_FOUND ? RESULT_DENIED : r;
}

#include "fake_sources.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aws/source.h"
#include "base/clock.h"
#include "base/mem.h"
#include "processes.h"

struct fake_source *fake_sources;

void fake_sources_reset(void)
{
    if (fake_sources == NULL)
        fake_sources = share_memory(SOURCES * sizeof(*fake_sources));
    memset(fake_sources, 0, SOURCES * sizeof(*fake_sources));
    for (unsigned i = 0; i < SOURCES; i++)
        fake_sources[i].result = RESULT_NOT_FOUND;
}

void fake_source_serve(unsigned source, int64_t life)
{
    fake_sources[source].life = life;
    fake_sources[source].result = RESULT_OK;
}

unsigned fake_source_calls(void)
{
    unsigned calls = 0;
    for (unsigned i = 0; i < SOURCES; i++)
        calls += fake_sources[i].calls;
    return calls;
}

/* A token of the number, of any length. */
static char *make_token(unsigned n, size_t size)
{
    char *token = mem_printf("token-%09u.", n);
    size_t len = strlen(token);
    if (size <= len)
        return token;
    token = mem_resize(token, size + 1);
    for (size_t i = len; i < size; i++)
        token[i] = token[i - len];
    token[size] = '\0';
    return token;
}

unsigned keys_number(const struct aws_keys *keys)
{
    unsigned n = 0;
    if (keys->id == NULL || sscanf(keys->id, "AKIA%9u", &n) != 1)
        return 0;
    char *secret = mem_printf("secret/%09u", n);
    char *token = make_token(n, keys->token != NULL ? strlen(keys->token) : 0);
    if (strcmp(keys->secret, secret) != 0 ||
        (keys->token != NULL && strcmp(keys->token, token) != 0))
        n = 0;
    free(secret);
    free(token);
    return n;
}

static enum result pretend(unsigned source,
                           const struct aws_source_request *request,
                           struct aws_found *out, struct buf *reason)
{
    struct fake_source *s = &fake_sources[source];
    enum result r = (enum result)s->result;
    if (r == RESULT_NOT_FOUND) {
        buf_addf(reason, "source %u is not there", source);
        return r;
    }
    atomic_fetch_add(&s->calls, 1);
    for (unsigned waited = 0;
         waited < s->delay_ms && clock_monotonic_ms() < request->deadline;
         waited += 5)
        sleep_us(5000);
    r = (enum result)s->result;
    if (r != RESULT_OK) {
        buf_addf(reason, "source %u is broken", source);
        return r;
    }
    unsigned n = atomic_fetch_add(&s->gave, 1) + 1;
    char *id = mem_printf("AKIA%09u", n),
         *place = mem_printf("place %u", source);
    char *secret = mem_printf("secret/%09u", n);
    char *token = s->life != 0 ? make_token(n, s->token_size) : NULL;
    const struct aws_keys keys = {id, secret, token};
    r = aws_found_take(out, &keys, s->life != 0 ? clock_now() + s->life : 0,
                       place, reason);
    free(id);
    free(secret);
    free(token);
    free(place);
    return r;
}

enum result aws_source_web_identity(const struct aws_source_request *request,
                                    struct aws_found *out, struct buf *reason)
{
    return pretend(SOURCE_WEB, request, out, reason);
}

enum result aws_source_profile(const struct aws_source_request *request,
                               struct aws_found *out, struct buf *reason)
{
    return pretend(SOURCE_PROFILE, request, out, reason);
}

enum result aws_source_container(const struct aws_source_request *request,
                                 struct aws_found *out, struct buf *reason)
{
    return pretend(SOURCE_CONTAINER, request, out, reason);
}

enum result aws_source_instance(const struct aws_source_request *request,
                                struct aws_found *out, struct buf *reason)
{
    return pretend(SOURCE_INSTANCE, request, out, reason);
}

#include "store.h"

#include <stdarg.h>
#include <stdlib.h>

#include "aws_endpoint.h"
#include "aws_region.h"
#include "ids.h"
#include "mem.h"

/* Longest store_error(), in bytes. */
#define ERROR_MAX 4096

static const struct store_ops *const backends[] = {
    [CONF_STORE_SQLITE] = &store_sqlite_ops,
    [CONF_STORE_DYNAMODB] = &store_dynamodb_ops,
};

static struct store *store_make(const struct conf *conf, bool pooled)
{
    const struct store_ops *ops = backends[conf->store];
    struct store *s = ops->make(conf, pooled);
    s->ops = ops;
    s->conf = conf;
    buf_init(&s->error, ERROR_MAX);
    return s;
}

struct store *store_new(const struct conf *conf)
{
    return store_make(conf, false);
}

struct store *store_new_pooled(const struct conf *conf)
{
    return store_make(conf, true);
}

static const char *or_nothing(const char *s)
{
    return s != NULL ? s : "";
}

uint64_t store_identity(const struct conf *conf)
{
    char *region = NULL;
    char *name;
    if (conf->store == CONF_STORE_SQLITE) {
        name = mem_printf("sqlite %s", conf->state_dir);
    } else {
        region = aws_region_configured(conf);
        /* Else it is the host's, which does not change. */
        if (region == NULL)
            region = mem_dup("of this host");
        name = mem_printf("dynamodb %s %s %s", or_nothing(conf->table), region,
                          or_nothing(aws_endpoint_configured(conf)));
    }
    uint64_t identity = ids_hash(name);
    free(name);
    free(region);
    return identity;
}

void store_set_limit(struct store *s, int64_t limit)
{
    s->limit = limit;
}

void store_free(struct store *s)
{
    if (s == NULL)
        return;
    buf_free(&s->error);
    s->ops->release(s);
}

const char *store_error(const struct store *s)
{
    return s->error.data;
}

enum result store_fail(struct store *s, enum result r, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    buf_reset(&s->error);
    buf_vaddf(&s->error, format, ap);
    va_end(ap);
    return r;
}

enum result store_create(struct store *s, const struct link *l)
{
    buf_reset(&s->error);
    return s->ops->create(s, l);
}

enum result store_get(struct store *s, const char *short_id,
                      enum store_view view, struct link *out)
{
    buf_reset(&s->error);
    enum result r = s->ops->get(s, short_id, view, out);
    if (r == RESULT_OK && out->ttl_note != NULL && !s->ttl_noted) {
        s->ttl_noted = true;
        log_warning("link %s: its ttl %s; other links like it are not logged",
                    short_id, out->ttl_note);
    }
    return r;
}

enum result store_delete(struct store *s, const char *short_id)
{
    buf_reset(&s->error);
    return s->ops->remove(s, short_id);
}

enum result store_add_hits(struct store *s, const char *short_id, uint64_t n,
                           const struct store_flush *flush)
{
    buf_reset(&s->error);
    return s->ops->add_hits(s, short_id, n, flush);
}

enum result store_expire(struct store *s, int64_t now, unsigned limit,
                         unsigned *removed)
{
    buf_reset(&s->error);
    *removed = 0;
    return s->ops->expire(s, now, limit, removed);
}

enum result store_newest(struct store *s, int64_t *created_at)
{
    buf_reset(&s->error);
    return s->ops->newest != NULL ? s->ops->newest(s, created_at)
                                  : RESULT_NOT_FOUND;
}

void store_tend(struct store *s)
{
    if (s->ops->tend != NULL)
        s->ops->tend(s);
}

enum result store_table_create(struct store *s,
                               const struct store_table *wanted)
{
    static const struct store_table nothing = {.tag_count = 0};
    buf_reset(&s->error);
    return s->ops->table_create(s, wanted != NULL ? wanted : &nothing);
}

enum result store_table_check(struct store *s, struct buf *findings)
{
    buf_reset(&s->error);
    return s->ops->table_check(s, findings);
}

enum result store_table_notes(struct store *s, struct buf *notes)
{
    buf_reset(&s->error);
    return s->ops->table_notes != NULL ? s->ops->table_notes(s, notes)
                                       : RESULT_OK;
}

void store_inspect(struct store *s, struct report *report)
{
    buf_reset(&s->error);
    s->ops->inspect(s, report);
}

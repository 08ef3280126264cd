#include "store.h"

#include <stdarg.h>
#include <stdlib.h>

#include "ids.h"
#include "mem.h"

/* Longest store_error(), in bytes. */
#define ERROR_MAX 4096

static const struct store_ops *const backends[] = {
    [CONF_STORE_SQLITE] = &store_sqlite_ops,
    [CONF_STORE_DYNAMODB] = &store_dynamodb_ops,
};

struct store *store_new(const struct conf *conf)
{
    const struct store_ops *ops = backends[conf->store];
    struct store *s = ops->make(conf);
    s->ops = ops;
    s->conf = conf;
    buf_init(&s->error, ERROR_MAX);
    return s;
}

static const char *or_nothing(const char *s)
{
    return s != NULL ? s : "";
}

uint64_t store_identity(const struct conf *conf)
{
    char *name =
        conf->store == CONF_STORE_SQLITE
            ? mem_printf("sqlite %s", conf->state_dir)
            : mem_printf("dynamodb %s %s %s %s %s", or_nothing(conf->table),
                         or_nothing(conf->aws_region),
                         or_nothing(conf->aws_default_region),
                         or_nothing(conf->aws_endpoint_url_dynamodb),
                         or_nothing(conf->aws_endpoint_url));
    uint64_t identity = ids_hash(name);
    free(name);
    return identity;
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
    return s->ops->get(s, short_id, view, out);
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

enum result store_table_create(struct store *s)
{
    buf_reset(&s->error);
    return s->ops->table_create(s);
}

enum result store_table_check(struct store *s, struct buf *findings)
{
    buf_reset(&s->error);
    return s->ops->table_check(s, findings);
}

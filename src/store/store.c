#include "store/store.h"

#include <stdarg.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/text.h"

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

uint64_t store_identity(const struct conf *conf)
{
    char *text = backends[conf->store]->identity(conf);
    const uint64_t identity = text_hash(text);
    free(text);
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

/* Every operation begins here. */
static void store_begin(struct store *s, int64_t deadline)
{
    s->deadline = clock_monotonic_ms() + (int64_t)s->conf->store_timeout * 1000;
    if (deadline != 0 && deadline < s->deadline)
        s->deadline = deadline;
    buf_reset(&s->error);
}

enum result store_create(struct store *s, const struct link *l,
                         int64_t deadline)
{
    store_begin(s, deadline);
    return s->ops->create(s, l);
}

void store_create_many(struct store *s, const struct link *links, size_t count,
                       int64_t deadline, enum result results[])
{
    store_begin(s, deadline);
    if (s->ops->create_many != NULL)
        s->ops->create_many(s, links, count, results);
    else
        for (size_t i = 0; i < count; i++)
            results[i] = s->ops->create(s, &links[i]);
}

enum result store_settle(struct store *s, int64_t deadline)
{
    store_begin(s, deadline);
    return s->ops->settle != NULL ? s->ops->settle(s) : RESULT_OK;
}

enum result store_update(struct store *s, const struct link *l,
                         int64_t deadline)
{
    store_begin(s, deadline);
    return s->ops->update(s, l);
}

enum result store_spend_hit(struct store *s, const char *short_id,
                            int64_t deadline)
{
    store_begin(s, deadline);
    return s->ops->spend_hit(s, short_id);
}

enum result store_record_get(struct store *s, const char *key, bool consistent,
                             int64_t deadline, struct store_record *out)
{
    store_begin(s, deadline);
    *out = (struct store_record){.ttl = LINK_NEVER};
    return s->ops->record_get(s, key, consistent, out);
}

enum result store_record_put(struct store *s, const char *key,
                             const struct store_record *record,
                             int64_t deadline)
{
    store_begin(s, deadline);
    return s->ops->record_put(s, key, record);
}

enum result store_record_count(struct store *s, const char *key, uint64_t n,
                               int64_t ttl, int64_t deadline, uint64_t *total)
{
    store_begin(s, deadline);
    return s->ops->record_count(s, key, n, ttl, total);
}

enum result store_get(struct store *s, const char *short_id,
                      enum store_view view, int64_t deadline, struct link *out)
{
    store_begin(s, deadline);
    enum result r = s->ops->get(s, short_id, view, out);
    if (r == RESULT_OK && out->ttl_note != NULL && !s->ttl_noted) {
        s->ttl_noted = true;
        log_warning("link %s: its ttl %s; other links like it are not logged",
                    short_id, out->ttl_note);
    }
    return r;
}

enum result store_delete(struct store *s, const char *short_id,
                         int64_t deadline)
{
    store_begin(s, deadline);
    return s->ops->remove(s, short_id);
}

enum result store_purge(struct store *s, const char *key, int64_t deadline)
{
    store_begin(s, deadline);
    return s->ops->purge(s, key);
}

enum result store_add_hits(struct store *s, const char *short_id, uint64_t n,
                           const struct store_flush *flush, int64_t deadline)
{
    store_begin(s, deadline);
    return s->ops->add_hits(s, short_id, n, flush);
}

enum result store_expire(struct store *s, int64_t now, unsigned limit,
                         unsigned *removed)
{
    store_begin(s, 0);
    *removed = 0;
    return s->ops->expire != NULL ? s->ops->expire(s, now, limit, removed)
                                  : RESULT_OK;
}

enum result store_newest(struct store *s, int64_t *created_at)
{
    store_begin(s, 0);
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
    store_begin(s, 0);
    return s->ops->table_create(s, wanted != NULL ? wanted : &nothing);
}

enum result store_table_check(struct store *s, struct buf *findings,
                              struct buf *notes)
{
    store_begin(s, 0);
    return s->ops->table_check(s, findings, notes);
}

void store_inspect(struct store *s, struct report *report)
{
    store_begin(s, 0);
    s->ops->inspect(s, report);
}

#include "service/create.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "link/ids.h"
#include "link/url.h"

/* Draws ids until the store takes one. */
static enum result create_under_new_id(const struct conf *conf,
                                       struct store *store, int64_t deadline,
                                       struct link *l)
{
    char id[IDS_MAX + 1];
    for (int draw = 0; draw < CREATE_DRAWS; draw++) {
        enum result r = ids_make(conf->min_char, conf->max_char, id);
        if (r != RESULT_OK) {
            log_error("OpenSSL RAND_bytes failed");
            return r;
        }
        link_set(&l->short_id, id);
        free(l->short_url);
        l->short_url = mem_printf("%s%s", conf->app_url, id);
        r = store_create(store, l, deadline);
        if (r == RESULT_INVALID)
            return RESULT_INTERNAL; /* not the client's fault: see store.h */
        if (r != RESULT_CONFLICT)
            return r;
    }
    log_error("no free short_id after %d attempts: the id space is too full; "
              "raise MAX_CHAR (now %u)",
              CREATE_DRAWS, (unsigned)conf->max_char);
    return RESULT_CONFLICT;
}

enum result create_link(const struct conf *conf, struct store *store,
                        const char *long_url, size_t len,
                        const struct link_client *client, int64_t deadline,
                        struct link *out, const char **reason)
{
    const int64_t now = clock_now();
    char created_at[CLOCK_TEXT_SIZE];
    struct buf url;
    buf_init(&url, URL_MAX);
    enum result r = url_normalise(long_url, len, &conf->app, &url, reason);
    if (r == RESULT_OK && now < CURT_BUILD_TIME) {
        r = store_fail(store, RESULT_UNAVAILABLE,
                       "the clock shows a time before this curt was built; set "
                       "it");
    } else if (r == RESULT_OK) {
        clock_text(now, created_at);
        link_set(&out->long_url, url.data);
        link_set(&out->created_at, created_at);
        link_set(&out->key, client->key);
        out->analytics = link_analytics(url.data, client);
        if (conf->link_ttl > 0)
            out->ttl = now + (int64_t)conf->link_ttl;
        r = create_under_new_id(conf, store, deadline, out);
    }
    buf_free(&url);
    return r;
}

#include "create.h"

#include <stdlib.h>

#include "clock.h"
#include "ids.h"
#include "log.h"
#include "mem.h"
#include "url.h"

static enum result check_url(const struct conf *conf, const char *long_url,
                             size_t len, struct buf *url, const char **reason)
{
    enum result r = url_normalise(long_url, len, url, reason);
    if (r == RESULT_OK && url_is_loop(url->data, &conf->app)) {
        *reason = "leads back to this shortener";
        r = RESULT_INVALID;
    }
    return r;
}

static void fill_link(const struct conf *conf, const char *url,
                      const struct link_client *client, struct link *l)
{
    char created_at[CLOCK_TEXT_SIZE];
    int64_t now = clock_now();
    clock_text(now, created_at);
    l->long_url = mem_dup(url);
    l->created_at = mem_dup(created_at);
    l->analytics = link_analytics(url, client);
    if (conf->link_ttl > 0)
        l->ttl = now + (int64_t)conf->link_ttl;
}

/* Draws ids until the store takes one. */
static enum result store_under_new_id(const struct conf *conf,
                                      struct store *store, struct link *l)
{
    char id[IDS_MAX + 1];
    for (int draw = 0; draw < CREATE_DRAWS; draw++) {
        enum result r = ids_make(conf->min_char, conf->max_char, id);
        if (r != RESULT_OK) {
            log_error("no random numbers can be had from OpenSSL");
            return r;
        }
        link_set(&l->short_id, id);
        free(l->short_url);
        l->short_url = mem_printf("%s%s", conf->app_url, id);
        r = store_create(store, l);
        if (r != RESULT_CONFLICT)
            return r;
    }
    log_error("%d ids in a row were taken: the id space is too full; raise "
              "MAX_CHAR (it is %u)",
              CREATE_DRAWS, (unsigned)conf->max_char);
    return RESULT_CONFLICT;
}

enum result create_link(const struct conf *conf, struct store *store,
                        const char *long_url, size_t len,
                        const struct link_client *client, struct link *out,
                        const char **reason)
{
    struct buf url;
    buf_init(&url, URL_MAX);
    enum result r = check_url(conf, long_url, len, &url, reason);
    if (r == RESULT_OK && clock_now() < CURT_BUILD_TIME)
        r = store_fail(store, RESULT_UNAVAILABLE,
                       "the clock shows a time before this curt was built; set "
                       "it");
    if (r == RESULT_OK) {
        fill_link(conf, url.data, client, out);
        r = store_under_new_id(conf, store, out);
        if (r == RESULT_INVALID)
            r = RESULT_INTERNAL; /* not the client's fault: see store.h */
    }
    buf_free(&url);
    if (r != RESULT_OK)
        link_free(out);
    return r;
}

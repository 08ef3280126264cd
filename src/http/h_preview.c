#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "http/handlers.h"
#include "link/host.h"

/* target is what a redirect would send; the rest is what is stored. */
static void answer_preview(const struct http_request *req,
                           const struct conf *conf, const char *short_id,
                           const char *target, const struct link *link,
                           struct http_response *res)
{
    char created[H_TIME_SIZE], expires[H_TIME_SIZE], left[H_LEFT_SIZE];
    char followed[32] = "once";
    struct buf unicode;
    /* It is normalised (url.h), so it has no user information. */
    const char *host_at = strstr(target, "://") + 3;
    const char *after =
        host_at + strcspn(host_at, *host_at == '[' ? "/?#" : ":/?#");
    char *before = mem_dup_bytes(target, (size_t)(host_at - target));
    char *host = mem_dup_bytes(host_at, (size_t)(after - host_at));
    char *short_url = mem_printf("%s%s", conf->app_url, short_id);
    buf_init(&unicode, URL_MAX);
    host_add_unicode(&unicode, host);
    h_time_text(link->created_at, created);
    h_expiry_texts(link->ttl_note == NULL ? link->ttl : LINK_NEVER, expires,
                   left);
    if (link->hits != 1)
        snprintf(followed, sizeof(followed), "%llu times",
                 (unsigned long long)link->hits);
    const bool plain_http = strncmp(target, "http:", 5) == 0;
    const bool international = strcmp(unicode.data, host) != 0;
    const struct page_value values[] = {
        {"title", short_url},
        {"short_id", short_id},
        {"short_url", short_url},
        {"long_url", target},
        {"url_before", before},
        {"url_host", host},
        {"url_after", after},
        {"host_unicode", international ? unicode.data : NULL},
        {"created", created},
        {"expires", expires},
        {"expires_in", left},
        {"followed", followed},
        {"plain_http", plain_http ? "1" : NULL},
        {NULL, NULL},
    };
    http_page(res, req, 200, "preview.html", values);
    buf_free(&unicode);
    free(short_url);
    free(before);
    free(host);
}

/* Looked up as for a redirect, so that both lead to the same place or refuse
 * for the same reason; the rest of the link is then read from the store. */
void h_preview(struct app *app, const struct http_request *req,
               const char *short_id, struct http_response *res)
{
    struct cache_entry entry;
    struct link link;
    if (!h_find_link(app, req, short_id, "preview", &entry, res))
        return;
    link_init(&link);
    /* First, so that hits that move to the store meanwhile are not missed. */
    const uint64_t pending = hits_pending(app->hits, short_id);
    enum result r =
        store_get(app->store, short_id, STORE_WHOLE, app->deadline, &link);
    link.hits += pending;
    if (!h_refuse_link(app, req, r, &entry, short_id, "preview", res))
        answer_preview(req, app->conf, short_id, entry.url, &link, res);
    link_free(&link);
}

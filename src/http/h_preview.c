#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "http/handlers.h"
#include "link/host.h"
#include "link/url.h"

/* A page about where a link leads, preview.html or warning.html. link: what is
 * stored, or NULL; proceed: the URL that passes a warning, or NULL. */
static void answer_page(const struct http_request *req, const char *page,
                        const char *short_id, const struct cache_entry *entry,
                        const struct link *link, const char *proceed,
                        struct http_response *res)
{
    char created[H_TIME_SIZE] = "", expires[H_TIME_SIZE] = "";
    char left[H_LEFT_SIZE] = "", followed[32] = "once", visits[24] = "";
    const char *target = entry->url;
    struct buf unicode, reason;
    size_t host_len;
    const char *host_at = url_host(target, &host_len);
    const char *after = host_at + host_len;
    char *before = mem_dup_bytes(target, (size_t)(host_at - target));
    char *host = mem_dup_bytes(host_at, host_len);
    char *short_url = mem_printf("%s%s", res->conf->app_url, short_id);
    buf_init(&unicode, URL_MAX);
    buf_init(&reason, 3 * LINK_REASON_MAX);
    host_add_unicode(&unicode, host);
    utf8_add_clean(&reason, cache_reason(entry), entry->reason_len);
    if (link != NULL) {
        h_time_text(link->created_at, created);
        h_expiry_texts(link->ttl_note == NULL ? link->ttl : LINK_NEVER, expires,
                       left);
        if (link->hits != 1)
            snprintf(followed, sizeof(followed), "%llu times",
                     (unsigned long long)link->hits);
        if (link->rules.max_hits > link->hits)
            snprintf(visits, sizeof(visits), "%llu",
                     (unsigned long long)(link->rules.max_hits - link->hits));
    }
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
        {"visits_left", visits},
        {"plain_http", plain_http ? "1" : NULL},
        {"warning", entry->rules.warning ? "1" : NULL},
        {"reason", reason.data},
        {"proceed", proceed},
        {NULL, NULL},
    };
    http_page(res, req, 200, page, values);
    buf_free(&unicode);
    buf_free(&reason);
    free(short_url);
    free(before);
    free(host);
}

void h_warning(const struct http_request *req, const char *short_id,
               const struct cache_entry *link, const char *proceed,
               struct http_response *res)
{
    if (http_wants_page(req))
        answer_page(req, "warning.html", short_id, link, NULL, proceed, res);
    else
        http_problem_with(res, req, 403,
                          "This link has a warning. To follow it, add the "
                          "query 'proceed' to its address.",
                          "reason", cache_reason(link));
}

/* Looked up as for a redirect, so that both lead to the same place or refuse
 * for the same reason; the rest of the link is then read from the store. */
void h_preview(struct app *app, const struct http_request *req,
               const char *short_id, struct http_response *res)
{
    struct cache_entry entry;
    struct link link;
    if (!h_find_link(app, req, short_id, "preview", &entry, res) ||
        h_refuse_visit(req, &entry, res))
        return;
    link_init(&link);
    /* First, so that hits that move to the store meanwhile are not missed. */
    const uint64_t pending = hits_pending(app->hits, short_id);
    enum result r =
        store_get(app->store, short_id, STORE_WHOLE, app->deadline, &link);
    link.hits += pending;
    entry.spent = link.rules.max_hits > 0 && link.hits >= link.rules.max_hits;
    if (!h_refuse_link(app, req, r, &entry, short_id, "preview", res) &&
        !h_refuse_visit(req, &entry, res))
        answer_page(req, "preview.html", short_id, &entry, &link, NULL, res);
    link_free(&link);
}

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "handlers.h"
#include "host.h"
#include "mem.h"

/* The three parts of a URL: what is before the host, the host, the rest. */
struct parts {
    char *before, *host, *after;
};

static char *copy_part(const char *from, const char *to)
{
    return mem_printf("%.*s", (int)(to - from), from);
}

static struct parts divide(const char *url)
{
    const char *host = strstr(url, "://");
    host = host != NULL ? host + 3 : url;
    const char *end = host + strcspn(host, "/?#");
    const char *at = memrchr(host, '@', (size_t)(end - host));
    host = at != NULL ? at + 1 : host;
    return (struct parts){copy_part(url, host), copy_part(host, end),
                          mem_dup(end)};
}

void h_time_text(const char *stored, char text[H_TIME_SIZE])
{
    snprintf(text, H_TIME_SIZE, "%s", stored != NULL ? stored : "");
    char *t = strchr(text, 'T');
    if (t != NULL)
        *t = ' ';
}

static void answer_preview(const struct http_request *req,
                           const struct link *link, struct http_response *res)
{
    char created[H_TIME_SIZE], expires[H_TIME_SIZE], hits[24];
    char ttl[CLOCK_TEXT_SIZE] = "";
    struct buf unicode;
    struct parts url = divide(link->long_url);
    buf_init(&unicode, URL_MAX);
    host_add_unicode(&unicode, url.host);
    if (link->ttl != LINK_NEVER)
        clock_text(link->ttl, ttl);
    h_time_text(ttl, expires);
    h_time_text(link->created_at, created);
    snprintf(hits, sizeof(hits), "%llu", (unsigned long long)link->hits);
    const bool international = strcmp(unicode.data, url.host) != 0;
    const struct page_value values[] = {
        {"short_id", link->short_id},
        {"short_url", link->short_url},
        {"long_url", link->long_url},
        {"url_before", url.before},
        {"url_host", url.host},
        {"url_after", url.after},
        {"host_unicode", international ? unicode.data : NULL},
        {"created", created},
        {"expires", expires},
        {"hits", hits},
        {NULL, NULL},
    };
    http_page(res, req, 200, "preview.html", values);
    buf_free(&unicode);
    free(url.before);
    free(url.host);
    free(url.after);
}

void h_preview(struct app *app, const struct http_request *req,
               const char *short_id, struct http_response *res)
{
    struct link link;
    link_init(&link);
    /* First, so that hits that move to the store meanwhile are not missed. */
    const uint64_t pending = hits_pending(app->hits, short_id);
    const enum result r = store_get(app->store, short_id, STORE_WHOLE, &link);
    link.hits += pending;
    if (!h_refuse_link(app, req, r, link.ttl, clock_now(), "preview", res))
        answer_preview(req, &link, res);
    link_free(&link);
}

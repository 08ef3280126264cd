#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "handlers.h"
#include "host.h"
#include "mem.h"

/* A URL: what is before its host, the host, and the rest with the port. The
 * caller frees each. */
struct parts {
    char *before, *host, *after;
};

/* url is normalised (url.h), so it has no user information. */
static struct parts split_url(const char *url)
{
    const char *host = strstr(url, "://") + 3;
    const char *end = host + strcspn(host, *host == '[' ? "/?#" : ":/?#");
    return (struct parts){mem_dup_bytes(url, (size_t)(host - url)),
                          mem_dup_bytes(host, (size_t)(end - host)),
                          mem_dup(end)};
}

void h_time_text(const char *stored, char text[H_TIME_SIZE])
{
    const bool is_time =
        stored != NULL && strspn(stored, "0123456789-T: ") >= H_TIME_SIZE - 1;
    snprintf(text, H_TIME_SIZE, "%s", is_time ? stored : "");
    char *t = strchr(text, 'T');
    if (t != NULL)
        *t = ' ';
}

void h_time_left(int64_t seconds, char text[H_LEFT_SIZE])
{
    static const int64_t units[] = {86400, 3600, 60};
    static const char *const names[] = {"days", "hours", "minutes"};
    size_t i = 0;
    while (i < 3 && seconds < 2 * units[i])
        i++;
    if (i < 3)
        snprintf(text, H_LEFT_SIZE, "in %lld %s",
                 (long long)((seconds + units[i] / 2) / units[i]), names[i]);
    else
        snprintf(text, H_LEFT_SIZE, "in a moment");
}

/* target is what a redirect would send; the rest is what is stored. */
static void answer_preview(const struct http_request *req,
                           const struct conf *conf, const char *short_id,
                           const char *target, const struct link *link,
                           struct http_response *res)
{
    char created[H_TIME_SIZE], expires[H_TIME_SIZE], left[H_LEFT_SIZE];
    char ttl[CLOCK_TEXT_SIZE] = "", followed[32] = "once";
    struct buf unicode;
    struct parts url = split_url(target);
    char *short_url = mem_printf("%s%s", conf->app_url, short_id);
    buf_init(&unicode, URL_MAX);
    host_add_unicode(&unicode, url.host);
    if (link->ttl != LINK_NEVER && link->ttl_note == NULL)
        clock_text(link->ttl, ttl);
    h_time_text(ttl, expires);
    h_time_text(link->created_at, created);
    h_time_left(link->ttl - clock_now(), left);
    if (link->hits != 1)
        snprintf(followed, sizeof(followed), "%llu times",
                 (unsigned long long)link->hits);
    const bool plain_http = strncmp(target, "http:", 5) == 0;
    const bool international = strcmp(unicode.data, url.host) != 0;
    const struct page_value values[] = {
        {"title", short_url},
        {"short_id", short_id},
        {"short_url", short_url},
        {"long_url", target},
        {"url_before", url.before},
        {"url_host", url.host},
        {"url_after", url.after},
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
    free(url.before);
    free(url.host);
    free(url.after);
}

/* Looked up as for a redirect, so that both lead to the same place or refuse
 * for the same reason; the rest of the link is then read from the store. */
void h_preview(struct app *app, const struct http_request *req,
               const char *short_id, struct http_response *res)
{
    struct lookup lookup = {app->conf, app->store, app->cache};
    struct cache_entry entry;
    struct link link;
    enum result r = lookup_link(&lookup, short_id, &entry);
    if (h_refuse_link(app, req, r, &entry, clock_now(), short_id, "preview",
                      res))
        return;
    link_init(&link);
    /* First, so that hits that move to the store meanwhile are not missed. */
    const uint64_t pending = hits_pending(app->hits, short_id);
    r = store_get(app->store, short_id, STORE_WHOLE, &link);
    link.hits += pending;
    if (!h_refuse_link(app, req, r, &entry, clock_now(), short_id, "preview",
                       res))
        answer_preview(req, app->conf, short_id, entry.url, &link, res);
    link_free(&link);
}

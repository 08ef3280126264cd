#include "base/clock.h"
#include "base/log.h"
#include "http/handlers.h"

/* How long a browser may keep a redirect, in seconds: short, so that a link
 * that is deleted stops working and most visits are counted. */
#define MAX_AGE 90

/* Counted before the answer is sent, so that a worker that dies in between
 * loses no hit. Without room in the journal the hit goes to the store at once.
 * The redirect is sent even if counting fails. */
static void count_hit(struct app *app, const char *short_id)
{
    if (hits_count(app->hits, short_id))
        return;
    enum result r =
        store_add_hits(app->store, short_id, 1, NULL, app->deadline);
    if (r != RESULT_OK)
        log_warning("a hit of %s was not counted (%s): %s", short_id,
                    result_text(r), store_error(app->store));
}

static void answer_redirect(const struct http_request *req,
                            const struct cache_entry *link,
                            struct http_response *res)
{
    int64_t age = link->ttl != LINK_NEVER ? link->ttl - clock_now() : MAX_AGE;
    age = age < 0 ? 0 : age > MAX_AGE ? MAX_AGE : age;
    http_begin(res, req, 301);
    http_field(res, "Location", link->url);
    buf_add_str(&res->head, "Cache-Control: private, max-age=");
    buf_add_num(&res->head, (uint64_t)age);
    buf_add_str(&res->head, "\r\n");
    buf_add_str(&res->body, "<!DOCTYPE html>\n<html lang=\"en\"><head>"
                            "<meta charset=\"utf-8\"><title>Moved</title>"
                            "</head>\n<body><a href=\"");
    page_add_html(&res->body, link->url);
    buf_add_str(&res->body, "\">");
    page_add_html(&res->body, link->url);
    buf_add_str(&res->body, "</a></body></html>\n");
    http_end(res, "text/html; charset=utf-8");
}

void h_redirect(struct app *app, const struct http_request *req,
                const char *short_id, struct http_response *res)
{
    struct cache_entry link;
    if (!h_find_link(app, req, short_id, "redirect", &link, res))
        return;
    answer_redirect(req, &link, res);
    if (req->method == HTTP_GET)
        count_hit(app, short_id);
    log_debug("redirect of %s: %d", short_id, res->status);
}

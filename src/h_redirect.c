#include "clock.h"
#include "handlers.h"
#include "log.h"

/* How long a browser may keep a redirect, in seconds: short, so that a link
 * that is deleted stops working and most visits are counted. */
#define MAX_AGE 90

void h_log_failure(struct app *app, enum result r, const char *what)
{
    log_error("%s: the store failed (%s): %s", what, result_text(r),
              store_error(app->store));
}

/* Counted before the answer is sent, so that a worker that dies in between
 * loses no hit. Without room in the journal the hit goes to the store at once;
 * that this fails is no reason to keep a visitor from where she wants to go. */
static void count_hit(struct app *app, const char *short_id)
{
    if (hits_count(app->hits, short_id))
        return;
    enum result r = store_add_hits(app->store, short_id, 1, NULL);
    if (r != RESULT_OK)
        log_warning("a hit of %s was not counted (%s): %s", short_id,
                    result_text(r), store_error(app->store));
}

static void answer_redirect(const struct http_request *req,
                            const struct cache_entry *link, int64_t now,
                            struct http_response *res)
{
    int64_t age = MAX_AGE;
    if (link->ttl != LINK_NEVER && link->ttl - now < age)
        age = link->ttl - now;
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

bool h_refuse_link(struct app *app, const struct http_request *req,
                   enum result r, const struct cache_entry *link, int64_t now,
                   const char *short_id, const char *what,
                   struct http_response *res)
{
    if (r == RESULT_NOT_FOUND) {
        http_problem(res, req, 404, "There is no such link.");
    } else if (r == RESULT_CORRUPT) {
        http_problem(res, req, 500, "This link is damaged.");
    } else if (r != RESULT_OK) {
        h_log_failure(app, r, what);
        http_problem(res, req, 503, H_STORE_FAILED);
    } else if (link_expired(link->ttl, now)) {
        http_problem(res, req, 410, "This link has expired.");
    } else if (link->url_len == 0) {
        /* It was expired when it was read, and the clock has gone back. */
        log_error("link %s cannot be served: its long_url is invalid",
                  short_id);
        http_problem(res, req, 500, "This link is damaged.");
    } else {
        return false;
    }
    return true;
}

void h_redirect(struct app *app, const struct http_request *req,
                const char *short_id, struct http_response *res)
{
    struct lookup lookup = {app->conf, app->store, app->cache};
    struct cache_entry link;
    const enum result r = lookup_link(&lookup, short_id, &link);
    const int64_t now = clock_now();
    if (h_refuse_link(app, req, r, &link, now, short_id, "redirect", res))
        return;
    answer_redirect(req, &link, now, res);
    if (req->method == HTTP_GET)
        count_hit(app, short_id);
    log_debug("redirect of %s: %d", short_id, res->status);
}

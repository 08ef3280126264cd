#include <string.h>

#include "clock.h"
#include "handlers.h"
#include "log.h"

/* How long a browser may keep a redirect, in seconds: short, so that a link
 * that is deleted stops working and most visits are counted. */
#define MAX_AGE 90

void h_store_failed(struct app *app, const struct http_request *req,
                    enum result r, const char *what, struct http_response *res)
{
    log_error("%s: the store failed (%s): %s", what, result_text(r),
              store_error(app->store));
    http_unavailable(res, req,
                     "The store of links does not answer at the moment. "
                     "Please try again.");
}

/* The hit counts only if the client was sent on, so this comes last; that a
 * count fails is no reason to keep a visitor from where she wants to go. */
static void count_hit(struct app *app, const char *short_id)
{
    enum result r = store_add_hits(app->store, short_id, 1);
    if (r != RESULT_OK)
        log_warning("a hit of %s was not counted (%s): %s", short_id,
                    result_text(r), store_error(app->store));
}

static void answer_redirect(const struct http_request *req,
                            const struct link *link, int64_t now,
                            struct http_response *res)
{
    int64_t age = MAX_AGE;
    if (link->ttl != LINK_NEVER && link->ttl - now < age)
        age = link->ttl - now;
    http_begin(res, req, 301);
    http_field(res, "Location", link->long_url);
    buf_addf(&res->head, "Cache-Control: private, max-age=%d\r\n", (int)age);
    buf_add_str(&res->body, "<!DOCTYPE html>\n<html lang=\"en\"><head>"
                            "<meta charset=\"utf-8\"><title>Moved</title>"
                            "</head>\n<body><a href=\"");
    http_add_html(&res->body, link->long_url);
    buf_add_str(&res->body, "\">");
    http_add_html(&res->body, link->long_url);
    buf_add_str(&res->body, "</a></body></html>\n");
    http_end(res, "text/html; charset=utf-8");
}

/* A link written by another hand, the tutorial's functions for one, may have
 * a long_url that is not normalised yet. False: it cannot be served. */
static bool make_servable(struct link *link)
{
    if (url_is_servable(link->long_url))
        return true;
    struct buf url;
    const char *reason;
    buf_init(&url, URL_MAX);
    bool ok = url_normalise(link->long_url, strlen(link->long_url), &url,
                            &reason) == RESULT_OK;
    if (ok)
        link_set(&link->long_url, url.data);
    else
        log_error("link %s cannot be served: its long_url %s", link->short_id,
                  reason);
    buf_free(&url);
    return ok;
}

void h_redirect(struct app *app, const struct http_request *req,
                const char *short_id, struct http_response *res)
{
    struct link link;
    link_init(&link);
    int64_t now = clock_now();
    enum result r = store_get(app->store, short_id, STORE_TARGET, &link);
    if (r == RESULT_CORRUPT)
        log_error("link %s cannot be served: %s", short_id,
                  store_error(app->store));
    if (r == RESULT_OK && !link_expired(&link, now) && !make_servable(&link))
        r = RESULT_CORRUPT;

    if (r == RESULT_NOT_FOUND) {
        http_problem(res, req, 404, "There is no such link.");
    } else if (r == RESULT_CORRUPT) {
        http_problem(res, req, 500, "This link is damaged.");
    } else if (r != RESULT_OK) {
        h_store_failed(app, req, r, "redirect", res);
    } else if (link_expired(&link, now)) {
        http_problem(res, req, 410, "This link has expired.");
    } else {
        answer_redirect(req, &link, now, res);
        if (req->method == HTTP_GET)
            count_hit(app, short_id);
        log_debug("redirect of %s: %d", short_id, res->status);
    }
    link_free(&link);
}

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/handlers.h"

/* How long a browser may keep a redirect, in seconds: short, so that a link
 * that is deleted stops working and most visits are counted. */
#define MAX_AGE 90

/* The query that passes the page of a warning, before that of the visitor. */
#define PROCEED "proceed"

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

/* Counts a hit of a link with max_hits in the store, before the redirect.
 * False: answered, without a redirect, which could be one too many. */
static bool spend_hit(struct app *app, const struct http_request *req,
                      const char *short_id, struct http_response *res)
{
    const enum result r = lookup_spend_hit(app, short_id);
    if (r == RESULT_CONFLICT) {
        http_problem(res, req, 410, H_SPENT);
    } else if (r != RESULT_OK) {
        h_log_failure(app, r, "redirect");
        http_problem(res, req, 503, H_STORE_FAILED);
    }
    return r == RESULT_OK;
}

/* A redirect that is not permanent is meant to be looked up with each visit.
 * Where each visit counts, or the page of a warning comes before it, the answer
 * is for this one only. */
static void add_cache_control(struct buf *head, int status,
                              const struct cache_entry *link)
{
    int64_t age = link->ttl != LINK_NEVER ? link->ttl - clock_now() : MAX_AGE;
    age = age < 0 ? 0 : age > MAX_AGE ? MAX_AGE : age;
    if (link->rules.max_hits > 0 || link->rules.warning) {
        buf_add_str(head, "Cache-Control: no-store\r\n");
    } else if (status == 302 || status == 307) {
        buf_add_str(head, "Cache-Control: private, no-cache\r\n");
    } else {
        buf_add_str(head, "Cache-Control: private, max-age=");
        buf_add_num(head, (uint64_t)age);
        buf_add_str(head, "\r\n");
    }
}

static void answer_redirect(const struct http_request *req,
                            const struct cache_entry *link, const char *target,
                            struct http_response *res)
{
    static const int statuses[] = {301, 302, 307, 308};
    const uint64_t own = link->rules.redirect_status;
    const int status = own == 301 || own == 302 || own == 307 || own == 308
                           ? (int)own
                           : statuses[res->conf->redirect_status];
    http_begin(res, req, status);
    http_field(res, "Location", target);
    add_cache_control(&res->head, status, link);
    buf_add_str(&res->body, "<!DOCTYPE html>\n<html lang=\"en\"><head>"
                            "<meta charset=\"utf-8\"><title>Moved</title>"
                            "</head>\n<body><a href=\"");
    page_add_html(&res->body, target);
    buf_add_str(&res->body, "\">");
    page_add_html(&res->body, target);
    buf_add_str(&res->body, "</a></body></html>\n");
    http_end(res, "text/html; charset=utf-8");
}

/* Whether a request passes the page of a warning: its query begins with
 * "proceed", which is taken off. A browser must come from that page, or a link
 * of somewhere else could skip it; browsers send Sec-Fetch-Site over https, and
 * programs do not have it. */
static bool take_proceed(const struct http_request *req, const char **query,
                         size_t *len)
{
    const size_t n = sizeof(PROCEED) - 1;
    if (*len < n || memcmp(*query, PROCEED, n) != 0 ||
        (*len > n && (*query)[n] != '&'))
        return false;
    *query += n + (*len > n);
    *len -= n + (*len > n);
    return req->sec_fetch_site == NULL ||
           strcmp(req->sec_fetch_site, "same-origin") == 0;
}

/* A redirect of a link with rules that change it. target is empty, with room
 * for URL_MAX bytes. */
static void follow_rules(struct app *app, const struct http_request *req,
                         const char *short_id, const struct cache_entry *link,
                         struct buf *target, struct http_response *res)
{
    const char *query = req->query;
    size_t len = req->query_len;
    const bool passes = link->rules.warning && take_proceed(req, &query, &len);
    if (!link->rules.forward_query)
        len = 0;
    if (link->rules.warning && !passes) {
        buf_add_str(target, "?" PROCEED);
        if (len > 0)
            h_add_query(target, query, len);
        h_warning(req, short_id, link, target->data, res);
        return;
    }
    buf_add(target, link->url, link->url_len);
    if (len > 0)
        h_add_query(target, query, len);
    if (buf_failed(target))
        http_problem(res, req, 414,
                     "The query is too long to be added to the long URL.");
    else if (link->rules.max_hits == 0 || req->method == HTTP_HEAD ||
             spend_hit(app, req, short_id, res))
        answer_redirect(req, link, target->data, res);
}

void h_redirect(struct app *app, const struct http_request *req,
                const char *short_id, struct http_response *res)
{
    struct cache_entry link;
    struct buf target;
    if (!h_find_link(app, req, short_id, "redirect", &link, res) ||
        h_refuse_visit(req, &link, res))
        return;
    const struct link_rules *rules = &link.rules;
    if (rules->forward_query || rules->warning || rules->max_hits > 0) {
        buf_init(&target, URL_MAX);
        follow_rules(app, req, short_id, &link, &target, res);
        buf_free(&target);
    } else {
        answer_redirect(req, &link, link.url, res);
    }
    if (req->method == HTTP_GET && rules->max_hits == 0 &&
        res->status / 100 == 3)
        count_hit(app, short_id);
    log_debug("redirect of %s: %d", short_id, res->status);
}

#include "http/handlers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/percent.h"
#include "http/admit.h"

void h_log_failure(struct app *app, enum result r, const char *what)
{
    log_error("%s: the store failed (%s): %s", what, result_text(r),
              store_error(app->store));
}

bool h_refuse_link(struct app *app, const struct http_request *req,
                   enum result r, const struct cache_entry *link,
                   const char *short_id, const char *what,
                   struct http_response *res)
{
    if (r == RESULT_NOT_FOUND) {
        http_problem(res, req, 404, "There is no such link.");
    } else if (r == RESULT_CORRUPT) {
        http_problem(res, req, 500, "This link cannot be served.");
    } else if (r != RESULT_OK) {
        h_log_failure(app, r, what);
        http_problem(res, req, 503, H_STORE_FAILED);
    } else if (link_expired(link->ttl, clock_now())) {
        http_problem(res, req, 410, "This link has expired.");
    } else if (link->rules.disabled) {
        http_problem_with(res, req, 410, "This link has been disabled.",
                          "reason", cache_reason(link));
    } else if (link->url_len == 0) {
        /* It was expired when it was read, and the clock has gone back. */
        log_error("link %s cannot be served: its long_url is invalid",
                  short_id);
        http_problem(res, req, 500, "This link cannot be served.");
    } else {
        return false;
    }
    return true;
}

bool h_find_link(struct app *app, const struct http_request *req,
                 const char *short_id, const char *what,
                 struct cache_entry *link, struct http_response *res)
{
    const char *client = req->remote_addr != NULL ? req->remote_addr : "";
    app->client = client;
    enum result r = lookup_entry(app, short_id, link);
    app->client = NULL;
    if (r == RESULT_NOT_FOUND &&
        !limits_take(app->limits, LIMITS_UNKNOWN, client,
                     app->conf->unknown_limit, 1, &app->met.states[0]))
        r = RESULT_LIMITED;
    if (r == RESULT_LIMITED) {
        char detail[ADMIT_DETAIL_SIZE];
        app->met.count = 1;
        http_problem(res, req, 429, admit_limits_detail(&app->met, detail));
        admit_add_limits(res, &app->met);
        return false;
    }
    return !h_refuse_link(app, req, r, link, short_id, what, res);
}

bool h_refuse_visit(const struct http_request *req,
                    const struct cache_entry *link, struct http_response *res)
{
    char at[CLOCK_TEXT_SIZE], text[CLOCK_TEXT_SIZE + 1];
    const int64_t begin = (int64_t)link->rules.not_before;
    if (begin > 0 && begin > clock_now()) {
        clock_text(begin, at);
        snprintf(text, sizeof(text), "%sZ", at);
        http_problem_with(res, req, 404, "This link is not active yet.",
                          "not_before", text);
        return true;
    }
    if (link->spent)
        http_problem(res, req, 410, H_SPENT);
    return link->spent;
}

void h_add_query(struct buf *out, const char *query, size_t len)
{
    const size_t end = strcspn(out->data, "#");
    char *fragment = mem_dup(out->data + end);
    const bool has_query = memchr(out->data, '?', end) != NULL;
    buf_truncate(out, end);
    buf_add_char(out, has_query ? '&' : '?');
    for (size_t i = 0; i < len; i++)
        percent_encode(out, query + i, 1,
                       query[i] != '%' || percent_is_encoded(query + i, len - i)
                           ? "!$&'()*+,;=:@/?%"
                           : "");
    buf_add_str(out, fragment);
    free(fragment);
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

void h_expiry_texts(int64_t ttl, char expires[H_TIME_SIZE],
                    char left[H_LEFT_SIZE])
{
    char text[CLOCK_TEXT_SIZE] = "";
    if (ttl != LINK_NEVER)
        clock_text(ttl, text);
    h_time_text(text, expires);
    h_time_left(ttl - clock_now(), left);
}

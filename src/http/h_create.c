#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/utf8.h"
#include "http/admit.h"
#include "http/body.h"
#include "http/handlers.h"
#include "http/limited.h"
#include "service/create.h"

static void answer_link_page(const struct http_request *req,
                             const struct link *link, struct http_response *res)
{
    char expires[H_TIME_SIZE], left[H_LEFT_SIZE];
    h_expiry_texts(link->ttl, expires, left);
    const struct page_value values[] = {
        {"short_id", link->short_id},
        {"short_url", link->short_url},
        {"target", link->long_url},
        {"expires", expires},
        {"expires_in", left},
        {"title", link->short_url},
        {NULL, NULL},
    };
    http_page(res, req, 200, "home.html", values);
}

static void answer_link(const struct http_request *req, const struct link *link,
                        struct http_response *res)
{
    if (http_wants_page(req)) {
        answer_link_page(req, link, res);
        return;
    }
    const int json = http_accept_quality(req->accept, "application/json");
    http_begin(res, req, 200);
    http_field(res, "Cache-Control", "no-store");
    http_vary(res);
    if (json > 0 && json >= http_accept_quality(req->accept, "text/plain")) {
        link_to_json(link, false, &res->body);
        http_end(res, "application/json");
    } else {
        buf_add_str(&res->body, link->short_url);
        http_end(res, "text/plain; charset=utf-8");
    }
}

/* What was wrong with the request. A browser gets the form again, with detail
 * beside its field and long_url in it (or NULL), where that is text and not far
 * too long. */
static void refuse_create(const struct app *app, const struct http_request *req,
                          int status, const char *detail, const char *long_url,
                          struct http_response *res)
{
    const size_t len = long_url != NULL ? strlen(long_url) : 0;
    const bool keep = len <= 2 * URL_MAX && utf8_ok(long_url, len);
    const struct page_value values[] = {
        {"error", detail}, {"long_url", keep ? long_url : NULL}, {NULL, NULL}};
    if (http_wants_page(req) && strcmp(app->conf->home, "page") == 0)
        http_page(res, req, status, "home.html", values);
    else
        http_problem(res, req, status, detail);
}

static void answer_long_url(struct app *app, const struct http_request *req,
                            const struct buf *long_url, const char *key,
                            struct http_response *res)
{
    const struct link_client client = {
        .user_agent = req->user_agent,
        .source_ip = req->remote_addr,
        .xray_trace_id = req->trace_id,
        .key = key,
    };
    const char *reason = "";
    char detail[256];
    struct link link;
    link_init(&link);
    enum result r =
        create_link(app->conf, app->store, long_url->data, long_url->len,
                    &client, app->deadline, &link, &reason);
    if (r == RESULT_OK) {
        cache_forget_missing(app->cache, link.short_id);
        answer_link(req, &link, res);
        log_info("link %s created", link.short_id);
    } else if (r == RESULT_INVALID) {
        snprintf(detail, sizeof(detail), "The long_url %s.", reason);
        refuse_create(app, req, 400, detail, long_url->data, res);
    } else if (r == RESULT_CONFLICT) {
        refuse_create(app, req, 503,
                      "No free short id was found. Please try again.",
                      long_url->data, res);
    } else {
        h_log_failure(app, r, "create");
        refuse_create(app, req, 503, H_STORE_FAILED, long_url->data, res);
    }
    link_free(&link);
}

static void answer_no_body(const struct app *app,
                           const struct http_request *req,
                           struct http_response *res)
{
    const int status = req->body_fault;
    char detail[128];
    if (status == 413) {
        snprintf(detail, sizeof(detail), "The body is larger than %llu bytes.",
                 (unsigned long long)app->conf->max_body);
        refuse_create(app, req, status, detail, NULL, res);
        return;
    }
    http_problem(res, req, status,
                 status == 503   ? "Too many requests are still arriving. "
                                   "Please try again."
                 : status == 408 ? "The body did not arrive in time."
                                 : "The body ended early.");
}

static void create_links(struct app *app, const struct http_request *req,
                         const struct access_identity *who,
                         struct http_response *res)
{
    if (req->body_fault != 0) {
        answer_no_body(app, req, res);
        return;
    }
    struct buf long_url;
    const char *detail = "";
    buf_init(&long_url, req->body_len);
    const int status = body_read(req, &long_url, &detail);
    if (status == 0 && admit_take(app, req, who, 1, res)) {
        answer_long_url(app, req, &long_url,
                        who->name[0] != '\0' ? who->name : NULL, res);
        limited_fields(res, &app->met);
    } else if (status != 0) {
        refuse_create(app, req, status, detail, NULL, res);
    }
    buf_free(&long_url);
}

void h_create(struct app *app, const struct http_request *req,
              struct http_response *res)
{
    struct access_identity who;
    if (admit_create(app, req, &who, res))
        create_links(app, req, &who, res);
    admit_add_cors(app->conf, req, res);
}

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "http/admit.h"
#include "http/body.h"
#include "http/handlers.h"
#include "service/create.h"

/* Room for a detail: the longest reason of create.c, and its member. */
#define H_DETAIL_SIZE 256

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

/* The status of the answer for a link, and its detail where that is not 200. */
static int create_outcome(const struct create_request *r, char *detail,
                          size_t size)
{
    if (r->result == RESULT_OK)
        return 200;
    if (r->reason != NULL) {
        snprintf(detail, size, "The %s %s.", r->member, r->reason);
        return r->result == RESULT_INVALID          ? 400
               : strcmp(r->member, "short_id") == 0 ? 409
                                                    : 422;
    }
    snprintf(detail, size, "%s",
             r->result == RESULT_CONFLICT
                 ? "No free short id was found. Please try again."
                 : H_STORE_FAILED);
    return 503;
}

static void answer_one(const struct app *app, const struct http_request *req,
                       const struct create_request *r,
                       struct http_response *res)
{
    char detail[H_DETAIL_SIZE];
    const int status = create_outcome(r, detail, sizeof(detail));
    if (status == 200)
        answer_link(req, &r->link, res);
    else
        refuse_create(app, req, status, detail, r->url, res);
}

/* An array of {"status":200,"link":{...}} and {"status":400,"title":"...",
 * "detail":"..."}. */
static void answer_many(const struct http_request *req,
                        const struct create_request *requests, size_t count,
                        struct http_response *res)
{
    char detail[H_DETAIL_SIZE];
    /* A byte that came is six at most, and a link has less than a kilobyte of
     * its own. */
    res->body.max = HTTP_BODY_MAX + 6 * req->body_len + 1024 * count;
    http_begin(res, req, 200);
    http_field(res, "Cache-Control", "no-store");
    http_field(res, "Vary", "Accept, Accept-Language"); /* as one link has it */
    for (size_t i = 0; i < count; i++) {
        const int status = create_outcome(&requests[i], detail, sizeof(detail));
        json_object *fault = json_object_new_object();
        buf_add_str(&res->body, i > 0 ? "," : "[");
        if (status == 200) {
            buf_add_str(&res->body, "{\"status\":200,\"link\":");
            link_to_json(&requests[i].link, false, &res->body);
            buf_add_char(&res->body, '}');
        } else {
            json_object_object_add(fault, "status",
                                   json_object_new_int(status));
            json_add_text(fault, "title", http_reason(status));
            json_add_text(fault, "detail", detail);
            utf8_add_json(&res->body, json_text(fault));
        }
        json_object_put(fault);
    }
    buf_add_char(&res->body, ']');
    http_end(res, "application/json");
}

/* Creates the links; members is an object, or an array of count. */
static void answer_members(struct app *app, const struct http_request *req,
                           const struct access_identity *who,
                           json_object *members, bool is_array, size_t count,
                           struct http_response *res)
{
    const struct create_context context = {
        .conf = app->conf,
        .store = app->store,
        .hosts = app->hosts,
        .deadline = app->deadline,
        .client = {.user_agent = req->user_agent,
                   .source_ip = req->remote_addr,
                   .xray_trace_id = req->trace_id},
        .key = who->name[0] != '\0' ? who->name : NULL,
        .idempotency_key = req->idempotency_key,
        .body = req->body,
        .body_len = req->body_len,
    };
    struct create_request *requests = mem_zalloc(count * sizeof(*requests));
    for (size_t i = 0; i < count; i++) {
        link_init(&requests[i].link);
        create_read(is_array ? json_object_array_get_idx(members, i) : members,
                    &requests[i]);
    }
    create_links(&context, requests, count);
    enum result failure = RESULT_OK; /* of the store; logged once */
    for (size_t i = 0; i < count; i++) {
        const struct create_request *r = &requests[i];
        if (r->result == RESULT_OK && !r->existed) {
            cache_forget_missing(app->cache, r->link.short_id);
            log_info("link %s created", r->link.short_id);
        } else if (r->result != RESULT_OK && r->result != RESULT_CONFLICT &&
                   r->reason == NULL) {
            failure = r->result;
        }
    }
    if (failure != RESULT_OK)
        h_log_failure(app, failure, "create");
    if (is_array)
        answer_many(req, requests, count, res);
    else
        answer_one(app, req, requests, res);
    for (size_t i = 0; i < count; i++)
        link_free(&requests[i].link);
    free(requests);
}

/* The detail for an Idempotency-Key that cannot be used; NULL: it can. */
static const char *key_fault(const char *key, bool is_array)
{
    if (key == NULL)
        return NULL;
    const size_t len = strlen(key);
    bool ok = len > 0 && len <= CREATE_KEY_MAX;
    for (size_t i = 0; ok && i < len; i++)
        ok = key[i] >= ' ' && key[i] <= '~';
    return !ok ? "The Idempotency-Key must be 1 to 255 printable ASCII "
                 "characters."
           : is_array
               ? "An Idempotency-Key is for one link. Send the links one "
                 "by one, or without the key."
               : NULL;
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

static void answer_create(struct app *app, const struct http_request *req,
                          const struct access_identity *who,
                          struct http_response *res)
{
    char detail[BODY_DETAIL_SIZE];
    json_object *members = NULL;
    if (req->body_fault != 0) {
        answer_no_body(app, req, res);
        return;
    }
    const int status = body_read(req, &members, detail);
    if (status != 0) {
        refuse_create(app, req, status, detail, NULL, res);
        return;
    }
    const bool is_array = json_object_is_type(members, json_type_array);
    const size_t count = is_array ? json_object_array_length(members) : 1;
    const char *fault = key_fault(req->idempotency_key, is_array);
    if (fault != NULL) {
        refuse_create(app, req, 400, fault, NULL, res);
    } else if (admit_take(app, req, who, count, res)) {
        answer_members(app, req, who, members, is_array, count, res);
        admit_add_limits(res, &app->met);
    }
    json_object_put(members);
}

void h_create(struct app *app, const struct http_request *req,
              struct http_response *res)
{
    struct access_identity who;
    if (admit_create(app, req, &who, res))
        answer_create(app, req, &who, res);
    admit_add_cors(app->conf, req, res);
}

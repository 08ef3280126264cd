#include "http.h"

#include <json.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "utf8.h"

#define DETAIL_MAX   4096
#define INSTANCE_MAX 1024

void http_response_init(struct http_response *res)
{
    res->status = 500;
    buf_init(&res->head, HTTP_HEAD_MAX);
    buf_init(&res->body, HTTP_BODY_MAX);
}

void http_response_free(struct http_response *res)
{
    buf_free(&res->head);
    buf_free(&res->body);
}

void http_begin(struct http_response *res, const struct http_request *req,
                int status)
{
    res->status = status;
    buf_reset(&res->head);
    buf_reset(&res->body);
    http_field(res, "X-Amzn-Trace-Id", req->trace_id);
}

void http_field(struct http_response *res, const char *name, const char *value)
{
    buf_add_str(&res->head, name);
    buf_add(&res->head, ": ", 2);
    buf_add_str(&res->head, value);
    buf_add(&res->head, "\r\n", 2);
}

void http_end(struct http_response *res, const char *content_type)
{
    http_field(res, "Content-Type", content_type);
    buf_add_str(&res->head, "Content-Length: ");
    buf_add_num(&res->head, res->body.len);
    buf_add(&res->head, "\r\n", 2);
}

const char *http_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {200, "OK"},
        {301, "Moved Permanently"},
        {400, "Bad Request"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {410, "Gone"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {500, "Internal Server Error"},
        {503, "Service Unavailable"},
    };
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "";
}

static size_t skip_space(const char *s)
{
    return strspn(s, " \t");
}

/* The value of "q=0.5" in thousandths; anything odd counts as 1. */
static int read_quality(const char *s, size_t len)
{
    if (len == 0 || (s[0] != '0' && s[0] != '1'))
        return 1000;
    int value = (s[0] - '0') * 1000;
    int scale = 100;
    for (size_t i = 2; i < len && s[1] == '.' && scale > 0; i++, scale /= 10) {
        if (s[i] < '0' || s[i] > '9')
            break;
        value += (s[i] - '0') * scale;
    }
    return value < 1000 ? value : 1000;
}

/* The q parameter of a media range without its type: ";a=b;q=0.5". */
static int find_quality(const char *s, size_t len)
{
    const char *end = s + len;
    while (s < end && *s == ';') {
        s++;
        s += skip_space(s);
        size_t n = strcspn(s, ";,");
        if (n >= 2 && (*s | 0x20) == 'q' && s[1] == '=')
            return read_quality(s + 2, n - 2);
        s += n;
    }
    return 1000;
}

int http_accept_quality(const char *accept, const char *type)
{
    size_t type_len = strlen(type);
    while (accept != NULL && *accept != '\0') {
        accept += skip_space(accept);
        size_t len = strcspn(accept, ",");
        size_t name = strcspn(accept, ";, \t");
        if (name == type_len && strncasecmp(accept, type, name) == 0) {
            size_t gap = name + skip_space(accept + name);
            return find_quality(accept + gap, len > gap ? len - gap : 0);
        }
        accept += len;
        accept += *accept == ',';
    }
    return -1;
}

bool http_type_is(const char *content_type, const char *type)
{
    content_type += skip_space(content_type);
    size_t len = strcspn(content_type, ";, \t");
    return len == strlen(type) && strncasecmp(content_type, type, len) == 0;
}

static const char *html_entity(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    default:
        return "&#39;";
    }
}

void http_add_html(struct buf *out, const char *s)
{
    for (;;) {
        size_t plain = strcspn(s, "&<>\"'");
        buf_add(out, s, plain);
        s += plain;
        if (*s == '\0')
            return;
        buf_add_str(out, html_entity(*s++));
    }
}

static bool wants_html(const char *accept)
{
    int html = http_accept_quality(accept, "text/html");
    return html > 0 &&
           html >= http_accept_quality(accept, "application/problem+json") &&
           html >= http_accept_quality(accept, "application/json");
}

static void add_problem_page(struct http_response *res, const char *trace_id,
                             const char *detail)
{
    struct buf *body = &res->body;
    buf_addf(body,
             "<!DOCTYPE html>\n<html lang=\"en\"><head>"
             "<meta charset=\"utf-8\">"
             "<meta name=\"viewport\" content=\"width=device-width\">"
             "<title>%d %s</title></head>\n<body><h1>%s</h1>\n<p>",
             res->status, http_reason(res->status), http_reason(res->status));
    http_add_html(body, detail);
    buf_add_str(body, "</p>\n<p><small>");
    http_add_html(body, trace_id);
    buf_add_str(body, "</small></p></body></html>\n");
    http_end(res, "text/html; charset=utf-8");
}

/* The URI of the request, so that a 404 shows what a proxy made of the path.
 * Only a URI reference (RFC 9457, section 3.1.5) of some length. */
static void add_instance(json_object *problem, const char *uri)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
        "-._~:/?#[]@!$&'()*+,;=%";
    const size_t len = uri != NULL ? strspn(uri, allowed) : 0;
    if (len > 0 && len <= INSTANCE_MAX && uri[len] == '\0')
        json_object_object_add(problem, "instance",
                               json_object_new_string(uri));
}

static void add_problem_json(struct http_response *res,
                             const struct http_request *req, const char *detail)
{
    json_object *problem = json_object_new_object();
    json_object_object_add(problem, "title",
                           json_object_new_string(http_reason(res->status)));
    json_object_object_add(problem, "status", json_object_new_int(res->status));
    json_object_object_add(problem, "detail", json_object_new_string(detail));
    json_object_object_add(problem, "trace_id",
                           json_object_new_string(req->trace_id));
    if (res->status == 404)
        add_instance(problem, req->uri);
    buf_add_str(&res->body, json_object_to_json_string_ext(
                                problem, JSON_C_TO_STRING_PLAIN |
                                             JSON_C_TO_STRING_NOSLASHESCAPE));
    buf_add_char(&res->body, '\n');
    json_object_put(problem);
    http_end(res, "application/problem+json");
}

void http_problem(struct http_response *res, const struct http_request *req,
                  int status, const char *detail)
{
    struct buf clean;
    buf_init(&clean, DETAIL_MAX);
    utf8_add_clean(&clean, detail, strnlen(detail, DETAIL_MAX / 3));
    http_begin(res, req, status);
    http_field(res, "Cache-Control", "no-store");
    http_field(res, "Vary", "Accept");
    if (wants_html(req->accept))
        add_problem_page(res, req->trace_id, clean.data);
    else
        add_problem_json(res, req, clean.data);
    buf_free(&clean);
}

void http_unavailable(struct http_response *res, const struct http_request *req,
                      const char *detail)
{
    http_problem(res, req, 503, detail);
    http_field(res, "Retry-After", "2");
}

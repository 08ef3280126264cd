#include "http/http.h"

#include <ctype.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/text.h"
#include "base/utf8.h"

#define DETAIL_MAX   4096
#define INSTANCE_MAX 1024
#define BLANKS       " \t"

void http_response_init(struct http_response *res, const struct conf *conf)
{
    res->conf = conf;
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
    if (status == 503)
        http_field(res, "Retry-After", "2");
}

void http_field(struct http_response *res, const char *name, const char *value)
{
    buf_add_str(&res->head, name);
    buf_add(&res->head, ": ", 2);
    buf_add_str(&res->head, value);
    buf_add(&res->head, "\r\n", 2);
}

void http_vary(struct http_response *res)
{
    http_field(res, "Vary",
               res->conf->cors_origins != NULL
                   ? "Accept, Accept-Language, Origin"
                   : "Accept, Accept-Language");
}

void http_end(struct http_response *res, const char *content_type)
{
    http_field(res, "Content-Type", content_type);
    buf_add_str(&res->head, "Content-Length: ");
    buf_add_num(&res->head, res->body.len);
    buf_add(&res->head, "\r\n", 2);
}

/* Whether a field's list of entity tags has this one, compared weakly. */
static bool has_etag(const char *list, const char *etag)
{
    while (list != NULL && *list != '\0') {
        list += strspn(list, ", \t");
        if (*list == '*')
            return true;
        list += strncmp(list, "W/", 2) == 0 ? 2 : 0;
        const size_t len = strcspn(list, ", \t");
        if (len == strlen(etag) && memcmp(list, etag, len) == 0)
            return true;
        list += len;
    }
    return false;
}

bool http_begin_cached(struct http_response *res,
                       const struct http_request *req, const char *etag,
                       const char *cache_control)
{
    const bool known = has_etag(req->if_none_match, etag);
    http_begin(res, req, known ? 304 : 200);
    http_field(res, "Cache-Control", cache_control);
    http_field(res, "ETag", etag);
    http_field(res, "X-Content-Type-Options", "nosniff");
    return !known;
}

const char *http_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {200, "OK"},
        {204, "No Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {422, "Unprocessable Content"},
        {429, "Too Many Requests"},
        {500, "Internal Server Error"},
        {503, "Service Unavailable"},
    };
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "";
}

/* The q parameter of a media range without its type, ";a=b;q=0.5", in
 * thousandths; anything odd counts as 1. */
static int find_quality(const char *s, size_t len)
{
    const char *end = s + len;
    while (s < end && *s == ';') {
        s++;
        s += strspn(s, BLANKS);
        const size_t n = strcspn(s, ";,");
        if (n < 2 || (*s | 0x20) != 'q' || s[1] != '=') {
            s += n;
            continue;
        }
        if (n == 2 || s[2] != '0')
            return 1000;
        int value = 0, scale = 100;
        for (size_t i = 4; s[3] == '.' && i < n && isdigit((unsigned char)s[i]);
             i++, scale /= 10)
            value += (s[i] - '0') * scale;
        return value;
    }
    return 1000;
}

/* The next item of Accept or Accept-Language, or NULL: *len bytes of a type or
 * language without its parameters. *list moves on, and may be NULL. */
static const char *next_item(const char **list, size_t *len, int *quality)
{
    if (*list == NULL || **list == '\0')
        return NULL;
    const char *item = *list + strspn(*list, BLANKS);
    const size_t whole = strcspn(item, ",");
    *len = strcspn(item, ";, \t");
    const size_t gap = *len + strspn(item + *len, BLANKS);
    *quality = find_quality(item + gap, whole > gap ? whole - gap : 0);
    *list = item + whole + (item[whole] == ',');
    return item;
}

int http_accept_quality(const char *accept, const char *type)
{
    const char *item;
    size_t len;
    int quality;
    while ((item = next_item(&accept, &len, &quality)) != NULL)
        if (len == strlen(type) && strncasecmp(item, type, len) == 0)
            return quality;
    return -1;
}

bool http_type_is(const char *content_type, const char *type)
{
    content_type += strspn(content_type, BLANKS);
    size_t len = strcspn(content_type, ";, \t");
    return len == strlen(type) && strncasecmp(content_type, type, len) == 0;
}

bool http_wants_page(const struct http_request *req)
{
    static const char *const others[] = {"application/problem+json",
                                         "application/json", "text/plain"};
    const int html = http_accept_quality(req->accept, "text/html");
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (http_accept_quality(req->accept, others[i]) > html)
            return false;
    return html > 0;
}

/* The language of src/http/pages/messages.txt that Accept-Language (RFC 9110,
 * section 12.5.4) prefers; "de-AT" is "de". */
static void choose_language(const char *accept, char out[PAGE_LANGUAGE_SIZE])
{
    char name[PAGE_LANGUAGE_SIZE];
    const char *item;
    size_t len;
    int quality, best = 0;
    page_language(0, out);
    while ((item = next_item(&accept, &len, &quality)) != NULL) {
        const size_t tag = strcspn(item, "-;, \t");
        for (size_t i = 0; quality > best && page_language(i, name); i++) {
            if (strlen(name) == tag && strncasecmp(item, name, tag) == 0) {
                memcpy(out, name, sizeof(name));
                best = quality;
            }
        }
    }
}

void http_page(struct http_response *res, const struct http_request *req,
               int status, const char *name, const struct page_value *values)
{
    char language[PAGE_LANGUAGE_SIZE];
    choose_language(req->accept_language, language);
    http_begin(res, req, status);
    http_field(res, "Cache-Control", "no-store");
    http_vary(res);
    http_field(res, "Content-Language", language);
    http_field(res, "Content-Security-Policy",
               "default-src 'none'; script-src 'self'; style-src 'self'; "
               "img-src 'self'; connect-src 'self'; form-action 'self'; "
               "base-uri 'none'; frame-ancestors 'none'");
    http_field(res, "X-Content-Type-Options", "nosniff");
    /* Not "no-referrer": the form's Origin would be "null" with it. */
    http_field(res, "Referrer-Policy", "same-origin");
    page_render(&res->body, res->conf, language, name, values);
    http_end(res, "text/html; charset=utf-8");
}

static void answer_problem_json(struct http_response *res,
                                const struct http_request *req, int status,
                                const char *detail, const char *name,
                                const char *text)
{
    /* What a URI reference (RFC 9457, section 3.1.5) may consist of. */
    static const char allowed[] = TEXT_ALNUM "-._~:/?#[]@!$&'()*+,;=%";
    json_object *problem = json_object_new_object();
    json_add_text(problem, "title", http_reason(status));
    json_object_object_add(problem, "status", json_object_new_int(status));
    json_add_text(problem, "detail", detail);
    json_add_text(problem, "trace_id", req->trace_id);
    if (text[0] != '\0')
        json_add_text(problem, name, text);
    if (status == 404 && req->uri != NULL) {
        /* It shows what a proxy made of the path. */
        const size_t len = strspn(req->uri, allowed);
        if (len > 0 && len <= INSTANCE_MAX && req->uri[len] == '\0')
            json_add_text(problem, "instance", req->uri);
    }
    http_begin(res, req, status);
    http_field(res, "Cache-Control", "no-store");
    http_vary(res);
    buf_add_str(&res->body, json_text(problem));
    buf_add_char(&res->body, '\n');
    json_object_put(problem);
    http_end(res, "application/problem+json");
}

void http_problem(struct http_response *res, const struct http_request *req,
                  int status, const char *detail)
{
    http_problem_with(res, req, status, detail, "reason", "");
}

void http_problem_with(struct http_response *res,
                       const struct http_request *req, int status,
                       const char *detail, const char *name, const char *text)
{
    char number[12], section[16];
    struct buf clean, more;
    buf_init(&clean, DETAIL_MAX);
    buf_init(&more, DETAIL_MAX);
    utf8_add_clean(&clean, detail, strnlen(detail, DETAIL_MAX / 3));
    utf8_add_clean(&more, text, strnlen(text, DETAIL_MAX / 3));
    snprintf(number, sizeof(number), "%d", status);
    snprintf(section, sizeof(section), "is_%d", status);
    const struct page_value values[] = {
        {"status", number},
        {"title", clean.data},
        {section, number},
        {name, more.data},
        /* The log has nothing about other refusals. */
        {"trace_id", status >= 500 ? req->trace_id : NULL},
        {NULL, NULL},
    };
    if (http_wants_page(req))
        http_page(res, req, status, "error.html", values);
    else
        answer_problem_json(res, req, status, clean.data, name, more.data);
    buf_free(&clean);
    buf_free(&more);
}

#include "body.h"

#include <json.h>
#include <string.h>

#include "json_text.h"
#include "query.h"

#define MEMBER "long_url"

static enum body_result bad(const char **detail, const char *text)
{
    *detail = text;
    return BODY_BAD;
}

/* Parses the whole text as one JSON value; NULL if it is none. */
static json_object *parse_json(const char *text, size_t len)
{
    if (!json_text_ok(text, len))
        return NULL;
    struct json_tokener *tokener = json_tokener_new();
    json_tokener_set_flags(tokener,
                           JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    /* With its NUL, which tells the tokener that a number has ended. */
    json_object *value = json_tokener_parse_ex(tokener, text, (int)len + 1);
    if (json_tokener_get_error(tokener) != json_tokener_success ||
        json_tokener_get_parse_end(tokener) < len) {
        json_object_put(value);
        value = NULL;
    }
    json_tokener_free(tokener);
    return value;
}

static enum body_result read_json(const struct http_request *req,
                                  struct buf *long_url, const char **detail)
{
    json_object *root = parse_json(req->body, req->body_len);
    json_object *member = NULL;
    enum body_result r = BODY_OK;
    if (root == NULL)
        r = bad(detail, "The body is not valid JSON.");
    else if (!json_object_is_type(root, json_type_object))
        r = bad(detail, "The body must be a JSON object with a member "
                        "long_url.");
    else if (!json_object_object_get_ex(root, MEMBER, &member))
        r = bad(detail, "The member long_url is missing.");
    else if (!json_object_is_type(member, json_type_string))
        r = bad(detail, "The member long_url must be a string.");
    else
        buf_add(long_url, json_object_get_string(member),
                (size_t)json_object_get_string_len(member));
    json_object_put(root);
    return r;
}

static enum body_result read_form(const struct http_request *req,
                                  struct buf *long_url, const char **detail)
{
    const char *s = req->body;
    size_t len = req->body_len;
    size_t found = 0;
    struct query_pair pair;
    struct buf name;
    buf_init(&name, req->body_len);
    while (query_next(&s, &len, &pair)) {
        buf_reset(&name);
        query_form_decode(&name, pair.name, pair.name_len);
        if (name.len == strlen(MEMBER) && strcmp(name.data, MEMBER) == 0 &&
            found++ == 0)
            query_form_decode(long_url, pair.value, pair.value_len);
    }
    buf_free(&name);
    if (found == 0)
        return bad(detail, "The field long_url is missing.");
    if (found > 1)
        return bad(detail, "The field long_url is there more than once.");
    return BODY_OK;
}

static bool is_json_type(const char *type)
{
    size_t len = strcspn(type, "; \t");
    return http_type_is(type, "application/json") ||
           (len > 5 && strncasecmp(type + len - 5, "+json", 5) == 0);
}

enum body_result body_read(const struct http_request *req, struct buf *long_url,
                           const char **detail)
{
    const char *type = req->content_type;
    if (type != NULL && type[strspn(type, " \t")] == '\0')
        type = NULL;
    bool json = type != NULL && is_json_type(type);
    bool form =
        type != NULL && http_type_is(type, "application/x-www-form-urlencoded");
    bool untyped = type == NULL || http_type_is(type, "text/plain");
    bool brace = req->body[strspn(req->body, " \t\r\n")] == '{';

    if (json || (brace && (form || untyped)))
        return read_json(req, long_url, detail);
    if (form)
        return read_form(req, long_url, detail);
    if (req->body_len == 0 && type == NULL)
        return bad(detail, "The body is empty; it must be JSON with a member "
                           "long_url, or a form.");
    if (type == NULL)
        return bad(detail, "The body is not valid JSON, and has no "
                           "Content-Type.");
    *detail = "The body must be application/json or "
              "application/x-www-form-urlencoded.";
    return BODY_UNSUPPORTED;
}

#include "http/body.h"

#include <json-c/json.h>
#include <string.h>

#include "base/json.h"
#include "base/percent.h"
#include "base/text.h"
#include "base/utf8.h"

#define MEMBER "long_url"

static int body_bad(const char **detail, const char *text)
{
    *detail = text;
    return 400;
}

/* Whether text, which json-c has accepted, has the escape of half a surrogate
 * pair: json-c makes U+FFFD of it, and the link would lead somewhere else. */
static bool has_lone_surrogate(const char *text)
{
    for (const char *s = text; (s = strchr(s, '\\')) != NULL;) {
        s += 2;
        if (s[-1] != 'u' || (s[0] | 0x20) != 'd' || s[1] < '8')
            continue;
        if (strchr("89abAB", s[1]) == NULL || strncmp(s + 4, "\\u", 2) != 0 ||
            (s[6] | 0x20) != 'd' || strchr("cdefCDEF", s[7]) == NULL)
            return true;
        s += 6;
    }
    return false;
}

static int read_json(const char *text, size_t len, struct buf *long_url,
                     const char **detail)
{
    json_object *root = NULL, *member = NULL;
    int r = 0;
    if (json_parse(text, len, JSON_LEVELS, &root) != RESULT_OK)
        r = body_bad(detail, "The body is not valid JSON.");
    else if (has_lone_surrogate(text))
        r = body_bad(detail, "The body is not valid JSON: a string has half "
                             "of a surrogate pair, such as \\ud83d.");
    else if (!json_object_is_type(root, json_type_object))
        r = body_bad(detail, "The body must be a JSON object with a member "
                             "long_url.");
    else if (!json_object_object_get_ex(root, MEMBER, &member))
        r = body_bad(detail, "The long_url is missing.");
    else if (!json_object_is_type(member, json_type_string))
        r = body_bad(detail, "The long_url must be a string.");
    else
        buf_add(long_url, json_object_get_string(member),
                (size_t)json_object_get_string_len(member));
    json_object_put(root);
    return r;
}

/* Whether a value of a form is a URL as it is, not encoded for the form: its
 * "://" is raw, and not only that of a URL inside an encoded one. */
static bool is_unencoded(const char *s, size_t len)
{
    for (size_t i = 0; i + 2 < len; i++) {
        if (s[i] == ':' && strchr("/\\", s[i + 1]) && strchr("/\\", s[i + 2]))
            return true;
        if (strncasecmp(s + i, "%3a", 3) == 0)
            return false;
    }
    return false;
}

static int read_form(const char *s, size_t len, struct buf *long_url,
                     const char **detail)
{
    const char *end = s + len;
    size_t found = 0;
    struct percent_pair pair;
    struct buf name;
    buf_init(&name, len);
    while (found < 2 && percent_next_pair(&s, &len, &pair)) {
        buf_reset(&name);
        percent_decode_form(&name, pair.name, pair.name_len);
        if (name.len != strlen(MEMBER) || strcmp(name.data, MEMBER) != 0 ||
            found++ > 0)
            continue;
        if (!is_unencoded(pair.value, pair.value_len)) {
            percent_decode_form(long_url, pair.value, pair.value_len);
        } else if (pair.value + pair.value_len == end) {
            buf_add(long_url, pair.value, pair.value_len);
        } else {
            buf_free(&name);
            return body_bad(detail,
                            "The value of long_url is not percent-encoded, "
                            "so it ends at the first '&'. Encode it (curl "
                            "--data-urlencode), or send JSON.");
        }
    }
    buf_free(&name);
    if (found == 0)
        return body_bad(detail, "The long_url is missing.");
    if (found > 1)
        return body_bad(detail, "The long_url occurs more than once.");
    return 0;
}

int body_read(const struct http_request *req, struct buf *long_url,
              const char **detail)
{
    const char *type = req->content_type;
    if (type != NULL && type[strspn(type, " \t")] == '\0')
        type = NULL;
    const size_t type_len = type != NULL ? strcspn(type, "; \t") : 0;
    bool json =
        type != NULL &&
        (http_type_is(type, "application/json") ||
         (type_len > 5 && strncasecmp(type + type_len - 5, "+json", 5) == 0));
    bool form =
        type != NULL && http_type_is(type, "application/x-www-form-urlencoded");
    bool untyped = type == NULL || http_type_is(type, "text/plain");

    const char *body = req->body;
    size_t len = req->body_len;
    if (strncmp(body, TEXT_BYTE_ORDER_MARK, 3) == 0) {
        body += 3;
        len -= 3;
    }
    bool brace = body[strspn(body, " \t\r\n")] == '{';

    if ((json || form || untyped) && !utf8_ok(body, len))
        return body_bad(detail,
                        "The body is not valid UTF-8, which JSON and forms "
                        "have to be.");
    if (json || (brace && (form || untyped)))
        return read_json(body, len, long_url, detail);
    if (form)
        return read_form(body, len, long_url, detail);
    if (len == 0 && type == NULL)
        return body_bad(detail,
                        "The body is empty; it must be JSON or a form with "
                        "a long_url.");
    if (type == NULL)
        return body_bad(detail, "The body is not valid JSON, and has no "
                                "Content-Type.");
    *detail = "The body must be application/json or "
              "application/x-www-form-urlencoded.";
    return 415;
}

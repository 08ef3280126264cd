#include "http/body.h"

#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/percent.h"
#include "base/text.h"
#include "base/utf8.h"
#include "service/create.h"

static int body_bad(char detail[BODY_DETAIL_SIZE], const char *text)
{
    snprintf(detail, BODY_DETAIL_SIZE, "%s", text);
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

static int read_json(const char *text, size_t len, json_object **out,
                     char detail[BODY_DETAIL_SIZE])
{
    if (json_parse(text, len, JSON_LEVELS, out) != RESULT_OK)
        return body_bad(detail, "The body is not valid JSON.");
    if (has_lone_surrogate(text))
        return body_bad(detail, "The body is not valid JSON: a string has half "
                                "of a surrogate pair, such as \\ud83d.");
    if (json_object_is_type(*out, json_type_object))
        return 0;
    if (!json_object_is_type(*out, json_type_array))
        return body_bad(detail, "The body must be a JSON object with a member "
                                "long_url.");
    const size_t count = json_object_array_length(*out);
    if (count >= 1 && count <= STORE_MANY_MAX)
        return 0;
    snprintf(detail, BODY_DETAIL_SIZE,
             "An array must have 1 to %d links, not %u.", STORE_MANY_MAX,
             (unsigned)count);
    return 400;
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

/* The name of the member that a field is; NULL: none. */
static const char *find_member(const struct percent_pair *pair,
                               struct buf *name)
{
    const char *member = NULL;
    buf_reset(name);
    percent_decode_form(name, pair->name, pair->name_len);
    for (size_t i = 0; (member = create_member(i)) != NULL; i++)
        if (strlen(member) == name->len && strcmp(member, name->data) == 0)
            break;
    return member;
}

static int read_form(const char *s, size_t len, json_object *out,
                     char detail[BODY_DETAIL_SIZE])
{
    const char *const end = s + len;
    struct percent_pair pair;
    struct buf text; /* a name, then its value */
    bool is_cut = false, is_raw = false;
    int status = 0;
    buf_init(&text, len);
    while (status == 0 && !is_cut && percent_next_pair(&s, &len, &pair)) {
        const char *member = find_member(&pair, &text);
        is_cut = is_raw && member == NULL;
        if (member == NULL)
            continue;
        if (json_object_object_get_ex(out, member, NULL)) {
            snprintf(detail, BODY_DETAIL_SIZE, "The %s occurs more than once.",
                     member);
            status = 400;
        }
        buf_reset(&text);
        if (strcmp(member, "long_url") == 0 &&
            is_unencoded(pair.value, pair.value_len)) {
            const char *value_end = pair.value + pair.value_len;
            buf_add(&text, pair.value, pair.value_len);
            is_raw = true;
            is_cut = value_end < end &&
                     (strpbrk(text.data, "?#") != NULL || end[-1] == '&');
        } else {
            percent_decode_form(&text, pair.value, pair.value_len);
        }
        json_object_object_add(out, member,
                               create_value(member, text.data, text.len));
    }
    buf_free(&text);
    if (status == 0 && is_cut)
        return body_bad(detail,
                        "The value of long_url is not percent-encoded, so it "
                        "ends at the first '&'. Encode it (curl "
                        "--data-urlencode), or send JSON.");
    return status;
}

int body_read(const struct http_request *req, struct json_object **out,
              char detail[BODY_DETAIL_SIZE])
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
    const char first = body[strspn(body, " \t\r\n")];
    const bool bracket = first == '{' || first == '[';
    int status = 0;
    *out = NULL;

    if ((json || form || untyped) && !utf8_ok(body, len))
        return body_bad(detail,
                        "The body is not valid UTF-8, which JSON and forms "
                        "have to be.");
    if (json || (bracket && (form || untyped))) {
        status = read_json(body, len, out, detail);
    } else if (form) {
        *out = json_object_new_object();
        status = read_form(body, len, *out, detail);
    } else if (type == NULL && len == 0) {
        status = body_bad(detail, "The body is empty; it must be JSON or a "
                                  "form with a long_url.");
    } else if (type == NULL) {
        status = body_bad(detail, "The body is not valid JSON, and has no "
                                  "Content-Type.");
    } else {
        body_bad(detail, "The body must be application/json or "
                         "application/x-www-form-urlencoded.");
        status = 415;
    }
    if (status != 0) {
        json_object_put(*out);
        *out = NULL;
    }
    return status;
}

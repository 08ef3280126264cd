#include "aws_reply.h"

#include <json.h>
#include <zlib.h>

/* Values nest 32 levels deep at most, each two JSON objects on the wire. */
#define NESTING_MAX 80

#define MESSAGE_MAX 300

/* Appends the server's message, printable and not too long. */
static void add_message(struct buf *out, const char *message)
{
    buf_add_str(out, ": ");
    for (size_t i = 0; message[i] != '\0' && i < MESSAGE_MAX; i++) {
        unsigned char byte = (unsigned char)message[i];
        buf_add_char(out, byte < 0x20 || byte == 0x7f ? ' ' : message[i]);
    }
}

static const char *string_member(json_object *object, const char *name)
{
    json_object *value = NULL;
    if (!json_object_object_get_ex(object, name, &value) ||
        !json_object_is_type(value, json_type_string))
        return NULL;
    return json_object_get_string(value);
}

/* Whether the server's message can be shown. */
static bool is_showable(const char *message, enum result r, const char *type,
                        const struct aws_credentials *credentials)
{
    return message != NULL && aws_error_message_is_safe(r, type) &&
           (credentials == NULL ||
            !aws_credentials_shown_in(credentials, message));
}

/* An answer other than 200. json is its body, or NULL if that is no object. */
static void read_refusal(long status, json_object *json,
                         const struct aws_credentials *credentials,
                         struct aws_reply *out, struct buf *text)
{
    const char *raw = string_member(json, "__type");
    const char *message = string_member(json, "message");
    if (message == NULL)
        message = string_member(json, "Message");
    aws_error_type(raw != NULL ? raw : "", out->type);
    const struct aws_error error = aws_error_find(out->type, status);
    out->result = error.result;
    /* What is no JSON was not said by DynamoDB. */
    out->cure = json == NULL ? AWS_CURE_PAUSE : error.cure;
    out->maybe_done = error.maybe_done;
    /* Throttling is an answer, whatever is in front of DynamoDB gave it. */
    out->answered =
        (json != NULL && status < 500) || error.result == RESULT_THROTTLED;

    if (out->type[0] != '\0')
        buf_add_str(text, out->type);
    else
        buf_addf(text, "HTTP status %ld without a DynamoDB error", status);
    if (is_showable(message, error.result, out->type, credentials))
        add_message(text, message);
    if (error.advice != NULL)
        buf_addf(text, "; %s", error.advice);
}

/* Reads the whole body as one JSON object; NULL if it is none. */
static json_object *parse(const struct aws_http_answer *http,
                          enum json_tokener_error *why)
{
    json_tokener *tokener = json_tokener_new_ex(NESTING_MAX);
    if (tokener == NULL) {
        *why = json_tokener_error_size;
        return NULL;
    }
    json_tokener_set_flags(tokener,
                           JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    json_object *json =
        json_tokener_parse_ex(tokener, http->body, (int)http->len);
    *why = json_tokener_get_error(tokener);
    json_tokener_free(tokener);
    if (json_object_is_type(json, json_type_object))
        return json;
    json_object_put(json);
    return NULL;
}

static bool crc32_fits(const struct aws_http_answer *http)
{
    const unsigned char *bytes = (const unsigned char *)http->body;
    return !http->has_crc32 || crc32_z(0, bytes, http->len) == http->crc32;
}

/* An answer that cannot be what the server sent: asked again, it may be. */
static void read_damage(const char *how, struct aws_reply *out,
                        struct buf *text)
{
    out->result = RESULT_UNAVAILABLE;
    out->cure = AWS_CURE_PAUSE;
    out->maybe_done = true;
    buf_add_str(text, how);
}

void aws_reply_read(const struct aws_http_answer *http,
                    const struct aws_credentials *credentials,
                    struct aws_reply *out, struct buf *text)
{
    *out = (struct aws_reply){.result = RESULT_OK};
    if (!crc32_fits(http)) {
        read_damage("a damaged answer: not what its x-amz-crc32 says", out,
                    text);
        return;
    }
    enum json_tokener_error why;
    json_object *json = parse(http, &why);
    if (http->status != 200) {
        read_refusal(http->status, json, credentials, out, text);
        json_object_put(json);
    } else if (json != NULL) {
        out->body = json;
        out->answered = true;
    } else if (why == json_tokener_error_depth) {
        out->result = RESULT_CORRUPT;
        out->maybe_done = true;
        out->answered = true;
        buf_add_str(text, "the item nests too deeply");
    } else {
        read_damage("an answer that is no JSON object", out, text);
    }
}

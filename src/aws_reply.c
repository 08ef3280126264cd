#include "aws_reply.h"

#include <json-c/json.h>
#include <stddef.h>
#include <string.h>
#include <zlib.h>

#include "json.h"

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
    const char *raw = json_text_at(json, "__type");
    const char *message = json_text_at(json, "message");
    if (message == NULL)
        message = json_text_at(json, "Message");
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
    json_object *json = NULL;
    const enum result parsed =
        json_parse(http->body, http->len, NESTING_MAX, &json);
    if (!json_object_is_type(json, json_type_object)) {
        json_object_put(json);
        json = NULL;
    }
    if (http->status != 200) {
        read_refusal(http->status, json, credentials, out, text);
        json_object_put(json);
    } else if (json != NULL) {
        out->body = json;
        out->answered = true;
    } else if (parsed == RESULT_CORRUPT) {
        out->result = RESULT_CORRUPT;
        out->maybe_done = true;
        out->answered = true;
        buf_add_str(text, "the item nests too deeply");
    } else {
        read_damage("an answer that is no JSON object", out, text);
    }
}

static const char check_table[] =
    "`curt table check` tells whether the table is the right one";
static const char check_endpoint[] =
    "AWS_ENDPOINT_URL_DYNAMODB may name another service";
static const char mend_keys[] =
    "the access key is not known to AWS, or the session token does not belong "
    "to it; `curt doctor` says where the keys come from";
static const char mend_missing[] =
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
static const char mend_secret[] =
    "the secret key is not the one of the access key, AWS_REGION is not the "
    "table's, or this host's clock is wrong";
static const char mend_token[] =
    "the session token has expired, and where it came from has no newer one; "
    "`curt doctor` says where that is";
static const char mend_clock[] =
    "set this host's clock right: let NTP keep it (chrony, systemd-timesyncd)";
static const char mend_policy[] =
    "let the policy of this access key allow the action on this table";
static const char mend_no_table[] =
    "make the table with `curt table create`, or correct TABLE or AWS_REGION";
static const char mend_throttled[] =
    "raise the table's or the account's limits if this lasts";

/* Without "Exception" at the end, which some types have in one engine only. */
static const struct row {
    const char *type;
    struct aws_error error;
} rows[] = {
    {"ConditionalCheckFailed", {RESULT_CONFLICT, AWS_CURE_NONE, false, NULL}},
    {"ResourceInUse", {RESULT_CONFLICT, AWS_CURE_NONE, false, NULL}},
    {"ContinuousBackupsUnavailable",
     {RESULT_CONFLICT, AWS_CURE_NONE, false, NULL}},
    {"ResourceNotFound",
     {RESULT_NOT_FOUND, AWS_CURE_NONE, false, mend_no_table}},
    {"TableNotFound", {RESULT_NOT_FOUND, AWS_CURE_NONE, false, mend_no_table}},

    {"AccessDenied", {RESULT_DENIED, AWS_CURE_NONE, false, mend_policy}},
    {"NotAuthorized", {RESULT_DENIED, AWS_CURE_NONE, false, mend_policy}},
    {"UnrecognizedClient", {RESULT_DENIED, AWS_CURE_KEYS, false, mend_keys}},
    {"InvalidClientTokenId", {RESULT_DENIED, AWS_CURE_KEYS, false, mend_keys}},
    {"OptInRequired", {RESULT_DENIED, AWS_CURE_NONE, false, mend_keys}},
    {"MissingAuthenticationToken",
     {RESULT_DENIED, AWS_CURE_NONE, false, mend_missing}},
    {"IncompleteSignature",
     {RESULT_DENIED, AWS_CURE_NONE, false, mend_missing}},
    {"InvalidSignature", {RESULT_DENIED, AWS_CURE_CLOCK, false, mend_secret}},
    {"SignatureDoesNotMatch",
     {RESULT_DENIED, AWS_CURE_CLOCK, false, mend_secret}},
    {"RequestExpired", {RESULT_DENIED, AWS_CURE_CLOCK, false, mend_secret}},
    {"RequestTimeTooSkewed",
     {RESULT_DENIED, AWS_CURE_CLOCK, false, mend_clock}},
    {"RequestInTheFuture", {RESULT_DENIED, AWS_CURE_CLOCK, false, mend_clock}},
    {"ExpiredToken", {RESULT_DENIED, AWS_CURE_KEYS, false, mend_token}},

    {"Throttling", {RESULT_THROTTLED, AWS_CURE_PAUSE, false, mend_throttled}},
    {"ProvisionedThroughputExceeded",
     {RESULT_THROTTLED, AWS_CURE_PAUSE, false, mend_throttled}},
    {"RequestLimitExceeded",
     {RESULT_THROTTLED, AWS_CURE_PAUSE, false, mend_throttled}},
    {"LimitExceeded",
     {RESULT_THROTTLED, AWS_CURE_PAUSE, false, mend_throttled}},
    {"TooManyRequests",
     {RESULT_THROTTLED, AWS_CURE_PAUSE, false, mend_throttled}},
    {"SlowDown", {RESULT_THROTTLED, AWS_CURE_PAUSE, false, mend_throttled}},
    {"Throttled", {RESULT_THROTTLED, AWS_CURE_PAUSE, false, mend_throttled}},
    {"RequestThrottled",
     {RESULT_THROTTLED, AWS_CURE_PAUSE, false, mend_throttled}},
    /* Of one item, while the table has units. */
    {"TransactionInProgress",
     {RESULT_UNAVAILABLE, AWS_CURE_PAUSE, false, NULL}},
    {"ReplicatedWriteConflict",
     {RESULT_UNAVAILABLE, AWS_CURE_PAUSE, false, NULL}},
    {"TransactionConflict", {RESULT_UNAVAILABLE, AWS_CURE_PAUSE, false, NULL}},

    {"Validation", {RESULT_INVALID, AWS_CURE_NONE, false, check_table}},
    {"Serialization", {RESULT_INVALID, AWS_CURE_NONE, false, NULL}},
    {"ItemCollectionSizeLimitExceeded",
     {RESULT_INVALID, AWS_CURE_NONE, false, NULL}},
    {"UnknownOperation",
     {RESULT_UNAVAILABLE, AWS_CURE_NONE, false, check_endpoint}},

    {"InternalServerError", {RESULT_UNAVAILABLE, AWS_CURE_PAUSE, true, NULL}},
    {"InternalServer", {RESULT_UNAVAILABLE, AWS_CURE_PAUSE, true, NULL}},
    {"InternalFailure", {RESULT_UNAVAILABLE, AWS_CURE_PAUSE, true, NULL}},
    {"ServiceUnavailable", {RESULT_UNAVAILABLE, AWS_CURE_PAUSE, true, NULL}},
    {"RequestTimeout", {RESULT_UNAVAILABLE, AWS_CURE_PAUSE, true, NULL}},
};

static struct aws_error by_status(long status, bool named)
{
    if (status >= 500)
        return (struct aws_error){RESULT_UNAVAILABLE, AWS_CURE_PAUSE, true,
                                  NULL};
    if (status == 429)
        return (struct aws_error){RESULT_THROTTLED, AWS_CURE_PAUSE, false,
                                  mend_throttled};
    if (status == 401 || status == 403)
        return (struct aws_error){RESULT_DENIED, AWS_CURE_NONE, false,
                                  mend_policy};
    /* What names a type that is not known here is DynamoDB, only newer. */
    return (struct aws_error){RESULT_UNAVAILABLE, AWS_CURE_NONE, false,
                              named ? NULL : check_endpoint};
}

/* Length of type without "Exception" at its end. */
static size_t stem_length(const char *type)
{
    static const char suffix[] = "Exception";
    const size_t suffix_len = sizeof(suffix) - 1;
    size_t len = strlen(type);
    if (len > suffix_len && strcmp(type + len - suffix_len, suffix) == 0)
        return len - suffix_len;
    return len;
}

struct aws_error aws_error_find(const char *type, long status)
{
    size_t len = stem_length(type);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (strlen(rows[i].type) == len && memcmp(rows[i].type, type, len) == 0)
            return rows[i].error;
    }
    return by_status(status, len > 0);
}

void aws_error_type(const char *raw, char type[AWS_ERROR_TYPE_SIZE])
{
    const char *hash = strrchr(raw, '#');
    size_t len = 0;
    for (const char *p = hash != NULL ? hash + 1 : raw; *p != '\0'; p++) {
        bool letter = (*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z');
        bool digit = *p >= '0' && *p <= '9';
        if ((letter || digit) && len < AWS_ERROR_TYPE_SIZE - 1)
            type[len++] = *p;
    }
    type[len] = '\0';
}

bool aws_error_message_is_safe(enum result r, const char *type)
{
    return r != RESULT_DENIED || strncmp(type, "AccessDenied", 12) == 0;
}

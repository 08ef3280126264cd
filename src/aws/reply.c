#include "aws/reply.h"

#include <json-c/json.h>
#include <stddef.h>
#include <string.h>
#include <zlib.h>

#include "base/json.h"

/* Values nest 32 levels deep at most, each two JSON objects on the wire. */
#define NESTING_MAX 80

#define MESSAGE_MAX 300

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
    /* DynamoDB itself answers in JSON. */
    out->cure = json == NULL ? AWS_CURE_PAUSE : error.cure;
    out->maybe_done = error.maybe_done;
    /* Throttling is an answer, also one of a proxy. */
    out->answered =
        (json != NULL && status < 500) || error.result == RESULT_THROTTLED;

    if (out->type[0] != '\0')
        buf_add_str(text, out->type);
    else
        buf_addf(text, "HTTP status %ld without a DynamoDB error", status);
    if (message != NULL && aws_error_message_is_safe(error.result, out->type) &&
        (credentials == NULL ||
         !aws_credentials_shown_in(credentials, message))) {
        buf_add_str(text, ": ");
        for (size_t i = 0; message[i] != '\0' && i < MESSAGE_MAX; i++) {
            const unsigned char byte = (unsigned char)message[i];
            buf_add_char(text, byte < 0x20 || byte == 0x7f ? ' ' : message[i]);
        }
    }
    if (error.advice != NULL)
        buf_addf(text, "; %s", error.advice);
}

/* Not what the server sent: another attempt may help. */
static void read_damage(const char *how, struct aws_reply *out,
                        struct buf *text)
{
    out->result = RESULT_UNAVAILABLE;
    out->cure = AWS_CURE_PAUSE;
    out->maybe_done = true;
    buf_add_str(text, how);
}

void aws_reply_read(const struct http_client_answer *http,
                    const struct aws_credentials *credentials,
                    struct aws_reply *out, struct buf *text)
{
    *out = (struct aws_reply){.result = RESULT_OK};
    if (http->has_crc32 && crc32_z(0, (const unsigned char *)http->body,
                                   http->len) != http->crc32) {
        read_damage("damaged response: x-amz-crc32 does not match", out, text);
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
        read_damage("response is not a JSON object", out, text);
    }
}

static const char check_table[] =
    "`curt table check` tells whether the table is the right one";
static const char check_endpoint[] =
    "AWS_ENDPOINT_URL_DYNAMODB may name another service";
static const char fix_keys[] =
    "AWS does not know the access key, or the session token does not belong to "
    "it; `curt doctor` shows where the keys come from";
static const char fix_missing[] =
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
static const char fix_secret[] =
    "the secret key is not the one of the access key, AWS_REGION is not the "
    "table's, or this host's clock is wrong";
static const char fix_token[] =
    "the session token has expired, and its source has no newer one; `curt "
    "doctor` shows where it comes from";
static const char fix_clock[] =
    "set this host's clock, with NTP (chrony, systemd-timesyncd)";
static const char fix_policy[] =
    "let the policy of this access key allow the action on this table";
static const char fix_no_table[] =
    "create the table with `curt table create`, or correct TABLE or AWS_REGION";
static const char fix_limits[] =
    "raise the table's or the account's limits if this lasts";

/* Without "Exception" at the end, which some types have in one engine only. */
static const struct aws_error rows[] = {
    {"ConditionalCheckFailed", RESULT_CONFLICT, AWS_CURE_NONE, false, NULL},
    {"ResourceInUse", RESULT_CONFLICT, AWS_CURE_NONE, false, NULL},
    {"ContinuousBackupsUnavailable", RESULT_CONFLICT, AWS_CURE_NONE, false,
     NULL},
    {"ResourceNotFound", RESULT_NOT_FOUND, AWS_CURE_NONE, false, fix_no_table},
    {"TableNotFound", RESULT_NOT_FOUND, AWS_CURE_NONE, false, fix_no_table},

    {"AccessDenied", RESULT_DENIED, AWS_CURE_NONE, false, fix_policy},
    {"NotAuthorized", RESULT_DENIED, AWS_CURE_NONE, false, fix_policy},
    {"UnrecognizedClient", RESULT_DENIED, AWS_CURE_KEYS, false, fix_keys},
    {"InvalidClientTokenId", RESULT_DENIED, AWS_CURE_KEYS, false, fix_keys},
    {"OptInRequired", RESULT_DENIED, AWS_CURE_NONE, false, fix_keys},
    {"MissingAuthenticationToken", RESULT_DENIED, AWS_CURE_NONE, false,
     fix_missing},
    {"IncompleteSignature", RESULT_DENIED, AWS_CURE_NONE, false, fix_missing},
    {"InvalidSignature", RESULT_DENIED, AWS_CURE_CLOCK, false, fix_secret},
    {"SignatureDoesNotMatch", RESULT_DENIED, AWS_CURE_CLOCK, false, fix_secret},
    {"RequestExpired", RESULT_DENIED, AWS_CURE_CLOCK, false, fix_secret},
    {"RequestTimeTooSkewed", RESULT_DENIED, AWS_CURE_CLOCK, false, fix_clock},
    {"RequestInTheFuture", RESULT_DENIED, AWS_CURE_CLOCK, false, fix_clock},
    {"ExpiredToken", RESULT_DENIED, AWS_CURE_KEYS, false, fix_token},

    {"Throttling", RESULT_THROTTLED, AWS_CURE_PAUSE, false, fix_limits},
    {"ProvisionedThroughputExceeded", RESULT_THROTTLED, AWS_CURE_PAUSE, false,
     fix_limits},
    {"RequestLimitExceeded", RESULT_THROTTLED, AWS_CURE_PAUSE, false,
     fix_limits},
    {"LimitExceeded", RESULT_THROTTLED, AWS_CURE_PAUSE, false, fix_limits},
    {"TooManyRequests", RESULT_THROTTLED, AWS_CURE_PAUSE, false, fix_limits},
    {"SlowDown", RESULT_THROTTLED, AWS_CURE_PAUSE, false, fix_limits},
    {"Throttled", RESULT_THROTTLED, AWS_CURE_PAUSE, false, fix_limits},
    {"RequestThrottled", RESULT_THROTTLED, AWS_CURE_PAUSE, false, fix_limits},
    /* Of one item, while the table has units. */
    {"TransactionInProgress", RESULT_UNAVAILABLE, AWS_CURE_PAUSE, false, NULL},
    {"ReplicatedWriteConflict", RESULT_UNAVAILABLE, AWS_CURE_PAUSE, false,
     NULL},
    {"TransactionConflict", RESULT_UNAVAILABLE, AWS_CURE_PAUSE, false, NULL},

    {"Validation", RESULT_INVALID, AWS_CURE_NONE, false, check_table},
    {"Serialization", RESULT_INVALID, AWS_CURE_NONE, false, NULL},
    {"ItemCollectionSizeLimitExceeded", RESULT_INVALID, AWS_CURE_NONE, false,
     NULL},
    {"UnknownOperation", RESULT_UNAVAILABLE, AWS_CURE_NONE, false,
     check_endpoint},

    {"InternalServerError", RESULT_UNAVAILABLE, AWS_CURE_PAUSE, true, NULL},
    {"InternalServer", RESULT_UNAVAILABLE, AWS_CURE_PAUSE, true, NULL},
    {"InternalFailure", RESULT_UNAVAILABLE, AWS_CURE_PAUSE, true, NULL},
    {"ServiceUnavailable", RESULT_UNAVAILABLE, AWS_CURE_PAUSE, true, NULL},
    {"RequestTimeout", RESULT_UNAVAILABLE, AWS_CURE_PAUSE, true, NULL},
};

struct aws_error aws_error_find(const char *type, long status)
{
    static const char suffix[] = "Exception";
    const size_t suffix_len = sizeof(suffix) - 1;
    size_t len = strlen(type);
    if (len > suffix_len && strcmp(type + len - suffix_len, suffix) == 0)
        len -= suffix_len;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (strlen(rows[i].type) == len && memcmp(rows[i].type, type, len) == 0)
            return rows[i];
    }
    struct aws_error e = {"", RESULT_UNAVAILABLE, AWS_CURE_NONE, false, NULL};
    if (status == 429) {
        e.result = RESULT_THROTTLED;
        e.cure = AWS_CURE_PAUSE;
        e.advice = fix_limits;
    } else if (status >= 500) {
        e.cure = AWS_CURE_PAUSE;
        e.maybe_done = true;
    } else if (status == 401 || status == 403) {
        e.result = RESULT_DENIED;
        e.advice = fix_policy;
    } else if (len == 0) { /* an unknown type is that of a newer DynamoDB */
        e.advice = check_endpoint;
    }
    return e;
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

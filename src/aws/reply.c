#include "aws/reply.h"

#include <json-c/json.h>
#include <stddef.h>
#include <string.h>
#include <zlib.h>

#include "base/json.h"

/* Values nest 32 levels deep at most, each two JSON objects on the wire. */
#define NESTING_MAX 80

#define MESSAGE_MAX 300

#define UNKNOWN_KEYS                                                           \
    "AWS does not know the access key, or the session token does not belong "  \
    "to it; `curt doctor` shows where the keys come from"

/* ---- Error types ----------------------------------------------------- */

/* What an error means. */
struct error_kind {
    const char *types; /* without "Exception", which some types have in one
                        * engine only */
    enum result result;
    enum aws_cure cure;
    bool maybe_done;    /* the server may have carried the request out */
    const char *advice; /* how to fix it; NULL where nothing can be done */
};

static const struct error_kind kinds[] = {
    {"ConditionalCheckFailed ResourceInUse ContinuousBackupsUnavailable",
     RESULT_CONFLICT, AWS_CURE_NONE, false, NULL},
    {"ResourceNotFound TableNotFound", RESULT_NOT_FOUND, AWS_CURE_NONE, false,
     "create the table with `curt table create`, or correct TABLE or "
     "AWS_REGION"},
    {"AccessDenied NotAuthorized", RESULT_DENIED, AWS_CURE_NONE, false,
     "let the policy of this access key allow the action on this table"},
    {"UnrecognizedClient InvalidClientTokenId", RESULT_DENIED, AWS_CURE_KEYS,
     false, UNKNOWN_KEYS},
    {"OptInRequired", RESULT_DENIED, AWS_CURE_NONE, false, UNKNOWN_KEYS},
    {"MissingAuthenticationToken IncompleteSignature", RESULT_DENIED,
     AWS_CURE_NONE, false, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"},
    {"InvalidSignature SignatureDoesNotMatch RequestExpired", RESULT_DENIED,
     AWS_CURE_CLOCK, false,
     "the secret key is not the one of the access key, AWS_REGION is not the "
     "table's, or this host's clock is wrong"},
    {"RequestTimeTooSkewed RequestInTheFuture", RESULT_DENIED, AWS_CURE_CLOCK,
     false, "set this host's clock, with NTP (chrony, systemd-timesyncd)"},
    {"ExpiredToken", RESULT_DENIED, AWS_CURE_KEYS, false,
     "the session token has expired, and its source has no newer one; `curt "
     "doctor` shows where it comes from"},
    {"Throttling ProvisionedThroughputExceeded RequestLimitExceeded "
     "LimitExceeded TooManyRequests SlowDown Throttled RequestThrottled",
     RESULT_THROTTLED, AWS_CURE_PAUSE, false,
     "raise the table's or the account's limits if this lasts"},
    {"TransactionInProgress ReplicatedWriteConflict TransactionConflict",
     RESULT_UNAVAILABLE, AWS_CURE_PAUSE, false, NULL},
    {"Validation", RESULT_INVALID, AWS_CURE_NONE, false,
     "`curt table check` tells whether the table is the right one"},
    {"Serialization ItemCollectionSizeLimitExceeded", RESULT_INVALID,
     AWS_CURE_NONE, false, NULL},
    {"UnknownOperation", RESULT_UNAVAILABLE, AWS_CURE_NONE, false,
     "AWS_ENDPOINT_URL_DYNAMODB may name another service"},
    {"InternalServerError InternalServer InternalFailure ServiceUnavailable "
     "RequestTimeout",
     RESULT_UNAVAILABLE, AWS_CURE_PAUSE, true, NULL},
    /* Of STS. */
    {"IDPCommunicationError InternalError PriorRequestNotComplete",
     RESULT_UNAVAILABLE, AWS_CURE_PAUSE, false, NULL},
};

/* The kind of a type, with or without its "Exception"; of an unknown type, or
 * "" where the answer names none, that of the status. */
static const struct error_kind *error_find(const char *type, long status)
{
    /* A type of a newer DynamoDB. */
    static const struct error_kind unknown = {"", RESULT_UNAVAILABLE,
                                              AWS_CURE_NONE, false, NULL};
    const char *suffix = strstr(type, "Exception");
    const size_t len = suffix != NULL && suffix != type && suffix[9] == '\0'
                           ? (size_t)(suffix - type)
                           : strlen(type);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        size_t word;
        for (const char *at = kinds[i].types; *at != '\0'; at += word) {
            at += strspn(at, " ");
            word = strcspn(at, " ");
            if (word == len && memcmp(at, type, len) == 0)
                return &kinds[i];
        }
    }
    return status == 429                    ? error_find("Throttling", 0)
           : status >= 500                  ? error_find("RequestTimeout", 0)
           : status == 401 || status == 403 ? error_find("AccessDenied", 0)
           : len == 0                       ? error_find("UnknownOperation", 0)
                                            : &unknown;
}

bool aws_error_is_passing(const char *type, long status)
{
    return error_find(type, status)->cure == AWS_CURE_PAUSE;
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

/* ---- Answers --------------------------------------------------------- */

/* An answer other than 200. json is its body; NULL: that is not an object. */
static void read_refusal(long status, json_object *json,
                         const struct aws_credentials *credentials,
                         struct aws_reply *out, struct buf *text)
{
    const char *raw = json_text_at(json, "__type");
    const char *message = json_text_at(json, "message");
    if (message == NULL)
        message = json_text_at(json, "Message");
    aws_error_type(raw != NULL ? raw : "", out->type);
    const struct error_kind *error = error_find(out->type, status);
    out->result = error->result;
    /* DynamoDB itself answers in JSON. */
    out->cure = json == NULL ? AWS_CURE_PAUSE : error->cure;
    out->maybe_done = error->maybe_done;
    /* Throttling is an answer, also one of a proxy. */
    out->answered =
        (json != NULL && status < 500) || error->result == RESULT_THROTTLED;

    if (out->type[0] != '\0')
        buf_add_str(text, out->type);
    else
        buf_addf(text, "HTTP status %ld without a DynamoDB error", status);
    /* Messages about signatures repeat the request, session token included. */
    if (message != NULL &&
        (error->result != RESULT_DENIED ||
         strncmp(out->type, "AccessDenied", 12) == 0) &&
        (credentials == NULL ||
         !aws_credentials_shown_in(credentials, message))) {
        buf_add_str(text, ": ");
        for (size_t i = 0; message[i] != '\0' && i < MESSAGE_MAX; i++) {
            const unsigned char byte = (unsigned char)message[i];
            buf_add_char(text, byte < 0x20 || byte == 0x7f ? ' ' : message[i]);
        }
    }
    if (error->advice != NULL)
        buf_addf(text, "; %s", error->advice);
}

void aws_reply_read(const struct http_client_answer *http,
                    const struct aws_credentials *credentials,
                    struct aws_reply *out, struct buf *text)
{
    *out = (struct aws_reply){.result = RESULT_OK};
    json_object *json = NULL;
    enum result parsed = RESULT_INVALID;
    const bool whole =
        !http->has_crc32 ||
        crc32_z(0, (const unsigned char *)http->body, http->len) == http->crc32;
    if (whole)
        parsed = json_parse(http->body, http->len, NESTING_MAX, &json);
    if (!json_object_is_type(json, json_type_object)) {
        json_object_put(json);
        json = NULL;
    }
    if (whole && http->status != 200) {
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
        /* Not what the server sent: another attempt may help. */
        out->result = RESULT_UNAVAILABLE;
        out->cure = AWS_CURE_PAUSE;
        out->maybe_done = true;
        buf_add_str(text, whole ? "response is not a JSON object"
                                : "damaged response: x-amz-crc32 does not "
                                  "match");
    }
}

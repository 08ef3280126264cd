/* What aws_reply makes of DynamoDB's answers, and of what is none. */
#include "test.h"

#include <json-c/json.h>

#include "aws/reply.h"
#include "base/mem.h"

/* The CRC-32 of "{}" (ISO 3309), computed elsewhere. */
#define CRC32_OF_EMPTY_OBJECT 0xa3a6bf43u

static struct aws_reply read_reply(long status, const char *body,
                                   struct buf *text)
{
    const struct http_client_answer http = {
        .status = status, .body = body, .len = strlen(body)};
    struct aws_reply reply;
    buf_reset(text);
    aws_reply_read(&http, NULL, &reply, text);
    return reply;
}

TEST(takes_a_whole_object)
{
    struct buf text;
    buf_init(&text, 4096);
    struct aws_reply reply =
        read_reply(200, "{\"Item\":{\"a\":{\"S\":\"b\"}}}", &text);
    assert_int_equal(reply.result, RESULT_OK);
    assert_true(reply.answered);
    assert_false(reply.maybe_done);
    json_object *item = NULL;
    assert_true(json_object_object_get_ex(reply.body, "Item", &item));
    assert_string_equal(text.data, "");
    json_object_put(reply.body);
    buf_free(&text);
}

TEST(checks_the_sum)
{
    struct buf text;
    buf_init(&text, 4096);
    struct http_client_answer http = {.status = 200,
                                      .body = "{}",
                                      .len = 2,
                                      .has_crc32 = true,
                                      .crc32 = CRC32_OF_EMPTY_OBJECT};
    struct aws_reply reply;
    aws_reply_read(&http, NULL, &reply, &text);
    assert_int_equal(reply.result, RESULT_OK);
    json_object_put(reply.body);

    http.crc32 ^= 1;
    aws_reply_read(&http, NULL, &reply, &text);
    assert_int_equal(reply.result, RESULT_UNAVAILABLE);
    assert_int_equal(reply.cure, AWS_CURE_PAUSE);
    assert_true(reply.maybe_done);
    assert_null(reply.body);
    assert_non_null(strstr(text.data, "x-amz-crc32"));

    /* AWS sends it with errors, too. */
    http.status = 400;
    aws_reply_read(&http, NULL, &reply, &text);
    assert_int_equal(reply.result, RESULT_UNAVAILABLE);
    buf_free(&text);
}

/* What is not DynamoDB's own form is asked again, and is not an answer. */
TEST(tells_damage_from_answers)
{
    static const struct {
        long status;
        const char *body;
    } rows[] = {
        {200, ""},           {200, "{"},    {200, "[]"},
        {200, "null"},       {200, "{}x"},  {200, "<html>sorry</html>"},
        {200, "{\"a\":01}"}, {502, "<h1>"}, {403, "<html>portal</html>"},
        {404, "not here"},   {503, ""},     {200, "{\"a\":\"\xff\"}"},
    };
    struct buf text;
    buf_init(&text, 4096);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct aws_reply reply =
            read_reply(rows[i].status, rows[i].body, &text);
        assert_int_not_equal(reply.result, RESULT_OK);
        assert_int_equal(reply.cure, AWS_CURE_PAUSE);
        assert_false(reply.answered);
        assert_null(reply.body);
        assert_true(text.len > 0);
    }
    buf_free(&text);
}

TEST(knows_the_error_types)
{
    static const struct {
        long status;
        const char *type;
        enum result result;
        enum aws_cure cure;
        bool maybe_done, answered;
    } rows[] = {
        {400, "ConditionalCheckFailedException", RESULT_CONFLICT, AWS_CURE_NONE,
         false, true},
        {400, "ValidationException", RESULT_INVALID, AWS_CURE_NONE, false,
         true},
        {400, "AccessDeniedException", RESULT_DENIED, AWS_CURE_NONE, false,
         true},
        {400, "ProvisionedThroughputExceededException", RESULT_THROTTLED,
         AWS_CURE_PAUSE, false, true},
        {400, "ThrottlingException", RESULT_THROTTLED, AWS_CURE_PAUSE, false,
         true},
        {400, "RequestLimitExceeded", RESULT_THROTTLED, AWS_CURE_PAUSE, false,
         true},
        {503, "ThrottlingException", RESULT_THROTTLED, AWS_CURE_PAUSE, false,
         true},
        {400, "TransactionInProgressException", RESULT_UNAVAILABLE,
         AWS_CURE_PAUSE, false, true},
        {400, "ReplicatedWriteConflictException", RESULT_UNAVAILABLE,
         AWS_CURE_PAUSE, false, true},
        {500, "InternalServerError", RESULT_UNAVAILABLE, AWS_CURE_PAUSE, true,
         false},
        {503, "ServiceUnavailable", RESULT_UNAVAILABLE, AWS_CURE_PAUSE, true,
         false},
        {400, "ExpiredTokenException", RESULT_DENIED, AWS_CURE_KEYS, false,
         true},
        {403, "RequestTimeTooSkewed", RESULT_DENIED, AWS_CURE_CLOCK, false,
         true},
        {400, "InvalidSignatureException", RESULT_DENIED, AWS_CURE_CLOCK, false,
         true},
        {400, "SomethingNewException", RESULT_UNAVAILABLE, AWS_CURE_NONE, false,
         true},
    };
    struct buf text;
    buf_init(&text, 4096);
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *body =
            mem_printf("{\"__type\":\"com.amazonaws.dynamodb.v20120810#%s\","
                       "\"Message\":\"why\"}",
                       rows[i].type);
        struct aws_reply reply = read_reply(rows[i].status, body, &text);
        assert_int_equal(reply.result, rows[i].result);
        assert_int_equal(reply.cure, rows[i].cure);
        assert_int_equal(reply.maybe_done, rows[i].maybe_done);
        assert_int_equal(reply.answered, rows[i].answered);
        assert_string_equal(reply.type, rows[i].type);
        assert_non_null(strstr(text.data, rows[i].type));
        free(body);
    }
    buf_free(&text);
}

/* Messages about signatures repeat the request, its session token included. */
TEST(keeps_messages_about_signatures_back)
{
    struct buf text;
    buf_init(&text, 4096);
    read_reply(400,
               "{\"__type\":\"x#InvalidSignatureException\","
               "\"message\":\"The Canonical String was SECRET\"}",
               &text);
    assert_null(strstr(text.data, "SECRET"));
    read_reply(400,
               "{\"__type\":\"x#ValidationException\","
               "\"message\":\"the\\nkey \\u001b[31m is short\"}",
               &text);
    assert_non_null(strstr(text.data, "the key  [31m is short"));
    buf_free(&text);
}

TEST(bounds_the_nesting)
{
    struct buf text, body;
    buf_init(&text, 4096);
    buf_init(&body, 1u << 20);
    for (int i = 0; i < 100; i++)
        buf_add_str(&body, "{\"M\":");
    buf_add_str(&body, "{}");
    for (int i = 0; i < 100; i++)
        buf_add_char(&body, '}');
    struct aws_reply reply = read_reply(200, body.data, &text);
    assert_int_equal(reply.result, RESULT_CORRUPT);
    assert_int_equal(reply.cure, AWS_CURE_NONE);
    assert_true(reply.answered);
    buf_free(&text);
    buf_free(&body);
}

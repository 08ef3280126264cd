/*
 * Signatures against the vectors of AWS's own test suite for Signature
 * Version 4 (get-vanilla, post-vanilla) and against one of botocore's. The
 * end-to-end tests compare every request with botocore.
 */
#include "test.h"

#include "aws/sign.h"

static const struct aws_signing suite = {
    .keys = {.id = "AKIDEXAMPLE",
             .secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"},
    .region = "us-east-1",
    .service = "service"};

static void expect(const struct aws_signing *signing,
                   const struct aws_sign_request *request, const char *date,
                   const char *wanted)
{
    struct buf out;
    buf_init(&out, 4096);
    assert_int_equal(aws_sign(signing, request, date, &out), RESULT_OK);
    assert_string_equal(out.data, wanted);
    buf_free(&out);
}

TEST(signs_as_the_suite)
{
    static const char *const lines[] = {"Host:example.amazonaws.com",
                                        "X-Amz-Date:20150830T123600Z", NULL};
    struct aws_sign_request request = {
        .method = "GET", .path = "/", .lines = lines, .body = ""};
    expect(&suite, &request, "20150830T123600Z",
           "Authorization: AWS4-HMAC-SHA256 "
           "Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
           "SignedHeaders=host;x-amz-date, Signature="
           "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
    request.method = "POST";
    request.path = "";
    expect(&suite, &request, "20150830T123600Z",
           "Authorization: AWS4-HMAC-SHA256 "
           "Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
           "SignedHeaders=host;x-amz-date, Signature="
           "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
}

/* Lines in any order, a path, a body that is not ASCII. */
TEST(signs_as_botocore)
{
    static const char *const lines[] = {
        "X-Odd: a b",
        "X-Amz-Target: DynamoDB_20120810.GetItem",
        "Content-Type: application/x-amz-json-1.0",
        "X-Amz-Security-Token: t/+=k",
        "X-Amz-Date: 20261123T070000Z",
        "Host: 127.0.0.1:8000",
        NULL};
    struct aws_signing signing = suite;
    signing.region = "eu-west-1";
    signing.service = "dynamodb";
    const struct aws_sign_request request = {
        .method = "POST",
        .path = "/a%20b/c",
        .lines = lines,
        .body = "{\"TableName\":\"\xc3\xa4\"}"};
    expect(&signing, &request, "20261123T070000Z",
           "Authorization: AWS4-HMAC-SHA256 "
           "Credential=AKIDEXAMPLE/20261123/eu-west-1/dynamodb/aws4_request, "
           "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;"
           "x-amz-target;x-odd, Signature="
           "0029776c8a9b9e335966daf4cc98e9bcbb5b9be69fb13c382cca2cbc4000ebcd");
}

TEST(refuses_what_it_cannot_hold)
{
    const char *lines[HTTP_CLIENT_LINES_MAX + 2] = {NULL};
    for (size_t i = 0; i <= HTTP_CLIENT_LINES_MAX; i++)
        lines[i] = "X-Line: x";
    const struct aws_sign_request request = {
        .method = "GET", .path = "/", .lines = lines, .body = ""};
    struct buf out;
    buf_init(&out, 4096);
    assert_int_equal(aws_sign(&suite, &request, "20150830T123600Z", &out),
                     RESULT_INTERNAL);
    buf_free(&out);
}

TEST(writes_dates)
{
    char date[AWS_SIGN_DATE_SIZE];
    aws_sign_date(1440938160, date);
    assert_string_equal(date, "20150830T123600Z");
    aws_sign_date(0, date);
    assert_string_equal(date, "19700101T000000Z");
}

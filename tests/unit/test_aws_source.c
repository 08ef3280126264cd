/* What the sources of credentials share, and the one that is the environment.
 */
#include "test.h"

#include <errno.h>
#include <sys/stat.h>

#include "aws/source.h"
#include "aws_files.h"
#include "base/mem.h"

/* 2100-01-01T00:00:00Z */
#define LATER 4102444800

static const struct aws_found nothing;

static void assert_nothing(const struct aws_found *found)
{
    assert_memory_equal(found, &nothing, sizeof(nothing));
}

/* ---- Keys ---------------------------------------------------------------- */

TEST(keys_are_copied)
{
    struct aws_found found;
    struct buf reason;
    char id[] = "AKID", secret[] = "a/secret+", token[] = "tok==";
    const struct aws_keys keys = {id, secret, token};
    buf_init(&reason, 1000);
    assert_int_equal(aws_found_take(&found, &keys, LATER, "profile p", &reason),
                     RESULT_OK);
    id[0] = secret[0] = token[0] = '?';
    assert_string_equal(found.id, "AKID");
    assert_string_equal(found.secret, "a/secret+");
    assert_string_equal(found.token, "tok==");
    assert_string_equal(found.where, "profile p");
    assert_int_equal(found.expires, LATER);
    assert_int_equal(reason.len, 0);
    aws_found_free(&found);
    assert_nothing(&found);
    aws_found_free(&found);

    const struct aws_keys lasting[] = {{id, secret, NULL}, {id, secret, ""}};
    for (size_t i = 0; i < COUNT(lasting); i++) {
        assert_int_equal(aws_found_take(&found, &lasting[i], 0, "x", &reason),
                         RESULT_OK);
        assert_null(found.token);
        aws_found_free(&found);
    }
    buf_free(&reason);
}

TEST(keys_that_cannot_be_sent_are_refused)
{
    static const struct {
        struct aws_keys keys;
        const char *reason;
    } cases[] = {
        {{NULL, "s", NULL}, "p: the access key id is missing"},
        {{"", "s", NULL}, "p: the access key id is missing"},
        {{"a", NULL, NULL}, "p: the secret access key is missing"},
        {{"a", "", "t"}, "p: the secret access key is missing"},
        {{"a\r\nHost: x", "s", NULL},
         "p: the access key id contains an invalid character"},
        {{"a", "hid den", NULL},
         "p: the secret access key contains an invalid character"},
        {{"a", "s", "hidden\n"},
         "p: the session token contains an invalid character"},
        {{"a", "s", "hidd\xc3\xa4n"},
         "p: the session token contains an invalid character"},
        {{"a", "s", "hidden\x7f"},
         "p: the session token contains an invalid character"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct aws_found found;
        struct buf reason;
        buf_init(&reason, 1000);
        assert_int_equal(
            aws_found_take(&found, &cases[i].keys, 0, "p", &reason),
            RESULT_DENIED);
        assert_string_equal(reason.data, cases[i].reason);
        assert_nothing(&found);
        buf_free(&reason);
    }
}

TEST(credentials_that_have_expired_are_refused)
{
    static const char *const cases[][2] = {
        {"2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"},
        /* Long ago is not never. */
        {"1970-01-01T00:00:00Z", "1970-01-01T00:00:01Z"},
        {"1960-01-01T00:00:00Z", "1970-01-01T00:00:01Z"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct aws_found found;
        struct buf reason;
        char *text = mem_printf("{\"AccessKeyId\": \"A\", "
                                "\"SecretAccessKey\": \"B\", "
                                "\"Expiration\": \"%s\"}",
                                cases[i][0]);
        char *expected = mem_printf(
            "it: expired at %s; is this host's clock right?", cases[i][1]);
        buf_init(&reason, 1000);
        assert_int_equal(
            aws_found_read_json(&found, text, strlen(text), 0, "it", &reason),
            RESULT_UNAVAILABLE);
        assert_string_equal(reason.data, expected);
        assert_nothing(&found);
        buf_free(&reason);
        free(expected);
        free(text);
    }
}

/* ---- JSON ---------------------------------------------------------------- */

#define AB "\"AccessKeyId\": \"A\", \"SecretAccessKey\": \"B\""

TEST(documents_are_read)
{
    static const struct {
        const char *text;
        const char *token; /* NULL: none */
        int64_t expires;
    } cases[] = {
        {"{" AB "}", NULL, 0},
        {" \n{" AB "}\r\n\t ", NULL, 0},
        {"{" AB ", \"Token\": \"T\"}", "T", 0},
        {"{" AB ", \"SessionToken\": \"T\"}", "T", 0},
        {"{" AB ", \"Token\": \"\"}", NULL, 0},
        {"{" AB ", \"Token\": null, \"Expiration\": null}", NULL, 0},
        {"{" AB ", \"Expiration\": \"2100-01-01T00:00:00Z\"}", NULL, LATER},
        {"{\"accesskeyid\": \"A\", \"SECRETACCESSKEY\": \"B\", "
         "\"token\": \"T\"}",
         "T", 0},
        {"{\"Code\": \"Success\", \"LastUpdated\": \"x\", \"Type\": "
         "\"AWS-HMAC\", " AB ", \"Token\": \"T\", \"n\": [1, {\"a\": "
         "\"b\"}, null]}",
         "T", 0},
        {"{\"AccessKeyId\": \"old\", " AB "}", NULL, 0},
        {"{\"Access\\u004beyId\": \"\\u0041\", \"SecretAccessKey\": \"B\"}",
         NULL, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct aws_found found;
        struct buf reason;
        buf_init(&reason, 1000);
        if (aws_found_read_json(&found, cases[i].text, strlen(cases[i].text), 0,
                                "it", &reason) != RESULT_OK)
            fail_msg("%s: %s", cases[i].text, reason.data);
        assert_string_equal(found.id, "A");
        assert_string_equal(found.secret, "B");
        assert_string_equal(found.where, "it");
        assert_int_equal(found.expires, cases[i].expires);
        if (cases[i].token == NULL)
            assert_null(found.token);
        else
            assert_string_equal(found.token, cases[i].token);
        aws_found_free(&found);
        buf_free(&reason);
    }
}

static void check_refused(const char *text, size_t len, const char *expected)
{
    struct aws_found found;
    struct buf reason;
    buf_init(&reason, 4000);
    if (aws_found_read_json(&found, text, len, 0, "it", &reason) !=
        RESULT_DENIED)
        fail_msg("%s was taken", text);
    assert_string_equal(reason.data, expected);
    assert_nothing(&found);
    buf_free(&reason);
}

TEST(other_documents_are_refused)
{
    static const char *const cases[][2] = {
        {"", "it is not a JSON object"},
        {"  ", "it is not a JSON object"},
        {"null", "it is not a JSON object"},
        {"[{" AB "}]", "it is not a JSON object"},
        {"\"hidden\"", "it is not a JSON object"},
        {"{" AB, "it is not a JSON object"},
        {"{" AB "} {}", "it is not a JSON object"},
        {"{" AB "} hidden", "it is not a JSON object"},
        {"{" AB ",}", "it is not a JSON object"},
        {"{'AccessKeyId': 'A', 'SecretAccessKey': 'B'}",
         "it is not a JSON object"},
        {"/* c */ {" AB "}", "it is not a JSON object"},
        {"{" AB ", \"x\": \"\xff\"}", "it is not a JSON object"},
        {"<html>", "it is not a JSON object"},
        {"{}", "it: the access key id is missing"},
        {"{\"AccessKeyId\": 5, \"SecretAccessKey\": \"hidden\"}",
         "it: the access key id is missing"},
        {"{\"AccessKeyId\": \"A\"}", "it: the secret access key is missing"},
        {"{\"AccessKeyId\": \"A\", \"SecretAccessKey\": \"hid\\u0000den\"}",
         "it: the secret access key is missing"},
        {"{\"AccessKeyId\": \"A\", \"SecretAccessKey\": \"hidden\\n\"}",
         "it: the secret access key contains an invalid character"},
        {"{" AB ", \"Expiration\": \"soon\"}",
         "it: Expiration is not an RFC 3339 time"},
        {"{" AB ", \"Expiration\": 1795417200}",
         "it: Expiration is not an RFC 3339 time"},
        {"{" AB ", \"Expiration\": \"\"}",
         "it: Expiration is not an RFC 3339 time"},
        {"{\"Code\": \"AssumeRoleUnauthorizedAccess\", \"Message\": "
         "\"EC2 cannot\\nassume\"}",
         "it answers with the code AssumeRoleUnauthorizedAccess"},
        {"{\"code\": \"Failed\"}", "it answers with the code Failed"},
        {"{\"Code\": \"t0ken/+==\"}", "it answers with a failure"},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        check_refused(cases[i][0], strlen(cases[i][0]), cases[i][1]);
    static const char nul[] = "{" AB "}\0{}";
    check_refused(nul, sizeof(nul) - 1, "it is not a JSON object");
    /* Only len bytes count. */
    check_refused("{" AB "}", 5, "it is not a JSON object");
}

TEST(odd_sizes_are_refused)
{
    enum { SIZE = (1 << 20) + 1 };
    char *text = mem_alloc(SIZE);
    memset(text, '[', SIZE);
    check_refused(text, SIZE - 1, "it is not a JSON object"); /* too deep */
    memset(text, ' ', SIZE);
    memcpy(text, "{" AB "}", strlen("{" AB "}"));
    check_refused(text, SIZE, "it is not a JSON object"); /* too long */
    free(text);

    /* What a service says is shown, but not at any length. */
    struct buf long_code;
    buf_init(&long_code, 2000);
    buf_add_str(&long_code, "{\"Code\": \"");
    for (int i = 0; i < 65; i++)
        buf_add_char(&long_code, 'x');
    buf_add_str(&long_code, "\"}");
    check_refused(long_code.data, long_code.len, "it answers with a failure");
    buf_free(&long_code);
}

TEST(a_process_says_its_version)
{
    static const struct {
        const char *text;
        bool good;
    } cases[] = {
        {"{\"Version\": 1, " AB "}", true},
        {"{" AB ", \"Version\": 1}", true},
        {"{" AB "}", false},
        {"{\"Version\": 2, " AB "}", false},
        {"{\"Version\": \"1\", " AB "}", false},
        {"{\"Version\": 1.0, " AB "}", false},
        {"{\"Version\": null, " AB "}", false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct aws_found found;
        struct buf reason;
        buf_init(&reason, 1000);
        enum result r = aws_found_read_json(
            &found, cases[i].text, strlen(cases[i].text), 1, "it", &reason);
        assert_int_equal(r, cases[i].good ? RESULT_OK : RESULT_DENIED);
        assert_string_equal(reason.data,
                            cases[i].good ? ""
                                          : "it does not have \"Version\": 1");
        assert_int_equal(found.id != NULL, cases[i].good);
        aws_found_free(&found);
        buf_free(&reason);
    }
}

/* ---- Files --------------------------------------------------------------- */

static int make_files(void **state)
{
    static struct aws_files f;
    *state = &f;
    return aws_files_make(&f);
}

static int remove_files(void **state)
{
    return aws_files_remove(*state);
}

EACH_TEST(make_files, remove_files)

TEST(small_files_are_read)
{
    struct aws_files *f = *state;
    static const char *const cases[][2] = {
        {"token", "token"},
        {"token\n", "token"},
        {"token \t\r\n\n", "token"},
        {" to\nken", " to\nken"},
        {"", ""},
        {"\n", ""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        write_file(f->other, cases[i][0]);
        char *text = aws_found_read_file(f->other, 20);
        assert_non_null(text);
        assert_string_equal(text, cases[i][1]);
        mem_free_secret(text);
    }
    char *empty = aws_found_read_file("/dev/null", 20);
    assert_non_null(empty);
    assert_string_equal(empty, "");
    mem_free_secret(empty);
}

TEST(other_files_are_not)
{
    struct aws_files *f = *state;
    assert_null(aws_found_read_file(f->other, 20));
    assert_int_equal(errno, ENOENT);
    assert_null(aws_found_read_file(f->home, 20));
    assert_int_equal(errno, EISDIR);
    assert_null(aws_found_read_file("/dev/zero", 20));
    assert_int_equal(errno, E2BIG);
    write_file(f->other, "01234567890123456789");
    char *whole = aws_found_read_file(f->other, 20);
    assert_non_null(whole);
    assert_string_equal(whole, "01234567890123456789");
    mem_free_secret(whole);
    assert_null(aws_found_read_file(f->other, 19));
    assert_int_equal(errno, E2BIG);
    write_bytes(f->other, "a\0b", 3);
    assert_null(aws_found_read_file(f->other, 20));
    assert_int_equal(errno, EILSEQ);
    /* Nobody waits for somebody who writes into it. */
    assert_int_equal(unlink(f->other), 0);
    assert_int_equal(mkfifo(f->other, 0600), 0);
    mem_free_secret(aws_found_read_file(f->other, 20));
}

/* ---- The environment ----------------------------------------------------- */

TEST(the_environment_is_a_source)
{
    static const struct {
        const char *id;
        const char *secret;
        const char *token;
        enum result result;
        const char *reason;
    } cases[] = {
        {"A", "B", "T", RESULT_OK, ""},
        {"A", "B", NULL, RESULT_OK, ""},
        {NULL, NULL, NULL, RESULT_NOT_FOUND, "AWS_ACCESS_KEY_ID is not set"},
        {NULL, "B", "T", RESULT_NOT_FOUND, "AWS_ACCESS_KEY_ID is not set"},
        {"A", NULL, "T", RESULT_DENIED,
         "AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY is not"},
        {"A", "hidden ", "T", RESULT_DENIED,
         "environment: the secret access key contains an invalid character"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct conf conf = {.aws_access_key_id = mem_dup(cases[i].id),
                            .aws_secret_access_key = mem_dup(cases[i].secret),
                            .aws_session_token = mem_dup(cases[i].token)};
        const struct aws_source_request request = {.conf = &conf};
        struct aws_found found;
        struct buf reason;
        buf_init(&reason, 1000);
        assert_int_equal(aws_source_environment(&request, &found, &reason),
                         cases[i].result);
        assert_string_equal(reason.data, cases[i].reason);
        if (cases[i].result == RESULT_OK) {
            assert_string_equal(found.id, "A");
            assert_string_equal(found.secret, "B");
            assert_string_equal(found.where, "environment");
            assert_int_equal(found.token != NULL, cases[i].token != NULL);
            assert_int_equal(found.expires, 0);
        } else {
            assert_nothing(&found);
        }
        aws_found_free(&found);
        buf_free(&reason);
        free(conf.aws_access_key_id);
        free(conf.aws_secret_access_key);
        free(conf.aws_session_token);
    }
}

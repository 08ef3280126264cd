/* Whom the container's source asks, and with which token. */
#include "test.h"

#include "aws/source.h"
#include "base/mem.h"

#define FULL     "AWS_CONTAINER_CREDENTIALS_FULL_URI"
#define RELATIVE "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"

/* Asks without any time, so that nobody is asked in fact: what may be asked is
 * RESULT_UNAVAILABLE, what must not is refused before. */
static enum result ask(const struct conf *conf, struct buf *reason)
{
    struct http_client *http = http_client_new(NULL, 1024);
    const struct aws_source_request request = {
        .conf = conf, .http = http, .deadline = 0};
    struct aws_found found;
    buf_reset(reason);
    enum result r = aws_source_container(&request, &found, reason);
    assert_null(found.id);
    assert_null(found.where);
    assert_true(reason->len > 0);
    http_client_free(http);
    return r;
}

static enum result ask_full(const char *url, struct buf *reason)
{
    struct conf conf = {.aws_container_credentials_full_uri = mem_dup(url)};
    enum result r = ask(&conf, reason);
    free(conf.aws_container_credentials_full_uri);
    return r;
}

static const char *const allowed[] = {
    "https://example.com/keys",
    "https://10.1.2.3:8443/keys?id=1",
    "HTTPS://example.com/",
    "http://127.0.0.1/keys",
    "http://127.0.0.1:8080",
    "http://127.200.3.4/?a=b@c",
    "http://localhost:1338/latest/keys",
    "http://LocalHost/",
    "http://[::1]:8080/",
    "http://169.254.170.2/v2/keys?id=1",
    "http://169.254.170.23/v1/credentials",
    "http://169.254.170.23:80/v1/credentials",
    "http://[fd00:ec2::23]/v1/credentials",
    "http://[FD00:EC2:0::0023]:80/v1/credentials",
};

static const char *const forbidden[] = {
    "http://example.com/",
    "http://10.1.2.3/",
    "http://169.254.169.254/",
    "http://169.254.170.3/",
    "http://169.254.170.230/",
    "http://169.254.170.2.example.com/",
    "http://127.0.0.1.example.com/",
    "http://localhost.example.com/",
    "http://[fd00:ec2::24]/",
    "http://[::ffff:10.1.2.3]/",
    "http://example.com/http://127.0.0.1/",
    "http://example.com?http://127.0.0.1/",
    "http://127.0.0.1@example.com/",
    "http://169.254.170.2@example.com/",
    "http://169.254.170.2:80@example.com/",
    "http://127.0.0.1#@example.com/",
    "http://127.0.0.1\\@example.com/",
    "http:/example.com/",
    "http:///example.com/",
    "ftp://127.0.0.1/",
    "file:///etc/passwd",
    "127.0.0.1/keys",
    "//127.0.0.1/keys",
    "/keys",
    "http://",
    "https://user:password@127.0.0.1/",
    "http://127.0.0.1/a b",
    "http://127.0.0.1/\xc3\xa9",
};

TEST(asks_only_whom_the_sdks_ask)
{
    struct buf reason;
    buf_init(&reason, 2048);
    for (size_t i = 0; i < COUNT(allowed); i++)
        if (ask_full(allowed[i], &reason) != RESULT_UNAVAILABLE)
            fail_msg("%s: %s", allowed[i], reason.data);
    for (size_t i = 0; i < COUNT(forbidden); i++) {
        if (ask_full(forbidden[i], &reason) != RESULT_DENIED)
            fail_msg("%s: %s", forbidden[i], reason.data);
        assert_memory_equal(reason.data, FULL, strlen(FULL));
        assert_null(strstr(reason.data, "password"));
    }
    buf_free(&reason);
}

TEST(takes_a_path_first)
{
    static const char *const no_paths[] = {
        "keys", "@example.com/", ":80/", "/a b", "/a#b", ".example.com/"};
    struct buf reason;
    buf_init(&reason, 2048);
    struct conf conf = {.aws_container_credentials_full_uri =
                            (char[]){"http://example.com/"}};
    conf.aws_container_credentials_relative_uri = (char[]){"/v2/keys?id=1"};
    assert_int_equal(ask(&conf, &reason), RESULT_UNAVAILABLE);
    assert_non_null(strstr(reason.data, RELATIVE));
    for (size_t i = 0; i < COUNT(no_paths); i++) {
        char *path = mem_dup(no_paths[i]);
        conf.aws_container_credentials_relative_uri = path;
        assert_int_equal(ask(&conf, &reason), RESULT_DENIED);
        assert_memory_equal(reason.data, RELATIVE, strlen(RELATIVE));
        free(path);
    }
    buf_free(&reason);
}

TEST(is_not_configured_by_a_token)
{
    struct buf reason;
    buf_init(&reason, 2048);
    const struct conf conf = {.aws_container_authorization_token =
                                  (char[]){"token"}};
    assert_int_equal(ask(&conf, &reason), RESULT_NOT_FOUND);
    assert_non_null(strstr(reason.data, FULL));
    assert_non_null(strstr(reason.data, RELATIVE));
    buf_free(&reason);
}

TEST(refuses_a_token_with_a_line_end)
{
    static const char *const tokens[] = {"a\r\nX-Evil: 1", "a\nb", "a\tb",
                                         "a\x7f"};
    struct buf reason;
    buf_init(&reason, 2048);
    struct conf conf = {.aws_container_credentials_full_uri =
                            (char[]){"http://127.0.0.1/"}};
    for (size_t i = 0; i < COUNT(tokens); i++) {
        char *token = mem_dup(tokens[i]);
        conf.aws_container_authorization_token = token;
        assert_int_equal(ask(&conf, &reason), RESULT_DENIED);
        assert_null(strstr(reason.data, "Evil"));
        free(token);
    }
    conf.aws_container_authorization_token = (char[]){"Basic YTpi Zm9v"};
    assert_int_equal(ask(&conf, &reason), RESULT_UNAVAILABLE);
    buf_free(&reason);
}

/* What is in the file counts, at each time that it is asked with. */
TEST(reads_the_token_file_each_time)
{
    char path[] = "/tmp/curt-token-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    struct buf reason;
    buf_init(&reason, 2048);
    const struct conf conf = {
        .aws_container_credentials_full_uri = (char[]){"http://127.0.0.1/"},
        .aws_container_authorization_token = (char[]){"of the variable"},
        .aws_container_authorization_token_file = path,
    };
    assert_int_equal(ask(&conf, &reason), RESULT_DENIED); /* empty */
    write_file(path, "token\n");
    assert_int_equal(ask(&conf, &reason), RESULT_UNAVAILABLE);
    write_file(path, "hid\rden\n");
    assert_int_equal(ask(&conf, &reason), RESULT_DENIED);
    assert_null(strstr(reason.data, "den"));
    unlink(path);
    assert_int_equal(ask(&conf, &reason), RESULT_DENIED);
    assert_non_null(strstr(reason.data, path));
    buf_free(&reason);
}

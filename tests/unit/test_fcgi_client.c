/* One FastCGI request, with a server that says what the test wants. The bytes
 * of a good one are compared with the specification's; that curt.fcgi answers
 * it is shown by the end-to-end tests. */
#include "test.h"

#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/mem.h"
#include "doctor/fcgi_client.h"

#define WAIT_MS 300

/* Answers one connection, and keeps what came over it. */
struct server {
    int listener;
    unsigned port;
    pthread_t thread;
    const char *answer;
    size_t len;
    bool hang; /* keep the connection open, without another word */
    char request[4096];
    size_t request_len;
};

static void *serve(void *argument)
{
    struct server *s = argument;
    int fd = accept(s->listener, NULL, NULL);
    ssize_t n;
    /* Up to the empty record of standard input. */
    static const char end[] = {1, 5, 0, 1, 0, 0, 0, 0};
    while ((s->request_len < sizeof(end) ||
            memcmp(s->request + s->request_len - sizeof(end), end,
                   sizeof(end)) != 0) &&
           (n = recv(fd, s->request + s->request_len,
                     sizeof(s->request) - s->request_len, 0)) > 0)
        s->request_len += (size_t)n;
    send(fd, s->answer, s->len, MSG_NOSIGNAL);
    char rest;
    if (s->hang)
        recv(fd, &rest, 1, 0); /* until the client gives up */
    close(fd);
    return NULL;
}

static void start(struct server *s, const char *answer, size_t len, bool hang)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *s = (struct server){.answer = answer, .len = len, .hang = hang};
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(s->listener, 1), 0);
    getsockname(s->listener, (struct sockaddr *)&address, &size);
    s->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void stop(struct server *s)
{
    pthread_join(s->thread, NULL);
    close(s->listener);
}

static struct buf answer;
static const char *reason;

static enum result ask(const char *address, int64_t deadline)
{
    return fcgi_client_send(address, "GET", "/t/x", deadline, &answer, &reason);
}

static enum result ask_with(const char *format, unsigned port)
{
    char address[64];
    snprintf(address, sizeof(address), "tcp:%s:%u", format, port);
    buf_reset(&answer);
    return ask(address, clock_monotonic_ms() + WAIT_MS);
}

static enum result ask_server(const char *bytes, size_t len, bool hang)
{
    struct server s;
    start(&s, bytes, len, hang);
    enum result r = ask_with("127.0.0.1", s.port);
    stop(&s);
    return r;
}

#define STDOUT_HI "\1\6\0\1\0\2\1\0hi\0"
#define STDERR_NO "\1\7\0\1\0\2\0\0no"
#define END       "\1\3\0\1\0\10\0\0\0\0\0\0\0\0\0\0"
#define ASK(text) ask_server(text, sizeof(text) - 1, false)

TEST(request_is_what_the_specification_says)
{
    static const char begin[] = "\1\1\0\1\0\10\0\0\0\1\0\0\0\0\0\0\1\4\0\1";
    static const char tail[] = "\1\4\0\1\0\0\0\0\1\5\0\1\0\0\0\0";
    static const char method[] = "\16\3REQUEST_METHODGET";
    static const char uri[] = "\13\4REQUEST_URI/t/x";
    struct server s;
    start(&s, STDOUT_HI END, sizeof(STDOUT_HI END) - 1, false);
    assert_int_equal(ask_with("127.0.0.1", s.port), RESULT_OK);
    stop(&s);
    assert_string_equal(answer.data, "hi");
    assert_memory_equal(s.request, begin, sizeof(begin) - 1);
    const size_t len = sizeof(tail) - 1;
    assert_memory_equal(s.request + s.request_len - len, tail, len);
    const size_t params = (size_t)((unsigned char)s.request[20] << 8 |
                                   (unsigned char)s.request[21]);
    assert_int_equal(s.request_len, 16 + 8 + params + 16);
    assert_non_null(memmem(s.request, s.request_len, method, 19));
    assert_non_null(memmem(s.request, s.request_len, uri, 17));
}

TEST(wildcard_is_loopback)
{
    struct server s;
    start(&s, STDOUT_HI END, sizeof(STDOUT_HI END) - 1, false);
    assert_int_equal(ask_with("0.0.0.0", s.port), RESULT_OK);
    stop(&s);
}

TEST(streams)
{
    assert_int_equal(ASK(STDERR_NO STDOUT_HI STDOUT_HI "\1\6\0\1\0\0\0\0" END),
                     RESULT_OK);
    assert_string_equal(answer.data, "hihi");
}

TEST(what_is_not_fastcgi)
{
    assert_int_equal(ASK("HTTP/1.1 400 Bad Request\r\n\r\n"), RESULT_CORRUPT);
    assert_int_equal(ASK("\1\6\0\2\0\2\1\0hi\0" END), RESULT_CORRUPT);
    assert_int_equal(ASK("\2\6\0\1\0\2\1\0hi\0" END), RESULT_CORRUPT);
    assert_int_equal(ASK("\1\13\0\1\0\0\0\0" END), RESULT_CORRUPT);
    assert_string_not_equal(reason, "");
}

TEST(cut_answers)
{
    static const char whole[] = STDOUT_HI END;
    for (size_t len = 0; len < sizeof(whole) - 1; len++)
        assert_int_equal(ask_server(whole, len, false), RESULT_UNAVAILABLE);
    assert_non_null(strstr(reason, "closed"));
}

TEST(silence)
{
    const int64_t begin = clock_monotonic_ms();
    assert_int_equal(ask_server(STDOUT_HI, 11, true), RESULT_UNAVAILABLE);
    assert_true(clock_monotonic_ms() - begin >= WAIT_MS);
    assert_string_equal(reason, "no answer in time");
}

/* The queue of a socket that nobody accepts from is full at once. */
TEST(full_queue)
{
    struct server s;
    int fds[64];
    start(&s, STDOUT_HI END, sizeof(STDOUT_HI END) - 1, false);
    assert_int_equal(ask_with("127.0.0.1", s.port), RESULT_OK);
    for (int i = 0; i < 64; i++) {
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)s.port)};
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(fds[i], (struct sockaddr *)&address, sizeof(address));
    }
    assert_int_equal(ask_with("127.0.0.1", s.port), RESULT_UNAVAILABLE);
    for (int i = 0; i < 64; i++)
        close(fds[i]);
    stop(&s);
}

TEST(nobody_listens)
{
    struct server s;
    start(&s, STDOUT_HI END, sizeof(STDOUT_HI END) - 1, false);
    assert_int_equal(ask_with("127.0.0.1", s.port), RESULT_OK);
    stop(&s);
    assert_int_equal(ask_with("127.0.0.1", s.port), RESULT_NOT_FOUND);
    assert_int_equal(
        ask("unix:/nonexistent/curt.sock", clock_monotonic_ms() + WAIT_MS),
        RESULT_NOT_FOUND);
}

TEST(bad_addresses)
{
    static const char *const bad[] = {"",
                                      "x",
                                      "unix:",
                                      "tcp:",
                                      "tcp:127.0.0.1",
                                      "tcp:127.0.0.1:",
                                      "tcp:127.0.0.1:70000",
                                      "tcp:localhost:80",
                                      "tcp:::1:80",
                                      "tcp:[::1]80",
                                      "tcp:[]:80",
                                      "tcp:[::1:80",
                                      "/run/curt.sock"};
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_int_equal(ask(bad[i], clock_monotonic_ms() + WAIT_MS),
                         RESULT_INVALID);
    char *path = mem_printf("unix:/%0200d", 0);
    assert_int_equal(ask(path, 0), RESULT_INVALID);
    free(path);
    char *uri = mem_printf("/%040000d", 0);
    assert_int_equal(
        fcgi_client_send("tcp:127.0.0.1:1", "GET", uri, 0, &answer, &reason),
        RESULT_INVALID);
    free(uri);
}

static void set(const char *text)
{
    buf_reset(&answer);
    buf_add_str(&answer, text);
}

static void assert_field(const char *name, const char *expected)
{
    char *value = fcgi_client_field(&answer, name);
    if (expected == NULL)
        assert_null(value);
    else
        assert_string_equal(value, expected);
    free(value);
}

TEST(cgi_response)
{
    set("Status: 405 Method Not Allowed\r\nAllow:  POST\r\nX:\r\n\r\nB: c\r\n");
    assert_int_equal(fcgi_client_status(&answer), 405);
    assert_field("allow", "POST");
    assert_field("x", "");
    assert_field("b", NULL);
    assert_field("All", NULL);
    set("Content-Type: text/plain\n\nhi");
    assert_int_equal(fcgi_client_status(&answer), 200);
    assert_field("Content-Type", "text/plain");
    set("Status: none\r\n\r\n");
    assert_int_equal(fcgi_client_status(&answer), 0);
    set("");
    assert_int_equal(fcgi_client_status(&answer), 0);
}

static int begin_all(void **state)
{
    (void)state;
    buf_init(&answer, FCGI_CLIENT_ANSWER_MAX);
    return 0;
}

static int end_all(void **state)
{
    (void)state;
    buf_free(&answer);
    return 0;
}

ALL_TESTS(begin_all, end_all)

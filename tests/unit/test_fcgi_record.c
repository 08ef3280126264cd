/* FastCGI records, byte by byte: what is a request, what is refused, and what
 * is answered. The same bytes in pieces of any size must mean the same. */
#include "test.h"

#include "http/fcgi_record.h"

#define BEGIN     "\1\1\0\1\0\10\0\0\0\1\0\0\0\0\0\0"
#define PARAMS    "\1\4\0\1\0\4\0\0\1\1ab"
#define NO_PARAMS "\1\4\0\1\0\0\0\0"
#define BODY      "\1\5\0\1\0\3\5\0xyz....."
#define NO_BODY   "\1\5\0\1\0\0\1\0."

#define EVENTS_MAX 8

/* What reading gave. */
struct reading {
    struct fcgi_reader reader;
    enum fcgi_event events[EVENTS_MAX];
    size_t count;
    size_t left; /* bytes behind the request */
};

/* Reads len bytes in pieces of step, up to the end of the request. */
static void read_all(struct reading *r, const char *data, size_t len,
                     size_t step)
{
    memset(r, 0, sizeof(*r));
    fcgi_reader_init(&r->reader);
    r->reader.body.max = 10;
    for (size_t at = 0; at < len; at += step) {
        /* In memory of its own, so that reading behind it is seen. */
        size_t n = len - at < step ? len - at : step;
        char *copy = malloc(n);
        memcpy(copy, data + at, n);
        const char *piece = copy;
        while (n > 0) {
            enum fcgi_event e = fcgi_read(&r->reader, &piece, &n);
            if (e != FCGI_MORE) {
                assert_true(r->count < EVENTS_MAX);
                r->events[r->count++] = e;
            }
            if (e == FCGI_BROKEN || r->reader.state == FCGI_WHOLE) {
                r->left = len - at - step + n;
                if (len - at < step)
                    r->left = n;
                free(copy);
                return;
            }
        }
        free(copy);
    }
}

static void check_events(const struct reading *r, size_t count, ...)
{
    va_list ap;
    va_start(ap, count);
    assert_int_equal(r->count, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(r->events[i], va_arg(ap, int));
    va_end(ap);
}

static void check_out(const struct reading *r, const char *bytes, size_t len)
{
    assert_int_equal(r->reader.out.len, len);
    assert_memory_equal(r->reader.out.data, bytes, len);
}

/* Each step: an array with its size, without the NUL. */
#define READ(r, bytes, step) read_all(r, bytes, sizeof(bytes) - 1, step)

TEST(record_request_in_pieces_of_any_size)
{
    static const char whole[] = BEGIN PARAMS NO_PARAMS BODY NO_BODY;
    for (size_t step = 1; step < sizeof(whole); step++) {
        struct reading r;
        READ(&r, whole, step);
        check_events(&r, 2, FCGI_HEAD, FCGI_END);
        assert_int_equal(r.reader.params.len, 4);
        assert_memory_equal(r.reader.params.data, "\1\1ab", 4);
        assert_string_equal(r.reader.body.data, "xyz");
        assert_false(r.reader.keep);
        assert_int_equal(r.reader.out.len, 0);
        fcgi_reader_free(&r.reader);
    }
}

TEST(record_rest_behind_a_request_is_left)
{
    struct reading r;
    READ(&r, BEGIN NO_PARAMS NO_BODY "\1\1\0", 1000);
    check_events(&r, 2, FCGI_HEAD, FCGI_END);
    assert_int_equal(r.left, 3);
    fcgi_reader_next(&r.reader);
    assert_int_equal(r.reader.state, FCGI_NONE);
    fcgi_reader_free(&r.reader);
}

TEST(record_discarded_body_is_not_kept)
{
    struct reading r;
    const char *rest = BODY NO_BODY;
    size_t len = sizeof(BODY NO_BODY) - 1;
    READ(&r, BEGIN NO_PARAMS, 100);
    r.reader.discard = true;
    assert_int_equal(fcgi_read(&r.reader, &rest, &len), FCGI_END);
    assert_int_equal(r.reader.body.len, 0);
    fcgi_reader_free(&r.reader);
}

TEST(record_too_long_a_body_fails_and_goes_on)
{
    struct reading r;
    READ(&r, BEGIN NO_PARAMS BODY BODY BODY BODY NO_BODY, 7);
    check_events(&r, 2, FCGI_HEAD, FCGI_END);
    assert_true(buf_failed(&r.reader.body));
    fcgi_reader_free(&r.reader);
}

TEST(record_too_long_parameters_are_refused)
{
    struct reading r;
    static char data[65536 + 8] = "\1\4\0\1\377\377\1";
    size_t total = 0;
    READ(&r, BEGIN, 16);
    for (;;) {
        const char *at = data;
        size_t len = sizeof(data);
        if (fcgi_read(&r.reader, &at, &len) == FCGI_BROKEN)
            break;
        total += 65535;
        assert_true(total <= FCGI_PARAMS_MAX);
    }
    assert_true(total + 65535 > FCGI_PARAMS_MAX);
    assert_true(fcgi_reader_memory(&r.reader) <= 2 * FCGI_PARAMS_MAX + 4096);
    fcgi_reader_free(&r.reader);
}

TEST(record_what_is_not_fastcgi_is_refused)
{
    static const struct {
        const char *bytes;
        size_t len;
    } cases[] = {
#define CASE(bytes) {bytes, sizeof(bytes) - 1}
        CASE("GET / HTTP/1.1\r\n"),
        CASE("\0\1\0\1\0\10\0\0\0\1\0\0\0\0\0\0"),
        CASE("\2\1\0\1\0\10\0\0\0\1\0\0\0\0\0\0"),
        CASE("\1\1\0\1\0\3\0\0\0\1\0"),
        CASE("\1\1\0\1\0\0\0\0"),
        CASE("\1\1\0\1\0\11\0\0\0\1\0\0\0\0\0\0\0"),
        CASE(BEGIN BEGIN),
        CASE(BEGIN BODY),
        CASE(BEGIN NO_BODY),
        CASE(BEGIN NO_PARAMS PARAMS),
        CASE("\1\11\0\0\0\3\0\0\3\1x"),
        CASE("\1\11\0\0\0\5\0\0\377\377\377\377x"),
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (size_t step = 1; step <= cases[i].len; step++) {
            struct reading r;
            read_all(&r, cases[i].bytes, cases[i].len, step);
            if (r.count == 0 || r.events[r.count - 1] != FCGI_BROKEN)
                fail_msg("case %zu, step %zu", i, step);
            fcgi_reader_free(&r.reader);
        }
    }
}

TEST(record_of_another_request_is_passed_over)
{
    struct reading r;
    READ(&r,
         PARAMS NO_BODY "\1\2\0\1\0\0\0\0" BEGIN "\1\4\0\2\0\1\0\0x" PARAMS
                        "\1\143\0\1\0\1\0\0x" NO_PARAMS
                        "\1\5\1\1\0\1\0\0x" NO_BODY,
         3);
    check_events(&r, 2, FCGI_HEAD, FCGI_END);
    assert_int_equal(r.reader.params.len, 4);
    assert_int_equal(r.reader.body.len, 0);
    fcgi_reader_free(&r.reader);
}

TEST(record_second_request_at_a_time_is_refused)
{
    struct reading r;
    READ(&r, BEGIN "\1\1\0\2\0\10\0\0\0\1\1\0\0\0\0\0" NO_PARAMS NO_BODY, 5);
    check_events(&r, 2, FCGI_HEAD, FCGI_END);
    check_out(&r, "\1\3\0\2\0\10\0\0\0\0\0\0\1\0\0\0", 16);
    assert_int_equal(r.reader.id, 1);
    assert_false(r.reader.keep);
    fcgi_reader_free(&r.reader);
}

TEST(record_other_role_is_refused)
{
    struct reading r;
    READ(&r, "\1\1\1\4\0\10\0\0\0\3\1\0\0\0\0\0", 16);
    check_events(&r, 1, FCGI_ABORTED);
    check_out(&r, "\1\3\1\4\0\10\0\0\0\0\0\0\3\0\0\0", 16);
    assert_true(r.reader.keep);
    fcgi_reader_free(&r.reader);
}

TEST(record_aborted_request_is_ended)
{
    struct reading r;
    READ(&r, BEGIN NO_PARAMS "\1\2\0\1\0\0\0\0", 1);
    check_events(&r, 2, FCGI_HEAD, FCGI_ABORTED);
    check_out(&r, "\1\3\0\1\0\10\0\0\0\0\0\0\0\0\0\0", 16);
    fcgi_reader_free(&r.reader);
}

TEST(record_management)
{
    struct reading r;
    READ(&r,
         "\1\11\0\0\0\44\0\0\17\0FCGI_MPXS_CONNS\16\0FCGI_MAX_CONNS\1\0"
         "x" BEGIN "\1\11\0\0\0\0\0\0"
         "\1\143\0\0\0\1\0\0x",
         4);
    check_events(&r, 0);
    check_out(&r,
              "\1\12\0\0\0\22\0\0\17\1FCGI_MPXS_CONNS0"
              "\1\12\0\0\0\0\0\0"
              "\1\13\0\0\0\10\0\0\143\0\0\0\0\0\0\0",
              26 + 8 + 16);
    assert_int_equal(r.reader.state, FCGI_IN_PARAMS);
    fcgi_reader_free(&r.reader);
}

TEST(record_pairs)
{
    static const char good[] = "\1\2abc\0\0\1\200\0\0\3xyz1";
    const char *at = good;
    size_t len = sizeof(good) - 1;
    struct fcgi_pair pair;
    assert_true(fcgi_next_pair(&at, &len, &pair));
    assert_int_equal(pair.name_len, 1);
    assert_int_equal(pair.value_len, 2);
    assert_memory_equal(pair.name, "abc", 3);
    assert_true(fcgi_next_pair(&at, &len, &pair));
    assert_int_equal(pair.name_len + pair.value_len, 0);
    assert_true(fcgi_next_pair(&at, &len, &pair));
    assert_int_equal(pair.value_len, 3);
    assert_memory_equal(pair.value, "yz1", 3);
    assert_false(fcgi_next_pair(&at, &len, &pair));
    assert_int_equal(len, 0);
}

TEST(record_lengths_of_pairs_that_lie)
{
    static const struct {
        const char *bytes;
        size_t len;
    } cases[] = {
        CASE("\1"),
        CASE("\1\1a"),
        CASE("\2\0a"),
        CASE("\200\0\0"),
        CASE("\1\200\0\0"),
        CASE("\377\377\377\377\1a"),
        CASE("\1\377\377\377\377a"),
        CASE("\377\377\377\377\377\377\377\377a"),
        CASE("\377\377\377\375\200\0\0\1a"),
        CASE("\200\0\0\1\377\377\377\376ab"),
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *copy = malloc(cases[i].len);
        memcpy(copy, cases[i].bytes, cases[i].len);
        const char *at = copy;
        size_t len = cases[i].len;
        struct fcgi_pair pair;
        assert_false(fcgi_next_pair(&at, &len, &pair));
        assert_int_equal(len, cases[i].len);
        free(copy);
    }
}

TEST(record_answer_of_any_size)
{
    static char content[150000];
    static const size_t sizes[] = {0, 1, 65528, 65529, 131056, 150000};
    for (size_t i = 0; i < sizeof(content); i++)
        content[i] = (char)(i * 7);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct buf out;
        buf_init(&out, FCGI_OUT_MAX);
        fcgi_add_answer(&out, 0x102, content, sizes[i]);
        assert_false(buf_failed(&out));
        const unsigned char *p = (const unsigned char *)out.data;
        size_t got = 0, n;
        do {
            assert_memory_equal(p, "\1\6\1\2", 4);
            assert_memory_equal(p + 6, "\0\0", 2);
            n = (size_t)(p[4] << 8 | p[5]);
            assert_memory_equal(p + 8, content + got, n);
            got += n;
            p += 8 + n;
        } while (n > 0);
        assert_int_equal(got, sizes[i]);
        assert_memory_equal(p, "\1\3\1\2\0\10\0\0\0\0\0\0\0\0\0\0", 16);
        assert_ptr_equal(p + 16, out.data + out.len);
        buf_free(&out);
    }
}

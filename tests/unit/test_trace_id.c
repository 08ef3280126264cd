/* Trace ids: which are taken over, and what new ones look like. */
#include "test.h"

#include "base/clock.h"
#include "http/trace_id.h"

static void assert_taken(const char *header)
{
    struct trace_id_source source = {.left = 0};
    char trace[TRACE_ID_MAX + 1];
    trace_id_choose(&source, header, trace);
    assert_string_equal(trace, header);
}

/* Asserts the form of a new id: Root=1-{8 hex}-{24 hex}, the time right. */
static void assert_new(const char *trace)
{
    assert_int_equal(strlen(trace), 40);
    assert_memory_equal(trace, "Root=1-", 7);
    assert_int_equal(trace[15], '-');
    assert_int_equal(strspn(trace + 7, "0123456789abcdef"), 8);
    assert_int_equal(strspn(trace + 16, "0123456789abcdef"), 24);
    int64_t made = (int64_t)strtoul(trace + 7, NULL, 16);
    assert_in_range(made, clock_now() - 5, clock_now());
}

static void assert_replaced(const char *header)
{
    struct trace_id_source source = {.left = 0};
    char trace[TRACE_ID_MAX + 1];
    trace_id_choose(&source, header, trace);
    assert_new(trace);
}

TEST(takes_over_what_is_printable)
{
    char longest[TRACE_ID_MAX + 1];
    assert_taken("Root=1-5bff2bce-7f3d8a6b1c2d3e4f5a6b7c8d");
    assert_taken("Root=1-67891233-abcdef012345678912345678;"
                 "Parent=53995c3f42cd8ad8;Sampled=1");
    assert_taken("Self=1-67891234-12456789abcdef012345678;Root=1-67891233-"
                 "abcdef012345678912345678;CalledFrom=app");
    assert_taken("x");
    assert_taken(" ");
    assert_taken("\"'<>&\\%s~");
    memset(longest, 'a', TRACE_ID_MAX);
    longest[TRACE_ID_MAX] = '\0';
    assert_taken(longest);
}

TEST(replaces_all_else)
{
    char too_long[TRACE_ID_MAX + 2];
    assert_replaced(NULL);
    assert_replaced("");
    assert_replaced("a\r\nX-Evil: 1");
    assert_replaced("a\nb");
    assert_replaced("\ta");
    assert_replaced("a\x7f");
    assert_replaced("caf\xc3\xa9");
    assert_replaced("\xff");
    for (char c = 1; c < 0x20; c++) {
        const char header[] = {'a', c, '\0'};
        assert_replaced(header);
    }
    memset(too_long, 'a', TRACE_ID_MAX + 1);
    too_long[TRACE_ID_MAX + 1] = '\0';
    assert_replaced(too_long);
}

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

TEST(new_ids_differ)
{
    enum { N = 20000 };
    static char ids[N][TRACE_ID_MAX + 1];
    struct trace_id_source source = {.left = 0};
    for (int i = 0; i < N; i++) {
        trace_id_choose(&source, NULL, ids[i]);
        assert_int_equal(strlen(ids[i]), 40);
    }
    assert_new(ids[N - 1]);
    qsort(ids, N, sizeof(ids[0]), compare);
    for (int i = 1; i < N; i++)
        if (strcmp(ids[i - 1], ids[i]) == 0)
            fail_msg("%s came twice", ids[i]);
}

TEST(two_processes_share_no_ids)
{
    struct trace_id_source a = {.left = 0}, b = {.left = 0};
    char of_a[TRACE_ID_MAX + 1], of_b[TRACE_ID_MAX + 1];
    for (int i = 0; i < 200; i++) {
        trace_id_choose(&a, NULL, of_a);
        trace_id_choose(&b, NULL, of_b);
        assert_string_not_equal(of_a + 16, of_b + 16);
    }
}

/* The growing buffer: its maximum, its failure, its final NUL. */
#include "test.h"

#include "base/buf.h"

/* Asserts what the buffer holds, and that a NUL follows it. */
static void assert_holds(const struct buf *b, const char *text)
{
    assert_int_equal(b->len, strlen(text));
    assert_string_equal(b->data, text);
    assert_false(buf_failed(b));
}

TEST(is_a_string_before_the_first_append)
{
    struct buf b;
    buf_init(&b, 10);
    assert_holds(&b, "");
    buf_free(&b);
}

TEST(appends_in_order)
{
    struct buf b;
    buf_init(&b, 100);
    buf_add(&b, "abc", 2);
    buf_add_str(&b, "cd");
    buf_add_char(&b, 'e');
    buf_addf(&b, "%d%s", 42, "!");
    assert_holds(&b, "abcde42!");
    buf_free(&b);
}

TEST(takes_bytes_with_nul)
{
    struct buf b;
    buf_init(&b, 10);
    buf_add(&b, "a\0b", 3);
    buf_add_char(&b, '\0');
    assert_int_equal(b.len, 4);
    assert_memory_equal(b.data, "a\0b\0", 5);
    buf_free(&b);
}

TEST(fills_up_to_the_maximum_exactly)
{
    struct buf b;
    buf_init(&b, 5);
    buf_add_str(&b, "12345");
    assert_holds(&b, "12345");
    buf_add(&b, "", 0);
    assert_holds(&b, "12345");
    buf_add_char(&b, '6');
    assert_true(buf_failed(&b));
    assert_string_equal(b.data, "12345");
    buf_free(&b);
}

TEST(append_over_the_maximum_changes_nothing)
{
    struct buf b;
    buf_init(&b, 5);
    buf_add_str(&b, "123");
    buf_add_str(&b, "456");
    assert_true(buf_failed(&b));
    assert_int_equal(b.len, 3);
    assert_string_equal(b.data, "123");
    /* It would have fitted; but what is missing before it cannot be told. */
    buf_add_char(&b, 'x');
    assert_string_equal(b.data, "123");
    buf_addf(&b, "%d", 1);
    assert_string_equal(b.data, "123");
    buf_free(&b);
}

TEST(formatted_append_keeps_the_maximum)
{
    struct buf b;
    buf_init(&b, 5);
    buf_addf(&b, "%05d", 7);
    assert_holds(&b, "00007");
    buf_reset(&b);
    buf_addf(&b, "%06d", 7);
    assert_true(buf_failed(&b));
    assert_int_equal(b.len, 0);
    buf_free(&b);
}

TEST(maximum_of_nothing_takes_nothing)
{
    struct buf b;
    buf_init(&b, 0);
    buf_add(&b, NULL, 0);
    assert_holds(&b, "");
    buf_add_char(&b, 'a');
    assert_true(buf_failed(&b));
    assert_string_equal(b.data, "");
    buf_free(&b);
}

TEST(reset_empties_and_forgives)
{
    struct buf b;
    buf_init(&b, 4);
    buf_add_str(&b, "12345");
    assert_true(buf_failed(&b));
    buf_reset(&b);
    assert_holds(&b, "");
    buf_add_str(&b, "1234");
    assert_holds(&b, "1234");
    buf_reset(&b);
    assert_holds(&b, "");
    buf_free(&b);
}

TEST(can_be_used_again_after_free)
{
    struct buf b;
    buf_init(&b, 4);
    buf_add_str(&b, "1234");
    buf_free(&b);
    assert_holds(&b, "");
    buf_add_str(&b, "5678");
    assert_holds(&b, "5678");
    buf_add_char(&b, '9');
    assert_true(buf_failed(&b));
    buf_wipe(&b);
    assert_holds(&b, "");
    buf_wipe(&b);
    buf_free(&b);
}

TEST(truncates_but_never_grows)
{
    struct buf b;
    buf_init(&b, 10);
    buf_truncate(&b, 0);
    buf_add_str(&b, "12345");
    buf_truncate(&b, 6);
    assert_holds(&b, "12345");
    buf_truncate(&b, 5);
    assert_holds(&b, "12345");
    buf_truncate(&b, 2);
    assert_holds(&b, "12");
    buf_add_char(&b, 'x');
    assert_holds(&b, "12x");
    buf_truncate(&b, 0);
    assert_holds(&b, "");
    buf_free(&b);
}

TEST(grows_to_a_megabyte)
{
    const size_t size = 1u << 20;
    struct buf b;
    buf_init(&b, size);
    for (size_t i = 0; i < size; i++)
        buf_add_char(&b, (char)('a' + i % 26));
    assert_int_equal(b.len, size);
    assert_false(buf_failed(&b));
    for (size_t i = 0; i < size; i++)
        if (b.data[i] != (char)('a' + i % 26))
            fail_msg("byte %zu is %d", i, b.data[i]);
    assert_int_equal(b.data[size], 0);
    buf_add_char(&b, 'x');
    assert_true(buf_failed(&b));
    buf_free(&b);
}

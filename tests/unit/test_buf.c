/* The growing buffer: its maximum, its failure, its final NUL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "buf.h"

/* Asserts what the buffer holds, and that a NUL follows it. */
static void assert_holds(const struct buf *b, const char *text)
{
    assert_int_equal(b->len, strlen(text));
    assert_string_equal(b->data, text);
    assert_false(buf_failed(b));
}

static void is_a_string_before_the_first_append(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    assert_holds(&b, "");
    buf_free(&b);
}

static void appends_in_order(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    buf_add(&b, "abc", 2);
    buf_add_str(&b, "cd");
    buf_add_char(&b, 'e');
    buf_addf(&b, "%d%s", 42, "!");
    assert_holds(&b, "abcde42!");
    buf_free(&b);
}

static void takes_bytes_with_nul(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    buf_add(&b, "a\0b", 3);
    buf_add_char(&b, '\0');
    assert_int_equal(b.len, 4);
    assert_memory_equal(b.data, "a\0b\0", 5);
    buf_free(&b);
}

static void fills_up_to_the_maximum_exactly(void **state)
{
    (void)state;
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

static void append_over_the_maximum_changes_nothing(void **state)
{
    (void)state;
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

static void formatted_append_keeps_the_maximum(void **state)
{
    (void)state;
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

static void maximum_of_nothing_takes_nothing(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 0);
    buf_add(&b, NULL, 0);
    assert_holds(&b, "");
    buf_add_char(&b, 'a');
    assert_true(buf_failed(&b));
    assert_string_equal(b.data, "");
    buf_free(&b);
}

static void reset_empties_and_forgives(void **state)
{
    (void)state;
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

static void can_be_used_again_after_free(void **state)
{
    (void)state;
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

static void truncates_but_never_grows(void **state)
{
    (void)state;
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

static void grows_to_a_megabyte(void **state)
{
    (void)state;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_a_string_before_the_first_append),
        cmocka_unit_test(appends_in_order),
        cmocka_unit_test(takes_bytes_with_nul),
        cmocka_unit_test(fills_up_to_the_maximum_exactly),
        cmocka_unit_test(append_over_the_maximum_changes_nothing),
        cmocka_unit_test(formatted_append_keeps_the_maximum),
        cmocka_unit_test(maximum_of_nothing_takes_nothing),
        cmocka_unit_test(reset_empties_and_forgives),
        cmocka_unit_test(can_be_used_again_after_free),
        cmocka_unit_test(truncates_but_never_grows),
        cmocka_unit_test(grows_to_a_megabyte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

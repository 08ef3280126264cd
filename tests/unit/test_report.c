/* The lines of `curt doctor`. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "report.h"

static void test_lines_are_kept_in_order(void **state)
{
    (void)state;
    struct report r;
    report_init(&r);
    assert_int_equal(report_worst(&r), REPORT_OK);
    report_add(&r, REPORT_OK, "one", NULL, "%d and %s", 1, "two");
    report_add(&r, REPORT_WARN, "two", "do this", "that");
    assert_int_equal(r.count, 2);
    assert_string_equal(r.lines[0].check, "one");
    assert_string_equal(r.lines[0].detail, "1 and two");
    assert_null(r.lines[0].advice);
    assert_int_equal(r.lines[1].level, REPORT_WARN);
    assert_string_equal(r.lines[1].advice, "do this");
    report_free(&r);
    assert_int_equal(r.count, 0);
}

static void test_the_worst_counts(void **state)
{
    (void)state;
    struct report r;
    report_init(&r);
    report_add(&r, REPORT_OK, "a", NULL, "a");
    assert_int_equal(report_worst(&r), REPORT_OK);
    report_add(&r, REPORT_WARN, "b", NULL, "b");
    assert_int_equal(report_worst(&r), REPORT_WARN);
    report_add(&r, REPORT_FAIL, "c", NULL, "c");
    report_add(&r, REPORT_OK, "d", NULL, "d");
    assert_int_equal(report_worst(&r), REPORT_FAIL);
    report_free(&r);
}

/* What a server sends must not reach the terminal as it came. */
static void test_texts_are_made_harmless(void **state)
{
    (void)state;
    struct report r;
    report_init(&r);
    report_add(&r, REPORT_FAIL, "a", "x\x1b[2Jy\nz", "%s",
               "\x1b]0;t\x07\x7f|\xc2\x9b|\xc3\xa9|\xff|\xc2");
    assert_string_equal(r.lines[0].detail,
                        "\\x1b]0;t\\x07\\x7f|\\xc2\\x9b|\xc3\xa9|\\xff|\\xc2");
    assert_string_equal(r.lines[0].advice, "x\\x1b[2Jy z");
    report_free(&r);
}

static void test_long_texts_are_cut(void **state)
{
    (void)state;
    struct report r;
    char *text = malloc(100001);
    assert_non_null(text);
    memset(text, 'a', 100000);
    text[100000] = '\0';
    report_init(&r);
    report_add(&r, REPORT_FAIL, "a", NULL, "%s", text);
    report_add(&r, REPORT_FAIL, "a", NULL, "%s", "");
    assert_int_equal(strlen(r.lines[0].detail), 8192);
    assert_string_equal(r.lines[1].detail, "");
    report_free(&r);
    free(text);
}

static void test_errors_are_taken_apart(void **state)
{
    (void)state;
    struct report r;
    report_init(&r);
    report_add_error(&r, REPORT_FAIL, "a", "general", "broken; mend it");
    report_add_error(&r, REPORT_FAIL, "a", "general", "this; that; mend 100%d");
    report_add_error(&r, REPORT_WARN, "a", "general", "broken 100%s");
    report_add_error(&r, REPORT_WARN, "a", NULL, "broken");
    assert_string_equal(r.lines[0].detail, "broken");
    assert_string_equal(r.lines[0].advice, "mend it");
    assert_string_equal(r.lines[1].detail, "this; that");
    assert_string_equal(r.lines[1].advice, "mend 100%d");
    assert_string_equal(r.lines[2].detail, "broken 100%s");
    assert_string_equal(r.lines[2].advice, "general");
    assert_int_equal(r.lines[2].level, REPORT_WARN);
    assert_null(r.lines[3].advice);
    report_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_are_kept_in_order),
        cmocka_unit_test(test_the_worst_counts),
        cmocka_unit_test(test_texts_are_made_harmless),
        cmocka_unit_test(test_long_texts_are_cut),
        cmocka_unit_test(test_errors_are_taken_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The lines of `curt doctor`. */
#include "test.h"

#include "base/report.h"

TEST(lines_are_kept_in_order)
{
    struct report r = {0};
    assert_int_equal(r.worst, REPORT_OK);
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

TEST(the_worst_counts)
{
    struct report r = {0};
    report_add(&r, REPORT_OK, "a", NULL, "a");
    assert_int_equal(r.worst, REPORT_OK);
    report_add(&r, REPORT_WARN, "b", NULL, "b");
    assert_int_equal(r.worst, REPORT_WARN);
    report_add(&r, REPORT_FAIL, "c", NULL, "c");
    report_add(&r, REPORT_OK, "d", NULL, "d");
    assert_int_equal(r.worst, REPORT_FAIL);
    report_free(&r);
}

/* What a server sends must not reach the terminal as it came. */
TEST(texts_are_made_harmless)
{
    struct report r = {0};
    report_add(&r, REPORT_FAIL, "a", "x\x1b[2Jy\nz", "%s",
               "\x1b]0;t\x07\x7f|\xc2\x9b|\xc3\xa9|\xff|\xc2");
    assert_string_equal(r.lines[0].detail,
                        "\\x1b]0;t\\x07\\x7f|\\xc2\\x9b|\xc3\xa9|\\xff|\\xc2");
    assert_string_equal(r.lines[0].advice, "x\\x1b[2Jy z");
    report_free(&r);
}

TEST(long_texts_are_cut)
{
    struct report r = {0};
    char *text = malloc(100001);
    assert_non_null(text);
    memset(text, 'a', 100000);
    text[100000] = '\0';
    report_add(&r, REPORT_FAIL, "a", NULL, "%s", text);
    report_add(&r, REPORT_FAIL, "a", NULL, "%s", "");
    assert_int_equal(strlen(r.lines[0].detail), 8192);
    assert_string_equal(r.lines[1].detail, "");
    report_free(&r);
    free(text);
}

TEST(errors_are_taken_apart)
{
    struct report r = {0};
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

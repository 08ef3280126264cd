/*
 * What unit tests share. A file test_MODULE.c is a group of cases:
 *
 *     #include "test.h"
 *
 *     #include "base/buf.h"
 *
 *     TEST(keeps_its_limit)
 *     {
 *         assert_...(...);
 *     }
 *
 * and has one line in Makefile.am, in the program of its layer. The case has
 * the name "MODULE.keeps_its_limit". Each group runs in its own process, so a
 * change of the environment, of signals or of static data ends with it.
 */
#ifndef CURT_TEST_H
#define CURT_TEST_H

/* cmocka.h needs the first four. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Defines a case; its body may use state, which a set-up has filled. */
#define TEST(what)                                                             \
    static void test_##what(void **state);                                     \
    __attribute__((constructor)) static void add_test_##what(void)             \
    {                                                                          \
        static struct test_case test = {                                       \
            .file = __FILE__,                                                  \
            .line = __LINE__,                                                  \
            .name = #what,                                                     \
            .run = test_##what,                                                \
        };                                                                     \
        test_add(&test);                                                       \
    }                                                                          \
    static void test_##what(__attribute__((unused)) void **state)

/* Before and after each case of the file, and before its first and after its
 * last. At most one of each; NULL for nothing. */
#define EACH_TEST(set_up, tear_down) TEST_FIXTURE(TEST_EACH, set_up, tear_down)
#define ALL_TESTS(set_up, tear_down) TEST_FIXTURE(TEST_ALL, set_up, tear_down)

#define TEST_FIXTURE(kind, before, after)                                      \
    __attribute__((constructor)) static void add_##kind(void)                  \
    {                                                                          \
        static struct test_fixture fixture = {                                 \
            .file = __FILE__,                                                  \
            .scope = kind,                                                     \
            .set_up = before,                                                  \
            .tear_down = after,                                                \
        };                                                                     \
        test_add_fixture(&fixture);                                            \
    }

/* Writes a whole file, or fails the case. */
void write_file(const char *path, const char *text);
void write_bytes(const char *path, const void *bytes, size_t len);

/* The path of a new directory, valid until the next call. It is removed with
 * its contents when the program ends. */
const char *temp_dir(void);

/* Removes a directory and its contents. */
void remove_dir(const char *path);

/* Between the two, standard error goes to a file. end_capture() puts its first
 * size - 1 bytes into out, adds a NUL and returns their number. */
void start_capture(void);
size_t end_capture(char *out, size_t size);

/* ---- Used by the macros above ---------------------------------------- */

struct test_case {
    const char *file;
    int line;
    const char *name;
    CMUnitTestFunction run;
    struct test_case *next;
};

enum test_scope { TEST_EACH, TEST_ALL };

struct test_fixture {
    const char *file;
    enum test_scope scope;
    CMFixtureFunction set_up, tear_down;
    struct test_fixture *next;
};

void test_add(struct test_case *test);
void test_add_fixture(struct test_fixture *fixture);

#endif

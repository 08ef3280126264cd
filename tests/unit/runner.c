/*
 * The main program of the unit tests:
 *
 *     test_base               runs all cases
 *     test_base 'buf.reset*' utf8
 *                             runs those with one of the patterns in their name
 *     test_base -l [PATTERN...]
 *                             lists them
 */
#include <fnmatch.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "test.h"

#define CASES_MAX 200 /* of one file */

/* Cases wait for states as long as it takes; a file that takes longer than this
 * hangs. */
#define HANGS_SECONDS 600

static struct test_case *cases;
static struct test_fixture *fixtures;

static char base_dir[] = "/tmp/curt-test-XXXXXX";

/* Called before main(); sorts by file and line. */
void test_add(struct test_case *test)
{
    struct test_case **at = &cases;
    while (*at != NULL &&
           (strcmp((*at)->file, test->file) < 0 ||
            (strcmp((*at)->file, test->file) == 0 && (*at)->line < test->line)))
        at = &(*at)->next;
    test->next = *at;
    *at = test;
}

void test_add_fixture(struct test_fixture *fixture)
{
    fixture->next = fixtures;
    fixtures = fixture;
}

static struct test_fixture find_fixture(const char *file, enum test_scope scope)
{
    for (const struct test_fixture *f = fixtures; f != NULL; f = f->next)
        if (f->scope == scope && strcmp(f->file, file) == 0)
            return *f;
    return (struct test_fixture){.file = file};
}

const char *temp_dir(void)
{
    static char path[sizeof(base_dir) + 7];
    snprintf(path, sizeof(path), "%s/XXXXXX", base_dir);
    assert_non_null(mkdtemp(path));
    return path;
}

/* The name of a case of tests/unit/test_buf.c is "buf." and its own. */
static char *full_name(const struct test_case *test)
{
    char *name;
    const char *slash = strrchr(test->file, '/');
    const char *file = slash != NULL ? slash + 1 : test->file;
    if (strncmp(file, "test_", 5) == 0)
        file += 5;
    if (asprintf(&name, "%.*s.%s", (int)strcspn(file, "."), file, test->name) <
        0)
        abort();
    return name;
}

/* Whether one of the patterns matches a part of the name, or there is none. */
static bool is_selected(const char *name, char *const *patterns)
{
    bool selected = *patterns == NULL;
    for (char *const *p = patterns; *p != NULL && !selected; p++) {
        char *part;
        if (asprintf(&part, "*%s*", *p) < 0)
            abort();
        selected = fnmatch(part, name, 0) == 0;
        free(part);
    }
    return selected;
}

/* Takes the first group, the cases of one file, from the list: puts those that
 * are selected into group, with names to be freed, and returns their number. */
static size_t take_group(struct test_case **list, char *const *patterns,
                         struct CMUnitTest *group)
{
    const char *file = (*list)->file;
    const struct test_fixture each = find_fixture(file, TEST_EACH);
    size_t count = 0;
    for (; *list != NULL && strcmp((*list)->file, file) == 0;
         *list = (*list)->next) {
        char *name = full_name(*list);
        if (!is_selected(name, patterns)) {
            free(name);
            continue;
        }
        if (count == CASES_MAX)
            abort();
        group[count++] = (struct CMUnitTest){.name = name,
                                             .test_func = (*list)->run,
                                             .setup_func = each.set_up,
                                             .teardown_func = each.tear_down};
    }
    return count;
}

/* Runs a group in a child, which ends with this process. Returns whether all
 * cases passed. */
static bool run_group(const char *file, const struct CMUnitTest *group,
                      size_t count)
{
    int status;
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        const struct test_fixture whole = find_fixture(file, TEST_ALL);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(HANGS_SECONDS);
        exit(_cmocka_run_group_tests(file, group, count, whole.set_up,
                                     whole.tear_down) != 0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child) {
        perror(file);
        return false;
    }
    if (WIFSIGNALED(status))
        fprintf(stderr, "%s: killed by signal %d\n", file, WTERMSIG(status));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int main(int argc, char **argv)
{
    static struct CMUnitTest group[CASES_MAX];
    const bool list = argc > 1 && strcmp(argv[1], "-l") == 0;
    bool passed = true, found = false;
    /* Open to other users: some cases give up root. */
    if (mkdtemp(base_dir) == NULL || chmod(base_dir, 0711) < 0) {
        perror(base_dir);
        return 1;
    }
    for (struct test_case *next = cases; next != NULL;) {
        const char *file = next->file;
        const size_t count = take_group(&next, argv + 1 + list, group);
        if (!list && count > 0)
            passed = run_group(file, group, count) && passed;
        for (size_t i = 0; i < count; i++) {
            if (list)
                puts(group[i].name);
            free((char *)group[i].name);
        }
        found = found || count > 0;
    }
    remove_dir(base_dir);
    if (!found)
        fprintf(stderr, "%s: no such case\n", argv[0]);
    return passed && found ? 0 : 1;
}

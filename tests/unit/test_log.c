/* The log, as it arrives on standard error. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/log.h"

static char captured[65536];

static int set_up(void **state)
{
    (void)state;
    log_open("worker");
    log_set_level(LOG_LEVEL_INFO);
    log_set_trace(NULL);
    return 0;
}

EACH_TEST(set_up, NULL)

/* Logs message at level info and returns the line. */
static const char *line_of(const char *message)
{
    start_capture();
    log_open("worker");
    log_info("%s", message);
    end_capture(captured, sizeof(captured));
    return captured;
}

/* Asserts that the line ends with msg="expected" and a newline. */
static void assert_message(const char *line, const char *expected)
{
    const char *at = strstr(line, " msg=\"");
    assert_non_null(at);
    at += strlen(" msg=\"");
    size_t len = strlen(expected);
    if (strncmp(at, expected, len) != 0 || strcmp(at + len, "\"\n") != 0)
        fail_msg("%s instead of %s", at, expected);
}

TEST(a_line_has_its_fields_in_order)
{
    int year, month, day, hour, minute, second, taken = 0;
    long pid;
    const char *line = line_of("hello");
    assert_int_equal(sscanf(line,
                            "time=%4d-%2d-%2dT%2d:%2d:%2dZ level=info "
                            "proc=worker pid=%ld msg=\"hello\"\n%n",
                            &year, &month, &day, &hour, &minute, &second, &pid,
                            &taken),
                     7);
    assert_int_equal(taken, strlen(line));
    assert_int_equal(pid, getpid());
    assert_in_range(year, 2018, 9999);
    assert_false(log_is_system());
}

TEST(levels_are_named_and_filtered)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    for (int level = 0; level < 4; level++) {
        start_capture();
        log_set_level((enum log_level)level);
        log_error("m0");
        log_warning("m1");
        log_info("m2");
        log_debug("m3");
        end_capture(captured, sizeof(captured));
        const char *s = captured;
        for (int i = 0; i <= level; i++) {
            char want[60];
            snprintf(want, sizeof(want), " level=%s proc=worker ", names[i]);
            assert_non_null(strstr(s, want));
            snprintf(want, sizeof(want), " msg=\"m%d\"\n", i);
            const char *end = strstr(s, want);
            assert_non_null(end);
            s = end + strlen(want);
        }
        assert_string_equal(s, "");
    }
}

TEST(the_trace_id_is_in_each_line)
{
    log_set_trace("Root=1-2-3;x=\"y\\\"");
    const char *line = line_of("m");
    assert_non_null(
        strstr(line, " trace_id=\"Root=1-2-3;x=\\\"y\\\\\\\"\" msg=\"m\"\n"));
    log_set_trace(NULL);
    assert_null(strstr(line_of("m"), "trace_id"));
}

TEST(what_could_forge_a_line_is_escaped)
{
    static const char *const cases[][2] = {
        {"a\nlevel=error", "a\\x0alevel=error"},
        {"a\r\n", "a\\x0d\\x0a"},
        {"\" msg=\"x", "\\\" msg=\\\"x"},
        {"a\\", "a\\\\"},
        {"\t\x01\x1f\x7f", "\\x09\\x01\\x1f\\x7f"},
        {"\x1b[31mred", "\\x1b[31mred"},
        {"\xc3\xa9\x80\xff", "\\xc3\\xa9\\x80\\xff"},
        {"\xe2\x80\xa8", "\\xe2\\x80\\xa8"}, /* U+2028 LINE SEPARATOR */
        {"%s%n", "%s%n"},
        {"", ""},
        {" ~", " ~"},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_message(line_of(cases[i][0]), cases[i][1]);
}

/* Asserts that the capture is one whole line of printable ASCII. */
static void assert_one_line(size_t len)
{
    assert_in_range(len, 1, LOG_LINE_MAX);
    assert_int_equal(captured[len - 1], '\n');
    assert_int_equal(captured[len - 2], '"');
    assert_memory_equal(captured, "time=", 5);
    for (size_t i = 0; i + 1 < len; i++)
        assert_in_range(captured[i], 0x20, 0x7e);
}

TEST(long_messages_are_cut_within_one_line)
{
    static const char fills[] = {'a', '"', '\n', (char)0xff};
    static const size_t sizes[] = {100,  1000, 2046, 2047,
                                   2048, 4096, 5000, 60000};
    static char message[60001], trace[257];
    memset(trace, '"', 256);
    for (size_t f = 0; f < sizeof(fills); f++) {
        for (size_t i = 0; i < COUNT(sizes); i++) {
            memset(message, fills[f], sizes[i]);
            message[sizes[i]] = '\0';
            log_set_trace(i % 2 == 0 ? trace : NULL);
            line_of(message);
            assert_one_line(strlen(captured));
        }
    }
}

TEST(an_escape_is_never_cut_in_two)
{
    char message[4000];
    for (size_t lead = 0; lead < 8; lead++) {
        memset(message, 'a', lead);
        memset(message + lead, '\n', sizeof(message) - lead - 1);
        message[sizeof(message) - 1] = '\0';
        const char *s = strstr(line_of(message), " msg=\"") + 6 + lead;
        while (*s == '\\') {
            assert_memory_equal(s, "\\x0a", 4);
            s += 4;
        }
        assert_string_equal(s, "\"\n");
    }
}

TEST(errno_survives)
{
    start_capture();
    close(STDERR_FILENO);
    errno = ENOENT;
    log_error("into nowhere");
    int after = errno;
    end_capture(captured, sizeof(captured));
    assert_int_equal(after, ENOENT);
    assert_string_equal(captured, "");
}

/* Exit status of a process in which standard error is as the function leaves
 * it: 1 if the log goes to syslog then, 0 if not. */
static int syslog_after(void (*arrange)(void))
{
    pid_t pid = fork();
    if (pid == 0) {
        arrange();
        log_open("worker");
        _exit(log_is_system() ? 1 : 0);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void close_stderr(void)
{
    close(STDERR_FILENO);
}

static void lead_to(const char *path, int flags)
{
    int fd = open(path, flags);
    if (fd < 0 || dup2(fd, STDERR_FILENO) < 0)
        _exit(2);
}

static void lead_to_null(void)
{
    lead_to("/dev/null", O_WRONLY);
}

static void lead_to_zero(void)
{
    lead_to("/dev/zero", O_WRONLY);
}

TEST(goes_to_syslog_where_stderr_leads_nowhere)
{
    assert_int_equal(syslog_after(close_stderr), 1);
    assert_int_equal(syslog_after(lead_to_null), 1);
    assert_int_equal(syslog_after(lead_to_zero), 0);
}

TEST(lines_for_the_journal_begin_with_the_priority)
{
    static const char *const lines[] = {"<3>level=error ", "<6>level=info "};
    struct stat st;
    char stream[64];
    const char *at = captured;
    start_capture();
    assert_int_equal(fstat(STDERR_FILENO, &st), 0);
    snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev,
             (uintmax_t)st.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    log_open("worker");
    assert_true(log_is_system());
    log_error("m0");
    log_info("m1");
    setenv("JOURNAL_STREAM", "1:1", 1);
    log_open("worker");
    assert_false(log_is_system());
    log_info("m2");
    unsetenv("JOURNAL_STREAM");
    end_capture(captured, sizeof(captured));
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(strncmp(at, lines[i], strlen(lines[i])), 0);
        at = strchr(at, '\n') + 1;
    }
    assert_int_equal(strncmp(at, "time=", 5), 0);
}

TEST(lines_of_many_processes_do_not_mix)
{
    enum { PROCESSES = 8, LINES = 50 };
    char message[1001];
    char path[] = "/tmp/curt-test-log-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    memset(message, 'x', sizeof(message) - 1);
    message[sizeof(message) - 1] = '\0';
    for (int p = 0; p < PROCESSES; p++) {
        if (fork() == 0) {
            fcntl(fd, F_SETFL, O_APPEND);
            dup2(fd, STDERR_FILENO);
            for (int i = 0; i < LINES; i++)
                log_info("%s", message);
            _exit(0);
        }
    }
    for (int p = 0; p < PROCESSES; p++) {
        int status;
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    FILE *in = fdopen(fd, "r");
    assert_non_null(in);
    rewind(in);
    int lines = 0;
    while (fgets(captured, sizeof(captured), in) != NULL) {
        assert_one_line(strlen(captured));
        assert_null(strstr(captured + 5, "time="));
        lines++;
    }
    fclose(in);
    assert_int_equal(lines, PROCESSES * LINES);
}

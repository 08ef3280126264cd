/* credential_process: what the command is given, what is taken from it, and
 * that nothing is left of it. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "aws/source.h"
#include "base/clock.h"
#include "base/mem.h"

/* Long enough for any command here that ends by itself, in milliseconds. */
#define LONG 20000

struct fixture {
    struct buf out;
    struct buf reason;
};

static int set_up(void **state)
{
    static struct fixture f;
    buf_init(&f.out, 4096);
    buf_init(&f.reason, 1000);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    buf_wipe(&f->out);
    buf_free(&f->reason);
    return 0;
}

EACH_TEST(set_up, tear_down)

static enum result run(struct fixture *f, const char *command, int64_t ms)
{
    return aws_source_run(command, clock_monotonic_ms() + ms, &f->out,
                          &f->reason);
}

static void assert_prints(struct fixture *f, const char *command,
                          const char *expected)
{
    buf_reset(&f->out);
    if (run(f, command, LONG) != RESULT_OK)
        fail_msg("%s: %s", command, f->reason.data);
    assert_string_equal(f->out.data, expected);
    assert_int_equal(f->reason.len, 0);
}

TEST(its_output_is_taken)
{
    struct fixture *f = *state;
    assert_prints(f, "printf '{\"Version\": 1}'", "{\"Version\": 1}");
    assert_prints(f, "true", "");
    assert_prints(f, "printf a; sleep 0.1; printf b", "ab");
    assert_prints(f, "printf \"%s\" 'it  is a \"shell'", "it  is a \"shell");
    /* Behind what is there. */
    buf_reset(&f->out);
    buf_add_str(&f->out, "before ");
    assert_int_equal(run(f, "printf after", LONG), RESULT_OK);
    assert_string_equal(f->out.data, "before after");
}

TEST(it_has_no_input_and_no_error_output)
{
    struct fixture *f = *state;
    assert_prints(f, "cat; echo end", "end\n");
    assert_prints(f, "readlink /proc/$$/fd/0 /proc/$$/fd/2",
                  "/dev/null\n/dev/null\n");
    assert_prints(f, "echo out; echo secret >&2", "out\n");
}

TEST(it_inherits_no_descriptor)
{
    struct fixture *f = *state;
    int fd = open("/dev/null", O_RDONLY); /* without O_CLOEXEC */
    assert_true(fd > 2);
    assert_int_equal(dup2(fd, 200), 200);
    char *command = mem_printf("for i in %d 200; do test -e /proc/$$/fd/$i && "
                               "echo $i; done; echo end",
                               fd);
    assert_prints(f, command, "end\n");
    free(command);
    close(200);
    close(fd);
}

/* A set of signals of a command, without the two that belong to libc's
 * threads, which nobody can set. */
static uint64_t signals_of_child(struct fixture *f, const char *which)
{
    char *command = mem_printf("grep %s /proc/self/status", which);
    buf_reset(&f->out);
    assert_int_equal(run(f, command, LONG), RESULT_OK);
    free(command);
    assert_int_equal(strncmp(f->out.data, which, strlen(which)), 0);
    uint64_t set = strtoull(f->out.data + strlen(which) + 1, NULL, 16);
    return set & ~((uint64_t)3 << 31);
}

/* The janitor blocks TERM, a worker ignores SIGPIPE. */
TEST(its_signals_are_the_usual_ones)
{
    struct fixture *f = *state;
    sigset_t some, before;
    sigemptyset(&some);
    sigaddset(&some, SIGTERM);
    sigaddset(&some, SIGINT);
    sigaddset(&some, SIGUSR1);
    assert_int_equal(sigprocmask(SIG_BLOCK, &some, &before), 0);
    void (*pipe_before)(int) = signal(SIGPIPE, SIG_IGN);
    void (*quit_before)(int) = signal(SIGQUIT, SIG_IGN);
    assert_int_equal(signals_of_child(f, "SigBlk"), 0);
    assert_int_equal(signals_of_child(f, "SigIgn"), 0);
    signal(SIGPIPE, pipe_before);
    signal(SIGQUIT, quit_before);
    assert_int_equal(sigprocmask(SIG_SETMASK, &before, NULL), 0);
}

TEST(it_leads_a_group_of_its_own)
{
    struct fixture *f = *state;
    assert_prints(f, "test $(cut -d' ' -f5 /proc/$$/stat) = $$ && printf leads",
                  "leads");
}

TEST(a_status_is_a_fault)
{
    struct fixture *f = *state;
    static const struct {
        const char *command;
        const char *says;
    } cases[] = {
        {"printf hidden; exit 3", "the command ended with status 3"},
        {"/no/such/hidden", "the command ended with status 127"},
        {"printf hidden; kill -9 $$", "the command was ended by signal 9"},
        {"if hidden", "the command ended with status 2"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        buf_reset(&f->reason);
        assert_int_equal(run(f, cases[i].command, LONG), RESULT_DENIED);
        char *whole = mem_printf("%s; run it as user %u to see why",
                                 cases[i].says, (unsigned)geteuid());
        assert_string_equal(f->reason.data, whole);
        assert_int_equal(f->out.len, 0);
        free(whole);
    }
}

TEST(only_so_much_is_taken)
{
    struct fixture *f = *state;
    buf_init(&f->out, 10);
    assert_prints(f, "printf 0123456789", "0123456789");
    buf_reset(&f->out);
    assert_int_equal(run(f, "printf 0123456789a", LONG), RESULT_DENIED);
    assert_string_equal(f->reason.data,
                        "the command printed more than 10 bytes");
    assert_int_equal(f->out.len, 0);
    buf_reset(&f->reason);
    /* Ended then, and not at its deadline. */
    assert_int_equal(run(f, "yes; echo hidden", LONG), RESULT_DENIED);
}

/* ---- Time --------------------------------------------------------------- */

/* Whether all who had path, a FIFO that somebody had, open have ended. */
static bool is_let_go(int fifo)
{
    struct pollfd ready = {.fd = fifo, .events = POLLIN};
    return poll(&ready, 1, 50000) == 1 && (ready.revents & POLLHUP) != 0;
}

/* At the deadline, it and what it has started are ended. */
TEST(nothing_outlives_the_deadline)
{
    struct fixture *f = *state;
    char dir[] = "/tmp/curt-test-process-XXXXXX";
    assert_non_null(mkdtemp(dir));
    char *fifo = mem_printf("%s/fifo", dir);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    int fd = open(fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(fd >= 0);
    static const char *const formats[] = {
        "trap '' TERM; sleep 60 >%s & sleep 60", "printf hidden; sleep 60 >%s",
        "exec >%s; sleep 60", /* has closed the pipe */
    };
    for (size_t i = 0; i < COUNT(formats); i++) {
        struct buf command;
        buf_init(&command, 1000);
        const char *place = strstr(formats[i], "%s");
        buf_add(&command, formats[i], (size_t)(place - formats[i]));
        buf_add_str(&command, fifo);
        buf_add_str(&command, place + 2);
        int64_t begin = clock_monotonic_ms();
        assert_int_equal(run(f, command.data, 300), RESULT_UNAVAILABLE);
        assert_in_range(clock_monotonic_ms() - begin, 290, 50000);
        assert_string_equal(f->reason.data, "the command did not end in time");
        assert_int_equal(f->out.len, 0);
        assert_true(is_let_go(fd));
        buf_reset(&f->reason);
        buf_free(&command);
    }
    close(fd);
    unlink(fifo);
    free(fifo);
    rmdir(dir);
}

TEST(a_deadline_that_is_over_ends_it_at_once)
{
    struct fixture *f = *state;
    int64_t begin = clock_monotonic_ms();
    assert_int_equal(run(f, "sleep 60", -1000), RESULT_UNAVAILABLE);
    assert_true(clock_monotonic_ms() - begin < 50000);
}

/* ---- The process that asks ---------------------------------------------- */

TEST(other_children_are_not_waited_for)
{
    struct fixture *f = *state;
    pid_t other = fork();
    if (other == 0)
        _exit(7);
    assert_true(other > 0);
    assert_prints(f, "sleep 0.1; printf x", "x");
    int status = 0;
    assert_int_equal(waitpid(other, &status, 0), other);
    assert_int_equal(WEXITSTATUS(status), 7);
    /* Its own has been. */
    assert_int_equal(waitpid(-1, &status, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

TEST(an_ignored_sigchld_does_no_harm)
{
    struct fixture *f = *state;
    void (*before)(int) = signal(SIGCHLD, SIG_IGN);
    assert_prints(f, "printf x", "x");
    signal(SIGCHLD, before);
}

/* A program that nobody may trace, without any standard stream. */
static int odd_process(struct fixture *f)
{
    prctl(PR_SET_DUMPABLE, 0);
    close(0);
    close(1);
    close(2);
    enum result r = run(f, "cat; printf out; echo err >&2", LONG);
    return r == RESULT_OK && strcmp(f->out.data, "out") == 0 ? 0 : 1;
}

TEST(it_works_without_standard_streams)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(odd_process(*state));
    int status = 1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void *run_often(void *argument)
{
    const char *number = argument;
    char *command = mem_printf("printf %s", number);
    for (int i = 0; i < 20 && argument != NULL; i++) {
        struct fixture f;
        buf_init(&f.out, 100);
        buf_init(&f.reason, 1000);
        if (run(&f, command, LONG) != RESULT_OK ||
            strcmp(f.out.data, number) != 0)
            argument = NULL;
        buf_free(&f.out);
        buf_free(&f.reason);
    }
    free(command);
    return argument;
}

TEST(threads_do_not_mix_them_up)
{
    char numbers[4][4] = {"100", "200", "300", "400"};
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(
            pthread_create(&threads[i], NULL, run_often, numbers[i]), 0);
    for (size_t i = 0; i < 4; i++) {
        void *good;
        assert_int_equal(pthread_join(threads[i], &good), 0);
        assert_non_null(good);
    }
}

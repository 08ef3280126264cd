#include "janitor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "mem.h"
#include "store.h"

/* How often the lock is tried, in milliseconds. */
#define LOCK_MS 1000

/* How often expired links are looked for; how many are removed in one
 * transaction, so that none is long; and the rest between two. */
#define EXPIRE_MS       5000
#define EXPIRE_AT_ONCE  100
#define EXPIRE_PAUSE_MS 50

/* Takes the lock. Returns its descriptor, or -1 with errno EWOULDBLOCK when
 * another process has it. */
static int try_lock(const struct conf *conf)
{
    char *path = mem_printf("%s/janitor.lock", conf->state_dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    free(path);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0) {
        int reason = errno;
        close(fd);
        errno = reason;
        fd = -1;
    }
    return fd;
}

static void stop_set(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGUSR1);
}

/* Sleeps; false when a signal asks for the end. The signals are blocked and
 * only taken here, so none is missed and no work is interrupted. */
static bool rest(long ms)
{
    sigset_t set;
    stop_set(&set);
    const struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    return sigtimedwait(&set, NULL, &time) < 0;
}

/* Removes what has expired, in small steps. False when asked to end. */
static bool expire_links(struct store *store)
{
    unsigned removed, sum = 0;
    do {
        enum result r =
            store_expire(store, clock_now(), EXPIRE_AT_ONCE, &removed);
        if (r != RESULT_OK) {
            log_warning("expired links were not removed (%s): %s",
                        result_text(r), store_error(store));
            return true;
        }
        sum += removed;
        if (!rest(EXPIRE_PAUSE_MS))
            return false;
    } while (removed == EXPIRE_AT_ONCE);
    if (sum > 0)
        log_info("%u expired links removed", sum);
    return true;
}

static void work(const struct conf *conf)
{
    struct store *store = store_new(conf);
    while (expire_links(store) && rest(EXPIRE_MS))
        continue;
    store_free(store);
}

static void say_no_lock(const struct conf *conf, bool *said)
{
    if (*said || errno == EWOULDBLOCK)
        return;
    *said = true;
    log_warning("%s/janitor.lock: %s; nothing is tidied up until it can be "
                "locked",
                conf->state_dir, strerror(errno));
}

int janitor_run(const struct conf *conf, bool patient)
{
    sigset_t set;
    stop_set(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGHUP, SIG_IGN);
    log_open("janitor");
    bool said = false;
    int lock = try_lock(conf);
    while (lock < 0 && patient) {
        say_no_lock(conf, &said);
        if (!rest(LOCK_MS))
            return 0;
        lock = try_lock(conf);
    }
    if (lock < 0)
        return 0;
    work(conf);
    close(lock);
    return 0;
}

static void exec_janitor(const char *conf_file, pid_t worker)
{
    /* The janitor must not hold the web server's socket open. */
    int null = open("/dev/null", O_RDWR);
    dup2(null, STDIN_FILENO);
    prctl(PR_SET_PDEATHSIG, SIGUSR1);
    if (getppid() != worker)
        _exit(0);
    if (conf_file != NULL)
        execl("/proc/self/exe", "curt.fcgi", "-j", "-c", conf_file, NULL);
    else
        execl("/proc/self/exe", "curt.fcgi", "-j", NULL);
    _exit(127);
}

/* Whether the janitor that this worker started is still there. Until it has
 * been waited for, its process id is nobody else's. */
static bool is_alive(struct janitor_watch *watch)
{
    if (watch->janitor > 0 && waitpid(watch->janitor, NULL, WNOHANG) != 0)
        watch->janitor = 0;
    return watch->janitor > 0;
}

void janitor_watch(struct janitor_watch *watch, const struct conf *conf,
                   const char *conf_file)
{
    int64_t now = clock_monotonic_ms();
    if (now < watch->next_ms)
        return;
    watch->next_ms = now + LOCK_MS;
    if (is_alive(watch))
        return;
    int lock = try_lock(conf);
    if (lock < 0)
        return;
    close(lock); /* free: the new process takes it */
    pid_t worker = getpid();
    pid_t pid = fork();
    if (pid == 0)
        exec_janitor(conf_file, worker);
    if (pid > 0)
        watch->janitor = pid;
    else
        log_warning("no janitor could be started: %s", strerror(errno));
}

void janitor_renew(struct janitor_watch *watch)
{
    if (is_alive(watch))
        kill(watch->janitor, SIGUSR1);
    watch->next_ms = 0;
}

#include "doctor_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "fcgi_client.h"
#include "mem.h"
#include "sockname.h"

/* How long the workers may take, in milliseconds. */
#define SOCKET_MS 5000

/* Connections that should fit into the queue of the socket; mod_fcgid makes one
 * socket for each process, for one connection at a time, with a queue of 5. */
#define BACKLOG_LEAST 511
#define BACKLOG_FCGID 5

/* A request to the workers and their answer. */
struct exchange {
    enum result result;
    int status;
    int64_t ms;
    struct buf answer;
    struct buf reason;
};

static void add_socket_fault(struct doctor *d, const char *address,
                             enum result r, const char *reason)
{
    enum report_level level = REPORT_FAIL;
    const char *advice;
    if (r == RESULT_NOT_FOUND && !d->running && !d->hidden)
        return;
    if (r == RESULT_NOT_FOUND && d->running) {
        /* With mod_fcgid each process has a socket of its own for a while. */
        level = REPORT_WARN;
        advice = "nothing to do where the web server starts curt.fcgi itself "
                 "and \"redirect\" is ok; otherwise restart the pool";
    } else if (r == RESULT_NOT_FOUND) {
        advice = "start the pool: nobody listens there any more";
    } else if (r == RESULT_DENIED && d->root < 0 && geteuid() != 0) {
        level = REPORT_WARN;
        advice = "run curt doctor as root";
    } else if (r == RESULT_DENIED || r == RESULT_CORRUPT ||
               r == RESULT_INVALID) {
        advice = "another program uses the address: start the pool on one "
                 "of its own";
    } else {
        advice = "the workers are stuck, or too few: see the log of "
                 "curt.fcgi, -w, and FCGI_WEB_SERVER_ADDRS";
    }
    report_add(d->report, level, "socket", advice, "%s: %s", address, reason);
}

/* Connects with the rights of the pool's user, or lets root's process connect
 * where the socket belongs to the web server's account (spawn-fcgi -U). A path
 * that another user than root wrote down is not trusted by anybody else. */
static enum result connect_to_workers(const struct doctor *d,
                                      const char *address, int64_t deadline,
                                      int *fd, struct buf *reason)
{
    struct doctor_listener listener;
    struct stat st = {.st_uid = 0};
    enum result r = RESULT_DENIED;
    char *file = mem_printf("%s/socket", d->conf->runtime_dir);
    const bool path = strncmp(address, "unix:", 5) == 0 && address[5] != '@';
    const bool foreign = path && lstat(file, &st) == 0 && st.st_uid != 0 &&
                         st.st_uid != geteuid();
    free(file);
    if (!foreign)
        r = fcgi_client_connect(address, deadline, fd, reason);
    if (r != RESULT_DENIED)
        return r;
    *fd = doctor_ask_root(d, st.st_uid, address + strlen("unix:"));
    if (*fd >= 0)
        return RESULT_OK;
    const bool found = doctor_find_listener(address, &listener);
    buf_reset(reason);
    buf_add_str(reason, found ? "no process of the pool's user listens there"
                              : strerror(ECONNREFUSED));
    return found ? RESULT_DENIED : RESULT_NOT_FOUND;
}

/* Starts x over with the answer to a request. */
static void ask_workers(const struct doctor *d, const char *address,
                        const char *method, const char *uri, struct exchange *x)
{
    int fd;
    const int64_t begin = clock_monotonic_ms();
    const int64_t deadline = begin + SOCKET_MS;
    buf_reset(&x->answer);
    x->result = connect_to_workers(d, address, deadline, &fd, &x->reason);
    if (x->result == RESULT_OK)
        x->result =
            fcgi_client_ask(fd, method, uri, deadline, &x->answer, &x->reason);
    x->ms = clock_monotonic_ms() - begin;
    x->status = x->result == RESULT_OK ? fcgi_client_status(&x->answer) : 0;
}

static bool has_field(const struct exchange *x, const char *name,
                      const char *wanted)
{
    char *value = fcgi_client_field(&x->answer, name);
    const bool has = value != NULL && strcmp(value, wanted) == 0;
    free(value);
    return has;
}

/* The probe through a worker: whether it uses the store that this tool uses.
 * HEAD, which is not counted. */
static void check_same_store(struct doctor *d, const char *address,
                             struct exchange *x)
{
    const char *host = strstr(d->conf->app_url, "://") + 3;
    char *uri = mem_printf("%s%s", host + strcspn(host, "/"), d->probe.id);
    ask_workers(d, address, "HEAD", uri, x);
    if (x->status == 404) {
        doctor_wait_for_link(d, &d->probe);
        ask_workers(d, address, "HEAD", uri, x);
    }
    if (x->result != RESULT_OK)
        add_socket_fault(d, address, x->result, x->reason.data);
    else if (x->status == 301 && has_field(x, "Location", d->probe.target))
        report_add(d->report, REPORT_OK, "socket", NULL,
                   "%s: the workers have the same store, and find the probe in "
                   "%lld ms",
                   address, (long long)x->ms);
    else if (x->status == 404)
        report_add(d->report, REPORT_FAIL, "socket",
                   "restart the pool: APP_URL, TABLE or STATE_DIR have changed "
                   "since its start",
                   "%s: the workers do not find the probe", address);
    else
        report_add(d->report, REPORT_FAIL, "socket", "see the log of curt.fcgi",
                   "%s: the workers answer %d instead of the probe's redirect",
                   address, x->status);
    free(uri);
}

/* The kernel cuts the queue that listen(2) requests to net.core.somaxconn,
 * without an error. */
static void check_backlog(struct doctor *d, const char *address)
{
    static const char proc[] = "/proc/sys/net/core/somaxconn";
    struct doctor_listener listener;
    unsigned limit = 0;
    if (!doctor_find_listener(address, &listener) ||
        listener.backlog >= BACKLOG_LEAST || listener.backlog == BACKLOG_FCGID)
        return;
    FILE *f = fopen(proc, "re");
    if (f == NULL || fscanf(f, "%u", &limit) != 1)
        limit = 0;
    if (f != NULL)
        fclose(f);
    report_add(
        d->report, REPORT_WARN, "socket",
        limit > 0 && limit < BACKLOG_LEAST
            ? "sysctl -w net.core.somaxconn=1024 (and put it into "
              "/etc/sysctl.d/), then restart the pool with spawn-fcgi -b 1024"
            : "restart the pool with spawn-fcgi -b 1024",
        "%s: its queue holds %u connections%s; in a burst of visitors the web "
        "server cannot connect and answers 502 or 503",
        address, listener.backlog,
        limit > 0 && limit < BACKLOG_LEAST
            ? ", because net.core.somaxconn allows no more"
            : "");
}

static bool is_open_to_network(const char *address)
{
    return strncmp(address, "tcp:", 4) == 0 &&
           strncmp(address, "tcp:127.", 8) != 0 &&
           strncmp(address, "tcp:[::1]:", 10) != 0 &&
           getenv("FCGI_WEB_SERVER_ADDRS") == NULL;
}

void doctor_check_socket(struct doctor *d)
{
    struct exchange x = {.result = RESULT_OK};
    char *address = sockname_read(d->conf);
    if (address == NULL && !d->running)
        return;
    if (address == NULL) {
        report_add(d->report, REPORT_WARN, "socket",
                   "restart the pool, and check that it can write RUNTIME_DIR",
                   "%s/socket: %s: where the workers listen is not known",
                   d->conf->runtime_dir, strerror(errno));
        return;
    }
    buf_init(&x.answer, FCGI_CLIENT_ANSWER_MAX);
    buf_init(&x.reason, 256);
    if (is_open_to_network(address))
        report_add(d->report, REPORT_WARN, "socket",
                   "listen on a Unix socket or on 127.0.0.1",
                   "%s: FastCGI has no password, and other hosts may reach it",
                   address);
    ask_workers(d, address, "GET", "/create", &x);
    if (x.result != RESULT_OK)
        add_socket_fault(d, address, x.result, x.reason.data);
    else if (x.status != 405 || !has_field(&x, "Allow", "POST"))
        add_socket_fault(d, address, RESULT_CORRUPT,
                         "what answers there is not curt");
    else if (d->probe.stored)
        check_same_store(d, address, &x);
    else
        report_add(d->report, REPORT_OK, "socket", NULL,
                   "%s: the workers answer in %lld ms", address,
                   (long long)x.ms);
    if (x.result == RESULT_OK)
        check_backlog(d, address);
    buf_free(&x.answer);
    buf_free(&x.reason);
    free(address);
}

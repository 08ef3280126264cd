#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "config/sockname.h"
#include "doctor/checks.h"
#include "doctor/fcgi_client.h"
#include "service/hits.h"

/* How long a janitor may take to start, which waits for the disk, and how long
 * the workers may take to answer, in milliseconds. */
#define JANITOR_MS 6000
#define SOCKET_MS  5000

#define POLL_MS 50

/* The longest HITS_FLUSH that is waited for, in seconds, and what a flush may
 * take beyond it, in milliseconds. */
#define FLUSH_MAX    10
#define FLUSH_MARGIN 2000

#define MIB (1024 * 1024)

/* What the file of the cache may have above CACHE_SIZE, in bytes. */
#define CACHE_SLACK (2 * MIB)

/* Connections that should fit into the queue of the socket; mod_fcgid makes one
 * socket for each process, for one connection at a time, with a queue of 5. */
#define BACKLOG_LEAST 511
#define BACKLOG_FCGID 5

/* ---- The processes --------------------------------------------------- */

void doctor_find_pool(struct doctor *d)
{
    struct stat st;
    char *lock = mem_printf("%s/janitor.lock", d->conf->state_dir);
    char *note = mem_printf("%s/socket", d->conf->runtime_dir);
    /* Non-blocking, in case it is a FIFO. The janitor's lock is exclusive; this
     * one is shared, so two doctors do not see each other as a janitor. */
    int fd = open(lock, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    d->hidden = fd < 0 && errno == EACCES;
    d->running =
        fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
    if (fd >= 0)
        close(fd);
    d->user_known = stat(d->conf->state_dir, &st) == 0;
    if (d->user_known)
        d->user = d->runner = st.st_uid;
    if (d->running && lstat(note, &st) == 0)
        d->runner = st.st_uid;
    if (d->user == 0)
        d->user = d->runner;
    free(d->user_name);
    d->user_name = d->user_known ? doctor_user_name(d->user) : mem_dup("curt");
    free(note);
    free(lock);
}

/* Sets name to the pool's unit of systemd, such as "curt@test", which has the
 * RUNTIME_DIR. False: systemd does not run here, or has no such unit. */
static bool find_unit(const struct doctor *d, char *name, size_t size)
{
    static const char *const dirs[] = {"/etc", "/lib"};
    const char *dir = d->conf->runtime_dir;
    const size_t len = strlen(CURT_RUNSTATEDIR "/curt");
    bool found = false;
    if (strncmp(dir, CURT_RUNSTATEDIR "/curt", len) != 0 ||
        (dir[len] != '\0' && dir[len] != '-') ||
        access("/run/systemd/system", F_OK) != 0)
        return false;
    const bool instance = dir[len] == '-';
    for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]) && !found; i++) {
        char *path = mem_printf("%s/systemd/system/curt%s.service", dirs[i],
                                instance ? "@" : "");
        found = access(path, F_OK) == 0;
        free(path);
    }
    snprintf(name, size, "curt%s%s", instance ? "@" : "",
             instance ? dir + len + 1 : "");
    return found;
}

void doctor_check_pool(struct doctor *d)
{
    char unit[128];
    const bool has_unit = find_unit(d, unit, sizeof(unit));
    /* A request may have started a worker, and that starts a janitor. */
    const bool woken = !d->running && doctor_wake_pool(d);
    const int64_t end = clock_monotonic_ms() + (woken ? JANITOR_MS : 0);
    while (!d->running && clock_monotonic_ms() < end) {
        clock_pause_ms(POLL_MS);
        doctor_find_pool(d);
    }
    if (d->hidden)
        report_add(d->report, REPORT_WARN, "pool", "run curt doctor as root",
                   "%s/janitor.lock: %s: cannot see whether curt.fcgi runs",
                   d->conf->state_dir, strerror(EACCES));
    else if (!d->running) {
        char *advice =
            has_unit
                ? mem_printf("systemctl start %s; if it does not start: "
                             "systemctl status %s",
                             unit, unit)
                : mem_dup("start it: spawn-fcgi -s SOCKET -M 0660 -u curt -U "
                          "www-data -b 1024 -P /run/curt.pid -- curt.fcgi; if "
                          "it does not start, its log has the reason");
        report_add(d->report, REPORT_FAIL, "pool", advice,
                   "curt.fcgi is not running, or with another STATE_DIR: no "
                   "process holds %s/janitor.lock",
                   d->conf->state_dir);
        free(advice);
    }
    if (!d->running)
        return;
    char *runner = doctor_user_name(d->runner);
    report_add(d->report, REPORT_OK, "pool", NULL, "curt.fcgi runs as %s%s%s",
               runner, has_unit ? "; its unit is " : "", has_unit ? unit : "");
    free(runner);
    if (d->runner == 0)
        report_add(d->report, REPORT_WARN, "pool",
                   "create a user for it, give that user STATE_DIR and "
                   "RUNTIME_DIR, and start it with spawn-fcgi -u or User= of "
                   "its unit",
                   "curt.fcgi runs as root, which it does not need");
}

/* ---- The socket ------------------------------------------------------ */

static void add_socket_fault(struct doctor *d, const char *address,
                             enum result r, const char *reason)
{
    enum report_level level = REPORT_FAIL;
    const char *advice = "the workers are stuck, or too few: see the log of "
                         "curt.fcgi, -w, and FCGI_WEB_SERVER_ADDRS";
    const bool closed = r == RESULT_NOT_FOUND || r == RESULT_DENIED;
    if (closed && !d->running && !d->hidden)
        return; /* the line of the pool says it */
    if (r == RESULT_NOT_FOUND) {
        /* With mod_fcgid each process has a socket of its own for a while. */
        level = REPORT_WARN;
        advice = "restart the pool, unless the web server starts curt.fcgi "
                 "itself and \"redirect\" is ok";
    } else if (r == RESULT_DENIED) {
        level = d->routed ? REPORT_OK : REPORT_WARN;
        advice = d->routed ? NULL
                           : "run curt doctor as a user who may open it, such "
                             "as the web server's";
    } else if (r == RESULT_CORRUPT || r == RESULT_INVALID) {
        advice = "another program uses the address: start the pool on an "
                 "address of its own";
    }
    report_add(d->report, level, "socket", advice, "%s: %s%s", address, reason,
               level == REPORT_OK ? " for this user; the web server reaches it"
                                  : "");
}

/* One request to the workers: HEAD of the probe, which is not counted, or GET
 * of /create where there is no probe. */
static void request_from_workers(struct doctor *d, const char *address)
{
    struct buf answer;
    const char *reason = "";
    const char *host = strstr(d->conf->app_url, "://") + 3;
    char *uri = mem_printf("%s%s", host + strcspn(host, "/"), d->id);
    int64_t begin = 0;
    enum result r = RESULT_OK;
    int status = 404;
    buf_init(&answer, FCGI_CLIENT_ANSWER_MAX);
    for (int i = 0; i < 2 && r == RESULT_OK && status == 404; i++) {
        if (i > 0)
            doctor_wait_for_link(d);
        begin = clock_monotonic_ms();
        buf_reset(&answer);
        r = fcgi_client_send(address, d->stored ? "HEAD" : "GET",
                             d->stored ? uri : "/create", begin + SOCKET_MS,
                             &answer, &reason);
        status = fcgi_client_status(&answer);
    }
    const long long ms = clock_monotonic_ms() - begin;
    char *to = fcgi_client_field(&answer, "Location");
    char *allow = fcgi_client_field(&answer, "Allow");
    if (r != RESULT_OK)
        add_socket_fault(d, address, r, reason);
    else if (!d->stored && status == 405 && allow != NULL &&
             strcmp(allow, "POST") == 0)
        report_add(d->report, REPORT_OK, "socket", NULL,
                   "%s: the workers answer in %lld ms", address, ms);
    else if (!d->stored)
        add_socket_fault(d, address, RESULT_CORRUPT,
                         "what answers there is not curt");
    else if (status == 301 && to != NULL && strcmp(to, d->target) == 0)
        report_add(d->report, REPORT_OK, "socket", NULL,
                   "%s: the workers have the same store, and find the probe in "
                   "%lld ms",
                   address, ms);
    else
        report_add(d->report, REPORT_FAIL, "socket",
                   "restart the pool if APP_URL, TABLE or STATE_DIR have "
                   "changed since its start, and see the log of curt.fcgi; if "
                   "another program uses the address, start the pool on "
                   "another one",
                   "%s: the workers answer the probe with status %d, expected "
                   "its redirect",
                   address, status);
    free(allow);
    free(to);
    free(uri);
    buf_free(&answer);
}

/* Whether RUNTIME_DIR/socket, with a path in it, is a file of another user than
 * root: a program of another user must not connect where that user wants. */
static bool is_foreign_path(struct doctor *d, const char *address)
{
    struct stat st = {.st_uid = 0};
    char *note = mem_printf("%s/socket", d->conf->runtime_dir);
    const bool foreign = strncmp(address, "unix:/", 6) == 0 &&
                         lstat(note, &st) == 0 && st.st_uid != 0 &&
                         st.st_uid != geteuid();
    char *owner = doctor_user_name(st.st_uid);
    if (foreign)
        report_add(
            d->report, geteuid() == 0 ? REPORT_FAIL : REPORT_WARN, "socket",
            "run curt doctor as root, with STATE_DIR and RUNTIME_DIR "
            "owned by the user that runs curt.fcgi",
            "%s belongs to %s: not connected to %s", note, owner, address);
    free(owner);
    free(note);
    return foreign;
}

/* Whether the message is about the Unix socket that file is. The kernel has its
 * device in its own form (MKDEV: 20 bits of minor number) and 32 bits of the
 * inode number. */
static bool match_unix(const struct nlmsghdr *h, const struct stat *file,
                       uint32_t *backlog)
{
    const struct unix_diag_msg *m = NLMSG_DATA(h);
    const char *end = (const char *)h + h->nlmsg_len;
    bool found = false;
    for (const char *at = (const char *)(m + 1); at < end;) {
        const struct rtattr *a = (const void *)at;
        at += RTA_ALIGN(a->rta_len);
        if (a->rta_type == UNIX_DIAG_VFS) {
            const struct unix_diag_vfs *vfs = RTA_DATA(a);
            found = vfs->udiag_vfs_ino == (uint32_t)file->st_ino &&
                    vfs->udiag_vfs_dev ==
                        (major(file->st_dev) << 20 | minor(file->st_dev));
        } else if (a->rta_type == UNIX_DIAG_RQLEN) {
            const struct unix_diag_rqlen *queue = RTA_DATA(a);
            *backlog = queue->udiag_wqueue;
        }
    }
    return found;
}

static bool match_tcp(const struct nlmsghdr *h, const char *address,
                      uint32_t *backlog)
{
    const struct inet_diag_msg *m = NLMSG_DATA(h);
    const bool six = m->idiag_family == AF_INET6;
    char host[INET6_ADDRSTRLEN] = "", text[INET6_ADDRSTRLEN + 16];
    inet_ntop(m->idiag_family, m->id.idiag_src, host, sizeof(host));
    snprintf(text, sizeof(text), six ? "tcp:[%s]:%u" : "tcp:%s:%u", host,
             ntohs(m->id.idiag_sport));
    *backlog = m->idiag_wqueue;
    return strcmp(text, address) == 0;
}

/* The queue of the socket that listens on address (sockname.h; not an abstract
 * one): how many connections it holds, by sock_diag(7). False: no such socket
 * in this network namespace, or the kernel does not tell. */
static bool find_backlog(const char *address, uint32_t *backlog)
{
    const bool tcp = strncmp(address, "tcp:", 4) == 0;
    struct {
        struct nlmsghdr head;
        union {
            struct unix_diag_req un;
            struct inet_diag_req_v2 in;
        };
    } query = {.head = {.nlmsg_len = sizeof(query),
                        .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                        .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP}};
    char answer[32768] __attribute__((aligned(NLMSG_ALIGNTO)));
    struct stat file;
    bool found = false;
    if (tcp)
        query.in = (struct inet_diag_req_v2){
            .sdiag_family = address[4] == '[' ? AF_INET6 : AF_INET,
            .sdiag_protocol = IPPROTO_TCP,
            .idiag_states = 1u << TCP_LISTEN};
    else if (strncmp(address, "unix:", 5) == 0 && stat(address + 5, &file) == 0)
        query.un = (struct unix_diag_req){.sdiag_family = AF_UNIX,
                                          .udiag_states = 1u << TCP_LISTEN,
                                          .udiag_show = UDIAG_SHOW_VFS |
                                                        UDIAG_SHOW_RQLEN};
    else
        return false;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    ssize_t len = fd < 0 ? -1 : send(fd, &query, sizeof(query), 0);
    bool more = len > 0;
    while (more && (len = recv(fd, answer, sizeof(answer), 0)) > 0)
        for (const struct nlmsghdr *h = (const void *)answer;
             more && NLMSG_OK(h, (size_t)len); h = NLMSG_NEXT(h, len)) {
            if (h->nlmsg_type == SOCK_DIAG_BY_FAMILY)
                found = tcp ? match_tcp(h, address, backlog)
                            : match_unix(h, &file, backlog);
            more = !found && h->nlmsg_type == SOCK_DIAG_BY_FAMILY;
        }
    if (fd >= 0)
        close(fd);
    return found;
}

/* The kernel cuts the queue that listen(2) requests to net.core.somaxconn,
 * without an error. */
static void check_backlog(struct doctor *d, const char *address)
{
    static const char proc[] = "/proc/sys/net/core/somaxconn";
    uint32_t backlog;
    unsigned limit = 0;
    if (!find_backlog(address, &backlog) || backlog >= BACKLOG_LEAST ||
        backlog == BACKLOG_FCGID)
        return;
    FILE *f = fopen(proc, "re");
    if (f == NULL || fscanf(f, "%u", &limit) != 1)
        limit = 0;
    if (f != NULL)
        fclose(f);
    char unit[128];
    const bool has_unit = find_unit(d, unit, sizeof(unit));
    char *advice = mem_printf(
        has_unit ? "%sset Backlog=1024 with systemctl edit %s.socket, then "
                   "systemctl restart %s.socket %s.service"
                 : "%srestart the pool with spawn-fcgi -b 1024",
        limit > 0 && limit < BACKLOG_LEAST
            ? "sysctl -w net.core.somaxconn=1024 (and put it into "
              "/etc/sysctl.d/), then "
            : "",
        unit, unit, unit);
    report_add(
        d->report, REPORT_WARN, "socket", advice,
        "%s: its queue holds %u connections%s; in a burst of visitors the web "
        "server cannot connect and answers 502 or 503",
        address, backlog,
        limit > 0 && limit < BACKLOG_LEAST
            ? ", because net.core.somaxconn allows no more"
            : "");
    free(advice);
}

void doctor_check_socket(struct doctor *d)
{
    char *address = sockname_read(d->conf);
    if (address == NULL && d->running)
        report_add(d->report, REPORT_WARN, "socket",
                   "restart the pool, and check that it can write RUNTIME_DIR",
                   "%s/socket: %s: cannot see where the workers listen",
                   d->conf->runtime_dir, strerror(errno));
    if (address == NULL)
        return;
    if (strncmp(address, "tcp:", 4) == 0 &&
        strncmp(address, "tcp:127.", 8) != 0 &&
        strncmp(address, "tcp:[::1]:", 10) != 0 &&
        getenv("FCGI_WEB_SERVER_ADDRS") == NULL)
        report_add(d->report, REPORT_WARN, "socket",
                   "listen on a Unix socket or on 127.0.0.1",
                   "%s: FastCGI has no password, and other hosts may reach it",
                   address);
    if (!is_foreign_path(d, address))
        request_from_workers(d, address);
    check_backlog(d, address);
    free(address);
}

/* ---- The cache ------------------------------------------------------- */

void doctor_check_cache(struct doctor *d)
{
    const struct conf *conf = d->conf;
    struct stat st = {.st_size = 0};
    if (!d->running || conf->cache_size == 0 || conf->cache_ttl == 0)
        return;
    char *path = mem_printf("%s/cache", conf->runtime_dir);
    const bool exists = stat(path, &st) == 0;
    const uint64_t size = (uint64_t)st.st_size;
    if (size >= conf->cache_size && size <= conf->cache_size + CACHE_SLACK)
        report_add(d->report, REPORT_OK, "cache", NULL, "%s: %llu MiB", path,
                   (unsigned long long)size / MIB);
    else
        report_add(d->report, REPORT_WARN, "cache",
                   exists ? "check the free space in RUNTIME_DIR, stop the "
                            "pool, remove that file, start the pool"
                          : "check that curt.fcgi can write RUNTIME_DIR and "
                            "has the space, then restart the pool",
                   "%s: %s%llu KiB, expected CACHE_SIZE, %llu KiB", path,
                   exists ? "" : "missing, ", (unsigned long long)size / 1024,
                   (unsigned long long)conf->cache_size / 1024);
    free(path);
}

/* ---- The journal ----------------------------------------------------- */

/* A flush shows in a number that falls, also with visitors on the site. */
static void check_pending(struct doctor *d, const struct hits *h)
{
    const int64_t end = clock_monotonic_ms() +
                        (int64_t)d->conf->hits_flush * 1000 + FLUSH_MARGIN;
    const bool quick = d->running && d->conf->hits_flush <= FLUSH_MAX;
    uint64_t hits = 0, links, before;
    do {
        if (hits > 0)
            clock_pause_ms(POLL_MS);
        before = hits;
        /* Without the hit that doctor_check_site() has caused. */
        const uint64_t own = hits_pending(h, d->id);
        hits_pending_all(h, &hits, &links);
        hits -= own < hits ? own : hits;
        links -= own > 0 && links > 0;
    } while (quick && hits > 0 && hits >= before && clock_monotonic_ms() < end);
    if (hits == 0 || hits < before || (d->running && !quick))
        report_add(d->report, REPORT_OK, "hits", NULL,
                   "%llu hits are pending, and flushed every %u s",
                   (unsigned long long)hits, (unsigned)d->conf->hits_flush);
    else
        report_add(d->report, REPORT_WARN, "hits",
                   d->running ? "they are not flushed to the store: the "
                                "janitor's lines in the log say why"
                              : "start the pool; none of them is lost",
                   "%llu hits of %llu links are pending in the journal",
                   (unsigned long long)hits, (unsigned long long)links);
}

void doctor_check_hits(struct doctor *d)
{
    struct hits *h;
    const char *reason = "";
    enum result r = hits_open_existing(d->conf, &h, &reason);
    if (r == RESULT_OK)
        check_pending(d, h);
    else if (r != RESULT_NOT_FOUND)
        report_add(d->report, REPORT_WARN, "hits",
                   r == RESULT_CORRUPT
                       ? "install the version of curt that wrote it and stop "
                         "its pool, which flushes it; or restart curt.fcgi, "
                         "which keeps it as hits.old"
                       : "fix the faults of STATE_DIR above, or run curt "
                         "doctor as root or as the user that runs curt.fcgi",
                   "%s/hits: %s", d->conf->state_dir, reason);
    else if (d->running)
        report_add(d->report, REPORT_WARN, "hits",
                   "check that curt.fcgi can write STATE_DIR and has 32 MiB "
                   "of space there, then restart the pool",
                   "%s/hits: missing, so hits are written one by one",
                   d->conf->state_dir);
    hits_close(h);
}

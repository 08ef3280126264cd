/* curt.fcgi: the FastCGI application. See curt.fcgi(8). */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/child.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/utf8.h"
#include "config/dirs.h"
#include "config/sockname.h"
#include "http/fcgi.h"
#include "process/janitor.h"
#include "process/master.h"
#include "process/worker.h"
#include "service/hostlist.h"
#include "store/store.h"

#define NAME "curt.fcgi"

/* Value of -w where it is absent. */
#define WORKERS_UNSET UINT32_MAX

struct options {
    const char *conf_file;
    unsigned workers;
    bool test;
    uint64_t janitor_of; /* -j: the worker's process id, else 0 */
};

static void print_usage(FILE *out)
{
    fputs("usage: spawn-fcgi -s SOCKET -- " NAME " [-c FILE] [-w WORKERS]\n"
          "       " NAME " [-c FILE] -t\n"
          "       " NAME " -h | -V\n"
          "\n"
          "  -c FILE     the configuration, instead of " CURT_SYSCONFDIR
          "/curt/curt.conf\n"
          "  -w WORKERS  worker processes; 0: serve in this process, for "
          "mod_fcgid,\n"
          "              lighttpd bin-path, multiwatch and spawn-fcgi -F\n"
          "  -t          check the configuration and the store, then exit\n"
          "  -h, -V      print this help, the version\n",
          out);
}

/* Redirects from the cache need one worker per processor; while some workers
 * wait for the disk or the network, others must not
 * (doc/performance.md, "How many workers"). */
static unsigned default_workers(const struct conf *conf)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned per_cpu = conf->store == CONF_STORE_SQLITE ? 2 : 8;
    unsigned workers = cpus > 0 ? per_cpu * (unsigned)cpus : per_cpu;
    unsigned least = 2 * per_cpu;
    unsigned most = 32 * per_cpu;
    return workers < least ? least : workers > most ? most : workers;
}

static void read_options(int argc, char **argv, struct options *o)
{
    uint64_t n;
    int c;
    *o = (struct options){.workers = WORKERS_UNSET};
    while ((c = getopt(argc, argv, "c:w:tj:hV")) != -1) {
        switch (c) {
        case 'c':
            o->conf_file = optarg;
            break;
        case 'w':
            if (!text_number(optarg, MASTER_WORKERS_MAX, &n)) {
                fprintf(stderr,
                        NAME ": -w %s: expected an integer from 0 to %d\n",
                        optarg, MASTER_WORKERS_MAX);
                exit(EX_USAGE);
            }
            o->workers = (unsigned)n;
            break;
        case 't':
            o->test = true;
            break;
        case 'j':
            if (!text_number(optarg, INT32_MAX, &o->janitor_of))
                exit(EX_USAGE);
            break;
        case 'h':
            print_usage(stdout);
            exit(0);
        case 'V':
            puts(NAME " " CURT_VERSION);
            exit(0);
        default:
            print_usage(stderr);
            exit(EX_USAGE);
        }
    }
    if (optind < argc) {
        fprintf(stderr, NAME ": unexpected argument: %s\n", argv[optind]);
        exit(EX_USAGE);
    }
}

/* Prints the lines of text, each after the program's name, or logs them where
 * standard error leads nowhere or into the journal. */
static void print_lines(char *text)
{
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        if (log_is_system()) {
            log_error("%s", line);
            continue;
        }
        fputs(NAME ": ", stderr);
        utf8_print(stderr, line);
        fputc('\n', stderr);
    }
}

static void load_or_exit(const char *file, struct conf *conf)
{
    struct buf faults;
    buf_init(&faults, CONF_FAULTS_MAX);
    if (conf_load(file, conf, &faults) != RESULT_OK) {
        print_lines(faults.data);
        exit(EX_CONFIG);
    }
    buf_free(&faults);
    log_set_level((enum log_level)conf->log_level);
}

/* -t: the directories, the lists of hosts and the store, without changing
 * anything. */
static int test_configuration(const struct conf *conf)
{
    struct buf faults;
    size_t before, count;
    buf_init(&faults, CONF_FAULTS_MAX);
    dirs_check(conf, &faults);
    for (int kind = 0; kind < HOSTLIST_KINDS; kind++) {
        before = faults.len;
        if (hostlist_check(conf, (enum hostlist_kind)kind, &count, &faults) ==
            RESULT_OK)
            buf_truncate(&faults, before); /* lines that do not count */
    }
    struct store *store = store_new(conf);
    before = faults.len;
    enum result r = store_table_check(store, &faults, NULL);
    /* SQLite's file is created when it is first needed. */
    if (r == RESULT_NOT_FOUND && conf->store == CONF_STORE_SQLITE)
        buf_truncate(&faults, before);
    else if (r != RESULT_OK && faults.len == before)
        buf_addf(&faults, "STORE: %s\n", store_error(store));
    store_free(store);
    bool ok = faults.len == 0;
    print_lines(faults.data);
    buf_free(&faults);
    if (ok)
        fputs(NAME ": configuration OK\n", stderr);
    return ok ? 0 : EX_CONFIG;
}

static int run_janitor(const struct conf *conf, struct master_child *shared)
{
    (void)shared;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null, FCGI_SOCKET); /* the socket is the workers' */
    return janitor_run(conf, true);
}

static const struct master_roles roles = {
    .worker = worker_run,
    .janitor = run_janitor,
};

int main(int argc, char **argv)
{
    struct options o;
    struct conf conf;
    read_options(argc, argv, &o);
    /* Descriptors 1 and 2 must be open: otherwise a database gets one of these
     * numbers, and a message to standard error damages it. */
    for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
            return EX_OSERR;
    log_open(NAME);
    if (o.janitor_of != 0) {
        /* It ends with the worker that started it. */
        janitor_block_signals();
        child_end_with((pid_t)o.janitor_of, SIGUSR1);
    }
    if (!o.test && o.janitor_of == 0 && !fcgi_socket_ok()) {
        char text[] = "no listening socket on descriptor 0; start with: "
                      "spawn-fcgi -s SOCKET -- " NAME;
        print_lines(text);
        return EX_USAGE;
    }
    signal(SIGHUP, SIG_IGN); /* until there is a handler for it */
    umask(umask(0) | 007);
    load_or_exit(o.conf_file, &conf);
    if (conf.store == CONF_STORE_DYNAMODB)
        mem_forbid_core_dumps();
    int status;
    if (o.test) {
        status = test_configuration(&conf);
        conf_free(&conf);
        return status;
    }
    dirs_make(&conf);
    if (o.janitor_of != 0) {
        close(JANITOR_CONF); /* before anything can inherit it */
        status = janitor_run(&conf, false);
        conf_free(&conf);
        return status;
    }
    sockname_write(&conf, FCGI_SOCKET);
    if (o.workers == WORKERS_UNSET)
        o.workers = default_workers(&conf);
    if (o.workers == 0)
        return worker_run_alone(&conf, o.conf_file);
    return master_run(&conf, o.conf_file, o.workers, &roles);
}

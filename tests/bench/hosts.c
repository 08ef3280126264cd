/*
 * Measures a list of hosts, for the numbers in doc/access.md.
 *
 * usage: hosts DIR [COUNT]
 *
 * Writes DIR/hosts.txt with COUNT hosts, a million if none is given, compiles
 * it in DIR and looks for hosts, most of which are not in it. Prints processor
 * times.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"
#include "service/hostlist.h"

#define LOOKUPS 1000000

static double seconds_used(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static char *make_host(long number)
{
    static const char *const ends[] = {"com", "net", "org", "co.uk"};
    return mem_printf("host-%ld.example%ld.%s", number, number % 1000,
                      ends[number % 4]);
}

int main(int argc, char **argv)
{
    static char *wanted[LOOKUPS];
    const long count = argc > 2 ? strtol(argv[2], NULL, 10) : 1000000;
    if (argc < 2) {
        fputs("usage: hosts DIR [COUNT]\n", stderr);
        return 64;
    }
    struct conf conf = {.runtime_dir = argv[1],
                        .blocked_hosts = mem_printf("%s/hosts.txt", argv[1])};
    struct hostlist lists[HOSTLIST_KINDS] = {{.table = NULL}};
    FILE *out = fopen(conf.blocked_hosts, "we");
    if (out == NULL) {
        perror(conf.blocked_hosts);
        return 73;
    }
    for (long i = 0; i < count; i++) {
        char *host = make_host(i);
        fprintf(out, "%s\n", host);
        free(host);
    }
    fclose(out);
    for (long i = 0; i < LOOKUPS; i++) {
        char *host = make_host(random() % (10 * count));
        wanted[i] = mem_printf("www.%s", host);
        free(host);
    }
    const double start = seconds_used();
    if (hostlist_find(lists, &conf, HOSTLIST_BLOCKED, "x") ==
        RESULT_UNAVAILABLE)
        return 70;
    const double compiled = seconds_used();
    long found = 0;
    for (long i = 0; i < LOOKUPS; i++)
        found += hostlist_find(lists, &conf, HOSTLIST_BLOCKED, wanted[i]) ==
                 RESULT_OK;
    const double done = seconds_used();
    printf("%ld hosts compiled in %.2f s; looking for one takes %.0f ns; "
           "%ld of %d found\n",
           count, compiled - start, (done - compiled) / LOOKUPS * 1e9, found,
           LOOKUPS);
    hostlist_close_all(lists);
    return 0;
}

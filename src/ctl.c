/* curt: the operator's tool. See curt(1). */
#include <getopt.h>
#include <json.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "cache.h"
#include "clock.h"
#include "create.h"
#include "ctl.h"
#include "doctor.h"
#include "hits.h"
#include "ids.h"
#include "log.h"
#include "mem.h"
#include "trace.h"
#include "utf8.h"

/* One verb: argument is the name of its one argument, or NULL. */
struct verb {
    const char *name;
    const char *argument;
    const char *help;
    int (*run)(struct ctl *ctl, const char *argument);
    bool bare; /* works without a configuration */
};

int ctl_status(enum result r)
{
    switch (r) {
    case RESULT_OK:
        return 0;
    case RESULT_NOT_FOUND:
        return CTL_NO;
    case RESULT_INVALID:
    case RESULT_CORRUPT:
        return EX_DATAERR;
    case RESULT_DENIED:
        return EX_NOPERM;
    case RESULT_INTERNAL:
        return EX_SOFTWARE;
    case RESULT_CONFLICT:
    case RESULT_THROTTLED:
    case RESULT_UNAVAILABLE:
    case RESULT_UNKNOWN:
        return EX_TEMPFAIL;
    }
    return EX_SOFTWARE;
}

void ctl_say(FILE *out, const char *format, ...)
{
    va_list ap;
    struct buf line;
    buf_init(&line, CTL_OUTPUT_MAX);
    va_start(ap, format);
    buf_vaddf(&line, format, ap);
    va_end(ap);
    utf8_print(out, line.data);
    fputc('\n', out);
    buf_free(&line);
}

int ctl_store_failed(const struct ctl *ctl, enum result r)
{
    const char *error = store_error(ctl->store);
    ctl_say(stderr, "curt: %s", error[0] != '\0' ? error : result_text(r));
    return ctl_status(r);
}

void ctl_print_json(json_object *object)
{
    struct buf text;
    buf_init(&text, 8 * CTL_OUTPUT_MAX);
    utf8_add_json(&text, json_object_to_json_string_ext(
                             object, JSON_C_TO_STRING_PLAIN |
                                         JSON_C_TO_STRING_NOSLASHESCAPE));
    puts(text.data);
    buf_free(&text);
    json_object_put(object);
}

void ctl_print_lines(FILE *out, const char *prefix, char *text)
{
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest))
        ctl_say(out, "%s%s", prefix, line);
}

/* Returns the exit status. */
static int print_link_json(const struct link *link)
{
    struct buf text;
    buf_init(&text, CTL_OUTPUT_MAX);
    link_to_json(link, true, &text);
    int status = buf_failed(&text) ? EX_DATAERR : 0;
    if (status == 0)
        puts(text.data);
    else
        fprintf(stderr, "curt: link %s has more than %u bytes of JSON\n",
                link->short_id, CTL_OUTPUT_MAX);
    buf_free(&text);
    return status;
}

static int run_create(struct ctl *ctl, const char *url)
{
    struct trace_source traces = {.left = 0};
    char trace_id[TRACE_MAX + 1];
    trace_choose(&traces, NULL, trace_id);
    const struct link_client client = {.user_agent = "curt/" CURT_VERSION,
                                       .xray_trace_id = trace_id};
    const char *reason = NULL;
    struct link link;
    link_init(&link);
    store_set_limit(ctl->store, clock_monotonic_ms() +
                                    (int64_t)ctl->conf.store_timeout * 1000);
    enum result r = create_link(&ctl->conf, ctl->store, url, strlen(url),
                                &client, &link, &reason);
    int status = ctl_status(r);
    if (r == RESULT_OK)
        cache_forget_missing(ctl->cache, link.short_id);
    if (r == RESULT_INVALID)
        fprintf(stderr, "curt: the long_url %s\n", reason);
    else if (r != RESULT_OK)
        status = ctl_store_failed(ctl, r);
    else if (ctl->json)
        status = print_link_json(&link);
    else
        ctl_say(stdout, "%s", link.short_url);
    if (status == 0 && ctl->qr.for_create)
        status = ctl_qr_draw(ctl, link.short_id);
    link_free(&link);
    return status;
}

/* An id, or a short URL of this curt: then what is behind APP_URL. */
const char *ctl_take_id(const struct ctl *ctl, const char *argument)
{
    size_t len = strlen(ctl->conf.app_url);
    if (strncmp(argument, ctl->conf.app_url, len) == 0)
        argument += len;
    if (ids_valid(argument, strlen(argument)))
        return argument;
    ctl_say(stderr,
            "curt: \"%s\" is not a valid short id: 1 to %d letters and digits",
            argument, IDS_MAX);
    return NULL;
}

static void print_field(const char *name, const char *value)
{
    ctl_say(stdout, "%-11s %s", name, value != NULL ? value : "-");
}

static void print_link(const struct link *link)
{
    print_field("short_id", link->short_id);
    print_field("short_url", link->short_url);
    print_field("long_url", link->long_url);
    print_field("created_at", link->created_at);
    if (link->ttl == LINK_NEVER)
        print_field("ttl", "never expires");
    else
        printf("%-11s %lld%s\n", "ttl", (long long)link->ttl,
               link_expired(link->ttl, clock_now()) ? " (expired)" : "");
    if (link->ttl_note != NULL)
        print_field("ttl_note", link->ttl_note);
    printf("%-11s %llu\n", "hits", (unsigned long long)link->hits);
    print_field("analytics", link->analytics);
}

static int run_get(struct ctl *ctl, const char *argument)
{
    const char *id = ctl_take_id(ctl, argument);
    if (id == NULL)
        return EX_DATAERR;
    struct link link;
    link_init(&link);
    /* Read first: hits that move to the store meanwhile count twice for a
     * moment, and never not at all. */
    uint64_t pending = hits_pending(ctl->hits, id);
    enum result r = store_get(ctl->store, id, STORE_WHOLE, &link);
    link.hits += pending;
    int status = 0;
    if (r != RESULT_OK)
        status = ctl_store_failed(ctl, r);
    else if (ctl->json)
        status = print_link_json(&link);
    else
        print_link(&link);
    link_free(&link);
    return status;
}

/* That there is no such link any more is kept for a moment, in place of the
 * link: DynamoDB's eventually consistent reads may show it for a second or so,
 * and what they show would be served for CACHE_TTL. */
static void forget_deleted(struct ctl *ctl, const char *id, enum result r)
{
    const struct cache_entry none = {.exists = false,
                                     .read_ms = clock_monotonic_ms()};
    /* Also when it was gone already, or nobody knows. */
    cache_forget(ctl->cache, id);
    if (ctl->conf.store == CONF_STORE_DYNAMODB &&
        (r == RESULT_OK || r == RESULT_NOT_FOUND))
        (void)cache_fill(ctl->cache, id, &none,
                         cache_generation(ctl->cache, id));
}

static int run_delete(struct ctl *ctl, const char *argument)
{
    const char *id = ctl_take_id(ctl, argument);
    if (id == NULL)
        return EX_DATAERR;
    enum result r = store_delete(ctl->store, id);
    forget_deleted(ctl, id, r);
    if (r != RESULT_OK)
        return ctl_store_failed(ctl, r);
    if (ctl->json) {
        json_object *answer = json_object_new_object();
        json_object_object_add(answer, "deleted", json_object_new_string(id));
        ctl_print_json(answer);
    } else {
        printf("%s is deleted\n", id);
    }
    return 0;
}

/* What the journal of this host has not moved to the store yet. */
static int run_hits(struct ctl *ctl, const char *argument)
{
    (void)argument;
    uint64_t hits, links;
    if (ctl->hits_result != RESULT_OK && ctl->hits_result != RESULT_NOT_FOUND) {
        ctl_say(stderr, "curt: %s/hits: %s", ctl->conf.state_dir,
                ctl->hits_reason);
        return EX_NOPERM;
    }
    hits_pending_all(ctl->hits, &hits, &links);
    const uint64_t others = hits_of_other_stores(&ctl->conf);
    if (ctl->json) {
        json_object *answer = json_object_new_object();
        json_object_object_add(answer, "pending", json_object_new_uint64(hits));
        json_object_object_add(answer, "links", json_object_new_uint64(links));
        if (others > 0)
            json_object_object_add(answer, "other_tables",
                                   json_object_new_uint64(others));
        ctl_print_json(answer);
    } else {
        printf("%llu hits of %llu links are pending\n",
               (unsigned long long)hits, (unsigned long long)links);
        if (others > 0)
            printf("%llu hits wait for another table\n",
                   (unsigned long long)others);
    }
    return 0;
}

static int run_doctor(struct ctl *ctl, const char *argument)
{
    (void)argument;
    return doctor_run(ctl->file, ctl->json);
}

static int run_config(struct ctl *ctl, const char *argument)
{
    (void)argument;
    json_object *answer = json_object_new_object();
    struct buf value;
    buf_init(&value, CTL_OUTPUT_MAX);
    for (size_t i = 0; i < conf_key_count(); i++) {
        struct conf_key key = conf_key(i);
        bool number = strcmp(key.type, "number") == 0;
        buf_reset(&value);
        bool set = conf_value(&ctl->conf, i, &value);
        if (ctl->json)
            json_object_object_add(
                answer, key.name,
                !set ? NULL
                : number
                    ? json_object_new_uint64(strtoull(value.data, NULL, 10))
                    : json_object_new_string(value.data));
        else if (set)
            ctl_say(stdout, "%s = %s", key.name, value.data);
        else
            printf("# %s is not set\n", key.name);
    }
    if (!ctl->json && ctl->conf.cache_size_chosen)
        puts("# CACHE_SIZE is not set: at most half of the free space in "
             "RUNTIME_DIR is taken");
    buf_free(&value);
    if (ctl->json)
        ctl_print_json(answer);
    else
        json_object_put(answer);
    return 0;
}

/* The table of keys, for those who write documentation or check it. */
static int run_keys(struct ctl *ctl, const char *argument)
{
    (void)ctl;
    (void)argument;
    struct buf range;
    buf_init(&range, CTL_OUTPUT_MAX);
    for (size_t i = 0; i < conf_key_count(); i++) {
        struct conf_key key = conf_key(i);
        buf_reset(&range);
        conf_key_range(i, &range);
        printf("%s\t%s\t%s\t%s\t%s\n", key.name, key.type, range.data,
               key.fallback != NULL ? key.fallback : "-",
               key.reloadable ? "reload" : "restart");
    }
    buf_free(&range);
    return 0;
}

static const struct verb verbs[] = {
    {"create", "URL", "make a link and print its short URL", run_create, false},
    {"get", "ID", "print a link", run_get, false},
    {"delete", "ID", "remove a link", run_delete, false},
    {"qr", "ID", "draw the QR code of a short URL", ctl_qr, false},
    {"table", "create|check", "make or check the table, or the SQLite file",
     ctl_table, false},
    {"backup", "FILE", "copy the SQLite file, also while curt.fcgi runs",
     ctl_backup, false},
    {"restore", "FILE", "put a backup into the place of the SQLite file",
     ctl_restore, false},
    {"hits", NULL, "print how many hits are not in the store yet", run_hits,
     false},
    /* It reads the configuration itself, to say what is wrong with it. */
    {"doctor", NULL, "check whether this host is ready", run_doctor, true},
    {"config", NULL, "print the effective configuration", run_config, false},
    {"keys", NULL, "print what each configuration key may be", run_keys, true},
};

#define VERB_COUNT (sizeof(verbs) / sizeof(verbs[0]))

static void print_usage(FILE *out)
{
    fputs("usage: curt [-c FILE] [--json] VERB [ARGUMENT]\n\n", out);
    for (size_t i = 0; i < VERB_COUNT; i++)
        fprintf(out, "  %-7s %-13s %s\n", verbs[i].name,
                verbs[i].argument != NULL ? verbs[i].argument : "",
                verbs[i].help);
    fputs(
        "\n  -c, --config FILE  the configuration, instead of " CURT_SYSCONFDIR
        "/curt/curt.conf\n"
        "  -j, --json         answer in JSON\n"
        "  -h, --help, -V, --version\n"
        "\nof `create` and `qr`:\n  --qr, --ascii, --level L|M|Q|H, --margin "
        "N\n"
        "  --output FILE, --format svg|png, --size N\n"
        "\nof `table create`, on DynamoDB:\n"
        "  --billing on-demand|provisioned, --read-units N, --write-units N\n"
        "  --deletion-protection, --point-in-time-recovery, --tag KEY=VALUE\n",
        out);
}

static int usage_error(void)
{
    print_usage(stderr);
    return EX_USAGE;
}

/* Reads the options, wherever they stand. Exits for -h, -V and errors. */
static void read_options(int argc, char **argv, struct ctl *ctl)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {"billing", required_argument, NULL, CTL_BILLING},
        {"read-units", required_argument, NULL, CTL_READ_UNITS},
        {"write-units", required_argument, NULL, CTL_WRITE_UNITS},
        {"deletion-protection", no_argument, NULL, CTL_PROTECTION},
        {"point-in-time-recovery", no_argument, NULL, CTL_BACKUPS},
        {"tag", required_argument, NULL, CTL_TAG},
        {"output", required_argument, NULL, 'q'},
        {"format", required_argument, NULL, 'q'},
        {"size", required_argument, NULL, 'q'},
        {"level", required_argument, NULL, 'q'},
        {"margin", required_argument, NULL, 'q'},
        {"ascii", no_argument, NULL, 'q'},
        {"qr", no_argument, NULL, 'q'},
        {NULL, 0, NULL, 0},
    };
    int c, at = 0;
    while ((c = getopt_long(argc, argv, "c:jhV", options, &at)) != -1) {
        switch (c) {
        case 'c':
            ctl->file = optarg;
            break;
        case 'j':
            ctl->json = true;
            break;
        case 'h':
            print_usage(stdout);
            exit(0);
        case 'V':
            puts("curt " CURT_VERSION);
            exit(0);
        case '?':
            exit(usage_error());
        default:
            if (c == 'q' ? !ctl_qr_option(&ctl->qr, options[at].name, optarg)
                         : !ctl_table_option(&ctl->table, c, optarg))
                exit(EX_USAGE);
        }
    }
}

static const struct verb *find_verb(int argc, char **argv)
{
    for (size_t i = 0; i < VERB_COUNT && optind < argc; i++) {
        int wanted = verbs[i].argument != NULL ? 2 : 1;
        if (strcmp(verbs[i].name, argv[optind]) == 0 && argc - optind == wanted)
            return &verbs[i];
    }
    return NULL;
}

static int run_verb(struct ctl *ctl, const struct verb *verb,
                    const char *argument)
{
    struct buf faults;
    buf_init(&faults, CONF_FAULTS_MAX);
    if (verb->bare)
        return verb->run(ctl, argument);
    const enum result r = conf_load(ctl->file, &ctl->conf, &faults);
    if (r != RESULT_OK) {
        ctl_print_lines(stderr, "", faults.data);
        buf_free(&faults);
        return r == RESULT_DENIED ? EX_NOPERM : EX_CONFIG;
    }
    log_set_level(LOG_LEVEL_WARNING);
    if (ctl->conf.store == CONF_STORE_DYNAMODB)
        mem_forbid_core_dumps();
    ctl->store = store_new(&ctl->conf);
    ctl->hits_result =
        hits_open_existing(&ctl->conf, &ctl->hits, &ctl->hits_reason);
    ctl->cache = cache_open_existing(&ctl->conf);
    int status = verb->run(ctl, argument);
    cache_close(ctl->cache);
    hits_close(ctl->hits);
    store_free(ctl->store);
    conf_free(&ctl->conf);
    return status;
}

int main(int argc, char **argv)
{
    struct ctl ctl = {.qr.image = {QR_DEFAULTS}};
    read_options(argc, argv, &ctl);
    const struct verb *verb = find_verb(argc, argv);
    if (verb == NULL)
        return usage_error();
    if (ctl.table.given && verb->run != ctl_table)
        return ctl_table_misplaced();
    if (!ctl_qr_ready(&ctl.qr, verb->name))
        return EX_USAGE;
    log_open("curt");
    signal(SIGPIPE, SIG_IGN); /* a connection that breaks is an error text */
    umask(umask(0) | 007);
    int status =
        run_verb(&ctl, verb, verb->argument != NULL ? argv[optind + 1] : NULL);
    /* A full disk or a closed pipe must not look like success. */
    if (fflush(stdout) != 0 || ferror(stdout)) {
        perror("curt: standard output");
        return EX_IOERR;
    }
    return status;
}

/* curt: the operator's tool. See curt(1). */
#include <ctype.h>
#include <getopt.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "doctor/doctor.h"
#include "link/ids.h"
#include "service/cache.h"
#include "service/hits.h"
#include "tool/main.h"

#define ID_HELP "ID is a short id or a short URL.\n"
#define QR_OPTIONS                                                             \
    "  --output FILE, --format svg|png, --size N\n"                            \
    "  --ascii, --level L|M|Q|H, --margin N\n"
#define LINK_OPTIONS                                                           \
    "  --ttl SECONDS, --expires-at TIME, --not-before TIME\n"                  \
    "  --max-hits N, --redirect-status 301|302|307|308\n"                      \
    "  --forward-query on|off, --title TEXT, --tags TAG,TAG\n"
#define LINK_NAMES                                                             \
    "ttl expires-at not-before max-hits redirect-status forward-query title "  \
    "tags "
#define TABLE_OPTIONS                                                          \
    "  --billing on-demand|provisioned, --read-units N, --write-units N\n"     \
    "  --deletion-protection, --point-in-time-recovery, --tag KEY=VALUE\n"
#define PLAN_OPTIONS                                                           \
    "  --rate COUNT/SECONDS\n"                                                 \
    "  --quota COUNT/day|week|month\n"                                         \
    "An option that is not given keeps its value; an empty value removes the " \
    "limit.\n"

#define SETUP_OPTIONS                                                          \
    "  --server lighttpd|apache|nginx|none, --domain NAME, --alias NAME\n"     \
    "  --email ADDRESS, --store sqlite|dynamodb, --prefix PATH\n"              \
    "  --instance NAME, --http, --dns-hook PROGRAM, --acme-server URL\n"       \
    "  --dry-run\n"

#define KEY_OPTIONS                                                            \
    "  --scopes LIST      of create (default), read, manage, admin, own\n"     \
    "  --plan NAME        its limits\n"                                        \
    "  --expires TIME     90d, or a time such as 2030-01-31T00:00:00Z\n"
#define ROTATE_OPTIONS                                                         \
    "  --grace SECONDS    how long the old key is still valid\n"

/* One command. */
struct verb {
    const char *name;
    const char *argument; /* NULL: none; with "...": it may be repeated */
    const char *example;  /* of the argument, after a space, or "" */
    const char *help;     /* what it does, in a line */
    const char *more;     /* lines, or "" */
    int (*run)(struct ctl *ctl, const char *argument);
    bool bare;           /* works without a configuration */
    const char *options; /* names in spaces, of those that ctl_option() knows;
                          * NULL: none */
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
    case RESULT_LIMITED:
    case RESULT_UNAVAILABLE:
    case RESULT_UNKNOWN:
        return EX_TEMPFAIL;
    }
    return EX_SOFTWARE;
}

const char *ctl_option(const struct ctl *ctl, const char *name)
{
    for (size_t i = 0; i < ctl->option_count; i++)
        if (strcmp(ctl->options[i].name, name) == 0)
            return ctl->options[i].value;
    return NULL;
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
    ctl_say(stderr, "curt: %s%s",
            r == RESULT_UNKNOWN ? "outcome unknown: " : "",
            error[0] != '\0' ? error : result_text(r));
    return ctl_status(r);
}

void ctl_add_number(json_object *object, const char *name, uint64_t n)
{
    json_object_object_add(object, name, json_object_new_uint64(n));
}

void ctl_print_json(json_object *object)
{
    struct buf text;
    buf_init(&text, 8 * CTL_OUTPUT_MAX);
    utf8_add_json(&text, json_text(object));
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

bool ctl_flush(void)
{
    static bool failed; /* reported once */
    if (failed || (fflush(stdout) == 0 && !ferror(stdout)))
        return !failed;
    perror("curt: standard output");
    failed = true;
    return false;
}

/* The hits in the journal of this host that are not in the store yet. */
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
        ctl_add_number(answer, "pending", hits);
        ctl_add_number(answer, "links", links);
        if (others > 0)
            ctl_add_number(answer, "other_tables", others);
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

/* The table of keys, for documentation and its tests. */
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

static int run_help(struct ctl *ctl, const char *name);

static const struct verb verbs[] = {
    {"create", "URL ...", " https://www.debian.org/",
     "create a link and print its short URL",
     "Without URL, or with -, the URLs are read from standard input, one a\n"
     "line; blank lines and lines that begin with # are skipped.\n"
     "  --id ID            the id, instead of a drawn one\n"
     "  --find-if-exists   print the link that leads there "
     "already\n" LINK_OPTIONS
     "  --qr               draw its QR code as well\n" QR_OPTIONS,
     ctl_create, false, LINK_NAMES "id find-if-exists"},
    {"edit", "ID ...", " abc1234 --title Debian", "change a link",
     ID_HELP "An empty value clears: --title ''.\n"
             "  --long-url URL\n" LINK_OPTIONS,
     ctl_edit, false, LINK_NAMES "long-url"},
    {"get", "ID ...", " abc1234", "print a link", ID_HELP, ctl_get, false,
     NULL},
    {"delete", "ID ...", " abc1234", "delete a link", ID_HELP, ctl_delete,
     false, NULL},
    {"disable", "ID ...", " abc1234", "answer 410, or warn of a link first",
     ID_HELP "  --reason TEXT      shown to the visitors\n"
             "  --warn             show a page before the redirect, not 410\n",
     ctl_switch, false, "reason warn"},
    {"enable", "ID ...", " abc1234", "redirect again after disable", ID_HELP,
     ctl_switch, false, NULL},
    {"qr", "ID", " abc1234", "draw the QR code of a short URL",
     ID_HELP QR_OPTIONS, ctl_qr, false, NULL},
    {"table", "create|check", " check",
     "create or check the table, or the SQLite file", TABLE_OPTIONS, ctl_table,
     false, NULL},
    {"backup", "FILE", " /var/backups/curt.db",
     "copy the SQLite file, also while curt.fcgi runs", "", ctl_backup, false,
     NULL},
    {"restore", "FILE", " /var/backups/curt.db",
     "replace the SQLite file with a backup", "", ctl_restore, false, NULL},
    {"key create", "NAME", " mobile-app",
     "create an API key and print it, for the only time", KEY_OPTIONS,
     ctl_key_create, false, "scopes plan expires"},
    {"key list", NULL, "", "print the names of all API keys", "", ctl_key_list,
     false, NULL},
    {"key show", "NAME ...", " mobile-app", "print what an API key may do", "",
     ctl_key_show, false, NULL},
    {"key disable", "NAME ...", " mobile-app", "refuse an API key for a while",
     "", ctl_key_switch, false, NULL},
    {"key enable", "NAME ...", " mobile-app", "accept a disabled API key again",
     "", ctl_key_switch, false, NULL},
    {"key revoke", "NAME ...", " mobile-app", "refuse an API key for ever", "",
     ctl_key_switch, false, NULL},
    {"key rotate", "NAME", " mobile-app",
     "create a new API key in the place of one, and print it",
     ROTATE_OPTIONS "  --expires TIME     of the new key\n", ctl_key_rotate,
     false, "grace expires"},
    {"plan set", "NAME", " basic --rate 10/1 --quota 1000/month",
     "create or change a usage plan of API keys", PLAN_OPTIONS, ctl_plan_set,
     false, "rate quota"},
    {"plan list", NULL, "", "print the usage plans", "", ctl_plan_list, false,
     NULL},
    {"plan show", "NAME", " basic", "print a usage plan", "", ctl_plan_show,
     false, NULL},
    {"plan delete", "NAME", " basic", "delete a usage plan", "",
     ctl_plan_delete, false, NULL},
    {"hits", NULL, "", "print how many hits are not in the store yet", "",
     run_hits, false, NULL},
    {"setup", NULL, " --domain sho.rt --email admin@sho.rt",
     "set up a web server, a certificate and a pool for a domain",
     "  --domain NAME        of the short URLs\n"
     "  --server NAME        lighttpd, apache, nginx, or none: only the "
     "configuration\n"
     "  --alias NAME         one more name of the domain; can be repeated\n"
     "  --email ADDRESS      of the account at the certificate authority\n"
     "  --store NAME         sqlite or dynamodb\n"
     "  --prefix PATH        where the links are: /, or a name such as /t/\n"
     "  --instance NAME      a second domain, with its own pool\n"
     "  --http               without a certificate\n"
     "  --dns-hook PROGRAM   validate by DNS; for --alias '*.sho.rt'\n"
     "  --acme-server URL    another one than Let's Encrypt\n"
     "  --dry-run            show each file and command, change nothing\n",
     ctl_setup, true,
     "server domain alias email store prefix instance http dns-hook "
     "acme-server dry-run"},
    /* It reads the configuration itself, to report its faults. */
    {"doctor", NULL, "", "check whether this host is ready", "", run_doctor,
     true, NULL},
    {"config", NULL, "", "print the effective configuration", "", run_config,
     false, NULL},
    {"keys", NULL, "", "print the valid values of each configuration key", "",
     run_keys, true, NULL},
    {"help", "COMMAND", " create", "explain a command", "", run_help, true,
     NULL},
};

#define VERB_COUNT (sizeof(verbs) / sizeof(verbs[0]))

static void ctl_print_usage(void)
{
    puts("usage: curt [-c FILE] [-j] COMMAND [ARGUMENT ...]\n");
    for (size_t i = 0; i < VERB_COUNT; i++)
        printf("  %-11s %-13s %s\n", verbs[i].name,
               verbs[i].argument != NULL ? verbs[i].argument : "",
               verbs[i].help);
    puts("\n  -c, --config FILE  the configuration, instead of " CURT_SYSCONFDIR
         "/curt/curt.conf\n"
         "  -j, --json         answer in JSON\n"
         "  -h, --help         explain the command\n"
         "  -V, --version\n"
         "\nFor `key create` and `key rotate`:\n" KEY_OPTIONS ROTATE_OPTIONS
         "\nFor `create` and `edit`:\n"
         "  --id ID, --find-if-exists (create), --long-url URL "
         "(edit)\n" LINK_OPTIONS "\nFor `create` and `qr`:\n"
         "  --qr               draw its QR code as well\n" QR_OPTIONS
         "\nFor `plan set`:\n" PLAN_OPTIONS
         "\nFor `table create`, on DynamoDB:\n" TABLE_OPTIONS
         "\nFor `setup`:\n" SETUP_OPTIONS);
}

/* Printed without a command. */
static const char overview[] =
    "curt creates, shows and deletes short links.\n\n"
    "  curt create https://www.debian.org/  create a link, print its short "
    "URL\n"
    "  curt get ID                          print a link and its hits\n"
    "  curt doctor                          check whether this host is ready\n"
    "\n`curt help` lists all commands, `curt help COMMAND` explains one.\n";

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < VERB_COUNT; i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

/* Whether b can be made of a by inserting, deleting or replacing a letter, or
 * swapping two neighbours, at most `left` times. */
static bool is_near(const char *a, const char *b, int left)
{
    for (; *a != '\0' && tolower((unsigned char)*a) == *b; a++)
        b++;
    if (*a == '\0' || *b == '\0')
        return strlen(a) + strlen(b) <= (size_t)left;
    return left > 0 &&
           (is_near(a + 1, b + 1, left - 1) || is_near(a + 1, b, left - 1) ||
            is_near(a, b + 1, left - 1) ||
            (a[0] == b[1] && a[1] == b[0] && is_near(a + 2, b + 2, left - 1)));
}

/* The command that a word most likely stands for, or NULL. */
static const char *guess_verb(const char *word)
{
    static const char *const synonyms[][2] = {
        {"add", "create"},        {"new", "create"},
        {"make", "create"},       {"shorten", "create"},
        {"show", "get"},          {"info", "get"},
        {"stat", "get"},          {"stats", "get"},
        {"rm", "delete"},         {"remove", "delete"},
        {"check", "doctor"},      {"status", "doctor"},
        {"dump", "backup"},       {"init", "table create"},
        {"version", "--version"},
    };
    for (size_t i = 0; i < sizeof(synonyms) / sizeof(synonyms[0]); i++)
        if (strcmp(word, synonyms[i][0]) == 0)
            return synonyms[i][1];
    for (int left = 1; left <= 2; left++)
        for (size_t i = 0; i < VERB_COUNT; i++)
            if (strlen(verbs[i].name) > 2 * (size_t)left &&
                is_near(word, verbs[i].name, left))
                return verbs[i].name;
    return NULL;
}

static int refuse_verb(const char *word)
{
    const char *verb = guess_verb(word);
    const size_t len = strlen(word);
    struct buf group; /* the second words of commands that begin with it */
    buf_init(&group, 1000);
    for (size_t i = 0; i < VERB_COUNT; i++)
        if (strncmp(verbs[i].name, word, len) == 0 && verbs[i].name[len] == ' ')
            buf_addf(&group, "%s%s", group.len > 0 ? ", " : "",
                     verbs[i].name + len + 1);
    if (group.len > 0)
        ctl_say(stderr, "curt: after \"%s\" comes one of: %s", word,
                group.data);
    else if (verb != NULL)
        ctl_say(stderr, "curt: unknown command \"%s\"; did you mean \"%s\"?",
                word, verb);
    else if (strchr(word, '/') != NULL)
        ctl_say(stderr,
                "curt: \"%s\" is not a command; to shorten it: curt create "
                "'%s'; to look a short URL up: curt get '%s'",
                word, word, word);
    else if (ids_valid(word, strlen(word)) &&
             strpbrk(word, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") != NULL)
        ctl_say(stderr,
                "curt: unknown command \"%s\"; to print that link: curt get %s",
                word, word);
    else
        ctl_say(stderr, "curt: unknown command \"%s\"; see: curt help", word);
    buf_free(&group);
    return EX_USAGE;
}

static int run_help(struct ctl *ctl, const char *name)
{
    (void)ctl;
    const struct verb *verb = name != NULL ? find_verb(name) : NULL;
    if (name == NULL) {
        ctl_print_usage();
        return 0;
    }
    if (verb == NULL)
        return refuse_verb(name);
    printf("usage: curt [-c FILE] [-j] %s%s%s\n\n%c%s.\n%s\n"
           "example: curt %s%s\n",
           verb->name, verb->argument != NULL ? " " : "",
           verb->argument != NULL ? verb->argument : "",
           toupper((unsigned char)verb->help[0]), verb->help + 1, verb->more,
           verb->name, verb->example);
    return 0;
}

/* Says which option was wrong; code is what getopt_long returned. */
static void refuse_option(int code, int argc, char **argv)
{
    const char *given = argv[optind - 1];
    const char letter[] = {'-', (char)optopt, '\0'};
    const bool is_long = optopt == 0 || (code == ':' && given[1] == '-');
    const struct verb *verb = NULL;
    for (int i = 1; i < argc && verb == NULL; i++)
        verb = find_verb(argv[i]);
    ctl_say(stderr, "curt: %s \"%s\"%s; see: curt help%s%s",
            code == ':' ? "option" : "unknown option", is_long ? given : letter,
            code == ':' ? " needs a value" : "", verb != NULL ? " " : "",
            verb != NULL ? verb->name : "");
}

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
    {"id", required_argument, NULL, 'o'},
    {"long-url", required_argument, NULL, 'o'},
    {"ttl", required_argument, NULL, 'o'},
    {"expires-at", required_argument, NULL, 'o'},
    {"not-before", required_argument, NULL, 'o'},
    {"max-hits", required_argument, NULL, 'o'},
    {"redirect-status", required_argument, NULL, 'o'},
    {"forward-query", required_argument, NULL, 'o'},
    {"title", required_argument, NULL, 'o'},
    {"tags", required_argument, NULL, 'o'},
    {"find-if-exists", no_argument, NULL, 'o'},
    {"reason", required_argument, NULL, 'o'},
    {"warn", no_argument, NULL, 'o'},
    {"scopes", required_argument, NULL, 'o'},
    {"plan", required_argument, NULL, 'o'},
    {"expires", required_argument, NULL, 'o'},
    {"grace", required_argument, NULL, 'o'},
    {"rate", required_argument, NULL, 'o'},
    {"quota", required_argument, NULL, 'o'},
    {"server", required_argument, NULL, 'o'},
    {"domain", required_argument, NULL, 'o'},
    {"alias", required_argument, NULL, 'o'},
    {"email", required_argument, NULL, 'o'},
    {"store", required_argument, NULL, 'o'},
    {"prefix", required_argument, NULL, 'o'},
    {"instance", required_argument, NULL, 'o'},
    {"http", no_argument, NULL, 'o'},
    {"dns-hook", required_argument, NULL, 'o'},
    {"acme-server", required_argument, NULL, 'o'},
    {"dry-run", no_argument, NULL, 'o'},
    {NULL, 0, NULL, 0},
};

/* Reads the options, wherever they stand. *help: -h was there. Exits for -V
 * and errors. */
static void ctl_read_options(int argc, char **argv, struct ctl *ctl, bool *help)
{
    int c, at = 0;
    while ((c = getopt_long(argc, argv, ":c:jhV", options, &at)) != -1) {
        switch (c) {
        case 'c':
            ctl->file = optarg;
            break;
        case 'j':
            ctl->json = true;
            break;
        case 'h':
            *help = true;
            break;
        case 'V':
            puts("curt " CURT_VERSION);
            exit(0);
        case '?':
        case ':':
            refuse_option(c, argc, argv);
            exit(EX_USAGE);
        case 'o':
            if ((ctl_option(ctl, options[at].name) != NULL &&
                 strcmp(options[at].name, "alias") != 0) ||
                ctl->option_count == CTL_OPTIONS_MAX) {
                ctl_say(stderr, "curt: --%s occurs more than once",
                        options[at].name);
                exit(EX_USAGE);
            }
            ctl->options[ctl->option_count++] = (struct ctl_option){
                options[at].name, optarg != NULL ? optarg : ""};
            break;
        default:
            if (c == 'q' ? !ctl_qr_option(&ctl->qr, options[at].name, optarg)
                         : !ctl_table_option(&ctl->table, c, optarg))
                exit(EX_USAGE);
        }
    }
}

/* Whether the options belong to the command; else the reason is on standard
 * error. */
static bool check_options(const struct ctl *ctl, const struct verb *verb)
{
    const char *const known = verb->options != NULL ? verb->options : "";
    for (size_t i = 0; i < ctl->option_count; i++) {
        const char *name = ctl->options[i].name;
        const size_t len = strlen(name);
        const char *at = known;
        while ((at = strstr(at, name)) != NULL &&
               !((at == known || at[-1] == ' ') &&
                 (at[len] == ' ' || at[len] == '\0')))
            at += len;
        if (at == NULL) {
            ctl_say(stderr,
                    "curt: --%s is not an option of %s; see: curt help "
                    "%s",
                    name, verb->name, verb->name);
            return false;
        }
    }
    return true;
}

/* Whether a command can work with so many arguments; else the reason is on
 * standard error. */
static bool check_arguments(const struct verb *verb, int count,
                            char **arguments)
{
    const char *const wanted = verb->argument;
    const bool few = count == 0 && wanted != NULL && verb->run != run_help &&
                     (verb->run != ctl_create || isatty(STDIN_FILENO));
    const int most = wanted == NULL ? 0 : strstr(wanted, "...") ? count : 1;
    if (few)
        fprintf(stderr, "curt: %s needs %.*s, such as: curt %s%s\n", verb->name,
                (int)strcspn(wanted, " "), wanted, verb->name, verb->example);
    else if (count > most)
        ctl_say(stderr,
                "curt: \"%s\" is one argument too many, %s takes %s, such as: "
                "curt %s%s",
                arguments[most], verb->name, most > 0 ? wanted : "none",
                verb->name, verb->example);
    return !few && count <= most;
}

/* Runs a command for each of its arguments, until the store fails or the
 * output cannot be written. Returns the worst exit status. */
static int run_each(struct ctl *ctl, const struct verb *verb, int count,
                    char **arguments)
{
    int status = count == 0 ? verb->run(ctl, NULL) : 0;
    int i = 0;
    for (; i < count && status <= EX_DATAERR; i++) {
        const int one = verb->run(ctl, arguments[i]);
        status = one > status ? one : status;
    }
    if (i < count)
        ctl_say(stderr, "curt: stopped before \"%s\"", arguments[i]);
    return status;
}

static int run_verb(struct ctl *ctl, const struct verb *verb, int count,
                    char **arguments)
{
    struct buf faults;
    buf_init(&faults, CONF_FAULTS_MAX);
    ctl->verb = verb->name;
    if (verb->bare)
        return run_each(ctl, verb, count, arguments);
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
    int status = run_each(ctl, verb, count, arguments);
    cache_close(ctl->cache);
    hostlist_close_all(ctl->hosts);
    hits_close(ctl->hits);
    store_free(ctl->store);
    conf_free(&ctl->conf);
    return status;
}

int main(int argc, char **argv)
{
    struct ctl ctl = {.qr.image = {QR_DEFAULTS}};
    bool help = false;
    ctl_read_options(argc, argv, &ctl, &help);
    const char *name = optind < argc ? argv[optind++] : NULL;
    const char *second = optind < argc ? argv[optind] : NULL;
    const struct verb *verb = name != NULL ? find_verb(name) : NULL;
    char *both = verb == NULL && name != NULL && second != NULL
                     ? mem_printf("%s %s", name, second)
                     : NULL;
    if (both != NULL && find_verb(both) != NULL) { /* "key list" */
        name = both;
        verb = find_verb(both);
        optind++;
    }
    if (verb != NULL && verb->run == run_help && argc - optind == 2) {
        both = mem_printf("%s %s", argv[optind], argv[optind + 1]);
        argv[++optind] = both;
    }
    if (name == NULL && !help) {
        fputs(overview, stderr);
        return EX_USAGE;
    }
    log_open("curt");
    signal(SIGPIPE, SIG_IGN); /* a connection that breaks is an error text */
    umask(umask(0) | 007);
    int status = EX_USAGE;
    if (help)
        status = run_help(&ctl, name);
    else if (verb == NULL)
        status = refuse_verb(name);
    else if (ctl.table.given && verb->run != ctl_table)
        status = ctl_table_misplaced();
    else if (check_options(&ctl, verb) &&
             ctl_qr_ready(&ctl.qr, name,
                          argc - optind == 1 &&
                              strcmp(argv[optind], "-") != 0) &&
             check_arguments(verb, argc - optind, argv + optind))
        status = run_verb(&ctl, verb, argc - optind, argv + optind);
    free(both);
    return ctl_flush() ? status : EX_IOERR;
}

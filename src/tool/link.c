/* The verbs about one link, curt create, get, edit, disable, enable, delete and
 * qr, and how an id is written. See curt(1). */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "http/trace_id.h"
#include "service/app.h"
#include "service/create.h"
#include "service/lookup.h"
#include "tool/main.h"

/* Longest line of standard input that is read to its end, in bytes: above what
 * url_normalise() refuses as too long. */
#define URL_LINE_MAX (4 * URL_MAX)

/* How often a link is read again that changed in between. */
#define EDIT_TRIES 8

/* Whether fd is a terminal that knows more than plain text. */
static bool is_screen(int fd)
{
    const char *term = getenv("TERM");
    return term != NULL && strcmp(term, "dumb") != 0 && isatty(fd);
}

/* style: "1" bold, "2" dim, "31" red (ECMA-48, SGR), or NULL. NO_COLOR:
 * https://no-color.org */
static void print_styled(const char *style, const char *text)
{
    const char *no_color = getenv("NO_COLOR");
    const bool styled = style != NULL && is_screen(STDOUT_FILENO) &&
                        (no_color == NULL || no_color[0] == '\0');
    if (styled)
        printf("\x1b[%sm", style);
    utf8_print(stdout, text);
    if (styled)
        fputs("\x1b[0m", stdout);
}

/* A line; style: of the value. */
static void print_field(const char *label, const char *style, const char *value)
{
    const size_t len = strlen(label);
    print_styled("2", label);
    printf("%*s", len < 13 ? 15 - (int)len : 2, "");
    print_styled(style, value != NULL ? value : "-");
    putchar('\n');
}

/* Takes the id at the beginning of text. After it there may be what curt
 * itself adds to an id, and what came along when the text was copied. */
static bool cut_id(const char *text, char id[IDS_MAX + 1])
{
    size_t len = 0;
    while (len <= IDS_MAX && ids_valid(text + len, 1))
        len++;
    const char *rest = text + len;
    if (!ids_valid(text, len))
        return false;
    if (strncmp(rest, ".qr", 3) == 0)
        rest += 3;
    rest += strspn(rest, "+/.,;!)>\"' ");
    if (*rest != '\0' && *rest != '?' && *rest != '#')
        return false;
    memcpy(id, text, len);
    id[len] = '\0';
    return true;
}

const char *ctl_take_id(struct ctl *ctl, const char *argument)
{
    const char *text = argument + strspn(argument, " <(\"'");
    const char *id = NULL;
    struct buf rest;
    buf_init(&rest, URL_MAX);
    char *url =
        mem_printf("%s%s", strstr(text, "://") != NULL ? "" : "https://", text);
    if (cut_id(text, ctl->id))
        id = ctl->id;
    else if (strchr(text, '/') != NULL &&
             !url_app_rest(url, &ctl->conf.app, &rest))
        ctl_say(stderr, "curt: \"%s\" does not begin with APP_URL, %s",
                argument, ctl->conf.app_url);
    else if (strlen(rest.data) == rest.len && cut_id(rest.data, ctl->id))
        id = ctl->id;
    else
        ctl_say(stderr,
                "curt: \"%s\" is not a valid short id: 1 to %d letters, "
                "digits, - and _",
                argument, IDS_MAX);
    if (ctl->conf.case_insensitive)
        (void)ids_lower(ctl->id);
    free(url);
    buf_free(&rest);
    return id;
}

/* Prints on standard error why an operation on a link failed; r is its result,
 * and the exit status for it is returned. */
static int link_failed(const struct ctl *ctl, const char *id, enum result r)
{
    const struct conf *conf = &ctl->conf;
    const bool sqlite = conf->store == CONF_STORE_SQLITE;
    if (r != RESULT_NOT_FOUND)
        return ctl_store_failed(ctl, r);
    ctl_say(stderr, "curt: %s: no such link (APP_URL is %s, store %s%s)", id,
            conf->app_url, sqlite ? conf->state_dir : "dynamodb, table ",
            sqlite ? "/curt.db" : conf->table);
    return ctl_status(r);
}

/* ---- Options ------------------------------------------------------------- */

/* The option for a member: --redirect-status, --id. */
static void edit_option_name(const char *member, char name[CTL_OPTION_SIZE])
{
    const char *word = strcmp(member, "short_id") == 0 ? "id" : member;
    size_t i = 0;
    for (; word[i] != '\0'; i++)
        name[i] = word[i] == '_' ? '-' : word[i];
    name[i] = '\0';
}

/* The members of a link (create.h) that the options give; the caller releases
 * them. */
static json_object *link_members(const struct ctl *ctl)
{
    char name[CTL_OPTION_SIZE];
    json_object *members = json_object_new_object();
    const char *member;
    for (size_t i = 0; (member = create_member(i)) != NULL; i++) {
        edit_option_name(member, name);
        const char *value = ctl_option(ctl, name);
        if (value != NULL && strcmp(member, "find_if_exists") == 0)
            value = "on";
        if (value != NULL)
            json_object_object_add(members, member,
                                   create_value(member, value, strlen(value)));
    }
    return members;
}

/* Prints on standard error why an option was refused; returns the exit status.
 */
static int refuse_member(const struct create_request *r)
{
    char name[CTL_OPTION_SIZE];
    edit_option_name(r->member, name);
    ctl_say(stderr, "curt: --%s %s", name, r->reason);
    return EX_DATAERR;
}

/* The file has all of its contents, or stays as it was. */
static int write_file(const char *file, const struct buf *data)
{
    struct stat st;
    char *part = mem_printf("%s.part", file);
    unlink(part); /* of a run that was killed */
    const bool special = lstat(file, &st) == 0 && !S_ISREG(st.st_mode);
    FILE *f = special ? NULL : fopen(part, "wxe");
    const bool ok = f != NULL && fwrite(data->data, data->len, 1, f) == 1 &&
                    fflush(f) == 0 && fsync(fileno(f)) == 0 &&
                    rename(part, file) == 0;
    if (!ok)
        ctl_say(stderr, "curt: %s: %s", file,
                strerror(special ? EEXIST : errno));
    unlink(part);
    if (f != NULL)
        fclose(f);
    free(part);
    return ok ? 0 : EX_IOERR;
}

/* Draws the code of an id; returns the exit status. */
static int draw_qr(struct ctl *ctl, const char *id)
{
    const char *output = ctl->qr.output;
    struct qr_options *o = &ctl->qr.image;
    struct buf image;
    int status = EX_DATAERR;
    buf_init(&image, QR_MAX);
    if (output == NULL) {
        static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
        const char *locale = NULL;
        for (size_t i = 0; i < 3 && (locale == NULL || locale[0] == '\0'); i++)
            locale = getenv(names[i]);
        const bool utf8 = locale != NULL && strcasestr(locale, "utf") != NULL;
        o->format = ctl->qr.ascii || !utf8 ? QR_ASCII : QR_BLOCKS;
        o->colour = isatty(STDOUT_FILENO) && getenv("NO_COLOR") == NULL;
    }
    if (!qr_add(&image, ctl->conf.app_url, id, o))
        ctl_say(stderr, "curt: --%s", o->fault);
    else if (output != NULL && strcmp(output, "-") != 0)
        status = write_file(output, &image);
    else /* main() reports why */
        status = fwrite(image.data, image.len, 1, stdout) == 1 ? 0 : EX_IOERR;
    buf_free(&image);
    return status;
}

/* ---- Creating ------------------------------------------------------------ */

/* The URLs of standard input, or (line 0) one of the command line. */
struct batch {
    size_t line;
    size_t made;
    bool shows_progress;
};

static void clear_progress(const struct batch *b)
{
    if (b->shows_progress)
        fputs("\r\x1b[K", stderr);
}

static void refuse_url(const struct batch *b, const char *url,
                       const char *reason)
{
    char line[32] = "";
    if (b->line > 0)
        snprintf(line, sizeof(line), "line %zu: ", b->line);
    ctl_say(stderr, "curt: %sthe URL \"%.100s%s\" %s%s", line, url,
            strlen(url) > 100 ? "..." : "", reason,
            strchr(url, ':') == NULL && strchr(url, '.') != NULL
                ? "; write https:// before it"
                : "");
}

/* Prints a link with all that is stored, in JSON; returns the exit status. */
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

static int create_one(struct ctl *ctl, struct batch *b, const char *url,
                      size_t len)
{
    struct trace_id_source traces = {.left = 0};
    char trace_id[TRACE_ID_MAX + 1];
    trace_id_choose(&traces, NULL, trace_id);
    const struct create_context context = {
        .conf = &ctl->conf,
        .store = ctl->store,
        .hosts = ctl->hosts,
        .deadline =
            clock_monotonic_ms() + (int64_t)ctl->conf.store_timeout * 1000,
        .client = {.user_agent = "curt/" CURT_VERSION,
                   .xray_trace_id = trace_id},
    };
    struct create_request r = {.result = RESULT_OK};
    json_object *members = link_members(ctl);
    json_object_object_add(members, "long_url",
                           create_value("long_url", url, len));
    link_init(&r.link);
    create_read(members, &r);
    create_links(&context, &r, 1);
    int status = ctl_status(r.result);
    clear_progress(b);
    if (r.result == RESULT_OK) {
        b->made += !r.existed;
        cache_forget_missing(ctl->cache, r.link.short_id);
        if (ctl->json)
            status = print_link_json(&r.link);
        else
            ctl_say(stdout, "%s", r.link.short_url);
        if (status == 0 && ctl->qr.for_create)
            status = draw_qr(ctl, r.link.short_id);
    } else if (r.reason != NULL && strcmp(r.member, "long_url") == 0) {
        refuse_url(b, url, r.reason);
    } else if (r.reason != NULL) {
        status = refuse_member(&r);
    } else {
        status = ctl_store_failed(ctl, r.result);
    }
    link_free(&r.link);
    json_object_put(members);
    /* Each one at once: its reader knows what was created. */
    return ctl_flush() ? status : EX_IOERR;
}

/* given: "-", or NULL where there was no argument. */
static int create_lines(struct ctl *ctl, const char *given)
{
    struct batch b = {.shows_progress =
                          is_screen(STDERR_FILENO) && !isatty(STDOUT_FILENO)};
    struct buf line;
    int status = 0;
    buf_init(&line, URL_LINE_MAX);
    for (int c = 0; status <= EX_DATAERR && c != EOF;) {
        buf_reset(&line); /* which drops what is above its maximum */
        while ((c = getchar()) != EOF && c != '\n')
            buf_add_char(&line, (char)c);
        if (c == EOF && line.len == 0)
            break;
        b.line++;
        if (line.data[0] == '#' || strspn(line.data, " \t\r\v\f") == line.len)
            continue;
        const int one = create_one(ctl, &b, line.data, line.len);
        status = one > status ? one : status;
        if (b.shows_progress)
            fprintf(stderr, "line %zu, links created: %zu", b.line, b.made);
    }
    clear_progress(&b);
    if (ferror(stdin)) {
        perror("curt: standard input");
        status = EX_IOERR;
    } else if (b.line == 0 && given == NULL) {
        fputs("curt: create needs URL, and standard input is empty\n", stderr);
        status = EX_USAGE;
    }
    if (status > EX_DATAERR)
        fprintf(stderr,
                "curt: stopped at line %zu; links created: %zu; run this again "
                "with the lines from there on\n",
                b.line, b.made);
    buf_free(&line);
    return status;
}

int ctl_create(struct ctl *ctl, const char *url)
{
    struct batch b = {.line = 0};
    if (url == NULL || strcmp(url, "-") == 0)
        return create_lines(ctl, url);
    return create_one(ctl, &b, url, strlen(url));
}

/* "3 hours ago", "in 6 days"; a unit is used from two of it on. */
static void add_relative(struct buf *out, int64_t t, int64_t now)
{
    static const struct {
        uint64_t seconds;
        const char *name;
    } units[] = {{31556952, "years"}, {2629746, "months"}, {86400, "days"},
                 {3600, "hours"},     {60, "minutes"},     {1, "seconds"}};
    const bool past = t <= now;
    const uint64_t apart =
        past ? (uint64_t)now - (uint64_t)t : (uint64_t)t - (uint64_t)now;
    size_t i = 0;
    while (units[i].seconds > 1 && apart < 2 * units[i].seconds)
        i++;
    const uint64_t n = (apart + units[i].seconds / 2) / units[i].seconds;
    buf_addf(out, "%s%llu %.*s%s", past ? "" : "in ", (unsigned long long)n,
             (int)strlen(units[i].name) - (n == 1), units[i].name,
             past ? " ago" : "");
}

/* In the time zone of the reader (TZ). */
static void add_time(struct buf *out, int64_t t, const char *word, int64_t now)
{
    const time_t seconds = (time_t)t;
    char text[64];
    struct tm tm;
    if (localtime_r(&seconds, &tm) == NULL ||
        strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S %z", &tm) == 0) {
        buf_addf(out, "%lld", (long long)t);
        return;
    }
    buf_addf(out, "%s (%s", text, word);
    add_relative(out, t, now);
    buf_add_char(out, ')');
}

static void print_times(const struct link *link, int64_t now)
{
    struct buf text;
    struct tm tm = {.tm_isdst = 0};
    const bool expired = link_expired(link->ttl, now);
    buf_init(&text, CTL_OUTPUT_MAX);
    const char *created = link->created_at;
    const char *end =
        created != NULL ? strptime(created, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
    if (end != NULL && *end == '\0') {
        add_time(&text, (int64_t)timegm(&tm), "", now);
        created = text.data;
    }
    print_field("Created", NULL, created);
    buf_reset(&text);
    if (link->ttl == LINK_NEVER)
        buf_add_str(&text, "never");
    else
        add_time(&text, link->ttl, expired ? "expired " : "", now);
    print_field("Expires", expired ? "31" : NULL, text.data);
    buf_free(&text);
}

/* One line each; as it is where it is not an object. */
static void print_analytics(const char *text)
{
    json_object *map = NULL;
    if (text != NULL &&
        json_parse(text, strlen(text), JSON_LEVELS, &map) == RESULT_OK &&
        json_object_is_type(map, json_type_object)) {
        print_styled("2", "Analytics");
        putchar('\n');
        json_object_object_foreach(map, name, value)
        {
            fputs("  ", stdout);
            print_field(name, NULL, json_object_get_string(value));
        }
    } else {
        print_field("Analytics", NULL, text);
    }
    json_object_put(map);
}

/* A line for each field that the link has. */
static void print_fields(const struct link *l)
{
    static const char *const labels[LINK_FIELD_VERSION] = {
        "Title",         "Tags",     "Active from", "Max hits", "Status",
        "Forward query", "Disabled", "Warning",     "Reason",   "Key"};
    struct buf text;
    buf_init(&text, CTL_OUTPUT_MAX);
    for (size_t i = 0; i < LINK_FIELD_VERSION; i++) {
        const enum link_type type = link_fields[i].type;
        json_object *tags = NULL;
        buf_reset(&text);
        if (type == LINK_FLAG && *link_flag_at(l, i))
            buf_add_str(&text, "yes");
        else if (type == LINK_NUMBER && *link_number_at(l, i) > 0 &&
                 i == LINK_FIELD_NOT_BEFORE)
            add_time(&text, (int64_t)*link_number_at(l, i), "", clock_now());
        else if (type == LINK_NUMBER && *link_number_at(l, i) > 0)
            buf_add_num(&text, *link_number_at(l, i));
        else if (type == LINK_TEXT && *link_text_at(l, i) != NULL)
            buf_add_str(&text, *link_text_at(l, i));
        else if (type == LINK_TAGS && *link_text_at(l, i) != NULL &&
                 json_parse(l->tags, strlen(l->tags), JSON_LEVELS, &tags) ==
                     RESULT_OK)
            for (size_t t = 0; t < json_object_array_length(tags); t++)
                buf_addf(
                    &text, "%s%s", t > 0 ? ", " : "",
                    json_object_get_string(json_object_array_get_idx(tags, t)));
        if (text.len > 0)
            print_field(labels[i], NULL, text.data);
        json_object_put(tags);
    }
    buf_free(&text);
}

static void print_link(const struct link *link)
{
    char hits[24];
    snprintf(hits, sizeof(hits), "%llu", (unsigned long long)link->hits);
    print_field("Short URL", "1", link->short_url);
    print_field("Leads to", NULL, link->long_url);
    print_field("Short id", NULL, link->short_id);
    print_times(link, clock_now());
    if (link->ttl_note != NULL)
        print_field("Note", NULL, link->ttl_note);
    print_field("Hits", NULL, hits);
    print_fields(link);
    print_analytics(link->analytics);
}

int ctl_get(struct ctl *ctl, const char *argument)
{
    const char *id = ctl_take_id(ctl, argument);
    if (id == NULL)
        return EX_DATAERR;
    struct link link;
    link_init(&link);
    /* Read first: hits that are flushed meanwhile may count twice for a moment,
     * but never not at all. */
    uint64_t pending = hits_pending(ctl->hits, id);
    enum result r = store_get(ctl->store, id, STORE_WHOLE, 0, &link);
    link.hits += pending;
    int status = 0;
    if (r != RESULT_OK)
        status = link_failed(ctl, id, r);
    else if (ctl->json)
        status = print_link_json(&link);
    else {
        if (ctl->shown++ > 0)
            putchar('\n');
        print_link(&link);
    }
    link_free(&link);
    return status;
}

/* The absence of the link is cached for a moment: DynamoDB's eventually
 * consistent reads may show it for a second or so, and what they show would be
 * served for CACHE_TTL. */
static void forget_deleted(struct ctl *ctl, const char *id, enum result r)
{
    const struct cache_entry none = {.exists = false,
                                     .read_ms = clock_monotonic_ms()};
    /* Also when it was deleted already, or the outcome is unknown. */
    cache_forget(ctl->cache, id);
    if (ctl->conf.store == CONF_STORE_DYNAMODB &&
        (r == RESULT_OK || r == RESULT_NOT_FOUND))
        (void)cache_fill(ctl->cache, id, &none,
                         cache_generation(ctl->cache, id));
}

int ctl_delete(struct ctl *ctl, const char *argument)
{
    const char *id = ctl_take_id(ctl, argument);
    if (id == NULL)
        return EX_DATAERR;
    enum result r = store_delete(ctl->store, id, 0);
    forget_deleted(ctl, id, r);
    if (r != RESULT_OK)
        return link_failed(ctl, id, r);
    if (ctl->json) {
        json_object *answer = json_object_new_object();
        json_object_object_add(answer, "deleted", json_object_new_string(id));
        ctl_print_json(answer);
    } else {
        printf("%s is deleted\n", id);
    }
    return 0;
}

/* ---- Editing ------------------------------------------------------------ */

int ctl_edit(struct ctl *ctl, const char *argument)
{
    const char *id = ctl_take_id(ctl, argument);
    if (id == NULL)
        return EX_DATAERR;
    if (ctl->option_count == 0) {
        ctl_say(stderr, "curt: edit needs an option, such as --ttl 86400; "
                        "see: curt help edit");
        return EX_USAGE;
    }
    json_object *members = link_members(ctl);
    struct app app = {
        .conf = &ctl->conf, .store = ctl->store, .cache = ctl->cache};
    const struct create_context context = {
        .conf = &ctl->conf, .store = ctl->store, .hosts = ctl->hosts};
    struct create_request r = {.result = RESULT_OK};
    link_init(&r.link);
    enum result result = store_get(ctl->store, id, STORE_WHOLE, 0, &r.link);
    if (result == RESULT_OK) {
        create_read(members, &r);
        result = create_check(&context, &r);
    }
    if (result == RESULT_OK) {
        result = store_update(ctl->store, &r.link, 0);
        if (result == RESULT_OK || result == RESULT_UNKNOWN)
            lookup_changed(&app, id);
    }
    int status = ctl_status(result);
    if (r.reason != NULL)
        status = refuse_member(&r);
    else if (result == RESULT_CONFLICT)
        ctl_say(stderr,
                "curt: %s: the link was changed by another command meanwhile; "
                "nothing was written, run this again",
                id);
    else if (result != RESULT_OK)
        status = link_failed(ctl, id, result);
    else if (ctl->json)
        status = print_link_json(&r.link);
    else
        printf("%s is changed\n", id);
    json_object_put(members);
    link_free(&r.link);
    return status;
}

int ctl_switch(struct ctl *ctl, const char *argument)
{
    const bool disable = strcmp(ctl->verb, "disable") == 0;
    const bool warn = ctl_option(ctl, "warn") != NULL;
    const char *done = warn ? "warned" : disable ? "disabled" : "enabled";
    const char *reason = ctl_option(ctl, "reason");
    const char *id = ctl_take_id(ctl, argument);
    if (id == NULL)
        return EX_DATAERR;
    if (reason != NULL && (strlen(reason) > LINK_REASON_MAX ||
                           !utf8_is_shown(reason, strlen(reason)))) {
        ctl_say(stderr,
                "curt: invalid value of --reason: expected at most %d bytes of "
                "UTF-8 without control characters",
                LINK_REASON_MAX);
        return EX_DATAERR;
    }
    struct app app = {
        .conf = &ctl->conf, .store = ctl->store, .cache = ctl->cache};
    struct link link;
    enum result r = RESULT_CONFLICT;
    link_init(&link);
    for (int i = 0; r == RESULT_CONFLICT && i < EDIT_TRIES; i++) {
        link_free(&link);
        r = store_get(ctl->store, id, STORE_WHOLE, 0, &link);
        if (r != RESULT_OK)
            break;
        link.rules.disabled = disable && !warn;
        link.rules.warning = warn;
        /* That of an earlier command is cleared. */
        link_set(&link.reason,
                 reason != NULL && reason[0] != '\0' ? reason : NULL);
        r = store_update(ctl->store, &link, 0);
    }
    link_free(&link);
    if (r == RESULT_OK || r == RESULT_UNKNOWN)
        lookup_changed(&app, id);
    if (r != RESULT_OK)
        return link_failed(ctl, id, r);
    if (ctl->json) {
        json_object *answer = json_object_new_object();
        json_object_object_add(answer, done, json_object_new_string(id));
        ctl_print_json(answer);
    } else if (warn) {
        printf("%s has a warning\n", id);
    } else {
        printf("%s is %s\n", id, done);
    }
    return 0;
}

/* ---- QR codes ----------------------------------------------------------- */

bool ctl_qr_option(struct ctl_qr *q, const char *name, const char *argument)
{
    q->given = true;
    q->ascii |= strcmp(name, "ascii") == 0;
    q->for_create |= strcmp(name, "qr") == 0;
    if (strcmp(name, "output") == 0)
        q->output = argument;
    if (!qr_set(&q->image, name, argument))
        ctl_say(stderr, "curt: --%s", q->image.fault);
    return q->image.fault[0] == '\0';
}

bool ctl_qr_ready(struct ctl_qr *q, const char *verb, bool one)
{
    const bool chosen = (q->image.given & QR_FORMAT_GIVEN) != 0;
    if (chosen && q->output == NULL)
        q->output = "-";
    const char *dot = q->output != NULL ? strrchr(q->output, '.') : NULL;
    if (q->given && strcmp(verb, q->for_create ? "create" : "qr") != 0)
        ctl_say(stderr, "curt: QR code options are for qr and create --qr");
    else if (q->output != NULL && !one)
        ctl_say(stderr, "curt: --output and --format are for one link");
    else if (q->output != NULL && strcmp(q->output, "-") != 0 && !chosen &&
             !qr_set(&q->image, "format", dot != NULL ? dot + 1 : ""))
        ctl_say(stderr, "curt: --output %s: the %s, or add --format", q->output,
                q->image.fault);
    else
        return true;
    return false;
}

int ctl_qr(struct ctl *ctl, const char *argument)
{
    struct link link;
    const char *id = ctl_take_id(ctl, argument);
    if (id == NULL)
        return EX_DATAERR;
    link_init(&link);
    const enum result r = store_get(ctl->store, id, STORE_WHOLE, 0, &link);
    int status = CTL_NO;
    if (r != RESULT_OK)
        status = link_failed(ctl, id, r);
    else if (link_expired(link.ttl, clock_now()))
        ctl_say(stderr, "curt: %s: this link has expired", id);
    else
        status = draw_qr(ctl, id);
    link_free(&link);
    return status;
}

#include "conf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/types.h>

#include "ids.h"
#include "mem.h"
#include "num.h"

_Static_assert(CONF_CHAR_MAX == IDS_MAX, "MAX_CHAR is limited by the id type");

/* Longest configuration line, in bytes. */
#define LINE_MAX_BYTES 4096

enum type { TYPE_STRING, TYPE_SECRET, TYPE_NUMBER, TYPE_CHOICE, TYPE_DIR };

/* One configuration key. value: where in struct conf it is kept: a char * for
 * strings, a uint64_t for numbers, an int for choices. */
struct key {
    const char *name;
    enum type type;
    size_t value;
    const char *fallback; /* the default, as it would be written; or NULL */
    uint64_t min, max;    /* of a number */
    const char *const *choices;
    bool reloadable;
};

static const char *const stores[] = {"sqlite", "dynamodb", NULL};
static const char *const levels[] = {"error", "warning", "info", "debug", NULL};
/* Keys and limits are not in this version: what they would protect is either
 * open or left to the web server, never half protected. */
static const char *const create_auths[] = {"open", NULL};
static const char *const limits[] = {"off", NULL};

#define AT(member) offsetof(struct conf, member)
#define STRING(key, member, fallback, reload)                                  \
    {                                                                          \
        key, TYPE_STRING, AT(member), fallback, 0, 0, NULL, reload             \
    }
#define SECRET(key, member)                                                    \
    {                                                                          \
        key, TYPE_SECRET, AT(member), NULL, 0, 0, NULL, 1                      \
    }
#define DIRECTORY(key, member, fallback)                                       \
    {                                                                          \
        key, TYPE_DIR, AT(member), fallback, 0, 0, NULL, false                 \
    }
#define NUMBER(key, member, fallback, min, max)                                \
    {                                                                          \
        key, TYPE_NUMBER, AT(member), fallback, min, max, NULL, true           \
    }
#define CHOICE(key, member, fallback, choices, reload)                         \
    {                                                                          \
        key, TYPE_CHOICE, AT(member), fallback, 0, 0, choices, reload          \
    }

static const struct key keys[] = {
    STRING("APP_URL", app_url, NULL, true),
    NUMBER("MIN_CHAR", min_char, "7", 1, CONF_CHAR_MAX),
    NUMBER("MAX_CHAR", max_char, "7", 1, CONF_CHAR_MAX),
    CHOICE("STORE", store, "sqlite", stores, false),
    DIRECTORY("STATE_DIR", state_dir, CURT_LOCALSTATEDIR "/lib/curt"),
    DIRECTORY("RUNTIME_DIR", runtime_dir, CURT_RUNSTATEDIR "/curt"),
    STRING("TABLE", table, "url-shortener-table", true),
    NUMBER("LINK_TTL", link_ttl, "604800", 0, 3155760000),
    NUMBER("MAX_BODY", max_body, "65536", 64, CONF_BODY_MAX),
    NUMBER("STORE_TIMEOUT", store_timeout, "3", 1, 60),
    NUMBER("DRAIN_TIMEOUT", drain_timeout, "10", 1, 3600),
    CHOICE("CREATE_AUTH", create_auth, "open", create_auths, true),
    CHOICE("LIMITS", limits, "off", limits, true),
    CHOICE("LOG_LEVEL", log_level, "info", levels, true),
    STRING("AWS_REGION", aws_region, NULL, true),
    STRING("AWS_DEFAULT_REGION", aws_default_region, NULL, true),
    STRING("AWS_ACCESS_KEY_ID", aws_access_key_id, NULL, true),
    SECRET("AWS_SECRET_ACCESS_KEY", aws_secret_access_key),
    SECRET("AWS_SESSION_TOKEN", aws_session_token),
    STRING("AWS_ENDPOINT_URL_DYNAMODB", aws_endpoint_url_dynamodb, NULL, true),
    STRING("AWS_ENDPOINT_URL", aws_endpoint_url, NULL, true),
    STRING("AWS_CA_BUNDLE", aws_ca_bundle, NULL, true),
};

#define KEY_COUNT (sizeof(keys) / sizeof(keys[0]))

/* Where a value came from, for the faults found after all were read. */
struct origin {
    const char *file; /* NULL: the environment, or the default */
    unsigned line;
    bool given;
};

struct loader {
    struct conf *conf;
    struct buf *faults;
    const char *file;
    struct origin origins[KEY_COUNT];
};

static char **string_at(const struct conf *conf, const struct key *key)
{
    return (char **)((char *)(uintptr_t)conf + key->value);
}

static uint64_t *number_at(const struct conf *conf, const struct key *key)
{
    return (uint64_t *)((char *)(uintptr_t)conf + key->value);
}

static int *choice_at(const struct conf *conf, const struct key *key)
{
    return (int *)((char *)(uintptr_t)conf + key->value);
}

static bool is_text(const struct key *key)
{
    return key->type == TYPE_STRING || key->type == TYPE_SECRET ||
           key->type == TYPE_DIR;
}

static size_t find_key(const char *name)
{
    size_t i = 0;
    while (i < KEY_COUNT && strcmp(keys[i].name, name) != 0)
        i++;
    return i;
}

/* Begins a line of faults with where key number i was set. */
static void add_place(const struct loader *l, size_t i)
{
    const struct origin *o = &l->origins[i];
    if (o->file != NULL)
        buf_addf(l->faults, "%s:%u: ", o->file, o->line);
    else if (o->given)
        buf_add_str(l->faults, "environment: ");
    else
        buf_addf(l->faults, "%s: ", l->file);
    buf_addf(l->faults, "%s: ", keys[i].name);
}

static void add_choices(struct buf *out, const char *const *choices)
{
    for (size_t i = 0; choices[i] != NULL; i++)
        buf_addf(out, "%s%s", i > 0 ? " or " : "", choices[i]);
}

static void set_number(struct loader *l, size_t i, const char *value)
{
    const struct key *key = &keys[i];
    uint64_t n = 0;
    if (num_parse(value, key->max, &n) && n >= key->min) {
        *number_at(l->conf, key) = n;
        return;
    }
    add_place(l, i);
    buf_addf(l->faults,
             "\"%s\" is not right; it must be a whole number from %llu to "
             "%llu\n",
             value, (unsigned long long)key->min, (unsigned long long)key->max);
}

static void set_choice(struct loader *l, size_t i, const char *value)
{
    const struct key *key = &keys[i];
    for (int c = 0; key->choices[c] != NULL; c++) {
        if (strcmp(key->choices[c], value) == 0) {
            *choice_at(l->conf, key) = c;
            return;
        }
    }
    add_place(l, i);
    buf_addf(l->faults, "\"%s\" is not right; it must be ", value);
    add_choices(l->faults, key->choices);
    buf_add_char(l->faults, '\n');
}

static void set_string(struct loader *l, size_t i, const char *value)
{
    const struct key *key = &keys[i];
    char **place = string_at(l->conf, key);
    mem_free_secret(*place);
    /* Empty means absent, as the AWS SDKs read their variables. */
    *place = value[0] != '\0' ? mem_dup(value) : NULL;
    for (const char *c = value; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            add_place(l, i);
            buf_add_str(l->faults, "has a control character in it\n");
            return;
        }
    }
    if (key->type == TYPE_DIR && value[0] != '/') {
        add_place(l, i);
        buf_addf(l->faults,
                 "\"%s\" is not right; it must be an absolute path\n", value);
    }
}

static void set_value(struct loader *l, size_t i, const char *value)
{
    if (keys[i].type == TYPE_NUMBER)
        set_number(l, i, value);
    else if (keys[i].type == TYPE_CHOICE)
        set_choice(l, i, value);
    else
        set_string(l, i, value);
}

static char *trim(char *s)
{
    s += strspn(s, " \t");
    size_t len = strlen(s);
    while (len > 0 && strchr(" \t\r\n", s[len - 1]) != NULL)
        s[--len] = '\0';
    return s;
}

/* Takes the optional quotes off a value; false if only one is there. */
static bool unquote(char **value)
{
    char *s = *value;
    size_t len = strlen(s);
    if (s[0] != '"')
        return true;
    if (len < 2 || s[len - 1] != '"')
        return false;
    s[len - 1] = '\0';
    *value = s + 1;
    return strchr(*value, '"') == NULL;
}

/* The key that was probably meant: the same but for case. */
static void add_unknown_key(struct loader *l, const char *name)
{
    buf_addf(l->faults, "%s: no such key", name);
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (strcasecmp(keys[i].name, name) == 0)
            buf_addf(l->faults, "; keys are in capitals: %s", keys[i].name);
    buf_add_str(l->faults, "; curt.conf(5) lists the keys\n");
}

static void read_line(struct loader *l, char *text, unsigned line)
{
    char *name = trim(text);
    if (name[0] == '\0' || name[0] == '#')
        return;
    char *equals = strchr(name, '=');
    if (equals == NULL || equals == name) {
        buf_addf(l->faults,
                 "%s:%u: \"%s\" is no `KEY = value` line; comments begin with "
                 "#\n",
                 l->file, line, name);
        return;
    }
    *equals = '\0';
    char *value = trim(equals + 1);
    name = trim(name);
    size_t i = find_key(name);
    if (i == KEY_COUNT) {
        buf_addf(l->faults, "%s:%u: ", l->file, line);
        add_unknown_key(l, name);
    } else if (l->origins[i].given) {
        buf_addf(l->faults, "%s:%u: %s: is there twice; line %u has it, too\n",
                 l->file, line, name, l->origins[i].line);
    } else if (!unquote(&value)) {
        buf_addf(l->faults,
                 "%s:%u: %s: a quoted value must begin and end with a \" and "
                 "have none inside\n",
                 l->file, line, name);
    } else {
        l->origins[i] = (struct origin){l->file, line, true};
        /* The environment wins: a value it replaces need not be right. */
        if (getenv(name) == NULL)
            set_value(l, i, value);
    }
}

static void read_lines(struct loader *l, FILE *in)
{
    char *text = NULL;
    size_t size = 0;
    ssize_t len;
    for (unsigned line = 1; (len = getline(&text, &size, in)) >= 0; line++) {
        if (len > LINE_MAX_BYTES)
            buf_addf(l->faults, "%s:%u: the line is longer than %d bytes\n",
                     l->file, line, LINE_MAX_BYTES);
        else if (strlen(text) != (size_t)len)
            buf_addf(l->faults, "%s:%u: the line has a NUL byte in it\n",
                     l->file, line);
        else
            read_line(l, text, line);
    }
    if (ferror(in))
        buf_addf(l->faults, "%s: cannot be read: %s\n", l->file,
                 strerror(errno));
    free(text);
}

static void read_file(struct loader *l, bool may_be_absent)
{
    FILE *in = fopen(l->file, "re");
    if (in == NULL) {
        if (errno != ENOENT || !may_be_absent)
            buf_addf(l->faults, "%s: cannot be read: %s\n", l->file,
                     strerror(errno));
        return;
    }
    read_lines(l, in);
    fclose(in);
}

static void read_environment(struct loader *l)
{
    for (size_t i = 0; i < KEY_COUNT; i++) {
        const char *value = getenv(keys[i].name);
        if (value == NULL)
            continue;
        l->origins[i] = (struct origin){NULL, 0, true};
        set_value(l, i, value);
    }
}

/* What no single value shows. */
static void check_whole(struct loader *l)
{
    struct conf *conf = l->conf;
    size_t app_url = find_key("APP_URL");
    const char *reason = NULL;
    if (conf->app_url == NULL) {
        add_place(l, app_url);
        buf_add_str(l->faults, "is not set; it is the public prefix of short "
                               "URLs, such as https://sho.rt/t/\n");
    } else if (url_app_parse(conf->app_url, &conf->app, &reason) != RESULT_OK) {
        add_place(l, app_url);
        buf_addf(l->faults, "\"%s\" %s; right would be https://sho.rt/t/\n",
                 conf->app_url, reason);
    }
    if (conf->min_char > conf->max_char) {
        size_t min = find_key("MIN_CHAR");
        add_place(l, l->origins[min].given ? min : find_key("MAX_CHAR"));
        buf_addf(l->faults,
                 "MIN_CHAR (%llu) is larger than MAX_CHAR (%llu); it must be "
                 "smaller or equal\n",
                 (unsigned long long)conf->min_char,
                 (unsigned long long)conf->max_char);
    }
    if (conf->store == CONF_STORE_DYNAMODB && conf->table == NULL) {
        add_place(l, find_key("TABLE"));
        buf_add_str(l->faults, "is empty; STORE = dynamodb needs the name of "
                               "its table\n");
    }
}

/* The file that applies, and whether it may be absent. */
static const char *choose_file(const char *file, bool *may_be_absent)
{
    *may_be_absent = false;
    if (file != NULL)
        return file;
    const char *named = getenv("CURT_CONF");
    if (named != NULL && named[0] != '\0')
        return named;
    *may_be_absent = true;
    return CURT_SYSCONFDIR "/curt/curt.conf";
}

enum result conf_load(const char *file, struct conf *conf, struct buf *faults)
{
    *conf = (struct conf){0};
    struct loader l = {.conf = conf, .faults = faults};
    bool may_be_absent;
    l.file = choose_file(file, &may_be_absent);
    const size_t before = faults->len;
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (keys[i].fallback != NULL)
            set_value(&l, i, keys[i].fallback);
    read_file(&l, may_be_absent);
    read_environment(&l);
    if (faults->len == before)
        check_whole(&l);
    if (faults->len == before && !buf_failed(faults))
        return RESULT_OK;
    conf_free(conf);
    return RESULT_INVALID;
}

void conf_free(struct conf *conf)
{
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (is_text(&keys[i]))
            mem_free_secret(*string_at(conf, &keys[i]));
    url_app_free(&conf->app);
    *conf = (struct conf){0};
}

void conf_keep_fixed(struct conf *conf, const struct conf *old)
{
    for (size_t i = 0; i < KEY_COUNT; i++) {
        const struct key *key = &keys[i];
        if (key->reloadable)
            continue;
        bool same;
        if (key->type == TYPE_CHOICE) {
            same = *choice_at(conf, key) == *choice_at(old, key);
            *choice_at(conf, key) = *choice_at(old, key);
        } else {
            char **now = string_at(conf, key);
            const char *was = *string_at(old, key);
            same =
                strcmp(*now != NULL ? *now : "", was != NULL ? was : "") == 0;
            free(*now);
            *now = mem_dup(was);
        }
        if (!same)
            log_warning("%s changed, but only a restart can take it over; the "
                        "old value stays",
                        key->name);
    }
}

size_t conf_key_count(void)
{
    return KEY_COUNT;
}

struct conf_key conf_key(size_t i)
{
    static const char *const names[] = {
        [TYPE_STRING] = "string", [TYPE_SECRET] = "secret",
        [TYPE_NUMBER] = "number", [TYPE_CHOICE] = "choice",
        [TYPE_DIR] = "directory",
    };
    const struct key *key = &keys[i];
    return (struct conf_key){.name = key->name,
                             .type = names[key->type],
                             .fallback = key->fallback,
                             .reloadable = key->reloadable};
}

void conf_key_range(size_t i, struct buf *out)
{
    const struct key *key = &keys[i];
    if (key->type == TYPE_NUMBER)
        buf_addf(out, "%llu to %llu", (unsigned long long)key->min,
                 (unsigned long long)key->max);
    else if (key->type == TYPE_CHOICE)
        add_choices(out, key->choices);
    else
        buf_add_str(out, key->type == TYPE_DIR ? "absolute path" : "text");
}

bool conf_value(const struct conf *conf, size_t i, struct buf *out)
{
    const struct key *key = &keys[i];
    if (key->type == TYPE_NUMBER) {
        buf_addf(out, "%llu", (unsigned long long)*number_at(conf, key));
    } else if (key->type == TYPE_CHOICE) {
        buf_add_str(out, key->choices[*choice_at(conf, key)]);
    } else {
        const char *value = *string_at(conf, key);
        if (value == NULL)
            return false;
        buf_add_str(out, key->type == TYPE_SECRET ? "********" : value);
    }
    return true;
}

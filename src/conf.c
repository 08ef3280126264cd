#include "conf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "conf_file.h"
#include "ids.h"
#include "mem.h"
#include "num.h"
#include "utf8.h"

_Static_assert(CONF_CHAR_MAX == IDS_MAX, "MAX_CHAR is limited by the id type");

enum type {
    TYPE_STRING,
    TYPE_SECRET,
    TYPE_URL,
    TYPE_HOME,
    TYPE_COLOR,
    TYPE_TEXT,
    TYPE_NUMBER,
    TYPE_CHOICE,
    TYPE_DIR
};

/* One configuration key. value: where in struct conf it is kept: a char * for
 * strings, a uint64_t for numbers, an int for choices. */
struct key {
    const char *name;
    enum type type;
    size_t value;
    const char *fallback; /* the default, as it would be written; or NULL */
    uint64_t min, max;    /* of a number; max: characters of a text */
    const char *const *choices;
    bool reloadable;
};

static const char *const stores[] = {"sqlite", "dynamodb", NULL};
static const char *const levels[] = {"error", "warning", "info", "debug", NULL};
/* Keys and limits are not in this version: what they would protect is either
 * open or left to the web server, never half protected. */
static const char *const create_auths[] = {"open", NULL};
static const char *const limits[] = {"off", NULL};
static const char *const booleans[] = {"false", "true", NULL};
static const char *const ip_modes[] = {"IPv4", "IPv6", NULL};

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
    {"APP_URL", TYPE_URL, AT(app_url), NULL, 0, 0, NULL, true},
    NUMBER("MIN_CHAR", min_char, "7", 1, CONF_CHAR_MAX),
    NUMBER("MAX_CHAR", max_char, "7", 1, CONF_CHAR_MAX),
    CHOICE("STORE", store, "sqlite", stores, false),
    DIRECTORY("STATE_DIR", state_dir, CURT_LOCALSTATEDIR "/lib/curt"),
    DIRECTORY("RUNTIME_DIR", runtime_dir, CURT_RUNSTATEDIR "/curt"),
    STRING("TABLE", table, "url-shortener-table", false),
    NUMBER("LINK_TTL", link_ttl, "604800", 0, 3155760000),
    NUMBER("MAX_BODY", max_body, "65536", 64, CONF_BODY_MAX),
    NUMBER("STORE_TIMEOUT", store_timeout, "3", 1, 60),
    NUMBER("REQUEST_TIMEOUT", request_timeout, "5", 1, 60),
    NUMBER("DRAIN_TIMEOUT", drain_timeout, "10", 1, 3600),
    NUMBER("CACHE_SIZE", cache_size, "67108864", 0, 68719476736),
    NUMBER("CACHE_TTL", cache_ttl, "60", 0, 86400),
    NUMBER("CACHE_STALE", cache_stale, "86400", 0, 31536000),
    NUMBER("HITS_FLUSH", hits_flush, "5", 1, 3600),
    {"HOME", TYPE_HOME, AT(home), "page", 0, 0, NULL, true},
    {"SITE_NAME", TYPE_TEXT, AT(site_name), NULL, 0, 100, NULL, true},
    {"SITE_TEXT", TYPE_TEXT, AT(site_text), NULL, 0, 1000, NULL, true},
    {"SITE_COLOR", TYPE_COLOR, AT(site_color), NULL, 0, 0, NULL, true},
    CHOICE("CREATE_AUTH", create_auth, "open", create_auths, true),
    CHOICE("LIMITS", limits, "off", limits, true),
    CHOICE("LOG_LEVEL", log_level, "info", levels, true),
    STRING("AWS_REGION", aws_region, NULL, false),
    STRING("AWS_DEFAULT_REGION", aws_default_region, NULL, false),
    STRING("AWS_ACCESS_KEY_ID", aws_access_key_id, NULL, true),
    SECRET("AWS_SECRET_ACCESS_KEY", aws_secret_access_key),
    SECRET("AWS_SESSION_TOKEN", aws_session_token),
    STRING("AWS_ENDPOINT_URL_DYNAMODB", aws_endpoint_url_dynamodb, NULL, false),
    STRING("AWS_ENDPOINT_URL", aws_endpoint_url, NULL, false),
    STRING("AWS_ENDPOINT_URL_STS", aws_endpoint_url_sts, NULL, true),
    CHOICE("AWS_USE_FIPS_ENDPOINT", aws_use_fips_endpoint, "false", booleans,
           true),
    CHOICE("AWS_USE_DUALSTACK_ENDPOINT", aws_use_dualstack_endpoint, "false",
           booleans, true),
    STRING("AWS_CA_BUNDLE", aws_ca_bundle, NULL, true),
    STRING("AWS_PROFILE", aws_profile, NULL, true),
    STRING("AWS_CONFIG_FILE", aws_config_file, NULL, true),
    STRING("AWS_SHARED_CREDENTIALS_FILE", aws_shared_credentials_file, NULL,
           true),
    STRING("AWS_WEB_IDENTITY_TOKEN_FILE", aws_web_identity_token_file, NULL,
           true),
    STRING("AWS_ROLE_ARN", aws_role_arn, NULL, true),
    STRING("AWS_ROLE_SESSION_NAME", aws_role_session_name, NULL, true),
    STRING("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
           aws_container_credentials_relative_uri, NULL, true),
    STRING("AWS_CONTAINER_CREDENTIALS_FULL_URI",
           aws_container_credentials_full_uri, NULL, true),
    SECRET("AWS_CONTAINER_AUTHORIZATION_TOKEN",
           aws_container_authorization_token),
    STRING("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
           aws_container_authorization_token_file, NULL, true),
    STRING("AWS_EC2_METADATA_SERVICE_ENDPOINT",
           aws_ec2_metadata_service_endpoint, NULL, true),
    CHOICE("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
           aws_ec2_metadata_service_endpoint_mode, "IPv4", ip_modes, true),
    CHOICE("AWS_EC2_METADATA_DISABLED", aws_ec2_metadata_disabled, "false",
           booleans, true),
};

#define KEY_COUNT (sizeof(keys) / sizeof(keys[0]))

/* Where a value came from, and whether it was refused. */
struct origin {
    const char *file; /* NULL: the environment, or the default */
    unsigned line;
    bool given;
    bool refused;
};

struct loader {
    struct conf *conf;
    struct buf *faults;
    const char *file;
    bool absent; /* the default file does not exist, which is allowed */
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
    return key->type != TYPE_NUMBER && key->type != TYPE_CHOICE;
}

/* The value in the environment. HOME is not read from there: it is the home
 * directory of the user. */
static const char *read_env(const struct key *key)
{
    return key->type == TYPE_HOME ? NULL : getenv(key->name);
}

static size_t find_key(const char *name)
{
    size_t i = 0;
    while (i < KEY_COUNT && strcmp(keys[i].name, name) != 0)
        i++;
    return i;
}

/* Begins a line of faults with where key number i was set. */
static void begin_fault(struct loader *l, size_t i)
{
    struct origin *o = &l->origins[i];
    o->refused = true;
    if (o->file != NULL)
        buf_addf(l->faults, "%s:%u: ", o->file, o->line);
    else if (o->given)
        buf_add_str(l->faults, "environment: ");
    else
        buf_addf(l->faults, "%s: ", l->file);
    buf_addf(l->faults, "%s: ", keys[i].name);
}

/* Begins a line of faults that quotes the value. */
static void begin_fault_of(struct loader *l, size_t i, const char *value)
{
    begin_fault(l, i);
    buf_add_char(l->faults, '"');
    conf_file_add_text(l->faults, value);
    buf_add_str(l->faults, "\" ");
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
    begin_fault_of(l, i, value);
    buf_addf(l->faults,
             "is not right; it must be a whole number from %llu to %llu\n",
             (unsigned long long)key->min, (unsigned long long)key->max);
}

static void set_choice(struct loader *l, size_t i, const char *value)
{
    const struct key *key = &keys[i];
    /* The AWS SDKs read theirs in any case of letters. */
    int (*compare)(const char *, const char *) =
        strncmp(key->name, "AWS_", 4) == 0 ? strcasecmp : strcmp;
    for (int c = 0; key->choices[c] != NULL; c++) {
        if (compare(key->choices[c], value) == 0) {
            *choice_at(l->conf, key) = c;
            return;
        }
    }
    begin_fault_of(l, i, value);
    buf_add_str(l->faults, "is not right; it must be ");
    add_choices(l->faults, key->choices);
    buf_add_char(l->faults, '\n');
}

static bool has_control(const char *s)
{
    while (*s != '\0' && (unsigned char)*s >= 0x20 && *s != 0x7f)
        s++;
    return *s != '\0';
}

/* Whether pages can show it: UTF-8, at most max characters. */
static bool is_shown_text(const char *value, uint64_t max)
{
    const size_t len = strlen(value);
    uint32_t point = 0;
    uint64_t n = 0;
    for (size_t pos = 0; pos < len && point != UTF8_BAD; n++)
        point = utf8_next(value, len, &pos);
    return point != UTF8_BAD && n <= max;
}

static bool is_home(const char *value)
{
    struct buf url;
    const char *reason;
    buf_init(&url, URL_MAX);
    const bool right =
        strcmp(value, "page") == 0 || strcmp(value, "off") == 0 ||
        (url_normalise(value, strlen(value), &url, &reason) == RESULT_OK &&
         strcmp(value, url.data) == 0);
    buf_free(&url);
    return right;
}

static bool is_color(const char *value)
{
    return value[0] == '#' && strlen(value) == 7 &&
           strspn(value + 1, "0123456789abcdefABCDEF") == 6;
}

static void set_string(struct loader *l, size_t i, const char *value)
{
    const struct key *key = &keys[i];
    char **place = string_at(l->conf, key);
    const char *reason = NULL;
    mem_free_secret(*place);
    /* Empty means absent, as the AWS SDKs read their variables. */
    *place = value[0] != '\0' ? mem_dup(value) : NULL;
    if (has_control(value)) {
        begin_fault(l, i);
        buf_add_str(l->faults, "has a control character in it\n");
    } else if (key->type == TYPE_DIR && value[0] != '/') {
        begin_fault_of(l, i, value);
        buf_add_str(l->faults, "is not right; it must be an absolute path\n");
    } else if (key->type == TYPE_URL && *place != NULL &&
               url_app_parse(value, &l->conf->app, &reason) != RESULT_OK) {
        begin_fault_of(l, i, value);
        buf_addf(l->faults, "%s; right would be https://sho.rt/t/\n", reason);
    } else if (key->type == TYPE_HOME && !is_home(value)) {
        begin_fault_of(l, i, value);
        buf_add_str(l->faults, "is not right; it must be page, off or a URL, "
                               "such as https://example.org/\n");
    } else if (key->type == TYPE_COLOR && *place != NULL && !is_color(value)) {
        begin_fault_of(l, i, value);
        buf_add_str(l->faults, "is not right; it must be a colour such as "
                               "#0b57d0\n");
    } else if (key->type == TYPE_TEXT && !is_shown_text(value, key->max)) {
        begin_fault(l, i);
        buf_addf(l->faults,
                 "is not right; it must be up to %llu characters in UTF-8\n",
                 (unsigned long long)key->max);
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

/* A line without '='. It is shown, unless it may have a secret in it. */
static void refuse_line(struct loader *l, unsigned line, const char *text)
{
    buf_addf(l->faults, "%s:%u: ", l->file, line);
    const char *secret = NULL;
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (keys[i].type == TYPE_SECRET &&
            strcasestr(text, keys[i].name) != NULL)
            secret = keys[i].name;
    if (secret != NULL) {
        buf_addf(l->faults, "%s: the line", secret);
    } else {
        buf_add_char(l->faults, '"');
        conf_file_add_text(l->faults, text);
        buf_add_char(l->faults, '"');
    }
    buf_add_str(l->faults,
                " is not a `KEY = value` line; comments begin with #\n");
}

/* With the key that was probably meant: the same but for case. */
static void refuse_key(struct loader *l, unsigned line, const char *name)
{
    buf_addf(l->faults, "%s:%u: ", l->file, line);
    conf_file_add_text(l->faults, name);
    buf_add_str(l->faults, ": no such key");
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (strcasecmp(keys[i].name, name) == 0)
            buf_addf(l->faults, "; keys are in capitals: %s", keys[i].name);
    buf_add_str(l->faults, "; curt.conf(5) lists the keys\n");
}

static void take_line(void *context, unsigned line, const char *name,
                      const char *value)
{
    struct loader *l = context;
    size_t i = name != NULL ? find_key(name) : KEY_COUNT;
    if (name == NULL) {
        refuse_line(l, line, value);
    } else if (i == KEY_COUNT) {
        refuse_key(l, line, name);
    } else if (l->origins[i].given) {
        buf_addf(l->faults, "%s:%u: %s: is set twice, first on line %u\n",
                 l->file, line, name, l->origins[i].line);
    } else {
        l->origins[i] =
            (struct origin){.file = l->file, .line = line, .given = true};
        if (value == NULL) {
            begin_fault(l, i);
            buf_add_str(l->faults, "a quoted value must begin and end with a "
                                   "\" and have none inside\n");
        } else if (read_env(&keys[i]) == NULL) {
            /* The environment wins: a value it replaces need not be right. */
            set_value(l, i, value);
        }
    }
}

static void read_environment(struct loader *l)
{
    for (size_t i = 0; i < KEY_COUNT; i++) {
        const char *value = read_env(&keys[i]);
        if (value == NULL)
            continue;
        l->origins[i] = (struct origin){.given = true};
        set_value(l, i, value);
    }
}

/* What no single value shows. */
static void check_whole(struct loader *l)
{
    struct conf *conf = l->conf;
    conf->cache_size_chosen = !l->origins[find_key("CACHE_SIZE")].given;
    size_t app_url = find_key("APP_URL"), home = find_key("HOME");
    size_t min = find_key("MIN_CHAR"), max = find_key("MAX_CHAR");
    if (conf->app_url == NULL && !l->origins[app_url].refused) {
        if (l->absent && !l->origins[app_url].given)
            buf_addf(l->faults,
                     "%s does not exist (-c or CURT_CONF name another "
                     "file), and APP_URL ",
                     l->file);
        else
            begin_fault(l, app_url);
        buf_add_str(l->faults, "is not set; it is the public prefix of short "
                               "URLs, such as https://sho.rt/t/\n");
    }
    if (conf->app.host != NULL && !l->origins[home].refused &&
        url_is_loop(conf->home, &conf->app)) {
        begin_fault_of(l, home, conf->home);
        buf_add_str(l->faults, "leads back to curt; it must lead to another "
                               "site, or be page or off\n");
    }
    if (conf->min_char > conf->max_char && !l->origins[min].refused &&
        !l->origins[max].refused) {
        begin_fault(l, l->origins[min].given ? min : max);
        buf_addf(l->faults,
                 "MIN_CHAR (%llu) is larger than MAX_CHAR (%llu); it must be "
                 "smaller or equal\n",
                 (unsigned long long)conf->min_char,
                 (unsigned long long)conf->max_char);
    }
    if (conf->store == CONF_STORE_DYNAMODB && conf->table == NULL) {
        begin_fault(l, find_key("TABLE"));
        buf_add_str(l->faults, "is empty; STORE = dynamodb needs the name of "
                               "its table\n");
    }
}

/* The file to read; *named: not the default, so it must exist. */
static const char *choose_file(const char *file, bool *named)
{
    *named = true;
    if (file != NULL)
        return file;
    const char *found = getenv("CURT_CONF");
    if (found != NULL && found[0] != '\0')
        return found;
    *named = false;
    return CURT_SYSCONFDIR "/curt/curt.conf";
}

/* Without the file the values are unknown, so no other fault is reported. */
static enum result refuse_file(struct loader *l, int error)
{
    buf_addf(l->faults, "%s: cannot be read: %s%s\n", l->file, strerror(error),
             error == EACCES ? "; run this as root or as the user that runs "
                               "curt.fcgi, who must be able to read it"
                             : "");
    conf_free(l->conf);
    return error == EACCES ? RESULT_DENIED : RESULT_INVALID;
}

enum result conf_load(const char *file, struct conf *conf, struct buf *faults)
{
    *conf = (struct conf){0};
    struct loader l = {.conf = conf, .faults = faults};
    bool named;
    l.file = choose_file(file, &named);
    const size_t before = faults->len;
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (keys[i].fallback != NULL)
            set_value(&l, i, keys[i].fallback);
    const int error = conf_file_read(l.file, take_line, &l, faults);
    l.absent = error == ENOENT && !named;
    if (error != 0 && !l.absent)
        return refuse_file(&l, error);
    read_environment(&l);
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
            log_warning("%s: changed in the file; restart required, keeping "
                        "the old value",
                        key->name);
    }
}

void conf_write(const struct conf *conf, struct buf *out)
{
    for (size_t i = 0; i < KEY_COUNT; i++) {
        const struct key *key = &keys[i];
        if (read_env(key) != NULL)
            continue; /* it wins there as well */
        buf_addf(out, "%s=", key->name);
        const char *text = is_text(key) ? *string_at(conf, key) : NULL;
        /* What came from the file can be written as it stood there. */
        if (text != NULL && (text[0] == ' ' || text[strlen(text) - 1] == ' '))
            buf_addf(out, "\"%s\"", text);
        else if (text != NULL)
            buf_add_str(out, text);
        else if (!is_text(key))
            conf_value(conf, i, out);
        buf_add_char(out, '\n');
    }
}

size_t conf_key_count(void)
{
    return KEY_COUNT;
}

struct conf_key conf_key(size_t i)
{
    static const char *const names[] = {
        [TYPE_SECRET] = "secret",
        [TYPE_NUMBER] = "number",
        [TYPE_CHOICE] = "choice",
        [TYPE_DIR] = "directory",
    };
    const struct key *key = &keys[i];
    const char *type = names[key->type];
    return (struct conf_key){.name = key->name,
                             .type = type != NULL ? type : "string",
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
    else if (key->type == TYPE_TEXT)
        buf_addf(out, "up to %llu characters", (unsigned long long)key->max);
    else
        buf_add_str(out, key->type == TYPE_DIR     ? "absolute path"
                         : key->type == TYPE_HOME  ? "page or off or a URL"
                         : key->type == TYPE_COLOR ? "#rrggbb"
                                                   : "text");
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

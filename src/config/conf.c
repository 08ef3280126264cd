#include "config/conf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/text.h"
#include "base/utf8.h"
#include "link/ids.h"

/* Longest line of the file, in bytes, its end included. */
#define LINE_MAX_LEN 4096

_Static_assert(CONF_CHAR_MAX == IDS_MAX, "MAX_CHAR is limited by the id type");

enum setting_type {
    TYPE_STRING,
    TYPE_SECRET,
    TYPE_URL,
    TYPE_HOME,
    TYPE_COLOR,
    TYPE_TEXT,
    TYPE_RATE,
    TYPE_NUMBER,
    TYPE_CHOICE,
    TYPE_SCHEMES,
    TYPE_ORIGINS,
    TYPE_FILE,
    TYPE_DIR
};

/* One key of the configuration. value: where in struct conf it is kept: a
 * char * for strings, a uint64_t for numbers, a struct conf_rate for rates, an
 * int for choices. */
struct setting {
    const char *name;
    enum setting_type type;
    size_t value;
    const char *fallback; /* the default, as it would be written; or NULL */
    uint64_t min, max;    /* of a number; max: characters of a text */
    const char *const *choices;
    bool reloadable;
};

static const char *const stores[] = {"sqlite", "dynamodb", NULL};
static const char *const levels[] = {"error", "warning", "info", "debug", NULL};
static const char *const create_auths[] = {"key", "open", NULL};
static const char *const switches[] = {"off", "on", NULL};
static const char *const statuses[] = {"301", "302", "307", "308", NULL};
static const char *const policies[] = {"allow", "refuse", NULL};
static const char *const lookalikes[] = {"allow", "refuse", "warn", NULL};
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
#define RATE(key, member, fallback)                                            \
    {                                                                          \
        key, TYPE_RATE, AT(member), fallback, 0, 0, NULL, true                 \
    }
#define CHOICE(key, member, fallback, choices, reload)                         \
    {                                                                          \
        key, TYPE_CHOICE, AT(member), fallback, 0, 0, choices, reload          \
    }

static const struct setting settings[] = {
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
    CHOICE("CREATE_AUTH", create_auth, "key", create_auths, true),
    {"CORS_ORIGINS", TYPE_ORIGINS, AT(cors_origins), NULL, 0, 0, NULL, true},
    CHOICE("LIMITS", limits, "on", switches, true),
    RATE("CREATE_LIMIT", create_limit, "60/60"),
    RATE("AUTH_LIMIT", auth_limit, "10/60"),
    RATE("UNKNOWN_LIMIT", unknown_limit, "120/60"),
    CHOICE("REDIRECT_STATUS", redirect_status, "301", statuses, true),
    CHOICE("CASE_INSENSITIVE", case_insensitive, "off", switches, true),
    {"URL_SCHEMES", TYPE_SCHEMES, AT(url_schemes), "http https", 0, 0, NULL,
     true},
    {"BLOCKED_HOSTS", TYPE_FILE, AT(blocked_hosts), NULL, 0, 0, NULL, true},
    {"ALLOWED_HOSTS", TYPE_FILE, AT(allowed_hosts), NULL, 0, 0, NULL, true},
    CHOICE("PRIVATE_TARGETS", private_targets, "refuse", policies, true),
    CHOICE("SHORTENER_TARGETS", shortener_targets, "allow", policies, true),
    CHOICE("LOOKALIKE_HOSTS", lookalike_hosts, "warn", lookalikes, true),
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

#define SETTING_COUNT (sizeof(settings) / sizeof(settings[0]))

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
    struct origin origins[SETTING_COUNT];
};

/* Where a value is kept: its type is that of struct setting's value. */
static void *value_at(const struct conf *conf, const struct setting *key)
{
    return (char *)(uintptr_t)conf + key->value;
}

static bool is_string(const struct setting *key)
{
    return key->type != TYPE_NUMBER && key->type != TYPE_CHOICE &&
           key->type != TYPE_RATE;
}

/* The value in the environment. HOME is not read from there: it is the home
 * directory of the user. */
static const char *read_env(const struct setting *key)
{
    return key->type == TYPE_HOME ? NULL : getenv(key->name);
}

static size_t find_key(const char *name)
{
    size_t i = 0;
    while (i < SETTING_COUNT && strcmp(settings[i].name, name) != 0)
        i++;
    return i;
}

/* Appends text from a user, ASCII control characters as '?', so that it stays
 * on one line. The caller escapes the others when it prints: utf8_print(). */
static void add_visible(struct buf *faults, const char *text)
{
    for (; *text != '\0'; text++) {
        bool control = (unsigned char)*text < 0x20 || *text == 0x7f;
        buf_add_char(faults, control ? '?' : *text);
    }
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
    buf_addf(l->faults, "%s: ", settings[i].name);
}

/* value: NULL where it cannot be shown. reason: NULL where it is enough to say
 * what the key can be. */
static void refuse_value(struct loader *l, size_t i, const char *value,
                         const char *reason)
{
    const enum setting_type type = settings[i].type;
    begin_fault(l, i);
    buf_add_str(l->faults, "invalid value");
    if (value != NULL) {
        buf_add_str(l->faults, " \"");
        add_visible(l->faults, value);
        buf_add_char(l->faults, '"');
    }
    buf_addf(l->faults, ": %s", reason != NULL ? reason : "expected ");
    if (reason == NULL) {
        buf_add_str(l->faults, type == TYPE_NUMBER ? "an integer from "
                               : type == TYPE_DIR || type == TYPE_FILE ? "an "
                                                                       : "");
        conf_key_range(i, l->faults);
    } else if (type == TYPE_URL) {
        buf_add_str(l->faults, "; expected e.g. https://sho.rt/t/");
    }
    buf_add_str(l->faults, type == TYPE_TEXT ? " of UTF-8\n" : "\n");
}

/* Returns false for a value that is not in the table's choices. */
static bool set_choice(struct conf *conf, const struct setting *key,
                       const char *value)
{
    /* The AWS SDKs read theirs in any case of letters. */
    int (*compare)(const char *, const char *) =
        strncmp(key->name, "AWS_", 4) == 0 ? strcasecmp : strcmp;
    for (int c = 0; key->choices[c] != NULL; c++) {
        if (compare(key->choices[c], value) == 0) {
            *(int *)value_at(conf, key) = c;
            return true;
        }
    }
    return false;
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
    const bool right = strcmp(value, "page") == 0 ||
                       strcmp(value, "off") == 0 ||
                       (url_normalise(NULL, value, strlen(value), NULL, &url,
                                      &reason) == RESULT_OK &&
                        strcmp(value, url.data) == 0);
    buf_free(&url);
    return right;
}

static bool is_color(const char *value)
{
    return value[0] == '#' && strlen(value) == 7 &&
           strspn(value + 1, "0123456789abcdefABCDEF") == 6;
}

/* "60/60": so many in so many seconds. */
bool conf_parse_rate(const char *value, struct conf_rate *rate)
{
    char count[24] = "";
    const size_t len = strcspn(value, "/");
    struct conf_rate read;
    if (len >= sizeof(count) || value[len] == '\0')
        return false;
    memcpy(count, value, len);
    if (!text_number(count, CONF_RATE_MAX, &read.count) ||
        !text_number(value + len + 1, CONF_RATE_SECONDS_MAX, &read.seconds) ||
        read.count == 0 || read.seconds == 0)
        return false;
    *rate = read;
    return true;
}

/* Calls check for each word of a list; false where it is false for one. */
static bool check_words(const char *list, bool (*check)(const char *word))
{
    char word[URL_MAX + 1];
    for (list += strspn(list, " \t,"); *list != '\0';
         list += strspn(list, " \t,")) {
        const size_t len = strcspn(list, " \t,");
        if (len >= sizeof(word))
            return false;
        memcpy(word, list, len);
        word[len] = '\0';
        if (!check(word))
            return false;
        list += len;
    }
    return true;
}

/* RFC 3986, section 3.1; not those that run a script or read a file. */
static bool is_scheme(const char *word)
{
    return !url_list_has(URL_NEVER_SCHEMES, word, strlen(word)) &&
           word[0] >= 'a' && word[0] <= 'z' &&
           word[strspn(word, TEXT_LOWER TEXT_DIGITS "+-.")] == '\0';
}

/* The text of an Origin field (RFC 6454, section 6.2). */
static bool is_origin(const char *word)
{
    const char *host = strncmp(word, "https://", 8) == 0  ? word + 8
                       : strncmp(word, "http://", 7) == 0 ? word + 7
                                                          : "";
    return *host != '\0' &&
           host[strspn(host, TEXT_LOWER TEXT_DIGITS "-.:[]")] == '\0';
}

static void set_string(struct loader *l, size_t i, const char *value)
{
    const struct setting *key = &settings[i];
    char **place = value_at(l->conf, key);
    const char *reason = NULL;
    mem_free_secret(*place);
    /* Empty means absent, as the AWS SDKs read their variables. */
    *place = value[0] != '\0' ? mem_dup(value) : NULL;
    const char *end = value; /* or a control character */
    while ((unsigned char)*end >= 0x20 && *end != 0x7f)
        end++;
    if (*end != '\0') {
        begin_fault(l, i);
        buf_add_str(l->faults, "has a control character in it\n");
    } else if (key->type == TYPE_TEXT && !is_shown_text(value, key->max)) {
        refuse_value(l, i, NULL, NULL);
    } else if ((key->type == TYPE_DIR && value[0] != '/') ||
               (key->type == TYPE_FILE && *place != NULL && value[0] != '/') ||
               (key->type == TYPE_SCHEMES && !check_words(value, is_scheme)) ||
               (key->type == TYPE_ORIGINS && !check_words(value, is_origin)) ||
               (key->type == TYPE_HOME && !is_home(value)) ||
               (key->type == TYPE_COLOR && *place != NULL &&
                !is_color(value)) ||
               (key->type == TYPE_URL && *place != NULL &&
                url_app_parse(value, &l->conf->app, &reason) != RESULT_OK)) {
        refuse_value(l, i, value, reason);
    }
}

static void set_value(struct loader *l, size_t i, const char *value)
{
    const struct setting *key = &settings[i];
    uint64_t n = 0;
    if (key->type == TYPE_NUMBER) {
        if (text_number(value, key->max, &n) && n >= key->min)
            *(uint64_t *)value_at(l->conf, key) = n;
        else
            refuse_value(l, i, value, NULL);
    } else if (key->type == TYPE_CHOICE) {
        if (!set_choice(l->conf, key, value))
            refuse_value(l, i, value, NULL);
    } else if (key->type == TYPE_RATE) {
        if (!conf_parse_rate(value, value_at(l->conf, key)))
            refuse_value(l, i, value, NULL);
    } else {
        set_string(l, i, value);
    }
}

/* A line that is not KEY = value. It is shown, unless it may have a secret. */
static void refuse_line(struct loader *l, unsigned line, const char *text)
{
    buf_addf(l->faults, "%s:%u: ", l->file, line);
    const char *secret = NULL;
    for (size_t i = 0; i < SETTING_COUNT; i++)
        if (settings[i].type == TYPE_SECRET &&
            strcasestr(text, settings[i].name) != NULL)
            secret = settings[i].name;
    if (secret != NULL) {
        buf_addf(l->faults, "%s: the line", secret);
    } else {
        buf_add_char(l->faults, '"');
        add_visible(l->faults, text);
        buf_add_char(l->faults, '"');
    }
    buf_add_str(l->faults,
                " is not a `KEY = value` line; comments begin with #\n");
}

/* With the key that was probably meant: the same but for case. */
static void refuse_key(struct loader *l, unsigned line, const char *name)
{
    buf_addf(l->faults, "%s:%u: ", l->file, line);
    add_visible(l->faults, name);
    buf_add_str(l->faults, ": unknown key");
    for (size_t i = 0; i < SETTING_COUNT; i++)
        if (strcasecmp(settings[i].name, name) == 0)
            buf_addf(l->faults, "; keys are in capitals: %s", settings[i].name);
    buf_add_str(l->faults, "; curt.conf(5) lists the keys\n");
}

static char *trim_space(char *s)
{
    s += strspn(s, " \t");
    size_t len = strlen(s);
    while (len > 0 && strchr(" \t\r\n", s[len - 1]) != NULL)
        s[--len] = '\0';
    return s;
}

/* Takes the optional quotes off a value; NULL if they do not match. */
static char *remove_quotes(char *s)
{
    size_t len = strlen(s);
    if (s[0] != '"')
        return s;
    if (len < 2 || s[len - 1] != '"')
        return NULL;
    s[len - 1] = '\0';
    return strchr(s + 1, '"') == NULL ? s + 1 : NULL;
}

/* Takes one line of the file, which is changed. */
static void take_conf_line(struct loader *l, unsigned line, char *text)
{
    if (line == 1 && strncmp(text, TEXT_BYTE_ORDER_MARK, 3) == 0)
        text += 3;
    text = trim_space(text);
    if (text[0] == '\0' || text[0] == '#')
        return;
    char *equals = strchr(text, '=');
    if (equals == NULL || equals == text) {
        refuse_line(l, line, text);
        return;
    }
    *equals = '\0';
    const char *name = trim_space(text);
    const char *value = remove_quotes(trim_space(equals + 1));
    const size_t i = find_key(name);
    if (i == SETTING_COUNT) {
        refuse_key(l, line, name);
    } else if (l->origins[i].given) {
        buf_addf(l->faults, "%s:%u: %s: duplicate key, first set on line %u\n",
                 l->file, line, name, l->origins[i].line);
    } else {
        l->origins[i] =
            (struct origin){.file = l->file, .line = line, .given = true};
        if (value == NULL) {
            begin_fault(l, i);
            buf_add_str(l->faults, "a quoted value must begin and end with a "
                                   "\" and have none inside\n");
        } else if (read_env(&settings[i]) == NULL) {
            /* The environment wins: a value it replaces need not be right. */
            set_value(l, i, value);
        }
    }
}

/* Returns 0, or the errno for which the file, or the rest of it, cannot be
 * read. */
static int read_conf_file(struct loader *l)
{
    FILE *in = fopen(l->file, "re");
    if (in == NULL)
        return errno;
    char *text = NULL;
    size_t size = 0;
    ssize_t len;
    for (unsigned line = 1; (len = getline(&text, &size, in)) >= 0; line++) {
        /* Each line can be written again with an end. */
        if (len + (text[len - 1] != '\n') > LINE_MAX_LEN)
            buf_addf(l->faults, "%s:%u: the line is longer than %d bytes\n",
                     l->file, line, LINE_MAX_LEN);
        else if (strlen(text) != (size_t)len)
            buf_addf(l->faults, "%s:%u: the line has a NUL byte in it\n",
                     l->file, line);
        else
            take_conf_line(l, line, text);
    }
    const int error = ferror(in) ? errno : 0;
    if (text != NULL)
        explicit_bzero(text, size); /* it may have had a secret */
    free(text);
    fclose(in);
    return error;
}

static void read_environment(struct loader *l)
{
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        const char *value = read_env(&settings[i]);
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
        url_app_rest(conf->home, &conf->app, NULL)) {
        refuse_value(l, home, conf->home,
                     "leads back to curt; expected page, off or the URL of "
                     "another site");
    }
    if (conf->min_char > conf->max_char && !l->origins[min].refused &&
        !l->origins[max].refused) {
        begin_fault(l, l->origins[min].given ? min : max);
        buf_addf(l->faults, "MIN_CHAR (%llu) is larger than MAX_CHAR (%llu)\n",
                 (unsigned long long)conf->min_char,
                 (unsigned long long)conf->max_char);
    }
    if (conf->url_schemes == NULL &&
        !l->origins[find_key("URL_SCHEMES")].refused)
        refuse_value(l, find_key("URL_SCHEMES"), "", NULL);
    if (conf->store == CONF_STORE_DYNAMODB && conf->table == NULL) {
        begin_fault(l, find_key("TABLE"));
        buf_add_str(l->faults, "is empty; STORE = dynamodb needs the name of "
                               "its table\n");
    }
}

enum result conf_load(const char *file, struct conf *conf, struct buf *faults)
{
    *conf = (struct conf){0};
    struct loader l = {.conf = conf, .faults = faults};
    const size_t before = faults->len;
    l.file = file != NULL ? file : getenv("CURT_CONF");
    const bool named = file != NULL || (l.file != NULL && l.file[0] != '\0');
    if (!named)
        l.file = CURT_SYSCONFDIR "/curt/curt.conf";
    for (size_t i = 0; i < SETTING_COUNT; i++)
        if (settings[i].fallback != NULL)
            set_value(&l, i, settings[i].fallback);
    const int error = read_conf_file(&l);
    l.absent = error == ENOENT && !named;
    if (error == 0 || l.absent) {
        read_environment(&l);
        check_whole(&l);
    } else {
        /* Without the file the values are unknown: no other fault counts. */
        buf_addf(faults, "%s: cannot be read: %s%s\n", l.file, strerror(error),
                 error == EACCES
                     ? "; run this as root or as the user that runs curt.fcgi"
                     : "");
    }
    if (faults->len == before && !buf_failed(faults))
        return RESULT_OK;
    conf_free(conf);
    return error == EACCES ? RESULT_DENIED : RESULT_INVALID;
}

void conf_free(struct conf *conf)
{
    for (size_t i = 0; i < SETTING_COUNT; i++)
        if (is_string(&settings[i]))
            mem_free_secret(*(char **)value_at(conf, &settings[i]));
    url_app_free(&conf->app);
    *conf = (struct conf){0};
}

/* Takes over from old the keys that a reload must not change, and logs each
 * one that would have changed. */
static void keep_fixed(struct conf *conf, const struct conf *old)
{
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        const struct setting *key = &settings[i];
        if (key->reloadable)
            continue;
        bool same;
        if (key->type == TYPE_CHOICE) {
            int *now = value_at(conf, key);
            const int *was = value_at(old, key);
            same = *now == *was;
            *now = *was;
        } else {
            char **now = value_at(conf, key);
            const char *was = *(char **)value_at(old, key);
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

bool conf_reload(const char *file, struct conf *conf, struct conf *old)
{
    struct conf fresh;
    struct buf faults;
    buf_init(&faults, CONF_FAULTS_MAX);
    const bool loaded = conf_load(file, &fresh, &faults) == RESULT_OK;
    if (loaded) {
        keep_fixed(&fresh, conf);
        *old = *conf;
        *conf = fresh;
        log_set_level((enum log_level)conf->log_level);
        log_info("configuration reloaded");
    } else {
        log_error("reload failed, keeping the old configuration: %s",
                  faults.data);
    }
    buf_free(&faults);
    return loaded;
}

void conf_write(const struct conf *conf, struct buf *out)
{
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        const struct setting *key = &settings[i];
        if (read_env(key) != NULL)
            continue; /* it wins there as well */
        buf_addf(out, "%s=", key->name);
        const char *text =
            is_string(key) ? *(char **)value_at(conf, key) : NULL;
        /* What came from the file can be written as it stood there. */
        if (text != NULL && (text[0] == ' ' || text[strlen(text) - 1] == ' '))
            buf_addf(out, "\"%s\"", text);
        else if (text != NULL)
            buf_add_str(out, text);
        else if (!is_string(key))
            conf_value(conf, i, out);
        buf_add_char(out, '\n');
    }
}

size_t conf_key_count(void)
{
    return SETTING_COUNT;
}

struct conf_key conf_key(size_t i)
{
    static const char *const names[] = {
        [TYPE_SECRET] = "secret", [TYPE_NUMBER] = "number",
        [TYPE_CHOICE] = "choice", [TYPE_RATE] = "rate",
        [TYPE_DIR] = "directory",
    };
    const struct setting *key = &settings[i];
    const char *type = names[key->type];
    return (struct conf_key){.name = key->name,
                             .type = type != NULL ? type : "string",
                             .fallback = key->fallback,
                             .reloadable = key->reloadable};
}

void conf_key_range(size_t i, struct buf *out)
{
    const struct setting *key = &settings[i];
    if (key->type == TYPE_NUMBER)
        buf_addf(out, "%llu to %llu", (unsigned long long)key->min,
                 (unsigned long long)key->max);
    else if (key->type == TYPE_CHOICE)
        for (int c = 0; key->choices[c] != NULL; c++)
            buf_addf(out, "%s%s", c > 0 ? " or " : "", key->choices[c]);
    else if (key->type == TYPE_TEXT)
        buf_addf(out, "up to %llu characters", (unsigned long long)key->max);
    else
        buf_add_str(out, key->type == TYPE_DIR || key->type == TYPE_FILE
                             ? "absolute path"
                         : key->type == TYPE_RATE
                             ? "COUNT/SECONDS, such as 60/60"
                         : key->type == TYPE_SCHEMES
                             ? "URL schemes but javascript, data or file"
                         : key->type == TYPE_ORIGINS
                             ? "origins, such as https://app.example"
                         : key->type == TYPE_HOME  ? "page or off or a URL"
                         : key->type == TYPE_COLOR ? "#rrggbb"
                                                   : "text");
}

bool conf_value(const struct conf *conf, size_t i, struct buf *out)
{
    const struct setting *key = &settings[i];
    if (key->type == TYPE_NUMBER) {
        const uint64_t *n = value_at(conf, key);
        buf_addf(out, "%llu", (unsigned long long)*n);
    } else if (key->type == TYPE_CHOICE) {
        const int *choice = value_at(conf, key);
        buf_add_str(out, key->choices[*choice]);
    } else if (key->type == TYPE_RATE) {
        const struct conf_rate *rate = value_at(conf, key);
        buf_addf(out, "%llu/%llu", (unsigned long long)rate->count,
                 (unsigned long long)rate->seconds);
    } else {
        const char *value = *(char **)value_at(conf, key);
        if (value == NULL)
            return false;
        buf_add_str(out, key->type == TYPE_SECRET ? "********" : value);
    }
    return true;
}

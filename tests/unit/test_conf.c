/* The configuration: file, environment, and what each fault says. */
#include "test.h"

#include <sys/stat.h>

#include "base/mem.h"
#include "config/conf.h"

#define APP "APP_URL = https://sho.rt/t/\n"

struct fixture {
    char dir[40];
    char file[60];
    struct conf conf;
    struct buf faults;
};

/* Nothing of the caller's environment reaches a test. */
static int set_up(void **state)
{
    static struct fixture f;
    f = (struct fixture){.dir = "/tmp/curt-test-conf-XXXXXX"};
    if (mkdtemp(f.dir) == NULL)
        return -1;
    snprintf(f.file, sizeof(f.file), "%s/curt.conf", f.dir);
    buf_init(&f.faults, CONF_FAULTS_MAX);
    unsetenv("CURT_CONF");
    for (size_t i = 0; i < conf_key_count(); i++)
        unsetenv(conf_key(i).name);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    conf_free(&f->conf);
    buf_free(&f->faults);
    unlink(f->file);
    return rmdir(f->dir);
}

EACH_TEST(set_up, tear_down)

static void write_conf(struct fixture *f, const char *text, size_t len)
{
    write_bytes(f->file, text, len);
}

/* Loads a file with this text, after forgetting what was loaded before. */
static enum result load(struct fixture *f, const char *text)
{
    write_conf(f, text, strlen(text));
    conf_free(&f->conf);
    buf_reset(&f->faults);
    return conf_load(f->file, &f->conf, &f->faults);
}

static void assert_loads(struct fixture *f, const char *text)
{
    if (load(f, text) != RESULT_OK)
        fail_msg("%s%s", text, f->faults.data);
    assert_string_equal(f->faults.data, "");
}

/* Asserts what the faults are, FILE standing for the file's name. */
static void assert_faults(struct fixture *f, const char *expected)
{
    struct buf whole;
    buf_init(&whole, CONF_FAULTS_MAX);
    for (const char *s = expected; *s != '\0';) {
        const char *place = strstr(s, "FILE");
        size_t len = place != NULL ? (size_t)(place - s) : strlen(s);
        buf_add(&whole, s, len);
        s += len;
        if (place != NULL) {
            buf_add_str(&whole, f->file);
            s += strlen("FILE");
        }
    }
    assert_string_equal(f->faults.data, whole.data);
    buf_free(&whole);
}

static void assert_refused(struct fixture *f, const char *text,
                           const char *faults)
{
    if (load(f, text) != RESULT_INVALID)
        fail_msg("%s was taken", text);
    assert_faults(f, faults);
    /* Nothing is left to be released. */
    static const struct conf empty;
    assert_memory_equal(&f->conf, &empty, sizeof(empty));
}

/* ---- What loads ------------------------------------------------------ */

TEST(has_the_documented_defaults)
{
    struct fixture *f = *state;
    assert_loads(f, APP);
    const struct conf *c = &f->conf;
    assert_string_equal(c->app_url, "https://sho.rt/t/");
    assert_string_equal(c->app.host, "sho.rt");
    assert_string_equal(c->app.path, "/t/");
    assert_int_equal(c->min_char, 7);
    assert_int_equal(c->max_char, 7);
    assert_int_equal(c->store, CONF_STORE_SQLITE);
    assert_string_equal(c->table, "url-shortener-table");
    assert_int_equal(c->link_ttl, 604800);
    assert_int_equal(c->max_body, 65536);
    assert_int_equal(c->store_timeout, 3);
    assert_int_equal(c->drain_timeout, 10);
    assert_int_equal(c->log_level, LOG_LEVEL_INFO);
    assert_int_equal(c->state_dir[0], '/');
    assert_int_equal(c->runtime_dir[0], '/');
    assert_null(c->aws_region);
    assert_null(c->aws_secret_access_key);
}

TEST(reads_every_way_to_write_a_line)
{
    struct fixture *f = *state;
    assert_loads(f, "# a comment\n"
                    "\n"
                    "   \t \n"
                    "  # another = one\n"
                    "APP_URL=https://sho.rt/t/\r\n"
                    "\tMIN_CHAR \t=\t 3 \t\r\n"
                    "MAX_CHAR = \"9\"\n"
                    "TABLE = a b=c # no comment \n"
                    "AWS_REGION = \" eu-west-1 \"\n"
                    "AWS_SESSION_TOKEN = \"\"\n"
                    "AWS_ENDPOINT_URL =\n"
                    "STORE = dynamodb");
    assert_string_equal(f->conf.app_url, "https://sho.rt/t/");
    assert_int_equal(f->conf.min_char, 3);
    assert_int_equal(f->conf.max_char, 9);
    assert_string_equal(f->conf.table, "a b=c # no comment");
    assert_string_equal(f->conf.aws_region, " eu-west-1 ");
    assert_null(f->conf.aws_session_token);
    assert_null(f->conf.aws_endpoint_url);
    assert_int_equal(f->conf.store, CONF_STORE_DYNAMODB);
}

TEST(takes_numbers_up_to_their_limits)
{
    struct fixture *f = *state;
    assert_loads(f, APP "MIN_CHAR = 1\nMAX_CHAR = 64\nLINK_TTL = 0\n"
                        "MAX_BODY = 64\nSTORE_TIMEOUT = 60\n"
                        "DRAIN_TIMEOUT = 3600\n");
    assert_int_equal(f->conf.max_char, 64);
    assert_int_equal(f->conf.link_ttl, 0);
    assert_int_equal(f->conf.max_body, 64);
    assert_loads(f, APP "LINK_TTL = 3155760000\nMAX_BODY = 1048576\n"
                        "STORE_TIMEOUT = 1\nDRAIN_TIMEOUT = 1\n");
    assert_int_equal(f->conf.link_ttl, 3155760000);
    assert_int_equal(f->conf.max_body, CONF_BODY_MAX);
}

TEST(the_environment_wins)
{
    struct fixture *f = *state;
    setenv("MAX_CHAR", "12", 1);
    setenv("APP_URL", "https://env.example/", 1);
    setenv("AWS_REGION", "", 1);
    setenv("LOG_LEVEL", "debug", 1);
    assert_loads(f, APP "MAX_CHAR = 9\nAWS_REGION = eu-west-1\n"
                        "TABLE = links\n");
    assert_int_equal(f->conf.max_char, 12);
    assert_string_equal(f->conf.app_url, "https://env.example/");
    assert_string_equal(f->conf.app.host, "env.example");
    assert_int_equal(f->conf.log_level, LOG_LEVEL_DEBUG);
    assert_string_equal(f->conf.table, "links");
    /* Empty means absent, and still wins. */
    assert_null(f->conf.aws_region);
    /* A wrong value that is replaced does no harm. */
    assert_loads(f, "APP_URL = nonsense\nMAX_CHAR = many\nLOG_LEVEL = loud\n");
    assert_int_equal(f->conf.max_char, 12);
}

TEST(the_environment_is_checked_as_well)
{
    struct fixture *f = *state;
    setenv("MAX_CHAR", "65", 1);
    setenv("STORE", "mysql", 1);
    setenv("STATE_DIR", "here", 1);
    setenv("TABLE", "a\nb", 1);
    setenv("LOG_LEVEL", "", 1);
    assert_refused(f, APP,
                   "environment: MAX_CHAR: invalid value \"65\": expected an "
                   "integer from 1 to 64\n"
                   "environment: STORE: invalid value \"mysql\": expected "
                   "sqlite or dynamodb\n"
                   "environment: STATE_DIR: invalid value \"here\": expected "
                   "an absolute path\n"
                   "environment: TABLE: has a control character in it\n"
                   "environment: LOG_LEVEL: invalid value \"\": expected error "
                   "or warning or info or debug\n");
}

TEST(a_number_in_the_environment_is_checked_with_the_file)
{
    struct fixture *f = *state;
    setenv("MIN_CHAR", "8", 1);
    assert_refused(
        f, APP "MAX_CHAR = 7\n",
        "environment: MIN_CHAR: MIN_CHAR (8) is larger than MAX_CHAR (7)\n");
    unsetenv("MIN_CHAR");
    setenv("APP_URL", "sho.rt", 1);
    assert_refused(
        f, APP,
        "environment: APP_URL: invalid value \"sho.rt\": is not an absolute "
        "http or https URL; expected e.g. https://sho.rt/t/\n");
    setenv("APP_URL", "", 1);
    assert_refused(f, APP,
                   "environment: APP_URL: is not set; it is the public prefix "
                   "of short URLs, such as https://sho.rt/t/\n");
}

/* ---- What does not --------------------------------------------------- */

static const struct {
    const char *text;
    const char *faults;
} refused[] = {
    {"", "FILE: APP_URL: is not set; it is the public prefix of short URLs, "
         "such as https://sho.rt/t/\n"},
    {"APP_URL =\n",
     "FILE:1: APP_URL: is not set; it is the public prefix of short URLs, such "
     "as https://sho.rt/t/\n"},
    {"\nAPP_URL = https://sho.rt/t\n",
     "FILE:2: APP_URL: invalid value \"https://sho.rt/t\": must end with '/', "
     "because ids are put right after it; expected e.g. https://sho.rt/t/\n"},
    {"APP_URL = ftp://sho.rt/\n",
     "FILE:1: APP_URL: invalid value \"ftp://sho.rt/\": is not an absolute "
     "http or https URL; expected e.g. https://sho.rt/t/\n"},
    {"APP_URL = https://u@sho.rt/\n",
     "FILE:1: APP_URL: invalid value \"https://u@sho.rt/\": has user "
     "information in it (user@host); expected e.g. https://sho.rt/t/\n"},
    {APP "MAX_CHAR = 0\n", "FILE:2: MAX_CHAR: invalid value \"0\": expected an "
                           "integer from 1 to 64\n"},
    {APP "MAX_CHAR = 65\n", "FILE:2: MAX_CHAR: invalid value \"65\": expected "
                            "an integer from 1 to 64\n"},
    {APP "MAX_CHAR =\n", "FILE:2: MAX_CHAR: invalid value \"\": expected an "
                         "integer from 1 to 64\n"},
    {APP "LINK_TTL = -1\n", "FILE:2: LINK_TTL: invalid value \"-1\": expected "
                            "an integer from 0 to 3155760000\n"},
    {APP "MAX_BODY = 64K\n", "FILE:2: MAX_BODY: invalid value \"64K\": "
                             "expected an integer from 64 to 1048576\n"},
    {APP "DRAIN_TIMEOUT = 99999999999999999999999\n",
     "FILE:2: DRAIN_TIMEOUT: invalid value \"99999999999999999999999\": "
     "expected an integer from 1 to 3600\n"},
    {APP "STORE = SQLite\n",
     "FILE:2: STORE: invalid value \"SQLite\": expected sqlite or dynamodb\n"},
    {APP "STATE_DIR = var/lib\n", "FILE:2: STATE_DIR: invalid value "
                                  "\"var/lib\": expected an absolute path\n"},
    {APP "RUNTIME_DIR =\n",
     "FILE:2: RUNTIME_DIR: invalid value \"\": expected an absolute path\n"},
    {APP "TABLE = a\x01z\n", "FILE:2: TABLE: has a control character in it\n"},
    {APP "TABLE = \"a\tz\x7f\"\n",
     "FILE:2: TABLE: has a control character in it\n"},
    {APP "MIN_CHAR = 9\n",
     "FILE:2: MIN_CHAR: MIN_CHAR (9) is larger than MAX_CHAR (7)\n"},
    {APP "MAX_CHAR = 6\n",
     "FILE:2: MAX_CHAR: MIN_CHAR (7) is larger than MAX_CHAR (6)\n"},
    {APP "STORE = dynamodb\nTABLE =\n",
     "FILE:3: TABLE: is empty; STORE = dynamodb needs the name of its table\n"},
    {APP "COLOUR = red\n",
     "FILE:2: COLOUR: unknown key; curt.conf(5) lists the keys\n"},
    {APP "max_char = 7\n", "FILE:2: max_char: unknown key; keys are in "
                           "capitals: MAX_CHAR; curt.conf(5) lists the keys\n"},
    {APP "export MAX_CHAR=7\n",
     "FILE:2: export MAX_CHAR: unknown key; curt.conf(5) lists the keys\n"},
    {APP "MAX_CHAR\n", "FILE:2: \"MAX_CHAR\" is not a `KEY = value` line; "
                       "comments begin with #\n"},
    {APP "= 7\n",
     "FILE:2: \"= 7\" is not a `KEY = value` line; comments begin with #\n"},
    {APP "MAX_CHAR = 7\n\nMAX_CHAR = 7\n",
     "FILE:4: MAX_CHAR: duplicate key, first set on line 2\n"},
    {APP "TABLE = \"a\n", "FILE:2: TABLE: a quoted value must begin and end "
                          "with a \" and have none inside\n"},
    {APP "TABLE = \"\n", "FILE:2: TABLE: a quoted value must begin and end "
                         "with a \" and have none inside\n"},
    {APP "TABLE = \"a\"b\"\n", "FILE:2: TABLE: a quoted value must begin and "
                               "end with a \" and have none inside\n"},
    {APP "CREATE_AUTH = none\n",
     "FILE:2: CREATE_AUTH: invalid value \"none\": expected key or open\n"},
    {APP "LIMITS = yes\n",
     "FILE:2: LIMITS: invalid value \"yes\": expected off or on\n"},
    {APP "CREATE_LIMIT = 60\n",
     "FILE:2: CREATE_LIMIT: invalid value \"60\": expected COUNT/SECONDS, "
     "such as 60/60\n"},
    {APP "AUTH_LIMIT = 0/60\n",
     "FILE:2: AUTH_LIMIT: invalid value \"0/60\": expected COUNT/SECONDS, "
     "such as 60/60\n"},
    {APP "URL_SCHEMES = https javascript\n",
     "FILE:2: URL_SCHEMES: invalid value \"https javascript\": expected URL "
     "schemes but javascript, data or file\n"},
    {APP "URL_SCHEMES = https ftp\n",
     "FILE:2: URL_SCHEMES: invalid value \"https ftp\": expected URL "
     "schemes but javascript, data or file\n"},
    {APP "CORS_ORIGINS = app.example\n",
     "FILE:2: CORS_ORIGINS: invalid value \"app.example\": expected origins, "
     "such as https://app.example\n"},
    {APP "BLOCKED_HOSTS = hosts\n",
     "FILE:2: BLOCKED_HOSTS: invalid value \"hosts\": expected an absolute "
     "path\n"},
    {APP "REDIRECT_STATUS = 303\n",
     "FILE:2: REDIRECT_STATUS: invalid value \"303\": expected 301 or 302 or "
     "307 or 308\n"},
    /* All of them at once, in the order of the lines. */
    {APP "MIN_CHAR = x\nx\nX = x\n",
     "FILE:2: MIN_CHAR: invalid value \"x\": expected an integer from 1 to 64\n"
     "FILE:3: \"x\" is not a `KEY = value` line; comments begin with #\n"
     "FILE:4: X: unknown key; curt.conf(5) lists the keys\n"},
};

TEST(each_fault_says_where_and_what)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < COUNT(refused); i++)
        assert_refused(f, refused[i].text, refused[i].faults);
}

TEST(odd_bytes_have_their_own_faults)
{
    struct fixture *f = *state;
    static const char nul[] = APP "TABLE = a\0b\nMAX_CHAR = 9\n";
    write_conf(f, nul, sizeof(nul) - 1);
    assert_int_equal(conf_load(f->file, &f->conf, &f->faults), RESULT_INVALID);
    assert_faults(f, "FILE:2: the line has a NUL byte in it\n");

    struct buf text;
    buf_init(&text, 10000);
    buf_add_str(&text, APP "TABLE = ");
    while (text.len < strlen(APP) + 4095)
        buf_add_char(&text, 'a');
    buf_add_char(&text, '\n'); /* a line of 4,096 bytes */
    assert_loads(f, text.data);
    buf_truncate(&text, text.len - 1);
    buf_add_str(&text, "a\n");
    assert_refused(f, text.data,
                   "FILE:2: the line is longer than 4096 bytes\n");
    buf_free(&text);
}

TEST(a_file_that_is_named_must_be_there)
{
    struct fixture *f = *state;
    setenv("APP_URL", "https://sho.rt/t/", 1);
    assert_int_equal(conf_load(f->file, &f->conf, &f->faults), RESULT_INVALID);
    assert_faults(f, "FILE: cannot be read: No such file or directory\n");
    buf_reset(&f->faults);
    setenv("CURT_CONF", f->file, 1);
    assert_int_equal(conf_load(NULL, &f->conf, &f->faults), RESULT_INVALID);
    assert_faults(f, "FILE: cannot be read: No such file or directory\n");
    buf_reset(&f->faults);
    assert_int_equal(conf_load(f->dir, &f->conf, &f->faults), RESULT_INVALID);
    assert_non_null(strstr(f->faults.data, ": cannot be read: Is a directory"));
}

TEST(the_argument_wins_over_curt_conf)
{
    struct fixture *f = *state;
    setenv("CURT_CONF", "/nonexistent/curt.conf", 1);
    assert_loads(f, APP "TABLE = mine\n");
    assert_string_equal(f->conf.table, "mine");
    conf_free(&f->conf);
    setenv("CURT_CONF", f->file, 1);
    assert_int_equal(conf_load(NULL, &f->conf, &f->faults), RESULT_OK);
    assert_string_equal(f->conf.table, "mine");
}

TEST(endless_faults_end)
{
    struct fixture *f = *state;
    FILE *out = fopen(f->file, "w");
    assert_non_null(out);
    for (int i = 0; i < 20000; i++)
        fprintf(out, "KEY_%d = x\n", i);
    assert_int_equal(fclose(out), 0);
    assert_int_equal(conf_load(f->file, &f->conf, &f->faults), RESULT_INVALID);
    assert_true(buf_failed(&f->faults));
    assert_in_range(f->faults.len, 1, CONF_FAULTS_MAX);
}

/* ---- Reload, and what the table says --------------------------------- */

TEST(a_reload_keeps_what_is_fixed)
{
    struct fixture *f = *state;
    assert_loads(f, APP "STORE = sqlite\nSTATE_DIR = /a\nRUNTIME_DIR = /b\n"
                        "MAX_CHAR = 8\nTABLE = old\n");
    static const char changed[] =
        "APP_URL = https://new.example/\nSTORE = dynamodb\nSTATE_DIR = /c\n"
        "RUNTIME_DIR = /b\nMAX_CHAR = 9\nTABLE = new\n";
    struct conf old;
    write_conf(f, changed, strlen(changed));
    log_set_level(LOG_LEVEL_ERROR);
    assert_true(conf_reload(f->file, &f->conf, &old));
    assert_int_equal(f->conf.store, CONF_STORE_SQLITE);
    assert_string_equal(f->conf.state_dir, "/a");
    assert_string_equal(f->conf.runtime_dir, "/b");
    assert_ptr_not_equal(f->conf.state_dir, old.state_dir);
    assert_string_equal(f->conf.app_url, "https://new.example/");
    assert_string_equal(f->conf.app.host, "new.example");
    assert_int_equal(f->conf.max_char, 9);
    assert_string_equal(f->conf.table, "old");
    conf_free(&old);
    assert_string_equal(f->conf.state_dir, "/a");
}

static size_t key_named(const char *name)
{
    for (size_t i = 0; i < conf_key_count(); i++)
        if (strcmp(conf_key(i).name, name) == 0)
            return i;
    fail_msg("no key %s", name);
    return 0;
}

static void assert_value(const struct conf *conf, const char *name,
                         const char *expected)
{
    struct buf out;
    buf_init(&out, 1000);
    assert_int_equal(conf_value(conf, key_named(name), &out), expected != NULL);
    assert_string_equal(out.data, expected != NULL ? expected : "");
    buf_free(&out);
}

TEST(secrets_are_masked)
{
    struct fixture *f = *state;
    assert_loads(f, APP "AWS_ACCESS_KEY_ID = AKIA\nLOG_LEVEL = warning\n"
                        "AWS_SECRET_ACCESS_KEY = hush\n"
                        "STORE = dynamodb\nMAX_CHAR = 11\n");
    assert_value(&f->conf, "AWS_SECRET_ACCESS_KEY", "********");
    assert_value(&f->conf, "AWS_SESSION_TOKEN", NULL);
    assert_value(&f->conf, "AWS_ACCESS_KEY_ID", "AKIA");
    assert_value(&f->conf, "APP_URL", "https://sho.rt/t/");
    assert_value(&f->conf, "STORE", "dynamodb");
    assert_value(&f->conf, "LOG_LEVEL", "warning");
    assert_value(&f->conf, "MAX_CHAR", "11");
}

TEST(defaults_are_within_their_ranges)
{
    struct fixture *f = *state;
    struct buf text;
    buf_init(&text, 10000);
    buf_add_str(&text, APP);
    for (size_t i = 0; i < conf_key_count(); i++) {
        struct conf_key key = conf_key(i);
        struct buf range;
        buf_init(&range, 100);
        conf_key_range(i, &range);
        assert_true(range.len > 0);
        buf_free(&range);
        if (key.fallback != NULL)
            buf_addf(&text, "%s = %s\n", key.name, key.fallback);
    }
    assert_loads(f, text.data);
    buf_free(&text);
}

TEST(ranges_are_in_words)
{
    static const char *const cases[][2] = {
        {"MAX_CHAR", "1 to 64"},
        {"STORE", "sqlite or dynamodb"},
        {"LOG_LEVEL", "error or warning or info or debug"},
        {"STATE_DIR", "absolute path"},
        {"TABLE", "text"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct buf out;
        buf_init(&out, 100);
        conf_key_range(key_named(cases[i][0]), &out);
        assert_string_equal(out.data, cases[i][1]);
        buf_free(&out);
    }
}

/* Writes what was loaded, and loads that: nothing must have changed. */
static void assert_survives(struct fixture *f, const char *text)
{
    struct buf first, second;
    buf_init(&first, CONF_TEXT_MAX);
    buf_init(&second, CONF_TEXT_MAX);
    assert_loads(f, text);
    struct conf before = f->conf;
    f->conf = (struct conf){0};
    conf_write(&before, &first);
    assert_loads(f, first.data);
    conf_write(&f->conf, &second);
    assert_string_equal(second.data, first.data);
    for (size_t i = 0; i < conf_key_count(); i++) {
        struct buf was, is;
        buf_init(&was, 5000);
        buf_init(&is, 5000);
        assert_int_equal(conf_value(&f->conf, i, &is),
                         conf_value(&before, i, &was));
        assert_string_equal(is.data, was.data);
        buf_free(&was);
        buf_free(&is);
    }
    if (before.aws_session_token != NULL)
        assert_string_equal(f->conf.aws_session_token,
                            before.aws_session_token);
    conf_free(&before);
    buf_free(&first);
    buf_free(&second);
}

TEST(write_is_read_back)
{
    struct fixture *f = *state;
    static const char *const lines[] = {
        "",
        "TABLE =\n",
        "TABLE = \"  a b \"\n",
        "TABLE = a \"b\" c\"\n",
        "TABLE = #a # b = c\n",
        "TABLE = \"#\"\n",
        "TABLE = \"\"\n",
        "TABLE = \" \"\n",
        "TABLE = a\\b\\\n",
        "TABLE = \xc3\xa9\xff\n",
        "AWS_SESSION_TOKEN = se=cr\"et==\n",
        "STORE = dynamodb\nMAX_CHAR = 9\nLOG_LEVEL = debug\n",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE = ipv6\n",
    };
    struct buf text;
    buf_init(&text, 10000);
    for (size_t i = 0; i < COUNT(lines); i++) {
        buf_reset(&text);
        buf_addf(&text, APP "%s", lines[i]);
        assert_survives(f, text.data);
    }
    /* The longest line, without an end, with and without quotes. */
    for (int quoted = 0; quoted < 2; quoted++) {
        buf_reset(&text);
        buf_add_str(&text, quoted ? APP "TABLE=\" " : APP "TABLE=");
        while (text.len < strlen(APP) + 4095 - (size_t)quoted)
            buf_add_char(&text, 'a');
        buf_add_str(&text, quoted ? "\"" : "");
        assert_survives(f, text.data);
    }
    buf_free(&text);
}

/* Those of the environment are left to it: some could not be written. */
TEST(write_leaves_out_the_environment)
{
    struct fixture *f = *state;
    setenv("TABLE", "\"quoted\" ", 1);
    setenv("AWS_PROFILE", "", 1);
    assert_survives(f, APP "AWS_PROFILE = p\n");
    struct buf text;
    buf_init(&text, CONF_TEXT_MAX);
    conf_write(&f->conf, &text);
    assert_null(strstr(text.data, "TABLE="));
    assert_null(strstr(text.data, "AWS_PROFILE="));
    assert_null(f->conf.aws_profile);
    buf_free(&text);
}

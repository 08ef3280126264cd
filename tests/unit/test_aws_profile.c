/* The shared files of AWS's tools: what is read from them, and what is not. */
#include "test.h"

#include <pwd.h>
#include <sys/stat.h>

#include "aws/profile.h"
#include "aws_files.h"
#include "base/mem.h"

static int set_up(void **state)
{
    static struct aws_files f;
    *state = &f;
    return aws_files_make(&f);
}

static int tear_down(void **state)
{
    return aws_files_remove(*state);
}

EACH_TEST(set_up, tear_down)

/* Reads both files, which must be in order. */
static struct aws_profiles *read_files(struct aws_files *f)
{
    struct aws_profiles *p;
    if (aws_profiles_read(&f->conf, &p, &f->reason) != RESULT_OK)
        fail_msg("refused: %s", f->reason.data);
    assert_int_equal(f->reason.len, 0);
    return p;
}

/* What one setting is, "-" for NULL. */
struct expected {
    const char *config;
    const char *credentials;
    const char *profile;
    const char *setting;
    const char *value;
};

static void check(struct aws_files *f, const struct expected *e)
{
    aws_files_set(f, e->config, e->credentials);
    struct aws_profiles *p = read_files(f);
    const char *value = aws_profiles_get(p, e->profile, e->setting);
    if (value == NULL)
        value = "-";
    if (strcmp(value, e->value) != 0)
        fail_msg("%s of %s is \"%s\" and not \"%s\" in\n%s\n---\n%s",
                 e->setting, e->profile, value, e->value,
                 e->config != NULL ? e->config : "",
                 e->credentials != NULL ? e->credentials : "");
    aws_profiles_free(p);
}

TEST(reads_settings)
{
    static const struct expected table[] = {
        {"[profile foo]\nname = value", NULL, "foo", "name", "value"},
        {"[profile foo]\r\nname = value\r\n", NULL, "foo", "name", "value"},
        {"\xef\xbb\xbf[profile foo]\nname=value", NULL, "foo", "name", "value"},
        {"[profile foo]\nname = val=ue:x", NULL, "foo", "name", "val=ue:x"},
        {"[profile foo]\nname: val=ue", NULL, "foo", "name", "val=ue"},
        {"[profile foo]\nname \t=  \tvalue \t", NULL, "foo", "name", "value"},
        {"[profile foo]\nname = \xc3\xa4\xf0\x9f\x98\x82", NULL, "foo", "name",
         "\xc3\xa4\xf0\x9f\x98\x82"},
        {"[profile foo]\nNaMe = VaLue", NULL, "foo", "name", "VaLue"},
        {"[profile foo]\nname =", NULL, "foo", "name", "-"},
        {"[profile foo]\nname = ", "[foo]\nname = v", "foo", "name", "v"},
        {"[profile foo]\nname = v", "[foo]\nname =", "foo", "name", "v"},
        {"\t \n[profile foo]\n\t\n \nname = value\n\t \n[profile bar]\n \t",
         NULL, "foo", "name", "value"},
        {"[profile foo]\nname = a b  c", NULL, "foo", "name", "a b  c"},
        {"[profile foo]\nname = \"quoted\"", NULL, "foo", "name", "\"quoted\""},
        {"[profile foo]\nname = v\n[profile bar]\nname = w", NULL, "bar",
         "name", "w"},
        {"[profile foo]\nname = v\n[profile bar]", NULL, "bar", "name", "-"},
        {"[profile foo]\nname = v", NULL, "Foo", "name", "-"},
        /* Indented all over, as the command line takes it. */
        {"  [profile foo]\n  a = 1\n  name = 2\n", NULL, "foo", "name", "2"},
        {"[profile foo]\n\ta = 1\n\tname = 2\n [profile bar]\n x = 1\n", NULL,
         "foo", "name", "2"},
    };
    for (size_t i = 0; i < COUNT(table); i++)
        check(*state, &table[i]);
}

TEST(the_last_of_equals_counts)
{
    static const struct expected table[] = {
        {"[profile foo]\nname = v\nname = w", NULL, "foo", "name", "w"},
        {"[profile foo]\nName = v\n[profile foo]\nname = w", NULL, "foo",
         "name", "w"},
        {"[profile foo]\nname = v\n[profile bar]\n[profile foo]\nx = w", NULL,
         "foo", "name", "v"},
        {"[profile foo]\nname = v", "[foo]\nother = w", "foo", "name", "v"},
        {"[profile foo]\nname = v", "[foo]\nother = w", "foo", "other", "w"},
        {"[profile foo]\nname = v", "[foo]\nname = w", "foo", "name", "w"},
    };
    for (size_t i = 0; i < COUNT(table); i++)
        check(*state, &table[i]);
}

TEST(comments_are_not_values)
{
    static const struct expected table[] = {
        {"# x = y\n[profile foo] # c\nname = value # with # sign", NULL, "foo",
         "name", "value"},
        {"; x = y\n[profile foo] ; c\nname = value ; with ; sign", NULL, "foo",
         "name", "value"},
        {";\n[profile foo];\nname = value ;\n", NULL, "foo", "name", "value"},
        {"[profile foo]# c\nname = value\t# c", NULL, "foo", "name", "value"},
        {"[profile foo]\nname = value; adjacent", NULL, "foo", "name",
         "value; adjacent"},
        {"[profile foo]\nname = value# adjacent", NULL, "foo", "name",
         "value# adjacent"},
        {"[profile foo]\nname = #value", NULL, "foo", "name", "-"},
        {"[profile foo]\nname =#value", NULL, "foo", "name", "#value"},
        {"[profile foo]\nname = v\n  # no part of it\n  w", NULL, "foo", "name",
         "v\nw"},
        {"[profile foo]\n#name = v", NULL, "foo", "name", "-"},
    };
    for (size_t i = 0; i < COUNT(table); i++)
        check(*state, &table[i]);
}

TEST(indented_lines_belong_to_the_one_before)
{
    static const struct expected table[] = {
        {"[profile foo]\nname = v\n -w\n \t -x \t \r\n", NULL, "foo", "name",
         "v\n-w\n-x"},
        {"[profile foo]\nname = v # c\n\n\n -w # no comment\nb = c", NULL,
         "foo", "name", "v\n-w # no comment"},
        {"[profile foo]\nname = v\n [bar]\n c = d", NULL, "foo", "name",
         "v\n[bar]\nc = d"},
        {"[profile foo]\nname = v\n w\nb = c", NULL, "foo", "b", "c"},
        /* Nested settings are none of the profile. */
        {"[profile foo]\ns3 =\n region = nested\n\t \n x = y\nb = c", NULL,
         "foo", "region", "-"},
        {"[profile foo]\ns3 =\n region = nested\nb = c", NULL, "foo", "s3",
         "-"},
        {"[profile foo]\ns3 =\n region = nested\n broken\nb = c", NULL, "foo",
         "b", "c"},
        {"[profile foo]\nregion = mine\ns3 =\n region = nested", NULL, "foo",
         "region", "mine"},
        {"[profile foo]\n  s3 =\n    region = nested\n  b = c", NULL, "foo",
         "b", "c"},
    };
    for (size_t i = 0; i < COUNT(table); i++)
        check(*state, &table[i]);
}

TEST(names_of_profiles)
{
    static const struct expected table[] = {
        {"[profile \tfoo \t]\na = b", NULL, "foo", "a", "b"},
        {"[profile\tfoo]\na = b", NULL, "foo", "a", "b"},
        {"[   profile foo    ]\na = b", NULL, "foo", "a", "b"},
        {"[profile some-thing:long/the_one%only.foo@bar+]\na = b", NULL,
         "some-thing:long/the_one%only.foo@bar+", "a", "b"},
        {"[profile \"my name\"]\na = b", NULL, "my name", "a", "b"},
        {"[profile 'my name' ]\na = b", NULL, "my name", "a", "b"},
        {"[profile \"a]b#c\"] # d\na = b", NULL, "a]b#c", "a", "b"},
        {NULL, "[my name]\na = b", "my name", "a", "b"},
        {NULL, "[   foo    ]\na = b", "foo", "a", "b"},
        {NULL, "[profiles]\na = b", "profiles", "a", "b"},
        {"[default]\na = b", NULL, "default", "a", "b"},
        /* Not here. */
        {"[foo]\na = b", NULL, "foo", "a", "-"},
        {"[profilefoo]\na = b", NULL, "foo", "a", "-"},
        {"[profile]\na = b", NULL, "profile", "a", "-"},
        {"[profile in valid]\na = b", NULL, "in valid", "a", "-"},
        {"[profile in valid]\na = b", NULL, "in", "a", "-"},
        {"[profile \"a\" \"b\"]\na = b", NULL, "a", "a", "-"},
        {"[profile \"\"]\na = b", NULL, "", "a", "-"},
        {"[]\na = b", "[]\na = b", "", "a", "-"},
        {"[profile foo]\na = b\n[sso-session s]\na = c\n[services t]\na = d\n",
         NULL, "foo", "a", "b"},
        {"[profile o'brien]\na = b\n[profile foo]\na = c", NULL, "foo", "a",
         "c"},
        {"[profile o'brien]\na = b", NULL, "o'brien", "a", "-"},
        {NULL, "[o'brien]\na = b", "o'brien", "a", "b"},
        {NULL, "[profile foo]\na = b", "foo", "a", "-"},
        {NULL, "[profile foo]\na = b", "profile foo", "a", "-"},
    };
    for (size_t i = 0; i < COUNT(table); i++)
        check(*state, &table[i]);
}

TEST(profile_default_goes_before_default)
{
    static const struct expected table[] = {
        {"[profile default]\na = b\n[default]\na = c\nx = y", NULL, "default",
         "a", "b"},
        {"[default]\na = c\nx = y\n[profile default]\na = b", NULL, "default",
         "a", "b"},
        {"[default]\na = c\nx = y\n[profile default]\na = b", NULL, "default",
         "x", "-"},
        {"[profile default]\na = b\n[default]\na = c\n[profile default]\nd = e",
         NULL, "default", "a", "b"},
        {"[profile default]\na = b\n[default]\na = c\n[profile default]\nd = e",
         "[default]\nd = f", "default", "d", "f"},
    };
    for (size_t i = 0; i < COUNT(table); i++)
        check(*state, &table[i]);
}

TEST(one_file_can_be_asked_alone)
{
    struct aws_files *f = *state;
    aws_files_set(f, "[profile p]\na = 1\nb = 2", "[p]\nb = 3\nc = 4");
    struct aws_profiles *p = read_files(f);
    assert_string_equal(aws_profiles_get_from(p, AWS_PROFILES_CONFIG, "p", "b"),
                        "2");
    assert_string_equal(
        aws_profiles_get_from(p, AWS_PROFILES_CREDENTIALS, "p", "b"), "3");
    assert_null(aws_profiles_get_from(p, AWS_PROFILES_CONFIG, "p", "c"));
    assert_null(aws_profiles_get_from(p, AWS_PROFILES_CREDENTIALS, "p", "a"));
    aws_profiles_free(p);
}

TEST(an_empty_profile_is_there)
{
    struct aws_files *f = *state;
    aws_files_set(f, "[profile a]\n[profile b]\n[x]\n", "[c]");
    struct aws_profiles *p = read_files(f);
    assert_true(aws_profiles_has(p, "a"));
    assert_true(aws_profiles_has(p, "b"));
    assert_true(aws_profiles_has(p, "c"));
    assert_false(aws_profiles_has(p, "x"));
    assert_false(aws_profiles_has(p, "default"));
    assert_false(aws_profiles_has(p, ""));
    aws_profiles_free(p);
}

TEST(each_fault_has_its_place)
{
    struct aws_files *f = *state;
    static const char *const table[][3] = {
        {"[profile foo", NULL,
         "CONFIG:1: the section's name does not end with "
         "]"},
        {"\n[profile foo] x", NULL,
         "CONFIG:2: something follows the section's "
         "name"},
        {"name = value", NULL,
         "CONFIG:1: a setting comes before the first "
         "section"},
        {" hidden-secret", NULL,
         "CONFIG:1: a setting comes before the first "
         "section"},
        {"[a]\n\nhidden-secret\n", NULL,
         "CONFIG:3: not a setting; it "
         "needs a name, = and a value"},
        {NULL, "[a]\r\nx = y\r\n= hidden-secret",
         "CREDENTIALS:3: not a "
         "setting; it needs a name, = "
         "and a value"},
        {"[profile a]\nx = y\n[profile a]\n continued", NULL,
         "CONFIG:4: not a setting; it needs a name, = and a value"},
        /* Also where nothing is read from. */
        {"[other]\nhidden-secret", "[a]",
         "CONFIG:2: not a setting; it "
         "needs a name, = and a value"},
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        struct aws_profiles *p = (struct aws_profiles *)f;
        aws_files_set(f, table[i][0], table[i][1]);
        assert_int_equal(aws_profiles_read(&f->conf, &p, &f->reason),
                         RESULT_DENIED);
        assert_null(p);
        aws_files_assert_reason(f, table[i][2]);
    }
}

TEST(what_is_not_text_is_refused)
{
    struct aws_files *f = *state;
    struct aws_profiles *p;
    write_bytes(f->config, "[default]\na\0b = c\n", 17);
    assert_int_equal(aws_profiles_read(&f->conf, &p, &f->reason),
                     RESULT_DENIED);
    aws_files_assert_reason(f, "CONFIG has a NUL byte in it");
    unlink(f->config);

    char *large = mem_alloc(AWS_PROFILES_MAX + 1);
    memset(large, '#', AWS_PROFILES_MAX + 1);
    write_bytes(f->credentials, large, AWS_PROFILES_MAX);
    aws_profiles_free(read_files(f));
    write_bytes(f->credentials, large, AWS_PROFILES_MAX + 1);
    free(large);
    assert_int_equal(aws_profiles_read(&f->conf, &p, &f->reason),
                     RESULT_DENIED);
    aws_files_assert_reason(f, "CREDENTIALS is larger than 1048576 bytes");
    unlink(f->credentials);

    assert_int_equal(mkdir(f->config, 0700), 0);
    assert_int_equal(aws_profiles_read(&f->conf, &p, &f->reason),
                     RESULT_DENIED);
    aws_files_assert_reason(f, "CONFIG cannot be read: Is a directory");
    assert_int_equal(rmdir(f->config), 0);
}

TEST(files_that_are_not_there_are_empty)
{
    struct aws_files *f = *state;
    struct aws_profiles *p = read_files(f);
    assert_false(aws_profiles_has(p, "default"));
    assert_null(aws_profiles_get(p, "default", "region"));
    assert_string_equal(aws_profiles_path(p, AWS_PROFILES_CONFIG), f->config);
    assert_string_equal(aws_profiles_path(p, AWS_PROFILES_CREDENTIALS),
                        f->credentials);
    aws_profiles_add_places(p, &f->reason);
    aws_files_assert_reason(f, "CONFIG or CREDENTIALS");
    aws_profiles_free(p);
    aws_profiles_free(NULL);
}

TEST(the_configuration_names_other_files)
{
    struct aws_files *f = *state;
    aws_files_set(f, "[default]\na = 1", "[default]\nb = 2");
    write_file(f->other, "[default]\na = 3");
    f->conf.aws_config_file = f->other;
    struct aws_profiles *p = read_files(f);
    assert_string_equal(aws_profiles_get(p, "default", "a"), "3");
    assert_string_equal(aws_profiles_get(p, "default", "b"), "2");
    aws_profiles_free(p);

    char tilde[] = "~/other", none[] = "", null[] = "/dev/null";
    f->conf.aws_config_file = none;
    f->conf.aws_shared_credentials_file = tilde;
    p = read_files(f);
    assert_string_equal(aws_profiles_path(p, AWS_PROFILES_CREDENTIALS),
                        f->other);
    assert_string_equal(aws_profiles_get(p, "default", "a"), "3");
    assert_null(aws_profiles_get(p, "default", "b"));
    aws_profiles_free(p);

    f->conf.aws_config_file = null;
    f->conf.aws_shared_credentials_file = null;
    p = read_files(f);
    assert_false(aws_profiles_has(p, "default"));
    aws_profiles_free(p);
}

TEST(without_home_the_password_file_says)
{
    struct aws_files *f = *state;
    char tilde[] = "~/no-such-file-of-curt";
    struct passwd *me = getpwuid(geteuid());
    assert_non_null(me);
    char *path = mem_printf("%s%s", me->pw_dir, tilde + 1);
    f->conf.aws_config_file = tilde;
    f->conf.aws_shared_credentials_file = tilde;
    static const char *const homes[] = {NULL, ""};
    for (size_t i = 0; i < COUNT(homes); i++) {
        if (homes[i] != NULL)
            setenv("HOME", homes[i], 1);
        else
            unsetenv("HOME");
        struct aws_profiles *p = read_files(f);
        assert_string_equal(aws_profiles_path(p, AWS_PROFILES_CONFIG), path);
        aws_profiles_free(p);
    }
    free(path);
}

TEST(permissions_are_told)
{
    struct aws_files *f = *state;
    struct aws_profiles *p;
    aws_files_set(f, "[default]\na = 1", "[default]\nb = 2");
    assert_int_equal(chmod(f->credentials, 0), 0);
    drop_root();
    unsigned me = (unsigned)geteuid();
    enum result r = aws_profiles_read(&f->conf, &p, &f->reason);
    restore_root();
    assert_int_equal(r, RESULT_DENIED);
    char *expected = mem_printf("CREDENTIALS: permission denied; let user %u "
                                "read it, or name another file",
                                me);
    aws_files_assert_reason(f, expected);
    free(expected);
}

/* Root's home directory, say, of a service that root started. */
TEST(a_directory_that_is_closed_is_empty)
{
    struct aws_files *f = *state;
    struct aws_profiles *p;
    char *dir = mem_printf("%s/.aws", f->home);
    aws_files_set(f, "[default]\na = 1", "[default]\nb = 2");
    assert_int_equal(chmod(dir, 0), 0);
    drop_root();
    enum result r = aws_profiles_read(&f->conf, &p, &f->reason);
    restore_root();
    assert_int_equal(r, RESULT_OK);
    assert_false(aws_profiles_has(p, "default"));
    aws_profiles_add_places(p, &f->reason);
    aws_files_assert_reason(f, "CONFIG (permission denied) or CREDENTIALS "
                               "(permission denied)");
    aws_profiles_free(p);

    /* But not where it was named. */
    f->conf.aws_config_file = f->config;
    drop_root();
    r = aws_profiles_read(&f->conf, &p, &f->reason);
    restore_root();
    assert_int_equal(r, RESULT_DENIED);
    assert_non_null(strstr(f->reason.data, "permission denied"));
    assert_int_equal(chmod(dir, 0711), 0);
    free(dir);
}

TEST(says_which)
{
    struct aws_files *f = *state;
    char name[] = "prod";
    assert_string_equal(aws_profiles_name(&f->conf), "default");
    f->conf.aws_profile = name;
    assert_string_equal(aws_profiles_name(&f->conf), "prod");
}

/* As many sections as fit must not take longer than their bytes. */
TEST(a_large_file_is_read_quickly)
{
    struct aws_files *f = *state;
    struct buf text;
    buf_init(&text, AWS_PROFILES_MAX);
    while (text.len + 20 < AWS_PROFILES_MAX)
        buf_add_str(&text, "[a]\nx=1\n");
    buf_add_str(&text, "[last]\ny=2\n");
    aws_files_set(f, NULL, text.data);
    buf_free(&text);
    struct aws_profiles *p = read_files(f);
    for (int i = 0; i < 100; i++) {
        assert_string_equal(aws_profiles_get(p, "last", "y"), "2");
        assert_null(aws_profiles_get(p, "none", "y"));
    }
    aws_profiles_free(p);
}

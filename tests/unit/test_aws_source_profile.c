/* Credentials of a profile: which of its settings counts, and what each that
 * cannot be used says. */
#include "test.h"

#include "base/clock.h"
#include "base/mem.h"
#include "fake_services.h"

EACH_TEST(services_set_up, services_tear_down)

TEST(keys_of_either_file)
{
    static const struct profile_case table[] = {
        {NULL, NULL, "[default]\n" KEYS("x"), "x",
         "profile default in CREDENTIALS", ""},
        {NULL, "[default]\n" KEYS("x"), NULL, "x", "profile default in CONFIG",
         ""},
        {"p", "[profile p]\n" KEYS("x"), "[default]\n" KEYS("y"), "x",
         "profile p in CONFIG", ""},
        {"my name", NULL, "[my name]\n" KEYS("x"), "x",
         "profile my name in CREDENTIALS", ""},
    };
    for (size_t i = 0; i < COUNT(table); i++)
        assert_credentials(*state, &table[i]);
}

TEST(a_token_makes_them_temporary)
{
    static const char *const files[][2] = {
        {"[default]\n" KEYS("x") "aws_session_token = t\n", "t"},
        {"[default]\n" KEYS("x") "aws_security_token = t\n", "t"},
        {"[default]\n" KEYS("x") "aws_session_token =\n", NULL},
    };
    for (size_t i = 0; i < COUNT(files); i++) {
        struct aws_found found;
        assert_int_equal(query_profile(*state, NULL, NULL, files[i][0], &found),
                         RESULT_OK);
        if (files[i][1] != NULL)
            assert_string_equal(found.token, files[i][1]);
        else
            assert_null(found.token);
        assert_int_equal(found.expires, 0);
        aws_found_free(&found);
    }
}

/* botocore's order. */
TEST(settings_have_an_order)
{
    static const struct profile_case table[] = {
        {"p", "[profile p]\n" PRINTS("run") KEYS("config"),
         "[p]\n" KEYS("file"), "file", "profile p in CREDENTIALS", ""},
        {"p", "[profile p]\n" PRINTS("run") KEYS("config"), NULL, "run",
         "credential_process of profile p", ""},
        {"p", "[profile p]\n" KEYS("config"), "[p]\n" PRINTS("run"), "run",
         "credential_process of profile p", ""},
        {"p", "[profile p]\nrole_arn = R\ncredential_source = EcsContainer\n",
         "[p]\n" KEYS("file"), "given", "role R of profile p",
         "container\n"
         "assume R session=- external=- region=- duration=- "
         "keys=id-given,secret-given,token-given\n"},
        /* What needs somebody to sign in comes last, and not third. */
        {"p", "[profile p]\nsso_session = s\nsso_role_name = r\n" PRINTS("run"),
         NULL, "run", "credential_process of profile p", ""},
        {"p", "[profile p]\nsso_start_url = s\n", "[p]\n" KEYS("file"), "file",
         "profile p in CREDENTIALS", ""},
    };
    for (size_t i = 0; i < COUNT(table); i++)
        assert_credentials(*state, &table[i]);
}

TEST(keys_must_be_whole)
{
    assert_no_credentials(
        *state, "p", NULL, "[p]\naws_access_key_id = a", RESULT_DENIED,
        "profile p in CREDENTIALS: the secret access key is missing");
    assert_no_credentials(
        *state, "p", "[profile p]\naws_secret_access_key = s",
        "[p]\naws_access_key_id = a", RESULT_DENIED,
        "profile p in CREDENTIALS: the secret access key is missing");
    assert_no_credentials(
        *state, "p", NULL, "[p]\naws_secret_access_key = hidden",
        RESULT_NOT_FOUND,
        "profile p does not have credentials in CONFIG or CREDENTIALS");
    assert_no_credentials(
        *state, NULL, NULL,
        "[default]\naws_access_key_id = a\n"
        "aws_secret_access_key = hid den",
        RESULT_DENIED,
        "profile default in CREDENTIALS: the secret access key contains "
        "an invalid character");
}

TEST(a_profile_need_not_be_there)
{
    assert_no_credentials(*state, NULL, NULL, NULL, RESULT_NOT_FOUND,
                          "profile default is not in CONFIG or CREDENTIALS");
    assert_no_credentials(*state, NULL, "[profile p]\n" KEYS("x"),
                          "[q]\n" KEYS("x"), RESULT_NOT_FOUND,
                          "profile default is not in CONFIG or CREDENTIALS");
    assert_no_credentials(
        *state, NULL, "[default]\nregion = eu-west-1", NULL, RESULT_NOT_FOUND,
        "profile default does not have credentials in CONFIG or CREDENTIALS");
    /* But one that is asked for by name must. */
    assert_no_credentials(
        *state, "p", "[default]\n" KEYS("x"), NULL, RESULT_DENIED,
        "profile p (AWS_PROFILE) is not in CONFIG or CREDENTIALS");
    assert_no_credentials(
        *state, "default", NULL, NULL, RESULT_DENIED,
        "profile default (AWS_PROFILE) is not in CONFIG or CREDENTIALS");
    assert_no_credentials(*state, NULL, "hidden", NULL, RESULT_DENIED,
                          "CONFIG:1: a setting comes before the first section");
}

/* ---- A process ----------------------------------------------------------- */

TEST(a_process_gives_temporary_keys)
{
    struct aws_found found;
    assert_int_equal(
        query_profile(*state, "p", "[profile p]\n" PRINTS("x"), NULL, &found),
        RESULT_OK);
    assert_string_equal(found.token, "token-x");
    assert_int_equal(found.expires, 4102444800);
    aws_found_free(&found);
}

TEST(a_process_can_fail)
{
    struct aws_files *f = *state;
    char *expected = mem_printf("credential_process of profile p: the command "
                                "ended with status 4; run it as user %u to "
                                "see why",
                                (unsigned)geteuid());
    assert_no_credentials(
        f, "p", "[profile p]\ncredential_process = echo hidden; exit 4", NULL,
        RESULT_DENIED, expected);
    free(expected);
    assert_no_credentials(
        f, "p", "[profile p]\ncredential_process = echo hidden", NULL,
        RESULT_DENIED, "credential_process of profile p is not a JSON object");
    assert_no_credentials(
        f, "p",
        "[profile p]\ncredential_process = echo '{\"AccessKeyId\": "
        "\"hidden\", \"SecretAccessKey\": \"hidden\"}'",
        NULL, RESULT_DENIED,
        "credential_process of profile p does not have \"Version\": 1");

    static const struct aws_found empty;
    struct aws_found found;
    const struct aws_source_request request = {
        .conf = &f->conf, .deadline = clock_monotonic_ms() + 200};
    aws_files_set(f, "[default]\ncredential_process = sleep 60", NULL);
    assert_int_equal(aws_source_profile(&request, &found, &f->reason),
                     RESULT_UNAVAILABLE);
    aws_files_assert_reason(f, "credential_process of profile default: the "
                               "command did not end in time");
    assert_memory_equal(&found, &empty, sizeof(empty));
}

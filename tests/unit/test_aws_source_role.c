/* Credentials of a role that a profile names: whose keys it is asked for with,
 * and which cannot be. */
#include "test.h"

#include "base/mem.h"
#include "fake_services.h"

EACH_TEST(services_set_up, services_tear_down)

TEST(a_role_has_the_keys_of_another_profile)
{
    static const struct profile_case table[] = {
        {"p",
         "[profile p]\n" ROLE("p") "source_profile = base\n"
                                   "role_session_name = me\nexternal_id = e\n"
                                   "duration_seconds = 900\n"
                                   "region = eu-west-1\n",
         "[base]\n" KEYS("base"), "given", "role arn:p of profile p",
         "assume arn:p session=me external=e region=eu-west-1 duration=900 "
         "keys=id-base,secret-base,-\n"},
        /* Of a process. */
        {"p",
         "[profile p]\n" ROLE("p") "source_profile = base\n"
                                   "[profile base]\n" PRINTS("base"),
         NULL, "given", "role arn:p of profile p",
         "assume arn:p session=- external=- region=- duration=- "
         "keys=id-base,secret-base,token-base\n"},
        /* Of itself. */
        {"p", "[profile p]\n" ROLE("p") "source_profile = p\n" KEYS("p"), NULL,
         "given", "role arn:p of profile p",
         "assume arn:p session=- external=- region=- duration=- "
         "keys=id-p,secret-p,-\n"},
        /* Of a role in turn. */
        {"p",
         "[profile p]\n" ROLE("p") "source_profile = q\n"
                                   "[profile q]\n" ROLE(
                                       "q") "source_profile = base\n",
         "[base]\n" KEYS("base"), "given", "role arn:p of profile p",
         "assume arn:q session=- external=- region=- duration=- "
         "keys=id-base,secret-base,-\n"
         "assume arn:p session=- external=- region=- duration=- "
         "keys=id-given,secret-given,token-given\n"},
        /* The keys of a source go before its role. */
        {"p",
         "[profile p]\n" ROLE("p") "source_profile = q\n"
                                   "[profile q]\n" ROLE(
                                       "q") "source_profile = base\n" KEYS("q"),
         "[base]\n" KEYS("base"), "given", "role arn:p of profile p",
         "assume arn:p session=- external=- region=- duration=- "
         "keys=id-q,secret-q,-\n"},
        /* The region of the profile that was selected. */
        {"p",
         "[profile p]\n" ROLE("p") "source_profile = q\nregion = eu-west-1\n"
                                   "[profile q]\nregion = us-east-2\n" ROLE(
                                       "q") "source_profile = base\n",
         "[base]\n" KEYS("base"), "given", "role arn:p of profile p",
         "assume arn:q session=- external=- region=eu-west-1 duration=- "
         "keys=id-base,secret-base,-\n"
         "assume arn:p session=- external=- region=eu-west-1 duration=- "
         "keys=id-given,secret-given,token-given\n"},
    };
    for (size_t i = 0; i < COUNT(table); i++)
        assert_credentials(*state, &table[i]);
}

TEST(the_region_of_the_environment_goes_first)
{
    struct aws_files *f = *state;
    char first[] = "ap-south-1", second[] = "sa-east-1", bad[] = "x.evil/";
    static const char config[] = "[profile p]\nregion = eu-west-1\n" ROLE(
        "p") "source_profile = p\n" KEYS("p");
    struct profile_case c = {
        "p",
        config,
        NULL,
        "given",
        "role arn:p of profile p",
        "assume arn:p session=- external=- region=sa-east-1 "
        "duration=- keys=id-p,secret-p,-\n"};
    f->conf.aws_default_region = second;
    assert_credentials(f, &c);
    f->conf.aws_region = first;
    c.asked = "assume arn:p session=- external=- region=ap-south-1 duration=- "
              "keys=id-p,secret-p,-\n";
    assert_credentials(f, &c);
    f->conf.aws_region = bad;
    assert_no_credentials(
        f, "p", config, NULL, RESULT_DENIED,
        "profile p has a role, but the region is not a valid name, such as "
        "eu-west-1");
    assert_int_equal(service_requests.len, 0);
}

TEST(a_role_has_the_keys_of_a_source)
{
    struct aws_files *f = *state;
    static const struct profile_case table[] = {
        {"p",
         "[profile p]\n" ROLE("p") "credential_source = Ec2InstanceMetadata\n",
         NULL, "given", "role arn:p of profile p",
         "instance\n"
         "assume arn:p session=- external=- region=- duration=- "
         "keys=id-given,secret-given,token-given\n"},
        {"p", "[profile p]\n" ROLE("p") "credential_source = ecscontainer\n",
         NULL, "given", "role arn:p of profile p",
         "container\n"
         "assume arn:p session=- external=- region=- duration=- "
         "keys=id-given,secret-given,token-given\n"},
        {"p", "[profile p]\n" ROLE("p") "credential_source = Environment\n",
         NULL, "given", "role arn:p of profile p",
         "assume arn:p session=- external=- region=- duration=- "
         "keys=id-env,secret-env,-\n"},
    };
    static char id[] = "id-env", secret[] = "secret-env";
    f->conf.aws_access_key_id = id;
    f->conf.aws_secret_access_key = secret;
    for (size_t i = 0; i < COUNT(table); i++)
        assert_credentials(f, &table[i]);
}

TEST(what_the_others_say_is_passed_on)
{
    struct aws_files *f = *state;
    static const char role[] =
        "[profile p]\n" ROLE("p") "source_profile = p\n" KEYS("p");
    static const char container[] =
        "[profile p]\n" ROLE("p") "credential_source = EcsContainer\n";
    static const char instance[] =
        "[profile p]\n" ROLE("p") "credential_source = Ec2InstanceMetadata\n";
    static const char environment[] =
        "[profile p]\n" ROLE("p") "credential_source = Environment\n";
    static const char container_says[] =
        "credential_source EcsContainer of profile p: container refuses";
    static const char instance_says[] =
        "credential_source Ec2InstanceMetadata of profile p: instance refuses";
    service_result = RESULT_UNAVAILABLE;
    assert_no_credentials(f, "p", role, NULL, service_result,
                          "profile p: STS refuses");
    assert_no_credentials(f, "p", container, NULL, service_result,
                          container_says);
    service_result = RESULT_DENIED;
    assert_no_credentials(f, "p", role, NULL, service_result,
                          "profile p: STS refuses");
    assert_no_credentials(f, "p", instance, NULL, service_result,
                          instance_says);
    /* No other source of the chain is asked instead. */
    service_result = RESULT_NOT_FOUND;
    assert_no_credentials(f, "p", container, NULL, RESULT_DENIED,
                          container_says);
    assert_no_credentials(f, "p", instance, NULL, RESULT_UNAVAILABLE,
                          instance_says);
    assert_no_credentials(
        f, "p", environment, NULL, RESULT_DENIED,
        "credential_source Environment of profile p: AWS_ACCESS_KEY_ID "
        "is not set");
}

TEST(roles_that_cannot_be)
{
    static const struct {
        const char *config;
        const char *reason;
    } table[] = {
        {"[profile p]\n" ROLE("p"),
         "profile p has role_arn without source_profile, credential_source or "
         "web_identity_token_file"},
        {"[profile p]\n" ROLE("p") KEYS("p"),
         "profile p has role_arn without source_profile, credential_source or "
         "web_identity_token_file"},
        {"[profile p]\n" ROLE("p") "source_profile = q\n"
                                   "credential_source = Environment\n",
         "profile p has both source_profile and credential_source"},
        {"[profile p]\n" ROLE("p") "credential_source = Other\n",
         "profile p has a credential_source that is not Environment, "
         "EcsContainer or Ec2InstanceMetadata"},
        {"[profile p]\n" ROLE("p") "source_profile = q\n",
         "the source_profile q of profile p is not in CONFIG or CREDENTIALS"},
        {"[profile p]\n" ROLE("p") "source_profile = q\n[profile q]\nx = y\n",
         "profile q does not have credentials in CONFIG or CREDENTIALS"},
        {"[profile p]\n" ROLE("p") "source_profile = p\n",
         "profile p is its own source_profile, but does not have keys"},
        {"[profile p]\n" ROLE("p") "source_profile = q\n[profile q]\n" ROLE(
             "q") "source_profile = p\n",
         "profile q has a source_profile that leads back to it"},
        {"[profile p]\n" ROLE("p") "source_profile = q\n[profile q]\n" ROLE(
             "q") "source_profile = q\n",
         "profile q is its own source_profile, but does not have keys"},
        {"[profile p]\nmfa_serial = arn:mfa\n" ROLE(
             "p") "source_profile = p\n" KEYS("p"),
         "profile p has mfa_serial, but a service cannot enter the code; use "
         "a role that can be assumed without it"},
        {"[profile p]\nduration_seconds = 1h\n" ROLE(
             "p") "source_profile = p\n" KEYS("p"),
         "profile p has a duration_seconds that is not a number"},
        {"[profile p]\nregion = nowhere!\n" ROLE(
             "p") "source_profile = p\n" KEYS("p"),
         "profile p has a role, but the region is not a valid name, such as "
         "eu-west-1"},
        {"[profile p]\nsso_session = s\nsso_account_id = 1\n",
         "profile p is for `aws sso login`, which a service cannot do; give "
         "curt a profile with credential_process = aws configure "
         "export-credentials --profile p"},
        {"[profile p]\nweb_identity_token_file = /dev/null\n",
         "profile p has a web_identity_token_file, but not a role_arn"},
        {"[profile p]\nweb_identity_token_file = /dev/null\n" ROLE("p"),
         "web_identity_token_file of profile p: /dev/null: the file is empty"},
        {"[profile p]\nweb_identity_token_file = /dev/zero\n" ROLE("p"),
         "web_identity_token_file of profile p: /dev/zero: the file does not "
         "contain a token"},
        {"[profile p]\nweb_identity_token_file = /no/file\n" ROLE("p"),
         "web_identity_token_file of profile p: /no/file: No such file or "
         "directory"},
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        assert_no_credentials(*state, "p", table[i].config, NULL, RESULT_DENIED,
                              table[i].reason);
        assert_int_equal(service_requests.len, 0);
    }
}

TEST(a_chain_has_an_end)
{
    for (int roles = 7; roles <= 9; roles++) {
        struct buf config;
        struct aws_found found;
        buf_init(&config, 4096);
        for (int i = 1; i <= roles; i++)
            buf_addf(&config,
                     "[profile p%d]\nrole_arn = arn:%d\nsource_profile = "
                     "p%d\n",
                     i, i, i + 1);
        buf_addf(&config, "[profile p%d]\n" KEYS("end"), roles + 1);
        if (roles <= 8) {
            assert_int_equal(
                query_profile(*state, "p1", config.data, NULL, &found),
                RESULT_OK);
            assert_string_equal(found.where, "role arn:1 of profile p1");
            aws_found_free(&found);
        } else {
            assert_no_credentials(
                *state, "p1", config.data, NULL, RESULT_DENIED,
                "profile p9 is at the end of a chain of source_profile that "
                "is too long");
        }
        buf_free(&config);
    }
}

TEST(a_web_identity_is_read_from_its_file)
{
    struct aws_files *f = *state;
    write_file(f->other, "the-token\n");
    char *config =
        mem_printf("[profile p]\nregion = eu-west-1\n" ROLE(
                       "p") "role_session_name = me\n"
                            "web_identity_token_file = %s\n"
                            "[profile q]\n" ROLE("q") "source_profile = p\n",
                   f->other);
    struct profile_case c = {"p",
                             config,
                             NULL,
                             "given",
                             "role arn:p of profile p",
                             "web arn:p session=me external=- region=eu-west-1 "
                             "duration=- token=the-token\n"};
    assert_credentials(f, &c);
    /* Also for a role in turn. */
    c = (struct profile_case){
        "q",
        config,
        NULL,
        "given",
        "role arn:q of profile q",
        "web arn:p session=me external=- region=eu-west-1 "
        "duration=- token=the-token\n"
        "assume arn:q session=- external=- region=- duration=- "
        "keys=id-given,secret-given,token-given\n"};
    assert_credentials(f, &c);
    service_result = RESULT_UNAVAILABLE;
    assert_no_credentials(f, "p", config, NULL, service_result,
                          "profile p: STS refuses");
    free(config);
}

/* Where the region comes from, as far as the configuration says so. */
#include "test.h"

#include "aws/endpoint.h"
#include "base/mem.h"

struct fixture {
    char config[32];
    char absent[64];
    struct http_client *http;
    struct conf conf;
    struct buf reason;
};

static int set_up(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    memcpy(f->config, "/tmp/curt-region-XXXXXX",
           sizeof("/tmp/curt-region-XXXXXX"));
    int fd = mkstemp(f->config);
    if (fd < 0 || close(fd) != 0)
        return -1;
    snprintf(f->absent, sizeof(f->absent), "%s.absent", f->config);
    write_file(f->config, "[default]\nregion = ap-south-1\n"
                          "[profile other]\nregion = sa-east-1\n"
                          "[profile odd]\nregion = Not A Region\n"
                          "[profile bare]\noutput = json\n");
    /* Neither the home directory nor the network has a say here. */
    f->conf.aws_config_file = f->absent;
    f->conf.aws_shared_credentials_file = f->absent;
    f->conf.aws_ec2_metadata_disabled = 1;
    f->http = http_client_new(NULL, 1024);
    buf_init(&f->reason, 4096);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    http_client_free(f->http);
    buf_free(&f->reason);
    unlink(f->config);
    free(f);
    return 0;
}

EACH_TEST(set_up, tear_down)

/* Finds the region; NULL where there is none. Both functions must agree,
 * unless the network is asked. */
static char *find(struct fixture *f, enum result expected)
{
    /* No time at all: whoever asks the network fails. */
    const struct aws_source_request request = {
        .conf = &f->conf, .http = f->http, .deadline = 0};
    char *region = NULL;
    buf_reset(&f->reason);
    assert_int_equal(aws_region_find(&request, &region, &f->reason), expected);
    assert_false(buf_failed(&f->reason));
    assert_int_equal(f->reason.len == 0, expected == RESULT_OK);
    char *configured = aws_region_configured(&f->conf);
    if (region == NULL)
        assert_null(configured);
    else
        assert_string_equal(configured, region);
    free(configured);
    return region;
}

static void assert_found(struct fixture *f, const char *expected)
{
    char *region = find(f, RESULT_OK);
    assert_string_equal(region, expected);
    free(region);
}

/* Refused, with all words in the reason, one after the other. */
static void assert_refused(struct fixture *f, enum result expected,
                           const char *const *words, size_t count)
{
    assert_null(find(f, expected));
    const char *at = f->reason.data;
    for (size_t i = 0; i < count; i++) {
        at = strstr(at, words[i]);
        if (at == NULL)
            fail_msg("no \"%s\" in its place: %s", words[i], f->reason.data);
    }
}

TEST(goes_by_the_order)
{
    struct fixture *f = *state;
    f->conf.aws_config_file = f->config;
    assert_found(f, "ap-south-1");
    f->conf.aws_default_region = (char[]){"us-west-2"};
    assert_found(f, "us-west-2");
    f->conf.aws_region = (char[]){"eu-west-1"};
    assert_found(f, "eu-west-1");
}

TEST(takes_the_profile_that_applies)
{
    struct fixture *f = *state;
    f->conf.aws_config_file = f->config;
    f->conf.aws_profile = (char[]){"other"};
    assert_found(f, "sa-east-1");
}

TEST(lists_what_was_looked_at)
{
    struct fixture *f = *state;
    static const char *const words[] = {
        "AWS_REGION is not set", "AWS_DEFAULT_REGION is not set",
        "profile default",       ".absent",
        "does not exist",        "AWS_EC2_METADATA_DISABLED is true",
        "set AWS_REGION",
    };
    assert_refused(f, RESULT_DENIED, words, COUNT(words));

    static const char *const bare[] = {"profile bare", "has no region",
                                       "AWS_EC2_METADATA_DISABLED"};
    f->conf.aws_config_file = f->config;
    f->conf.aws_profile = (char[]){"bare"};
    assert_refused(f, RESULT_DENIED, bare, COUNT(bare));
}

TEST(asks_the_instance_at_last)
{
    struct fixture *f = *state;
    static const char *const words[] = {"AWS_REGION is not set", "profile",
                                        "http://127.0.0.1:9", "no time"};
    f->conf.aws_ec2_metadata_disabled = 0;
    f->conf.aws_ec2_metadata_service_endpoint = (char[]){"http://127.0.0.1:9/"};
    assert_refused(f, RESULT_UNAVAILABLE, words, COUNT(words));
    /* Not where something before it decides. */
    f->conf.aws_region = (char[]){"eu-west-1"};
    assert_found(f, "eu-west-1");

    static const char *const no_url[] = {"AWS_EC2_METADATA_SERVICE_ENDPOINT"};
    f->conf.aws_region = NULL;
    f->conf.aws_ec2_metadata_service_endpoint =
        (char[]){"http://u:password@127.0.0.1/"};
    assert_refused(f, RESULT_DENIED, no_url, COUNT(no_url));
    assert_null(strstr(f->reason.data, "password"));
}

/* A place that names no region is not passed over for the next one. */
TEST(refuses_what_is_not_a_region)
{
    struct fixture *f = *state;
    static const char *const first[] = {"AWS_REGION is not a valid region"};
    static const char *const second[] = {
        "AWS_DEFAULT_REGION is not a valid region"};
    static const char *const profile[] = {
        "the region of profile odd is not a valid region"};
    f->conf.aws_config_file = f->config;
    f->conf.aws_profile = (char[]){"odd"};
    assert_refused(f, RESULT_DENIED, profile, 1);
    f->conf.aws_default_region = (char[]){"us-west-2/"};
    assert_refused(f, RESULT_DENIED, second, 1);
    f->conf.aws_region = (char[]){"EU-WEST-1"};
    assert_refused(f, RESULT_DENIED, first, 1);
    f->conf.aws_region = (char[]){"eu-west-1.example.com"};
    assert_refused(f, RESULT_DENIED, first, 1);
}

TEST(refuses_a_broken_file)
{
    struct fixture *f = *state;
    static const char *const words[] = {"AWS_DEFAULT_REGION is not set",
                                        "/tmp/curt-region-"};
    write_file(f->config, "[default\nregion = eu-west-1\n");
    f->conf.aws_config_file = f->config;
    assert_refused(f, RESULT_DENIED, words, COUNT(words));
    /* It is not even read where it is not needed. */
    f->conf.aws_region = (char[]){"eu-west-1"};
    assert_found(f, "eu-west-1");
}

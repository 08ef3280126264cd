/* Endpoints: AWS's own for each region, configured ones, and which is used. */
#include "test.h"

#include "aws/endpoint.h"
#include "base/mem.h"

/* What botocore resolves for both services with the SDKs' partitions, between
 * the service and the final '/': as it is, with FIPS, with dual stack, with
 * both. The last ones are not known, or no names of the partition. */
static const struct {
    const char *region;
    const char *rests[4];
} expected[] = {
    {"eu-west-1",
     {".eu-west-1.amazonaws.com", "-fips.eu-west-1.amazonaws.com",
      ".eu-west-1.api.aws", "-fips.eu-west-1.api.aws"}},
    {"cn-north-1",
     {".cn-north-1.amazonaws.com.cn", "-fips.cn-north-1.amazonaws.com.cn",
      ".cn-north-1.api.amazonwebservices.com.cn",
      "-fips.cn-north-1.api.amazonwebservices.com.cn"}},
    {"us-gov-west-1",
     {".us-gov-west-1.amazonaws.com", ".us-gov-west-1.amazonaws.com",
      ".us-gov-west-1.api.aws", "-fips.us-gov-west-1.api.aws"}},
    {"us-iso-east-1",
     {".us-iso-east-1.c2s.ic.gov", "-fips.us-iso-east-1.c2s.ic.gov",
      ".us-iso-east-1.api.aws.ic.gov", "-fips.us-iso-east-1.api.aws.ic.gov"}},
    {"us-isob-east-1",
     {".us-isob-east-1.sc2s.sgov.gov", "-fips.us-isob-east-1.sc2s.sgov.gov",
      ".us-isob-east-1.api.aws.scloud", "-fips.us-isob-east-1.api.aws.scloud"}},
    {"eu-isoe-west-1",
     {".eu-isoe-west-1.cloud.adc-e.uk", "-fips.eu-isoe-west-1.cloud.adc-e.uk",
      ".eu-isoe-west-1.api.cloud-aws.adc-e.uk",
      "-fips.eu-isoe-west-1.api.cloud-aws.adc-e.uk"}},
    {"us-isof-south-1",
     {".us-isof-south-1.csp.hci.ic.gov", "-fips.us-isof-south-1.csp.hci.ic.gov",
      ".us-isof-south-1.api.aws.hci.ic.gov",
      "-fips.us-isof-south-1.api.aws.hci.ic.gov"}},
    {"eusc-de-east-1",
     {".eusc-de-east-1.amazonaws.eu", "-fips.eusc-de-east-1.amazonaws.eu",
      ".eusc-de-east-1.api.amazonwebservices.eu",
      "-fips.eusc-de-east-1.api.amazonwebservices.eu"}},
    {"aws-cn-global",
     {".aws-cn-global.amazonaws.com.cn", "-fips.aws-cn-global.amazonaws.com.cn",
      ".aws-cn-global.api.amazonwebservices.com.cn",
      "-fips.aws-cn-global.api.amazonwebservices.com.cn"}},
    {"us-gov-north-2",
     {".us-gov-north-2.amazonaws.com", ".us-gov-north-2.amazonaws.com",
      ".us-gov-north-2.api.aws", "-fips.us-gov-north-2.api.aws"}},
    {"xx-yy-1",
     {".xx-yy-1.amazonaws.com", "-fips.xx-yy-1.amazonaws.com",
      ".xx-yy-1.api.aws", "-fips.xx-yy-1.api.aws"}},
    {"eusc-fr-north-2",
     {".eusc-fr-north-2.amazonaws.com", "-fips.eusc-fr-north-2.amazonaws.com",
      ".eusc-fr-north-2.api.aws", "-fips.eusc-fr-north-2.api.aws"}},
    {"cn-foo",
     {".cn-foo.amazonaws.com", "-fips.cn-foo.amazonaws.com", ".cn-foo.api.aws",
      "-fips.cn-foo.api.aws"}},
    {"cn-north-1x",
     {".cn-north-1x.amazonaws.com", "-fips.cn-north-1x.amazonaws.com",
      ".cn-north-1x.api.aws", "-fips.cn-north-1x.api.aws"}},
};

/* Every region of the partition that has most. */
static const char *const aws_regions[] = {
    "af-south-1",     "ap-east-1",      "ap-east-2",      "ap-northeast-1",
    "ap-northeast-2", "ap-northeast-3", "ap-south-1",     "ap-south-2",
    "ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4",
    "ap-southeast-5", "ap-southeast-6", "ap-southeast-7", "ca-central-1",
    "ca-west-1",      "eu-central-1",   "eu-central-2",   "eu-north-1",
    "eu-south-1",     "eu-south-2",     "eu-west-1",      "eu-west-2",
    "eu-west-3",      "il-central-1",   "me-central-1",   "me-south-1",
    "mx-central-1",   "sa-east-1",      "us-east-1",      "us-east-2",
    "us-west-1",      "us-west-2"};

static void check_url(const char *service, const char *region, bool fips,
                      bool dual_stack, const char *url)
{
    char *found = aws_endpoint_of_region(service, region, fips, dual_stack);
    assert_string_equal(found, url);
    free(found);
}

TEST(regions)
{
    static const char *const services[] = {"dynamodb", "sts"};
    for (size_t i = 0; i < COUNT(expected); i++) {
        for (unsigned n = 0; n < 8; n++) {
            const char *service = services[n / 4];
            char *url =
                mem_printf("https://%s%s/", service, expected[i].rests[n % 4]);
            check_url(service, expected[i].region, (n & 1) != 0, (n & 2) != 0,
                      url);
            free(url);
        }
    }
}

TEST(all_regions_of_aws)
{
    for (size_t i = 0; i < sizeof(aws_regions) / sizeof(char *); i++) {
        char *plain =
            mem_printf("https://dynamodb.%s.amazonaws.com/", aws_regions[i]);
        char *both = mem_printf("https://sts-fips.%s.api.aws/", aws_regions[i]);
        check_url("dynamodb", aws_regions[i], false, false, plain);
        check_url("sts", aws_regions[i], true, true, both);
        free(plain);
        free(both);
    }
}

TEST(names_that_are_not_places)
{
    check_url("dynamodb", "local", false, false, "http://localhost:8000/");
    check_url("dynamodb", "local", true, true, "http://localhost:8000/");
    check_url("sts", "aws-global", false, false, "https://sts.amazonaws.com/");
    check_url("sts", "aws-global", true, false,
              "https://sts-fips.us-east-1.amazonaws.com/");
    check_url("sts", "aws-global", false, true,
              "https://sts.us-east-1.api.aws/");
    assert_string_equal(aws_endpoint_signing_region("local"), "us-east-1");
    assert_string_equal(aws_endpoint_signing_region("aws-global"), "us-east-1");
    assert_string_equal(aws_endpoint_signing_region(NULL), "us-east-1");
    assert_string_equal(aws_endpoint_signing_region("eu-west-1"), "eu-west-1");
}

TEST(is_region)
{
    static const char *const good[] = {"eu-west-1", "a", "1", "local"};
    static const char *const bad[] = {
        "",        "-",           "-a",
        "a-",      "EU-WEST-1",   "eu_west_1",
        "eu.west", "eu-west-1/",  "eu-west-1@example.com",
        "eu west", "eu-west-1\n", "\xc3\xa4"};
    for (size_t i = 0; i < COUNT(good); i++)
        assert_true(aws_endpoint_is_region(good[i]));
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_false(aws_endpoint_is_region(bad[i]));
    assert_false(aws_endpoint_is_region(NULL));
    char label[65] = "";
    memset(label, 'a', 63);
    assert_true(aws_endpoint_is_region(label));
    label[63] = 'a';
    assert_false(aws_endpoint_is_region(label));
}

/* ---- Configured ones ------------------------------------------------- */

/* aws_endpoints_new() with text of which nothing is kept. */
static enum result make(const char *dynamodb, const char *all, uint64_t start,
                        struct aws_endpoints **out, struct buf *reason)
{
    struct conf conf = {.aws_endpoint_url_dynamodb = mem_dup(dynamodb),
                        .aws_endpoint_url = mem_dup(all)};
    enum result r = aws_endpoints_new(&conf, "eu-west-1", start, out, reason);
    free(conf.aws_endpoint_url_dynamodb);
    free(conf.aws_endpoint_url);
    return r;
}

static struct aws_endpoints *good(const char *list, uint64_t start)
{
    struct aws_endpoints *e;
    struct buf reason;
    buf_init(&reason, 1000);
    assert_int_equal(make(list, NULL, start, &e, &reason), RESULT_OK);
    assert_int_equal(reason.len, 0);
    buf_free(&reason);
    assert_non_null(e);
    return e;
}

TEST(own)
{
    struct aws_endpoints *e = good(NULL, 7);
    assert_int_equal(e->count, 1);
    assert_string_equal(e->all[0].url,
                        "https://dynamodb.eu-west-1.amazonaws.com/");
    assert_false(e->all[0].loopback);
    aws_endpoints_free(e);
    aws_endpoints_free(NULL);
}

TEST(own_with_switches)
{
    struct conf conf = {.aws_use_fips_endpoint = 1,
                        .aws_use_dualstack_endpoint = 1};
    struct aws_endpoints *e;
    struct buf reason;
    buf_init(&reason, 1000);
    assert_int_equal(aws_endpoints_new(&conf, "us-west-2", 0, &e, &reason),
                     RESULT_OK);
    assert_string_equal(e->all[0].url,
                        "https://dynamodb-fips.us-west-2.api.aws/");
    aws_endpoints_free(e);
    buf_free(&reason);
}

TEST(list)
{
    struct aws_endpoints *e =
        good(" http://127.0.0.1:8000/ ,https://db2.example.org\t,"
             "http://[::1]:8001,https://db3.example.org/alternator//,\n"
             "http://localhost/",
             0);
    static const struct {
        const char *url;
        bool loopback;
    } all[] = {{"http://127.0.0.1:8000/", true},
               {"https://db2.example.org/", false},
               {"http://[::1]:8001/", true},
               {"https://db3.example.org/alternator/", false},
               {"http://localhost/", true}};
    assert_int_equal(e->count, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(e->all[i].url, all[i].url);
        assert_int_equal(e->all[i].loopback, all[i].loopback);
    }
    aws_endpoints_free(e);
}

TEST(which_key)
{
    struct aws_endpoints *e;
    struct buf reason;
    buf_init(&reason, 1000);
    assert_int_equal(
        make("http://a.example", "http://b.example", 0, &e, &reason),
        RESULT_OK);
    assert_string_equal(e->all[0].url, "http://a.example/");
    aws_endpoints_free(e);
    assert_int_equal(
        make(NULL, "http://b.example,http://c.example", 0, &e, &reason),
        RESULT_OK);
    assert_int_equal(e->count, 2);
    assert_string_equal(e->all[0].url, "http://b.example/");
    aws_endpoints_free(e);
    buf_free(&reason);

    struct conf conf = {.aws_endpoint_url = NULL};
    assert_null(aws_endpoint_configured(&conf));
}

TEST(bad_lists)
{
    static const struct {
        const char *list;
        const char *which;
    } bad[] = {
        {"http://a,", "endpoint 2 "},
        {",http://a", "endpoint 1 "},
        {"http://a,,http://b", "endpoint 2 "},
        {" ", "endpoint 1 "},
        {"http://a,ftp://b", "endpoint 2 "},
        {"a.example:8000", "endpoint 1 "},
        {"http://", "endpoint 1 "},
        {"/", "endpoint 1 "},
        {"http://a,http://b,http://me:verysecret@c", "endpoint 3 "},
        {"http://verysecret@c", "endpoint 1 "},
        {"http://a/?verysecret=1", "endpoint 1 "},
        {"http://a/#verysecret", "endpoint 1 "},
        {"http://a b/", "endpoint 1 "},
        {"file:///etc/passwd", "endpoint 1 "},
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct aws_endpoints *e = (void *)&bad;
        struct buf reason;
        buf_init(&reason, 1000);
        assert_int_equal(make(bad[i].list, "http://x", 0, &e, &reason),
                         RESULT_DENIED);
        assert_null(e);
        assert_non_null(strstr(reason.data, bad[i].which));
        assert_ptr_equal(strstr(reason.data, "AWS_ENDPOINT_URL_DYNAMODB: "),
                         reason.data);
        assert_null(strstr(reason.data, "verysecret"));
        assert_int_equal(make(NULL, bad[i].list, 0, &e, &reason),
                         RESULT_DENIED);
        assert_non_null(strstr(reason.data, "AWS_ENDPOINT_URL: "));
        buf_free(&reason);
    }
}

/* A list of n endpoints, which the caller frees. */
static char *list_of(size_t n)
{
    char *list = mem_dup("http://h0");
    for (size_t i = 1; i < n; i++) {
        char *longer = mem_printf("%s,http://h%zu", list, i);
        free(list);
        list = longer;
    }
    return list;
}

TEST(most)
{
    char *most = list_of(AWS_ENDPOINTS_MAX);
    char *more = list_of(AWS_ENDPOINTS_MAX + 1);
    struct aws_endpoints *e = good(most, 0);
    struct buf reason;
    buf_init(&reason, 1000);
    assert_int_equal(e->count, AWS_ENDPOINTS_MAX);
    assert_string_equal(e->all[AWS_ENDPOINTS_MAX - 1].url, "http://h31/");
    aws_endpoints_free(e);
    assert_int_equal(make(more, NULL, 0, &e, &reason), RESULT_DENIED);
    assert_non_null(strstr(reason.data, "more than 32"));
    buf_free(&reason);
    free(most);
    free(more);
}

TEST(refused)
{
    static const struct {
        int fips, dual_stack;
        const char *url, *region, *says;
    } cases[] = {
        {0, 0, NULL, NULL, "AWS_REGION"},
        {0, 0, NULL, "EU.example/", "invalid region name"},
        {1, 0, "http://a", "eu-west-1", "AWS_USE_FIPS_ENDPOINT"},
        {0, 1, "http://a", "eu-west-1", "AWS_USE_DUALSTACK_ENDPOINT"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct conf conf = {.aws_endpoint_url = mem_dup(cases[i].url),
                            .aws_use_fips_endpoint = cases[i].fips,
                            .aws_use_dualstack_endpoint = cases[i].dual_stack};
        struct aws_endpoints *e = (void *)&conf;
        struct buf reason;
        buf_init(&reason, 1000);
        assert_int_equal(
            aws_endpoints_new(&conf, cases[i].region, 0, &e, &reason),
            RESULT_DENIED);
        assert_null(e);
        assert_non_null(strstr(reason.data, cases[i].says));
        buf_free(&reason);
        free(conf.aws_endpoint_url);
    }
}

TEST(sts)
{
    static const struct {
        const char *sts, *all, *region, *url;
        int fips, dual_stack;
    } cases[] = {
        {NULL, NULL, "eu-west-1", "https://sts.eu-west-1.amazonaws.com/", 0, 0},
        {NULL, NULL, "cn-north-1", "https://sts.cn-north-1.amazonaws.com.cn/",
         0, 0},
        {NULL, NULL, NULL, "https://sts.amazonaws.com/", 0, 0},
        {NULL, NULL, "a.example/", "https://sts.amazonaws.com/", 0, 0},
        {NULL, NULL, "us-east-2", "https://sts-fips.us-east-2.amazonaws.com/",
         1, 0},
        {NULL, NULL, "us-east-2", "https://sts.us-east-2.api.aws/", 0, 1},
        {NULL, NULL, "us-east-2", "https://sts-fips.us-east-2.api.aws/", 1, 1},
        {NULL, NULL, NULL, "https://sts-fips.us-east-1.amazonaws.com/", 1, 0},
        {NULL, NULL, "us-gov-west-1",
         "https://sts.us-gov-west-1.amazonaws.com/", 1, 0},
        {"http://127.0.0.1:99", "http://b", "eu-west-1", "http://127.0.0.1:99/",
         0, 0},
        {NULL, "http://b/", "eu-west-1", "http://b/", 0, 0},
        {NULL, " http://b , http://c", NULL, "http://b/", 0, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct conf conf = {.aws_endpoint_url_sts = mem_dup(cases[i].sts),
                            .aws_endpoint_url = mem_dup(cases[i].all),
                            .aws_endpoint_url_dynamodb = (char[]){"http://d"},
                            .aws_use_fips_endpoint = cases[i].fips,
                            .aws_use_dualstack_endpoint = cases[i].dual_stack};
        char *url = aws_endpoint_sts(&conf, cases[i].region);
        assert_string_equal(url, cases[i].url);
        free(url);
        free(conf.aws_endpoint_url_sts);
        free(conf.aws_endpoint_url);
    }
}

/* ---- Which is used --------------------------------------------------- */

#define THREE "http://a,http://b,http://c"

TEST(in_turn)
{
    for (uint64_t start = UINT64_MAX - 5; start != 5; start++) {
        struct aws_endpoints *e = good(THREE, start);
        for (uint64_t n = 0; n < 7; n++)
            assert_int_equal(aws_endpoints_choose(e, 0), (start % 3 + n) % 3);
        aws_endpoints_free(e);
    }
}

TEST(set_aside)
{
    struct aws_endpoints *e = good(THREE, 0);
    assert_true(aws_endpoints_report(e, 1, 5000, false));
    for (unsigned n = 0; n < 4; n++) {
        assert_int_equal(aws_endpoints_choose(e, 5000), 0);
        assert_int_equal(aws_endpoints_choose(e, 14999), 2);
    }
    assert_int_equal(aws_endpoints_choose(e, 15000), 0);
    assert_int_equal(aws_endpoints_choose(e, 15000), 1);
    /* Tried again and still down: nothing new. */
    assert_false(aws_endpoints_report(e, 1, 15000, false));
    assert_int_equal(aws_endpoints_choose(e, 15000), 2);
    assert_int_equal(aws_endpoints_choose(e, 15000), 0);
    assert_int_equal(aws_endpoints_choose(e, 24999), 2);
    /* And back. */
    assert_true(aws_endpoints_report(e, 1, 0, true));
    assert_false(aws_endpoints_report(e, 1, 0, true));
    assert_int_equal(aws_endpoints_choose(e, 24999), 0);
    assert_int_equal(aws_endpoints_choose(e, 24999), 1);
    assert_false(aws_endpoints_report(e, 0, 0, true));
    aws_endpoints_free(e);
}

TEST(all_aside)
{
    struct aws_endpoints *e = good(THREE, 0);
    assert_true(aws_endpoints_report(e, 0, 3000, false));
    assert_true(aws_endpoints_report(e, 1, 1000, false));
    assert_true(aws_endpoints_report(e, 2, 2000, false));
    assert_int_equal(aws_endpoints_choose(e, 3000), 1);
    assert_int_equal(aws_endpoints_choose(e, 3000), 1);
    assert_false(aws_endpoints_report(e, 1, 3500, false));
    assert_int_equal(aws_endpoints_choose(e, 3500), 2);
    assert_false(aws_endpoints_report(e, 2, 4000, false));
    assert_int_equal(aws_endpoints_choose(e, 4000), 0);
    aws_endpoints_free(e);
}

/* All at the same moment: still each in turn. */
TEST(all_aside_alike)
{
    struct aws_endpoints *e = good(THREE, 2);
    for (size_t i = 0; i < 3; i++)
        assert_true(aws_endpoints_report(e, i, 1000, false));
    for (size_t n = 0; n < 6; n++)
        assert_int_equal(aws_endpoints_choose(e, 1000), (2 + n) % 3);
    aws_endpoints_free(e);
}

TEST(only_one)
{
    struct aws_endpoints *e = good("http://a", 9);
    assert_int_equal(aws_endpoints_choose(e, 0), 0);
    assert_false(aws_endpoints_report(e, 0, INT64_MAX / 2, false));
    assert_int_equal(aws_endpoints_choose(e, INT64_MAX / 2), 0);
    assert_false(aws_endpoints_report(e, 0, 0, true));
    aws_endpoints_free(e);
}

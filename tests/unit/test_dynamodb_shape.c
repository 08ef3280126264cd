/* dynamodb_shape: what is said about a table, and the commands in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dynamodb_shape.h"

/* A table that is as it should be. */
static const struct dynamodb_shape whole = {.status = "ACTIVE",
                                            .key_fits = true,
                                            .ttl_known = true,
                                            .ttl_status = "ENABLED",
                                            .ttl_fits = true,
                                            .protection = DYNAMODB_ON,
                                            .backups = DYNAMODB_ON};

static const struct dynamodb_place place = {.table = "links",
                                            .region = "eu-west-1"};

/* What differences and notes say together. */
static const char *said(const struct dynamodb_shape *shape,
                        const struct dynamodb_place *where)
{
    static struct buf out;
    static bool made;
    if (!made)
        buf_init(&out, 1u << 16);
    made = true;
    buf_reset(&out);
    dynamodb_shape_differences(shape, where, &out);
    dynamodb_shape_notes(shape, where, &out);
    assert_false(buf_failed(&out));
    if (out.len > 0)
        assert_int_equal(out.data[out.len - 1], '\n');
    return out.data;
}

static void assert_says(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", text, part);
}

static void says_nothing_of_a_whole_table(void **state)
{
    (void)state;
    assert_string_equal(said(&whole, &place), "");
    struct dynamodb_shape shape = whole;
    memcpy(shape.status, "UPDATING", 9);
    memcpy(shape.ttl_status, "ENABLING", 9);
    shape.protection = DYNAMODB_UNKNOWN;
    shape.backups = DYNAMODB_UNKNOWN;
    assert_string_equal(said(&shape, &place), "");
}

static void finds_the_table_as_curt_does(void **state)
{
    (void)state;
    struct dynamodb_shape shape = whole;
    shape.protection = DYNAMODB_OFF;
    assert_says(said(&shape, &place),
                "`aws dynamodb update-table --table-name links --region "
                "eu-west-1 --deletion-protection-enabled`\n");
    /* Of several endpoints the first; no region is known before a call. */
    const char *const lists[] = {"http://a:8000", "http://a:8000,http://b:8000",
                                 "http://a:8000 , http://b:8000"};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        const struct dynamodb_place other = {.table = "links",
                                             .endpoint = lists[i]};
        assert_says(said(&shape, &other),
                    "`aws dynamodb update-table --table-name links "
                    "--endpoint-url http://a:8000 "
                    "--deletion-protection-enabled`\n");
    }
}

static void works_without_a_region(void **state)
{
    (void)state;
    const struct dynamodb_place nowhere = {.table = "links"};
    struct dynamodb_shape shape = {.provisioned = true, .replicated = true};
    const char *text = said(&shape, &nowhere);
    assert_null(strstr(text, "--region"));
    assert_null(strstr(text, "(null)"));
    assert_says(text, "AWS_REGION = REGION");
    assert_says(text, "it is in no known state");
    struct buf out;
    buf_init(&out, 4096);
    dynamodb_shape_missing(&nowhere, &out);
    assert_string_equal(out.data, "table links: there is none in this region; "
                                  "make it with `curt table create`\n");
    buf_free(&out);
}

static void keeps_differences_and_notes_apart(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 1u << 16);
    /* Nothing of it keeps a redirect from being answered. */
    struct dynamodb_shape shape = {.status = "ACTIVE",
                                   .key_fits = true,
                                   .provisioned = true,
                                   .replicated = true,
                                   .protection = DYNAMODB_OFF,
                                   .backups = DYNAMODB_OFF};
    dynamodb_shape_differences(&shape, &place, &out);
    assert_string_equal(out.data, "");
    dynamodb_shape_notes(&shape, &place, &out);
    size_t lines = 0;
    for (const char *p = out.data; *p != '\0'; p++)
        lines += *p == '\n';
    assert_int_equal(lines, 5);
    /* A table of curt's key, and of no other, can be made whole. */
    buf_reset(&out);
    shape.key_fits = false;
    dynamodb_shape_differences(&shape, &place, &out);
    assert_says(out.data, "its key is not the string short_id alone");
    buf_free(&out);
}

static void compares_what_is_paid(void **state)
{
    (void)state;
    const struct {
        struct store_table wanted;
        bool provisioned;
        const char *command; /* NULL: no difference */
    } cases[] = {
        {{.billing = STORE_BILLING_ANY}, true, NULL},
        {{.billing = STORE_BILLING_ANY}, false, NULL},
        {{.billing = STORE_BILLING_ON_DEMAND}, false, NULL},
        {{.billing = STORE_BILLING_ON_DEMAND},
         true,
         " --billing-mode PAY_PER_REQUEST`\n"},
        {{STORE_BILLING_PROVISIONED, .read_units = 5, .write_units = 6},
         true,
         NULL},
        {{STORE_BILLING_PROVISIONED, .read_units = 5, .write_units = 7},
         true,
         " --billing-mode PROVISIONED --provisioned-throughput "
         "ReadCapacityUnits=5,WriteCapacityUnits=7`\n"},
        {{STORE_BILLING_PROVISIONED, .read_units = 4, .write_units = 6},
         true,
         "ReadCapacityUnits=4,WriteCapacityUnits=6`\n"},
        {{STORE_BILLING_PROVISIONED, .read_units = 5, .write_units = 6},
         false,
         "ReadCapacityUnits=5,WriteCapacityUnits=6`\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dynamodb_shape shape = whole;
        shape.provisioned = cases[i].provisioned;
        shape.read_units = cases[i].provisioned ? 5 : 0;
        shape.write_units = cases[i].provisioned ? 6 : 0;
        struct buf out;
        buf_init(&out, 4096);
        dynamodb_shape_billing(&shape, &place, &cases[i].wanted, &out);
        if (cases[i].command == NULL)
            assert_string_equal(out.data, "");
        else
            assert_says(out.data, cases[i].command);
        buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_nothing_of_a_whole_table),
        cmocka_unit_test(finds_the_table_as_curt_does),
        cmocka_unit_test(works_without_a_region),
        cmocka_unit_test(keeps_differences_and_notes_apart),
        cmocka_unit_test(compares_what_is_paid),
    };
    return cmocka_run_group_tests_name("dynamodb_shape", tests, NULL, NULL);
}

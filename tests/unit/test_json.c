/* JSON: what is read, and what is written. */
#include "test.h"

#include <json-c/json.h>

#include "base/json.h"
#include "base/mem.h"

/* The copy ends with its NUL, so that the address sanitizer sees a read after
 * it. */
static enum result parse(const char *text, size_t len, int levels,
                         json_object **out)
{
    char *copy = mem_dup_bytes(text, len);
    const enum result r = json_parse(copy, len, levels, out);
    free(copy);
    return r;
}

TEST(parse_takes_one_value)
{
    static const char *const values[][2] = {
        {"{\"a\":[1,\"b\",true]}", "{\"a\":[1,\"b\",true]}"},
        {" \t\r\n[ ] ", "[]"},
        {"12", "12"},
        {"-1.5e3", "-1.5e3"},
        {"null", NULL},
        {"\"\\u00fc/\xc3\xbc\"", "\"\xc3\xbc/\xc3\xbc\""},
    };
    for (size_t i = 0; i < COUNT(values); i++) {
        json_object *value = NULL;
        const char *text = values[i][0];
        assert_int_equal(parse(text, strlen(text), JSON_LEVELS, &value),
                         RESULT_OK);
        if (values[i][1] == NULL)
            assert_null(value);
        else
            assert_string_equal(json_text(value), values[i][1]);
        json_object_put(value);
    }
}

TEST(parse_refuses_what_is_not_json)
{
    static const char *const texts[] = {
        "",         " ",   "{",   "[1,]",       "[1 2]", "1 2",
        "{}{}",     "{}x", "tru", "TRUE",       "'a'",   "{a:1}",
        "/* */1",   "+1",  "0x1", "1e",         "\"a",   "\"\\x41\"",
        "\"\xff\"", "\f1", "1\v", "{\"a\":1,}",
    };
    json_object *value;
    for (size_t i = 0; i < COUNT(texts); i++) {
        const char *text = texts[i];
        if (parse(text, strlen(text), JSON_LEVELS, &value) != RESULT_INVALID)
            fail_msg("%s", text);
        assert_null(value);
    }
    /* sizeof counts the final NUL. */
    assert_int_equal(parse("{}", 3, JSON_LEVELS, &value), RESULT_INVALID);
    assert_int_equal(parse("\0{}", 3, JSON_LEVELS, &value), RESULT_INVALID);
    assert_int_equal(parse("{\0}", 3, JSON_LEVELS, &value), RESULT_INVALID);
}

TEST(parse_bounds_the_levels)
{
    json_object *value = NULL;
    assert_int_equal(parse("[[1]]", 5, 2, &value), RESULT_OK);
    json_object_put(value);
    assert_int_equal(parse("[[[1]]]", 7, 2, &value), RESULT_CORRUPT);
    assert_null(value);
}

TEST(text_at_finds_strings)
{
    json_object *object = json_object_new_object();
    json_add_text(object, "a", "x");
    json_add_text(object, "b", NULL);
    json_object_object_add(object, "c", json_object_new_int(1));
    assert_string_equal(json_text_at(object, "a"), "x");
    assert_null(json_text_at(object, "b"));
    assert_null(json_text_at(object, "c"));
    assert_null(json_text_at(object, "d"));
    assert_null(json_text_at(NULL, "a"));
    assert_string_equal(json_text(object), "{\"a\":\"x\",\"b\":null,\"c\":1}");
    json_object_put(object);
}

#include "store/dynamodb/item.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"

/* Levels of maps and lists that DynamoDB allows; deeper values are dropped. */
#define LEVELS_MAX 32

/* Longest number that is kept: 38 digits, sign, point and exponent. */
#define NUMBER_MAX 48

/* ---- Encoding -------------------------------------------------------- */

static json_object *item_wrap(const char *type, json_object *value)
{
    json_object *wrapped = json_object_new_object();
    json_object_object_add(wrapped, type, value);
    return wrapped;
}

struct json_object *dynamodb_item_string(const char *text)
{
    return item_wrap("S", json_object_new_string(text));
}

struct json_object *dynamodb_item_number(uint64_t n)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRIu64, n);
    return item_wrap("N", json_object_new_string(text));
}

/* An AttributeValue of plain JSON, whose depth its parser has bounded. */
static json_object *encode_value(json_object *plain)
{
    switch (json_object_get_type(plain)) {
    case json_type_string:
        if (json_object_get_string_len(plain) > 0)
            return item_wrap("S", json_object_get(plain));
        break;
    case json_type_boolean:
        return item_wrap("BOOL", json_object_get(plain));
    case json_type_int:
    case json_type_double:
        return item_wrap(
            "N", json_object_new_string(json_object_to_json_string(plain)));
    case json_type_object: {
        json_object *map = json_object_new_object();
        json_object_object_foreach(plain, name, value)
            json_object_object_add(map, name, encode_value(value));
        return item_wrap("M", map);
    }
    case json_type_array: {
        json_object *list = json_object_new_array();
        for (size_t i = 0; i < json_object_array_length(plain); i++)
            json_object_array_add(
                list, encode_value(json_object_array_get_idx(plain, i)));
        return item_wrap("L", list);
    }
    case json_type_null:
        break;
    }
    return item_wrap("NULL", json_object_new_boolean(true));
}

struct json_object *dynamodb_item_attributes(struct json_object *plain)
{
    json_object *map = json_object_new_object();
    json_object_object_foreach(plain, name, value)
        json_object_object_add(map, name, encode_value(value));
    return map;
}

struct json_object *dynamodb_item_field(const struct link *l, size_t field)
{
    const enum link_type type = link_fields[field].type;
    json_object *tags = NULL;
    if (type == LINK_FLAG)
        return *link_flag_at(l, field)
                   ? item_wrap("BOOL", json_object_new_boolean(true))
                   : NULL;
    if (type == LINK_NUMBER)
        return *link_number_at(l, field) != 0
                   ? dynamodb_item_number(*link_number_at(l, field))
                   : NULL;
    const char *text = *link_text_at(l, field);
    if (text == NULL)
        return NULL;
    if (type == LINK_TEXT)
        return dynamodb_item_string(text);
    return json_parse(text, strlen(text), JSON_LEVELS, &tags) == RESULT_OK
               ? item_wrap("SS", tags)
               : NULL;
}

enum result dynamodb_item_encode(const struct link *l,
                                 struct json_object **item)
{
    json_object *analytics = NULL;
    if (l->analytics == NULL ||
        json_parse(l->analytics, strlen(l->analytics), LEVELS_MAX,
                   &analytics) != RESULT_OK ||
        !json_object_is_type(analytics, json_type_object)) {
        json_object_put(analytics);
        return RESULT_INVALID;
    }
    json_object *map = json_object_new_object();
    json_object_object_add(map, "short_id", dynamodb_item_string(l->short_id));
    json_object_object_add(map, "long_url", dynamodb_item_string(l->long_url));
    json_object_object_add(map, "short_url",
                           dynamodb_item_string(l->short_url));
    json_object_object_add(map, "created_at",
                           dynamodb_item_string(l->created_at));
    if (l->ttl != LINK_NEVER)
        json_object_object_add(
            map, "ttl",
            dynamodb_item_number(l->ttl > 0 ? (uint64_t)l->ttl : 0));
    json_object_object_add(map, "hits", dynamodb_item_number(l->hits));
    json_object_object_add(map, "analytics", encode_value(analytics));
    json_object_put(analytics);
    for (size_t i = 0; i < LINK_FIELDS; i++) {
        json_object *attribute = dynamodb_item_field(l, i);
        if (attribute != NULL)
            json_object_object_add(map, link_fields[i].name, attribute);
    }
    *item = map;
    return RESULT_OK;
}

/* ---- Decoding -------------------------------------------------------- */

/* The value under type of the AttributeValue called name; NULL if there is no
 * such attribute or it has another type. */
static json_object *item_find(json_object *item, const char *name,
                              const char *type)
{
    json_object *attribute = NULL, *value = NULL;
    if (json_object_object_get_ex(item, name, &attribute) &&
        json_object_object_get_ex(attribute, type, &value))
        return value;
    return NULL;
}

/* A string without NUL; NULL if value is anything else. */
static const char *text_of(json_object *value)
{
    if (!json_object_is_type(value, json_type_string))
        return NULL;
    const char *text = json_object_get_string(value);
    size_t len = (size_t)json_object_get_string_len(value);
    return strlen(text) == len ? text : NULL;
}

/* A number that is written as it came: DynamoDB's have more digits than a
 * double. null if it is not a number. */
static json_object *decode_number(json_object *value)
{
    const char *text = text_of(value);
    json_object *read = NULL, *number = NULL;
    if (text == NULL || strlen(text) > NUMBER_MAX ||
        json_parse(text, strlen(text), LEVELS_MAX, &read) != RESULT_OK)
        return NULL;
    if (json_object_is_type(read, json_type_int) ||
        json_object_is_type(read, json_type_double))
        number = json_object_new_double_s(json_object_get_double(read), text);
    json_object_put(read);
    return number;
}

static json_object *decode_string(json_object *value)
{
    return json_object_is_type(value, json_type_string) ? json_object_get(value)
                                                        : NULL;
}

static json_object *decode_value(json_object *attribute, int levels);

static json_object *decode_map(json_object *value, int levels)
{
    json_object *map = json_object_new_object();
    json_object_object_foreach(value, name, attribute)
        json_object_object_add(map, name, decode_value(attribute, levels));
    return map;
}

/* A list, or a set of strings, binaries or numbers. */
static json_object *decode_array(json_object *value, const char *type,
                                 int levels)
{
    json_object *list = json_object_new_array();
    for (size_t i = 0; i < json_object_array_length(value); i++) {
        json_object *member = json_object_array_get_idx(value, i);
        json_object_array_add(list, type[0] == 'L'
                                        ? decode_value(member, levels)
                                    : type[0] == 'N' ? decode_number(member)
                                                     : decode_string(member));
    }
    return list;
}

/* Plain JSON of an AttributeValue; null for an invalid one, or one that nests
 * too deeply. */
static json_object *decode_value(json_object *attribute, int levels)
{
    if (!json_object_is_type(attribute, json_type_object) || levels == 0 ||
        json_object_object_length(attribute) != 1)
        return NULL;
    struct json_object_iterator it = json_object_iter_begin(attribute);
    const char *type = json_object_iter_peek_name(&it);
    json_object *value = json_object_iter_peek_value(&it);
    const enum json_type form = json_object_get_type(value);
    if (strcmp(type, "S") == 0 || strcmp(type, "B") == 0)
        return decode_string(value);
    if (strcmp(type, "N") == 0)
        return decode_number(value);
    if (strcmp(type, "BOOL") == 0 && form == json_type_boolean)
        return json_object_get(value);
    if (strcmp(type, "M") == 0 && form == json_type_object)
        return decode_map(value, levels - 1);
    if (form == json_type_array &&
        (strcmp(type, "L") == 0 || strcmp(type, "NS") == 0 ||
         strcmp(type, "SS") == 0 || strcmp(type, "BS") == 0))
        return decode_array(value, type, levels - 1);
    return NULL;
}

static void decode_ttl(json_object *item, struct link *out)
{
    json_object *attribute = NULL;
    const char *text = text_of(item_find(item, "ttl", "N"));
    int64_t seconds;
    if (!json_object_object_get_ex(item, "ttl", &attribute) ||
        item_find(item, "ttl", "NULL") != NULL)
        return;
    if (text != NULL && text_decimal(text, &seconds))
        link_set_ttl(out, seconds);
    else
        link_set_odd_ttl(
            out, "the attribute",
            json_object_to_json_string_ext(attribute, JSON_C_TO_STRING_PLAIN));
}

uint64_t dynamodb_item_number_at(struct json_object *item, const char *name)
{
    const char *text = text_of(item_find(item, name, "N"));
    int64_t n;
    return text != NULL && text_decimal(text, &n) && n > 0 ? (uint64_t)n : 0;
}

struct json_object *dynamodb_item_plain(struct json_object *item)
{
    static const char *const own[] = {"short_id", "version", "ttl", "used"};
    json_object *plain = decode_map(item, LEVELS_MAX);
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        json_object_object_del(plain, own[i]);
    return plain;
}

/* Fields of a wrong type are left out. */
static void decode_fields(json_object *item, struct link *out)
{
    for (size_t i = 0; i < LINK_FIELDS; i++) {
        const char *name = link_fields[i].name;
        json_object *set;
        switch (link_fields[i].type) {
        case LINK_TEXT:
            *link_text_at(out, i) =
                mem_dup(text_of(item_find(item, name, "S")));
            break;
        case LINK_NUMBER:
            *link_number_at(out, i) = dynamodb_item_number_at(item, name);
            break;
        case LINK_FLAG:
            *link_flag_at(out, i) =
                json_object_get_boolean(item_find(item, name, "BOOL"));
            break;
        case LINK_TAGS:
            set = item_find(item, name, "SS");
            if (json_object_is_type(set, json_type_array))
                *link_text_at(out, i) = mem_dup(json_text(set));
        }
    }
}

enum result dynamodb_item_decode(struct json_object *item, struct link *out)
{
    const char *long_url = text_of(item_find(item, "long_url", "S"));
    if (long_url == NULL)
        return item_find(item, "deleted_at", "N") != NULL ? RESULT_NOT_FOUND
                                                          : RESULT_CORRUPT;
    decode_fields(item, out);
    out->long_url = mem_dup(long_url);
    out->short_id = mem_dup(text_of(item_find(item, "short_id", "S")));
    out->short_url = mem_dup(text_of(item_find(item, "short_url", "S")));
    out->created_at = mem_dup(text_of(item_find(item, "created_at", "S")));
    decode_ttl(item, out);
    out->hits = dynamodb_item_number_at(item, "hits");
    json_object *analytics = item_find(item, "analytics", "M");
    if (json_object_is_type(analytics, json_type_object)) {
        json_object *plain = decode_map(analytics, LEVELS_MAX);
        out->analytics = mem_dup(json_object_to_json_string_ext(
            plain, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
        json_object_put(plain);
    }
    return RESULT_OK;
}

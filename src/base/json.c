#include "base/json.h"

#include <json-c/json.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>

enum result json_parse(const char *text, size_t len, int levels,
                       struct json_object **out)
{
    *out = NULL;
    if (len >= INT_MAX)
        return RESULT_INVALID;
    /* json-c counts the innermost value as a level. */
    struct json_tokener *tokener = json_tokener_new_ex(levels + 1);
    if (tokener == NULL)
        abort(); /* no memory, as in mem.h */
    json_tokener_set_flags(tokener,
                           JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    /* With its NUL, which tells the tokener that a number has ended. */
    *out = json_tokener_parse_ex(tokener, text, (int)len + 1);
    const enum json_tokener_error error = json_tokener_get_error(tokener);
    const bool whole = json_tokener_get_parse_end(tokener) >= len;
    json_tokener_free(tokener);
    if (error == json_tokener_success && whole)
        return RESULT_OK;
    json_object_put(*out);
    *out = NULL;
    return error == json_tokener_error_depth ? RESULT_CORRUPT : RESULT_INVALID;
}

const char *json_text_at(struct json_object *object, const char *name)
{
    json_object *value = NULL;
    return json_object_object_get_ex(object, name, &value) &&
                   json_object_is_type(value, json_type_string)
               ? json_object_get_string(value)
               : NULL;
}

void json_add_text(struct json_object *object, const char *name,
                   const char *text)
{
    json_object_object_add(object, name,
                           text != NULL ? json_object_new_string(text) : NULL);
}

const char *json_text(struct json_object *value)
{
    return json_object_to_json_string_ext(
        value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
}

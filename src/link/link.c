#include "link/link.h"

#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/percent.h"
#include "base/utf8.h"
#include "link/url.h"

/* The query string of a URL of at most URL_MAX bytes, each byte of which can
 * become U+FFFD, three bytes long. */
#define TEXT_MAX (3 * URL_MAX)

/* A ttl from here on is in milliseconds: in seconds it is the year 5138. */
#define MILLISECONDS 100000000000

/* Bytes of a ttl that is not a number which are shown. */
#define ODD_TTL_MAX 40

#define AT(member) offsetof(struct link, member)

const struct link_field link_fields[LINK_FIELDS] = {
    [LINK_FIELD_TITLE] = {"title", LINK_TEXT, AT(title)},
    [LINK_FIELD_TAGS] = {"tags", LINK_TAGS, AT(tags)},
    [LINK_FIELD_NOT_BEFORE] = {"not_before", LINK_NUMBER, AT(rules.not_before)},
    [LINK_FIELD_MAX_HITS] = {"max_hits", LINK_NUMBER, AT(rules.max_hits)},
    [LINK_FIELD_REDIRECT_STATUS] = {"redirect_status", LINK_NUMBER,
                                    AT(rules.redirect_status)},
    [LINK_FIELD_FORWARD_QUERY] = {"forward_query", LINK_FLAG,
                                  AT(rules.forward_query)},
    [LINK_FIELD_DISABLED] = {"disabled", LINK_FLAG, AT(rules.disabled)},
    [LINK_FIELD_WARNING] = {"warning", LINK_FLAG, AT(rules.warning)},
    [LINK_FIELD_REASON] = {"reason", LINK_TEXT, AT(reason)},
    [LINK_FIELD_KEY] = {"key", LINK_TEXT, AT(key)},
    [LINK_FIELD_VERSION] = {"version", LINK_NUMBER, AT(version)},
};

static void *field_at(const struct link *l, size_t i)
{
    return (char *)(uintptr_t)l + link_fields[i].offset;
}

char **link_text_at(const struct link *l, size_t i)
{
    return field_at(l, i);
}

uint64_t *link_number_at(const struct link *l, size_t i)
{
    return field_at(l, i);
}

bool *link_flag_at(const struct link *l, size_t i)
{
    return field_at(l, i);
}

void link_init(struct link *l)
{
    *l = (struct link){.ttl = LINK_NEVER};
}

void link_free(struct link *l)
{
    free(l->short_id);
    free(l->long_url);
    free(l->short_url);
    free(l->created_at);
    free(l->analytics);
    free(l->ttl_note);
    free(l->reason);
    free(l->title);
    free(l->tags);
    free(l->key);
    link_init(l);
}

void link_set(char **member, const char *value)
{
    char *copy = mem_dup(value);
    free(*member);
    *member = copy;
}

void link_set_ttl(struct link *l, int64_t seconds)
{
    l->ttl = seconds;
    if (seconds >= MILLISECONDS)
        l->ttl_note = mem_printf("%lld looks like milliseconds; a ttl is in "
                                 "seconds, so the link does not expire",
                                 (long long)seconds);
}

void link_set_odd_ttl(struct link *l, const char *type, const char *text)
{
    struct buf shown;
    l->ttl = LINK_NEVER;
    buf_init(&shown, ODD_TTL_MAX);
    for (const char *c = text; *c != '\0' && shown.len < ODD_TTL_MAX; c++)
        buf_add_char(&shown, *c > ' ' && *c < 0x7f ? *c : '?');
    l->ttl_note =
        mem_printf("%s \"%s\" is not a number of seconds, so the link "
                   "does not expire",
                   type, shown.data);
    buf_free(&shown);
}

bool link_expired(int64_t ttl, int64_t now)
{
    return ttl != LINK_NEVER && ttl <= now;
}

static json_object *clean_string(const char *s, size_t len)
{
    struct buf text;
    buf_init(&text, 3 * len);
    utf8_add_clean(&text, s, len);
    json_object *string = json_object_new_string_len(text.data, (int)text.len);
    buf_free(&text);
    return string;
}

static void add_header(json_object *map, const char *name, const char *value)
{
    json_object_object_add(
        map, name, value != NULL ? clean_string(value, strlen(value)) : NULL);
}

static void add_parameter(json_object *map, const struct percent_pair *pair)
{
    if (pair->value_len == 0)
        return;
    struct buf raw, name;
    buf_init(&raw, URL_MAX);
    buf_init(&name, TEXT_MAX);
    percent_decode_form(&raw, pair->name, pair->name_len);
    utf8_add_clean(&name, raw.data, raw.len);
    if (name.len > 0 && strlen(name.data) == name.len &&
        strcmp(name.data, "user_agent") != 0 &&
        strcmp(name.data, "source_ip") != 0 &&
        strcmp(name.data, "xray_trace_id") != 0) {
        buf_reset(&raw);
        percent_decode_form(&raw, pair->value, pair->value_len);
        json_object_object_add(map, name.data, clean_string(raw.data, raw.len));
    }
    buf_free(&raw);
    buf_free(&name);
}

char *link_analytics(const char *long_url, const struct link_client *client)
{
    json_object *map = json_object_new_object();
    add_header(map, "user_agent", client->user_agent);
    add_header(map, "source_ip", client->source_ip);
    add_header(map, "xray_trace_id", client->xray_trace_id);

    size_t before_fragment = strcspn(long_url, "#");
    const char *query = memchr(long_url, '?', before_fragment);
    if (query != NULL) {
        query++;
        size_t len = before_fragment - (size_t)(query - long_url);
        struct percent_pair pair;
        while (percent_next_pair(&query, &len, &pair))
            add_parameter(map, &pair);
    }
    char *text = mem_dup(json_text(map));
    json_object_put(map);
    return text;
}

/* The fields that l has; key and version only when whole is true. */
static void add_fields(json_object *object, const struct link *l, bool whole)
{
    for (size_t i = 0; i < LINK_FIELDS; i++) {
        const struct link_field *field = &link_fields[i];
        json_object *value = NULL;
        if (i >= LINK_FIELD_KEY && !whole)
            break;
        if (field->type == LINK_FLAG && *link_flag_at(l, i))
            value = json_object_new_boolean(true);
        else if (field->type == LINK_NUMBER && *link_number_at(l, i) != 0)
            value = json_object_new_uint64(*link_number_at(l, i));
        else if (field->type == LINK_TEXT && *link_text_at(l, i) != NULL)
            value = json_object_new_string(*link_text_at(l, i));
        else if (field->type == LINK_TAGS && *link_text_at(l, i) != NULL &&
                 json_parse(*link_text_at(l, i), strlen(*link_text_at(l, i)),
                            JSON_LEVELS, &value) != RESULT_OK)
            continue;
        if (value != NULL)
            json_object_object_add(object, field->name, value);
    }
}

void link_to_json(const struct link *l, bool whole, struct buf *out)
{
    json_object *object = json_object_new_object();
    json_add_text(object, "short_id", l->short_id);
    json_add_text(object, "short_url", l->short_url);
    json_add_text(object, "long_url", l->long_url);
    json_add_text(object, "created_at", l->created_at);
    if (l->ttl != LINK_NEVER)
        json_object_object_add(object, "ttl", json_object_new_int64(l->ttl));
    json_object_object_add(object, "hits", json_object_new_uint64(l->hits));
    add_fields(object, l, whole);
    if (whole) {
        json_object *map = NULL;
        const char *text = l->analytics != NULL ? l->analytics : "";
        if (json_parse(text, strlen(text), JSON_LEVELS, &map) == RESULT_OK &&
            json_object_is_type(map, json_type_object)) {
            /* As it is stored: json-c cuts long numbers to 64 bits. */
            json_object_set_serializer(map, json_object_userdata_to_json_string,
                                       mem_dup(text),
                                       json_object_free_userdata);
        } else {
            json_object_put(map);
            map = NULL;
        }
        json_object_object_add(object, "analytics", map);
        if (l->ttl_note != NULL)
            json_add_text(object, "ttl_note", l->ttl_note);
    }
    utf8_add_json(out, json_text(object));
    json_object_put(object);
}

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

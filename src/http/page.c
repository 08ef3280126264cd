#include "http/page.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "link/url.h"

#define MESSAGE_MAX 8192

/* What a template is rendered with. */
struct context {
    const struct page_value *values;
    const struct page_value *common;
    const char *language;
};

const struct page_file *page_file(const char *name)
{
    for (const struct page_file *f = page_files; f->name != NULL; f++)
        if (strcmp(f->name, name) == 0)
            return f;
    abort(); /* a name that the program does not have */
}

void page_add_html(struct buf *out, const char *s)
{
    for (;; s++) {
        const size_t plain = strcspn(s, "&<>\"'");
        buf_add(out, s, plain);
        s += plain;
        if (*s == '\0')
            return;
        buf_add_str(out, *s == '&'   ? "&amp;"
                         : *s == '<' ? "&lt;"
                         : *s == '>' ? "&gt;"
                         : *s == '"' ? "&quot;"
                                     : "&#39;");
    }
}

/* ---- Messages --------------------------------------------------------- */

/* The table has blocks of lines "LANGUAGE TEXT", English first, divided by
 * empty lines; a line that begins with '#' is a comment. */
static const char *next_line(const char *line)
{
    line += strcspn(line, "\n");
    return *line == '\n' ? line + 1 : line;
}

bool page_language(size_t i, char name[PAGE_LANGUAGE_SIZE])
{
    const char *line = page_file("messages.txt")->data;
    while (*line == '#' || *line == '\n')
        line = next_line(line);
    for (; i > 0 && *line != '\n' && *line != '\0'; i--)
        line = next_line(line);
    const size_t len = strcspn(line, " \n");
    if (len == 0 || len >= PAGE_LANGUAGE_SIZE)
        return false;
    memcpy(name, line, len);
    name[len] = '\0';
    return true;
}

/* Whether a line of the table, without its language, is the message of this
 * text: # is any number. */
static bool is_message(const char *line, const char *text)
{
    for (; *line != '\n' && *line != '\0'; line++) {
        if (*line == '#' && isdigit((unsigned char)*text))
            text += strspn(text, "0123456789");
        else if (*line == *text)
            text++;
        else
            return false;
    }
    return *text == '\0';
}

/* Appends a line of the table; # becomes the next number of text. */
static void add_line(struct buf *out, const char *line, const char *text)
{
    for (; *line != '\n' && *line != '\0'; line++) {
        if (*line != '#') {
            buf_add_char(out, *line);
            continue;
        }
        text += strcspn(text, "0123456789");
        const size_t digits = strspn(text, "0123456789");
        buf_add(out, text, digits);
        text += digits;
    }
}

void page_add_message(struct buf *out, const char *language,
                      const char *english)
{
    const size_t len = strlen(language);
    const char *line = page_file("messages.txt")->data;
    while (*line != '\0' &&
           !(strncmp(line, "en ", 3) == 0 && is_message(line + 3, english)))
        line = next_line(line);
    while (*line != '\n' && *line != '\0' &&
           !(strncmp(line, language, len) == 0 && line[len] == ' '))
        line = next_line(line);
    if (*line == '\n' || *line == '\0')
        buf_add_str(out, english);
    else
        add_line(out, line + len + 1, english);
}

/* ---- Templates -------------------------------------------------------- */

static const char *find_value(const struct context *c, const char *name,
                              size_t len)
{
    const struct page_value *const lists[] = {c->values, c->common};
    for (size_t i = 0; i < 2; i++)
        for (const struct page_value *v = lists[i]; v->name != NULL; v++)
            if (strlen(v->name) == len && memcmp(v->name, name, len) == 0)
                return v->text != NULL ? v->text : "";
    return "";
}

static void add_translated(struct buf *out, const struct context *c,
                           const char *text, size_t len)
{
    struct buf message;
    char *english = mem_dup_bytes(text, len);
    buf_init(&message, MESSAGE_MAX);
    page_add_message(&message, c->language, english);
    page_add_html(out, message.data);
    buf_free(&message);
    free(english);
}

/* Where a section that is not shown ends: after its {{/name}}. */
static const char *skip_section(const char *at, const char *name, size_t len)
{
    while ((at = strstr(at, "{{/")) != NULL) {
        at += 3;
        if (strncmp(at, name, len) == 0 && strncmp(at + len, "}}", 2) == 0)
            return at + len + 2;
    }
    return "";
}

static void render_template(struct buf *out, const struct context *c,
                            const char *at)
{
    const char *tag;
    while ((tag = strstr(at, "{{")) != NULL) {
        buf_add(out, at, (size_t)(tag - at));
        tag += 2;
        const char kind = *tag;
        tag += kind != '\0' && strchr("{#^/@$!", kind) != NULL;
        const char *end = strstr(tag, "}}");
        if (end == NULL)
            return;
        const size_t len = (size_t)(end - tag);
        at = end + 2;
        at += kind == '{' && *at == '}';
        if (kind == '@') {
            add_translated(out, c, tag, len);
        } else if (kind == '$') {
            const char *english = find_value(c, tag, len);
            add_translated(out, c, english, strlen(english));
        } else if (kind == '#' || kind == '^') {
            const bool there = find_value(c, tag, len)[0] != '\0';
            if (there != (kind == '#'))
                at = skip_section(at, tag, len);
        } else if (kind == '{') {
            buf_add_str(out, find_value(c, tag, len));
        } else if (kind != '/' && kind != '!') {
            page_add_html(out, find_value(c, tag, len));
        }
        at += *at == '\n' && strchr("#^/!", kind) != NULL;
    }
    buf_add_str(out, at);
}

void page_render(struct buf *out, const struct conf *conf, const char *language,
                 const char *name, const struct page_value *values)
{
    char version[9];
    struct buf main;
    snprintf(version, sizeof(version), "%08x", page_version(conf));
    const bool has_home = strcmp(conf->home, "page") == 0;
    const char *prefix = url_path(conf->app_url);
    const struct page_value common[] = {
        {"language", language},
        {"site_name",
         conf->site_name != NULL ? conf->site_name : conf->app.host},
        {"site_text", conf->site_text},
        {"prefix", prefix},
        {"home", has_home ? prefix : NULL},
        {"needs_key", conf->create_auth == CONF_AUTH_KEY ? "yes" : NULL},
        {"version", version},
        {NULL, NULL},
    };
    const struct context inner = {values, common, language};
    buf_init(&main, out->max);
    render_template(&main, &inner, page_file(name)->data);
    const struct page_value layout[] = {
        {"main", main.data},
        {"title", find_value(&inner, "title", 5)},
        {NULL, NULL}};
    const struct context outer = {layout, common, language};
    render_template(out, &outer, page_file("layout.html")->data);
    out->failed = out->failed || buf_failed(&main);
    buf_free(&main);
}

/* ---- The style sheet -------------------------------------------------- */

/* Text on the site's colour, "#rrggbb", is black or white: which of them has
 * the larger contrast (relative luminance of WCAG 2.1, with a polynomial in
 * place of its curve, less than 0.002 off). */
void page_add_style(struct buf *out, const struct conf *conf)
{
    static const unsigned weights[] = {2126, 7152, 722};
    const char *color = conf->site_color;
    double luminance = 0;
    buf_add_str(out, page_file("style.css")->data);
    if (color == NULL)
        return;
    for (size_t i = 0; i < 3; i++) {
        const char digits[] = {color[1 + 2 * i], color[2 + 2 * i], '\0'};
        const double part = (double)strtoul(digits, NULL, 16) / 255;
        const double linear = part * (part * (part * 0.3053 + 0.6822) + 0.0125);
        luminance += weights[i] / 10000.0 * linear;
    }
    buf_addf(out, ":root{--accent:%s;--on-accent:%s}\n", color,
             luminance > 0.179 ? "#000" : "#fff");
}

uint32_t page_version(const struct conf *conf)
{
    uint32_t version = 0;
    for (const struct page_file *f = page_files; f->name != NULL; f++)
        version = version * 31 + f->version;
    for (const char *s = conf->site_color; s != NULL && *s != '\0'; s++)
        version = version * 31 + (unsigned char)*s;
    return version;
}

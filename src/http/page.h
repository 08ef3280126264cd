/*
 * HTML pages: the templates of src/http/pages and their table of messages,
 * which are built into the program. Redirects use page_add_html() only.
 *
 * In a template {{name}} is a value, escaped; {{{name}}} is one that is HTML
 * already; {{@Some text.}} is a message in the reader's language, {{$name}} a
 * value that is a message; {{#name}}...{{/name}} is shown if the value is
 * present, {{^name}}...{{/name}} if it is absent; {{! is a comment }}. A line
 * end after one of the last three is not in the page. A section cannot contain
 * another one of the same name.
 */
#ifndef CURT_PAGE_H
#define CURT_PAGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "config/conf.h"

/* A file of src/http/pages as it was at build time. data ends with a NUL that
 * size does not count; version is a checksum of the contents. */
struct page_file {
    const char *name;
    const char *data;
    size_t size;
    uint32_t version;
};

/* Made by src/http/pages/embed.sh; the last one has the name NULL. */
extern const struct page_file page_files[];

/* The file of that name, which must exist. Static storage. */
const struct page_file *page_file(const char *name)
    __attribute__((returns_nonnull));

/* A value of a template. NULL and "" count as absent. */
struct page_value {
    const char *name;
    const char *text;
};

/* Room for the name of a language, such as "de". */
#define PAGE_LANGUAGE_SIZE 4

/* Copies the name of language i, in the order of src/http/pages/messages.txt,
 * from 0
 * ("en"). False: there are not so many. */
bool page_language(size_t i, char name[PAGE_LANGUAGE_SIZE]);

/* Appends a message in that language, or the English text where the table has
 * no translation. A # in the table stands for any number in english. */
void page_add_message(struct buf *out, const char *language,
                      const char *english);

/* Appends a whole page: the template `name`, which must exist, inside
 * layout.html. The last of values has the name NULL. Every template also has
 * language, site_name, site_text, prefix (the path of APP_URL), home (where the
 * form is; absent where HOME is not "page"), needs_key (absent where
 * CREATE_AUTH is open) and version (of the style sheet and the script). */
void page_render(struct buf *out, const struct conf *conf, const char *language,
                 const char *name, const struct page_value *values);

/* Appends the style sheet, with the colours of the configuration. */
void page_add_style(struct buf *out, const struct conf *conf);

/* A checksum of all files and of the colour: the version of each of them. */
uint32_t page_version(const struct conf *conf);

/* Appends s with the five characters that HTML gives a meaning escaped. */
void page_add_html(struct buf *out, const char *s);

#endif

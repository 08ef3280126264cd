/*
 * HTML pages: the files of src/pages, which are built into the program, and the
 * table of messages beside them. Nothing of this is on the path of a redirect.
 *
 * In a template {{name}} is a value, escaped; {{{name}}} is one that is HTML
 * already; {{@Some text.}} is a message in the reader's language, {{$name}} a
 * value that is one; the text between {{#name}} or {{^name}} and {{/name}} is
 * there if the value is, or is not. {{! is a comment }} A line end after such a
 * tag is not in the page.
 */
#ifndef CURT_PAGE_H
#define CURT_PAGE_H

#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "conf.h"

/* A file of src/pages as it was at build time. data has a NUL behind it that
 * size does not count; version changes with the contents. */
struct page_file {
    const char *name;
    const char *data;
    size_t size;
    uint32_t version;
};

/* Ends with one whose name is NULL (made by src/pages/embed.sh). */
extern const struct page_file page_files[];

/* A file by its name, which must be one of them: the process ends otherwise. */
const struct page_file *page_file(const char *name);

/* A value of a template. NULL and "" count as absent. */
struct page_value {
    const char *name;
    const char *text;
};

/* Room for the name of a language, such as "de". */
#define PAGE_LANGUAGE_SIZE 4

/* Copies the name of language number i, those of src/pages/messages.txt in
 * their order; false: there are not so many. Number 0 is "en". */
bool page_language(size_t i, char name[PAGE_LANGUAGE_SIZE]);

/* Appends a message in that language: the English text where the table has no
 * translation. A number in english stands for any (# in the table). */
void page_add_message(struct buf *out, const char *language,
                      const char *english);

/* Appends a whole page: the template `name`, inside layout.html. values end
 * with one whose name is NULL. Every template also has language, site_name,
 * site_text, prefix (the path of APP_URL), home (where the form is; absent
 * where HOME is not "page") and version (of the style sheet and the script). */
void page_render(struct buf *out, const struct conf *conf, const char *language,
                 const char *name, const struct page_value *values);

/* Appends the style sheet, with the colours of the configuration. */
void page_add_style(struct buf *out, const struct conf *conf);

/* What the version of style sheet and script is in a configuration. */
uint32_t page_version(const struct conf *conf);

/* Appends s with the five characters that HTML gives a meaning escaped. */
void page_add_html(struct buf *out, const char *s);

#endif

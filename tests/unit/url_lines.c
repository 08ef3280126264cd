/*
 * What curt makes of long URLs, for tests/e2e/test_url.py.
 *
 * usage: url_lines APP_URL
 *
 * Reads one URL per line of standard input. Prints one line for each: "ok" or
 * "loop" and the URL as it is stored, or "no" and why it is refused.
 */
#include <stdio.h>
#include <stdlib.h>

#include "link/url.h"

static void print_line(const char *line, size_t len, const struct url_app *app)
{
    struct buf url;
    const char *reason = "";
    buf_init(&url, URL_MAX);
    if (url_normalise(NULL, line, len, NULL, &url, &reason) != RESULT_OK)
        printf("no %s\n", reason);
    else
        printf("%s %s\n", url_app_rest(url.data, app, NULL) ? "loop" : "ok",
               url.data);
    buf_free(&url);
}

int main(int argc, char **argv)
{
    struct url_app app;
    const char *reason = "is missing";
    if (argc != 2 || url_app_parse(argv[1], &app, &reason) != RESULT_OK) {
        fprintf(stderr, "APP_URL %s\n", reason);
        return 64;
    }
    char *line = NULL;
    size_t size = 0;
    ssize_t len;
    while ((len = getline(&line, &size, stdin)) > 0)
        print_line(line, (size_t)len - (line[len - 1] == '\n'), &app);
    free(line);
    url_app_free(&app);
    return 0;
}

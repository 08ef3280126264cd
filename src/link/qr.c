#include "link/qr.h"

#include <png.h>
#include <qrencode.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

/* Black on white, and black on black, in colours that themes do not change. */
#define SGR_LIGHT "\033[38;5;16;48;5;231m"
#define SGR_DARK  "\033[38;5;16;48;5;16m"

bool qr_set(struct qr_options *o, const char *name, const char *value)
{
    static const char *const names[] = {"format", "level", "margin", "size"};
    static const char *const what[] = {
        "one of svg and png", "one of L, M, Q and H", "one number from 0 to 16",
        "one number from 64 to 2000"};
    unsigned *const members[] = {&o->format, &o->level, &o->margin, &o->size};
    size_t i = 0;
    while (i < 4 && strcmp(names[i], name) != 0)
        i++;
    if (i == 4)
        return true;
    uint64_t n = 0;
    bool ok = text_number(value, i == 2 ? 16 : 2000, &n) && (i == 2 || n >= 64);
    if (i == 0)
        ok = (n = strcmp(value, "svg") != 0) == 0 || strcmp(value, "png") == 0;
    else if (i == 1)
        ok = strlen(value) == 1 && (n = strcspn("LMQH", value)) < 4;
    if (!ok || (o->given & 1u << i) != 0) {
        snprintf(o->fault, sizeof(o->fault), "%s must be %s", name, what[i]);
        return false;
    }
    *members[i] = (unsigned)n;
    o->given |= 1u << i;
    return true;
}

/* Modules outside of the code are not dark. */
static bool is_dark(const QRcode *code, int x, int y)
{
    return x >= 0 && y >= 0 && x < code->width && y < code->width &&
           (code->data[y * code->width + x] & 1) != 0;
}

/* Each run of dark modules is a line of width 1, in the middle of its row. */
static void add_svg(struct buf *out, const QRcode *c, struct qr_options *o)
{
    const int first = -(int)o->margin, width = c->width - 2 * first;
    buf_addf(out,
             "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" "
             "height=\"%u\" viewBox=\"%d %d.5 %d %d\" "
             "shape-rendering=\"crispEdges\"><rect x=\"%d\" y=\"%d.5\" "
             "width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>"
             "<path stroke=\"#000\" d=\"",
             o->size, o->size, first, first, width, width, first, first);
    for (int y = 0; y < c->width; y++) {
        for (int x = 0, end = 0; x < c->width; x = ++end) {
            while (is_dark(c, end, y))
                end++;
            if (end > x)
                buf_addf(out, "M%d %dh%d", x, y, end - x);
        }
    }
    buf_add_str(out, "\"/></svg>\n");
}

/* libpng packs the pixels, a byte each, into bits. */
static void add_png(struct buf *out, const QRcode *c, struct qr_options *o)
{
    static const png_byte palette[] = {255, 255, 255, 0, 0, 0};
    const int size = (int)o->size;
    const int scale = size / (c->width + 2 * (int)o->margin);
    const int rest = (size - scale * c->width) / 2;
    png_image image = {.version = PNG_IMAGE_VERSION, .colormap_entries = 2};
    png_alloc_size_t len = QR_MAX;
    char *pixels = mem_zalloc(o->size * o->size), *file = mem_alloc(len);
    for (int y = 0; y < c->width * scale; y++)
        for (int x = 0; x < c->width; x++)
            memset(pixels + (rest + y) * size + rest + x * scale,
                   is_dark(c, x, y / scale), (size_t)scale);
    image.width = image.height = o->size;
    image.format = PNG_FORMAT_RGB_COLORMAP;
    if (!png_image_write_to_memory(&image, file, &len, 0, pixels, 0, palette))
        abort(); /* no memory, as in mem.h */
    buf_add(out, file, len);
    free(pixels);
    free(file);
}

/* A cell is a module, in two columns, or one above another. */
static void add_text(struct buf *out, const QRcode *c, struct qr_options *o)
{
    static const char *const cells[][4] = {
        {"  ", "##"},
        {SGR_LIGHT "  ", SGR_DARK "##"},
        {" ", "\xe2\x96\x80", "\xe2\x96\x84", "\xe2\x96\x88"}};
    const bool blocks = o->format == QR_BLOCKS;
    const char *const *cell = cells[blocks ? 2 : o->colour];
    const int first = -(int)o->margin, end = c->width - first;
    for (int y = first; y < end; y += 1 + blocks) {
        buf_add_str(out, o->colour ? SGR_LIGHT : "");
        for (int x = first; x < end; x++)
            buf_add_str(
                out,
                cell[is_dark(c, x, y) | (blocks && is_dark(c, x, y + 1)) << 1]);
        buf_add_str(out, o->colour ? "\033[0m\n" : "\n");
    }
}

bool qr_add(struct buf *out, const char *base, const char *id,
            struct qr_options *o)
{
    char *url = mem_printf("%s%s", base, id);
    QRcode *c = QRcode_encodeString8bit(url, 0, (QRecLevel)o->level);
    if (c == NULL)
        abort(); /* no memory, as in mem.h */
    /* Scanners need two pixels for a module. */
    const unsigned least = 2 * ((unsigned)c->width + 2 * o->margin);
    if (o->format <= QR_PNG && o->size < least)
        snprintf(o->fault, sizeof(o->fault),
                 "size must be at least %u for this code", least);
    else if (o->format == QR_SVG)
        add_svg(out, c, o);
    else if (o->format == QR_PNG)
        add_png(out, c, o);
    else
        add_text(out, c, o);
    QRcode_free(c);
    free(url);
    return o->fault[0] == '\0';
}

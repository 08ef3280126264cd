/* fcgi_read(): the first byte is the size of the pieces in which the rest is
 * read, as a web server sends it; each request must be the same as in one
 * piece. */
#include <string.h>

#include "base/mem.h"
#include "fuzz.h"
#include "http/fcgi_record.h"

#define BODY_MAX 1000

/* What a connection gave, to compare. */
static void read_connection(const char *data, size_t size, size_t step,
                            struct buf *seen)
{
    struct fcgi_reader r;
    fcgi_reader_init(&r);
    r.body.max = BODY_MAX;
    for (size_t at = 0; at < size; at += step) {
        size_t len = size - at < step ? size - at : step;
        char *copy = mem_dup_bytes(data + at, len);
        const char *piece = copy;
        enum fcgi_event event = FCGI_MORE;
        while (len > 0 && event != FCGI_BROKEN) {
            if (r.state == FCGI_WHOLE)
                fcgi_reader_next(&r);
            event = fcgi_read(&r, &piece, &len);
            MUST(piece + len <= copy + step);
            MUST(event != FCGI_MORE || len == 0);
            MUST((event == FCGI_END || event == FCGI_ABORTED) ==
                 (r.state == FCGI_WHOLE));
            if (event == FCGI_MORE)
                continue;
            buf_addf(seen, "%d %zu ", event, r.body.len);
            if (event != FCGI_HEAD)
                continue;
            const char *pairs = r.params.data;
            size_t left = r.params.len;
            struct fcgi_pair pair;
            while (fcgi_next_pair(&pairs, &left, &pair)) {
                buf_add(seen, pair.name, pair.name_len);
                buf_add(seen, pair.value, pair.value_len);
            }
            MUST(pairs + left == r.params.data + r.params.len);
        }
        free(copy);
        if (event == FCGI_BROKEN)
            break;
    }
    MUST(r.body.len <= BODY_MAX && r.params.len <= FCGI_PARAMS_MAX);
    MUST(r.out.len <= FCGI_OUT_MAX);
    buf_add(seen, r.out.data, r.out.len);
    fcgi_reader_free(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole, pieces;
    if (size < 2 || data[0] == 0)
        return 0;
    buf_init(&whole, 1u << 22);
    buf_init(&pieces, 1u << 22);
    read_connection((const char *)data + 1, size - 1, size - 1, &whole);
    read_connection((const char *)data + 1, size - 1, data[0], &pieces);
    MUST(whole.len == pieces.len);
    MUST(memcmp(whole.data, pieces.data, whole.len) == 0);
    buf_free(&whole);
    buf_free(&pieces);
    return 0;
}

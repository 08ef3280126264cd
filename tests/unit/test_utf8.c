/* UTF-8, read strictly. */
#include "test.h"

#include "base/utf8.h"

TEST(reads_every_code_point)
{
    for (uint32_t point = 0; point <= 0x10ffff; point++) {
        unsigned char s[4];
        size_t len;
        if (point < 0x80) {
            s[0] = (unsigned char)point;
            len = 1;
        } else if (point < 0x800) {
            s[0] = (unsigned char)(0xc0 | point >> 6);
            len = 2;
        } else if (point < 0x10000) {
            s[0] = (unsigned char)(0xe0 | point >> 12);
            len = 3;
        } else {
            s[0] = (unsigned char)(0xf0 | point >> 18);
            len = 4;
        }
        for (size_t i = 1; i < len; i++)
            s[i] = (unsigned char)(0x80 | (point >> 6 * (len - 1 - i) & 0x3f));
        bool surrogate = point >= 0xd800 && point <= 0xdfff;
        size_t pos = 0;
        uint32_t got = utf8_next((const char *)s, len, &pos);
        if (got != (surrogate ? UTF8_BAD : point))
            fail_msg("U+%04X was read as %X", point, got);
        assert_int_equal(pos, surrogate ? 1 : len);
    }
}

TEST(moves_on_in_every_case)
{
    /* All sequences of two bytes: always forward, never past the end. */
    for (unsigned i = 0; i < 65536; i++) {
        const char s[] = {(char)(i >> 8), (char)i};
        for (size_t pos = 0; pos < sizeof(s);) {
            size_t before = pos;
            utf8_next(s, sizeof(s), &pos);
            assert_in_range(pos, before + 1, sizeof(s));
        }
    }
}

/* What Python's bytes.decode("utf-8", "replace") gives. */
static const char *const replaced[][2] = {
    {"plain", "plain"},
    {"\303\251", "\303\251"},
    {"\342\202\254", "\342\202\254"},
    {"\360\237\230\200", "\360\237\230\200"},
    {"\377", "\357\277\275"},
    {"\303", "\357\277\275"},
    {"\303(", "\357\277\275("},
    {"\342\202", "\357\277\275"},
    {"\342\202a", "\357\277\275a"},
    {"\360\237\230", "\357\277\275"},
    {"\360\237x", "\357\277\275x"},
    {"\300\200", "\357\277\275\357\277\275"},
    {"\301\277", "\357\277\275\357\277\275"},
    {"\340\200\200", "\357\277\275\357\277\275\357\277\275"},
    {"\340\237\277", "\357\277\275\357\277\275\357\277\275"},
    {"\340\240\200", "\340\240\200"},
    {"\355\240\200", "\357\277\275\357\277\275\357\277\275"},
    {"\355\237\277", "\355\237\277"},
    {"\355\277\277", "\357\277\275\357\277\275\357\277\275"},
    {"\360\217\277\277", "\357\277\275\357\277\275\357\277\275\357\277\275"},
    {"\360\220\200\200", "\360\220\200\200"},
    {"\364\217\277\277", "\364\217\277\277"},
    {"\364\220\200\200", "\357\277\275\357\277\275\357\277\275\357\277\275"},
    {"\365\200\200\200", "\357\277\275\357\277\275\357\277\275\357\277\275"},
    {"\370\210\200\200\200",
     "\357\277\275\357\277\275\357\277\275\357\277\275\357\277\275"},
    {"\200", "\357\277\275"},
    {"\277\277", "\357\277\275\357\277\275"},
    {"a\341\200\342\360\221\222\361\277b",
     "a\357\277\275\357\277\275\357\277\275\357\277\275b"},
    {"\342\202\254\342\202", "\342\202\254\357\277\275"},
    {"\376\377", "\357\277\275\357\277\275"},
    {"\357\277\276", "\357\277\276"},
    {"\357\273\277", "\357\273\277"},
    {"\302\200", "\302\200"},
    {"\337\277", "\337\277"},
};

TEST(replaces_as_python_does)
{
    for (size_t i = 0; i < COUNT(replaced); i++) {
        struct buf out;
        buf_init(&out, 100);
        utf8_add_clean(&out, replaced[i][0], strlen(replaced[i][0]));
        if (strcmp(out.data, replaced[i][1]) != 0)
            fail_msg("case %zu gave %s", i, out.data);
        buf_free(&out);
    }
}

TEST(keeps_nul_and_stops_at_the_length)
{
    struct buf out;
    buf_init(&out, 100);
    utf8_add_clean(&out, "a\0b\xc3\xa9", 4);
    assert_int_equal(out.len, 6);
    assert_memory_equal(out.data, "a\0b\xef\xbf\xbd", 6);
    utf8_add_clean(&out, "x", 0);
    assert_int_equal(out.len, 6);
    buf_free(&out);
}

/* Percent-encoding and name=value pairs. */
#include "test.h"

#include "base/percent.h"

/* Input, percent-decoded, decoded as a form has it. */
static const char *const decoded[][3] = {
    {"", "", ""},
    {"abc", "abc", "abc"},
    {"a+b", "a+b", "a b"},
    {"a%20b", "a b", "a b"},
    {"%41%5A%7a", "AZz", "AZz"},
    {"%c3%A9", "\xc3\xa9", "\xc3\xa9"},
    {"%2B", "+", "+"},
    {"%2520", "%20", "%20"},
    {"%", "%", "%"},
    {"%%", "%%", "%%"},
    {"%4", "%4", "%4"},
    {"%4g", "%4g", "%4g"},
    {"%g4", "%g4", "%g4"},
    {"%%41", "%A", "%A"},
    {"%4%41", "%4A", "%4A"},
    {"% 1", "% 1", "% 1"},
    {"%+1", "%+1", "% 1"},
    {"%-1", "%-1", "%-1"},
    {"%0x", "%0x", "%0x"},
    {"%41%", "A%", "A%"},
    {"%u0041", "%u0041", "%u0041"},
    {"%/0", "%/0", "%/0"},
    {"%:0", "%:0", "%:0"},
    {"%@0", "%@0", "%@0"},
    {"%`0", "%`0", "%`0"},
    {"\xff%ff", "\xff\xff", "\xff\xff"},
};

TEST(decodes_once_what_is_encoded)
{
    struct buf out;
    buf_init(&out, 100);
    for (size_t i = 0; i < COUNT(decoded); i++) {
        const char *in = decoded[i][0];
        buf_reset(&out);
        percent_decode(&out, in, strlen(in));
        assert_string_equal(out.data, decoded[i][1]);
        buf_reset(&out);
        percent_decode_form(&out, in, strlen(in));
        assert_string_equal(out.data, decoded[i][2]);
    }
    buf_free(&out);
}

TEST(decodes_nul_and_stops_at_the_length)
{
    struct buf out;
    buf_init(&out, 100);
    percent_decode(&out, "a%00b%41", 7);
    assert_int_equal(out.len, 5);
    assert_memory_equal(out.data, "a\0b%4", 5);
    buf_free(&out);
}

TEST(encodes_every_byte)
{
    for (unsigned c = 0; c < 256; c++) {
        struct buf out, back;
        buf_init(&out, 3);
        buf_init(&back, 1);
        const char byte = (char)c;
        percent_encode(&out, &byte, 1, "/");
        if (c != 0 && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuv"
                             "wxyz0123456789-._~/",
                             (int)c) != NULL) {
            assert_int_equal(out.len, 1);
        } else {
            assert_int_equal(out.len, 3);
            assert_int_equal(out.data[0], '%');
            assert_int_equal(strspn(out.data + 1, "0123456789ABCDEF"), 2);
        }
        percent_decode(&back, out.data, out.len);
        assert_int_equal(back.len, 1);
        assert_int_equal((unsigned char)back.data[0], c);
        buf_free(&out);
        buf_free(&back);
    }
}

/* Takes text apart and writes it as [name=value] and [name] again. */
static void assert_pairs(const char *text, const char *expected)
{
    struct buf out;
    struct percent_pair pair;
    const char *s = text;
    size_t len = strlen(text);
    buf_init(&out, 200);
    while (percent_next_pair(&s, &len, &pair)) {
        buf_add_char(&out, '[');
        buf_add(&out, pair.name, pair.name_len);
        if (pair.value != NULL) {
            buf_add_char(&out, '=');
            buf_add(&out, pair.value, pair.value_len);
        } else {
            assert_int_equal(pair.value_len, 0);
        }
        buf_add_char(&out, ']');
    }
    assert_int_equal(len, 0);
    assert_ptr_equal(s, text + strlen(text));
    assert_string_equal(out.data, expected);
    buf_free(&out);
}

TEST(divides_pairs)
{
    assert_pairs("", "");
    assert_pairs("&", "");
    assert_pairs("&&&", "");
    assert_pairs("a", "[a]");
    assert_pairs("a=", "[a=]");
    assert_pairs("=", "[=]");
    assert_pairs("=b", "[=b]");
    assert_pairs("a=b", "[a=b]");
    assert_pairs("a=b=c", "[a=b=c]");
    assert_pairs("a=b&c=d", "[a=b][c=d]");
    assert_pairs("&a=b&&c&", "[a=b][c]");
    assert_pairs("a=b;c=d", "[a=b;c=d]");
    assert_pairs("a%3Db=%26", "[a%3Db=%26]");
}

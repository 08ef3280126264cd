/* Pages: templates, messages and colours. The files are those of this test,
 * not those of src/http/pages. */

/* Here the files can change. */
#define page_files declared_page_files
#include "test.h"

#include "http/handlers.h"
#include "http/page.h"
#undef page_files

#define FILE_OF(n, text)                                                       \
    {                                                                          \
        n, text, sizeof(text) - 1, 1                                           \
    }

static const char messages[] = "# A comment.\n"
                               "\n"
                               "en English\n"
                               "de Deutsch\n"
                               "fr Fran\xc3\xa7"
                               "ais\n"
                               "\n"
                               "en Good day.\n"
                               "de Guten Tag.\n"
                               "fr <Bonjour>.\n"
                               "\n"
                               "# Another comment.\n"
                               "en # of # links in 8,000\n"
                               "de # von # Links in 8.000\n"
                               "\n"
                               "en Good\n"
                               "de Gut\n";

struct page_file page_files[] = {
    FILE_OF("messages.txt", messages),
    FILE_OF("style.css", ":root{}\n"),
    FILE_OF("page.js", ""),
    FILE_OF("layout.html",
            "{{language}}|{{#title}}{{$title}}{{/title}}|{{{main}}}|{{error}}"),
    FILE_OF("common.html",
            "{{site_name}}|{{site_text}}|{{prefix}}|{{home}}|{{language}}"),
    FILE_OF("values.html", "<{{text}}|{{{text}}}|{{none}}|{{no such}}>"),
    FILE_OF("messages.html",
            "{{@Good day.}}|{{$greeting}}|{{@Good}}|{{@Unknown <&>}}"),
    FILE_OF("sections.html",
            "1{{#text}}2{{^none}}3{{/none}}4{{#none}}5{{^text}}6{{/text}}"
            "{{text}}7{{/none}}8{{/text}}9{{^text}}a{{#none}}b{{/none}}c"
            "{{/text}}d{{^none}}e{{^empty}}f{{/empty}}{{/none}}"),
    FILE_OF("names.html", "{{#tex}}1{{/tex}}{{#text}}2{{/text}}"
                          "{{#none}}3{{/nonesuch}}4{{/none}}5"),
    FILE_OF("comment.html", "1{{! {{ #text }}2{{!}}3"),
    FILE_OF("braces.html", "{ } }} {{{text}}}} {{text}}} {a{b{"),
    FILE_OF("open tag.html", "1{{#none}}2"),
    FILE_OF("cut tag.html", "1{{text"),
    FILE_OF("cut raw.html", "1{{{text}}"),
    FILE_OF("raw.html", "{{{text}}}"),
    FILE_OF("lines.html",
            "1\n{{#text}}\n2{{/text}}\n3{{^text}}\n{{/text}}\n"
            "4{{! comment "
            "}}\n5{{#none}}\nx\n{{/none}}\n6{{/none}}\n\n\n7\n{{@8}}\n"),
    FILE_OF("empty.html", ""),
    {NULL, NULL, 0, 0},
};

static const struct page_value values[] = {
    {"text", "a<b>&\"'"}, {"greeting", "Good day."}, {"none", NULL},
    {"empty", ""},        {"title", "Good day."},    {NULL, NULL},
};

static struct conf conf_of_test(void)
{
    return (struct conf){
        .app_url = (char *)"https://sho.rt/%2574/",
        .app = {.host = (char *)"sho.rt", .path = (char *)"/%74/"},
        .home = (char *)"page",
    };
}

/* Asserts what a template gives inside the layout. */
static void assert_rendered(const struct conf *conf, const char *language,
                            const char *name, const char *expected)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    page_render(&out, conf, language, name, values);
    assert_string_equal(out.data, expected);
    assert_int_equal(strlen(out.data), out.len);
    buf_free(&out);
}

TEST(renders)
{
    const struct conf conf = conf_of_test();
    static const char *const cases[][2] = {
        {"empty.html", ""},
        {"values.html", "<a&lt;b&gt;&amp;&quot;&#39;|a<b>&\"'||>"},
        {"messages.html", "Good day.|Good day.|Good|Unknown &lt;&amp;&gt;"},
        {"sections.html", "12348"
                          "9def"},
        {"names.html", "25"},
        {"comment.html", "123"},
        {"braces.html", "{ } }} a<b>&\"'} a&lt;b&gt;&amp;&quot;&#39;} {a{b{"},
        {"open tag.html", "1"},
        {"lines.html", "1\n23456\n\n7\n8\n"},
        {"cut tag.html", "1"},
        {"cut raw.html", "1a<b>&\"'"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct buf expected;
        buf_init(&expected, 1000);
        buf_addf(&expected, "en|Good day.|%s|", cases[i][1]);
        assert_rendered(&conf, "en", cases[i][0], expected.data);
        buf_free(&expected);
    }
}

/* A translation is text, not HTML; one that is missing is English. */
TEST(translates)
{
    const struct conf conf = conf_of_test();
    assert_rendered(&conf, "de", "messages.html",
                    "de|Guten Tag.|Guten Tag.|Guten Tag.|Gut|"
                    "Unknown &lt;&amp;&gt;|");
    assert_rendered(&conf, "fr", "messages.html",
                    "fr|&lt;Bonjour&gt;.|&lt;Bonjour&gt;.|&lt;Bonjour&gt;.|"
                    "Good|Unknown &lt;&amp;&gt;|");
}

TEST(has_values_of_the_configuration)
{
    struct conf conf = conf_of_test();
    assert_rendered(&conf, "en", "common.html",
                    "en|Good day.|sho.rt||/%2574/|/%2574/|en|");
    conf.site_name = (char *)"<S>";
    conf.site_text = (char *)"\"T\"";
    conf.home = (char *)"https://www.example.org/";
    assert_rendered(&conf, "de", "common.html",
                    "de|Guten Tag.|&lt;S&gt;|&quot;T&quot;|/%2574/||de|");
    conf.home = (char *)"off";
    assert_rendered(&conf, "en", "common.html",
                    "en|Good day.|&lt;S&gt;|&quot;T&quot;|/%2574/||en|");
}

TEST(finds_messages)
{
    static const char *const cases[][3] = {
        {"de", "3 of 20 links in 8,000", "3 von 20 Links in 8.000"},
        {"en", "3 of 20 links in 8,000", "3 of 20 links in 8,000"},
        {"fr", "3 of 20 links in 8,000", "3 of 20 links in 8,000"},
        {"de", "18446744073709551615 of 0 links in 8,000",
         "18446744073709551615 von 0 Links in 8.000"},
        /* What only looks like it. */
        {"de", "3 of links in 8,000", "3 of links in 8,000"},
        {"de", "x of 20 links in 8,000", "x of 20 links in 8,000"},
        {"de", "3 of 20 links in 8,0000", "3 of 20 links in 8,0000"},
        {"de", "3 of 20 links in 8,00", "3 of 20 links in 8,00"},
        {"de", "Good day.\n", "Good day.\n"},
        {"de", "Good day.\nde Guten Tag.", "Good day.\nde Guten Tag."},
        {"de", "A comment.", "A comment."},
        {"de", "", ""},
        {"xx", "Good day.", "Good day."},
        {"d", "Good day.", "Good day."},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct buf out;
        buf_init(&out, 1000);
        page_add_message(&out, cases[i][0], cases[i][1]);
        assert_string_equal(out.data, cases[i][2]);
        buf_free(&out);
    }
}

TEST(lists_languages)
{
    static const char *const names[] = {"en", "de", "fr"};
    char name[PAGE_LANGUAGE_SIZE];
    for (size_t i = 0; i < COUNT(names); i++) {
        assert_true(page_language(i, name));
        assert_string_equal(name, names[i]);
    }
    assert_false(page_language(COUNT(names), name));
    assert_false(page_language(SIZE_MAX, name));
}

TEST(finds_files)
{
    assert_ptr_equal(page_file("style.css"), &page_files[1]);
}

/* A page that does not fit is a failed buffer, not a page cut off. */
TEST(reports_a_page_that_is_too_large)
{
    const struct conf conf = conf_of_test();
    static char text[1000];
    memset(text, '&', sizeof(text) - 1);
    const struct page_value large[] = {{"text", text}, {NULL, NULL}};
    for (size_t max = 500; max <= 1500; max += 1000) {
        struct buf out;
        buf_init(&out, max);
        page_render(&out, &conf, "en", "raw.html", large);
        assert_int_equal(buf_failed(&out), max == 500);
        buf_free(&out);
    }
}

TEST(tells_how_long_a_link_lives)
{
    static const struct {
        int64_t seconds;
        const char *text;
    } cases[] = {
        {INT64_MIN, "in a moment"},
        {0, "in a moment"},
        {119, "in a moment"},
        {120, "in 2 minutes"},
        {149, "in 2 minutes"},
        {150, "in 3 minutes"},
        {7169, "in 119 minutes"},
        {7200, "in 2 hours"},
        {86400, "in 24 hours"},
        {172799, "in 48 hours"},
        {172800, "in 2 days"},
        {7 * 86400 - 1, "in 7 days"},
        {100000000000, "in 1157407 days"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[H_LEFT_SIZE];
        h_time_left(cases[i].seconds, text);
        assert_string_equal(text, cases[i].text);
    }
}

/* ---- Colours ---------------------------------------------------------- */

static void assert_text_color(const char *color, const char *expected)
{
    struct conf conf = conf_of_test();
    struct buf out, rule;
    conf.site_color = (char *)color;
    buf_init(&out, 1000);
    buf_init(&rule, 1000);
    page_add_style(&out, &conf);
    buf_addf(&rule, ":root{}\n:root{--accent:%s;--on-accent:%s}\n", color,
             expected);
    assert_string_equal(out.data, rule.data);
    buf_free(&out);
    buf_free(&rule);
}

/* The contrast is at least 4.5 (WCAG 2.1, 1.4.3), as computed with the exact
 * curve: #757575 has 4.61 with white, #777777 has 4.69 with black. */
TEST(text_on_the_accent_can_be_read)
{
    static const char *const cases[][2] = {
        {"#000000", "#fff"}, {"#ffffff", "#000"}, {"#ffd600", "#000"},
        {"#FFD600", "#000"}, {"#2a4bd7", "#fff"}, {"#6d6d6d", "#fff"},
        {"#757575", "#fff"}, {"#777777", "#000"}, {"#ff0000", "#000"},
        {"#0000ff", "#fff"}, {"#008000", "#fff"}, {"#ff00ff", "#000"},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_text_color(cases[i][0], cases[i][1]);
}

TEST(a_colour_is_another_version)
{
    struct conf conf = conf_of_test();
    const uint32_t without = page_version(&conf);
    assert_int_equal(page_version(&conf), without);
    conf.site_color = (char *)"#ffd600";
    const uint32_t yellow = page_version(&conf);
    conf.site_color = (char *)"#ffd601";
    assert_int_not_equal(yellow, without);
    assert_int_not_equal(page_version(&conf), yellow);
}

/* Browsers keep a file for as long as its version is the same. */
TEST(another_file_is_another_version)
{
    const struct conf conf = conf_of_test();
    for (struct page_file *f = page_files; f->name != NULL; f++) {
        const uint32_t before = page_version(&conf);
        f->version++;
        assert_int_not_equal(page_version(&conf), before);
        f->version--;
        assert_int_equal(page_version(&conf), before);
    }
}

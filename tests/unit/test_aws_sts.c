/* What STS answers, and the name of a session. */
#include "test.h"

#include "aws/sts.h"
#include "base/mem.h"

#define KEYS                                                                   \
    "<AccessKeyId>ASIAX</AccessKeyId>"                                         \
    "<SecretAccessKey>a/b+c</SecretAccessKey>"                                 \
    "<SessionToken>IQoJ//8=</SessionToken>"                                    \
    "<Expiration>2026-11-23T08:00:00Z</Expiration>"
#define IN_RESPONSE(inner)                                                     \
    "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">" \
    "<AssumeRoleResult>" inner "</AssumeRoleResult>"                           \
    "<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>"            \
    "</AssumeRoleResponse>"
#define IN_CREDENTIALS(inner)                                                  \
    IN_RESPONSE("<Credentials>" inner "</Credentials>")
#define ERROR(code, message)                                                   \
    "<ErrorResponse><Error><Type>Sender</Type><Code>" code "</Code>"           \
    "<Message>" message "</Message></Error></ErrorResponse>"

static enum result read_text(const char *xml, struct aws_sts_answer *answer)
{
    return aws_sts_answer_read(xml, strlen(xml), answer);
}

static void assert_empty(const struct aws_sts_answer *answer)
{
    assert_null(answer->id);
    assert_null(answer->secret);
    assert_null(answer->token);
    assert_null(answer->expiration);
    assert_null(answer->code);
    assert_null(answer->message);
}

static const char *const with_keys[] = {
    IN_CREDENTIALS(KEYS),
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" IN_CREDENTIALS(KEYS) "\n",
    IN_RESPONSE("<AssumedRoleUser><Arn>arn:x</Arn></AssumedRoleUser>"
                "<Credentials>" KEYS "</Credentials>"
                "<PackedPolicySize>6</PackedPolicySize>"),
    /* What has the right name somewhere else is something else. */
    IN_RESPONSE("<AccessKeyId>no</AccessKeyId><Message>no</Message>"
                "<Credentials><More><SecretAccessKey>no</SecretAccessKey>"
                "</More>" KEYS "</Credentials>"),
    IN_CREDENTIALS("<!-- a comment -->" KEYS "<?a processing instruction?>"),
    /* Another prefix, or none, for the same namespace. */
    "<s:R xmlns:s='x'><s:Credentials>"
    "<s:AccessKeyId>ASIAX</s:AccessKeyId>"
    "<s:SecretAccessKey><![CDATA[a/b+c]]></s:SecretAccessKey>"
    "<s:SessionToken>IQoJ&#47;&#x2f;8=</s:SessionToken>"
    "<s:Expiration>2026-11-23T08:00:00Z</s:Expiration>"
    "</s:Credentials></s:R>",
};

TEST(reads_keys)
{
    for (size_t i = 0; i < COUNT(with_keys); i++) {
        struct aws_sts_answer answer;
        assert_int_equal(read_text(with_keys[i], &answer), RESULT_OK);
        assert_string_equal(answer.id, "ASIAX");
        assert_string_equal(answer.secret, "a/b+c");
        assert_string_equal(answer.token, "IQoJ//8=");
        assert_string_equal(answer.expiration, "2026-11-23T08:00:00Z");
        assert_null(answer.code);
        assert_null(answer.message);
        aws_sts_answer_free(&answer);
        assert_empty(&answer);
    }
}

TEST(reads_errors)
{
    struct aws_sts_answer answer;
    assert_int_equal(
        read_text(ERROR("AccessDenied", "a &lt;b&gt; &amp; &quot;c&quot;"),
                  &answer),
        RESULT_OK);
    assert_string_equal(answer.code, "AccessDenied");
    assert_string_equal(answer.message, "a <b> & \"c\"");
    assert_null(answer.id);
    aws_sts_answer_free(&answer);

    assert_int_equal(
        read_text("<Response><Errors><Error><Code>Throttling</Code></Error>"
                  "</Errors></Response>",
                  &answer),
        RESULT_OK);
    assert_string_equal(answer.code, "Throttling");
    assert_null(answer.message);
    aws_sts_answer_free(&answer);
}

static const char *const unusable[] = {
    "",
    " ",
    "no XML",
    "{\"Credentials\": {}}",
    "<html><body>Service Unavailable</body></html>",
    "<a>",
    "<a></b>",
    "<a/><b/>",
    "<Error/>",
    "<Error><Message>no code</Message></Error>",
    "<Credentials/>",
    IN_CREDENTIALS(""),
    /* Each of the four is missing once. */
    IN_CREDENTIALS("<SecretAccessKey>s</SecretAccessKey><SessionToken>t"
                   "</SessionToken><Expiration>e</Expiration>"),
    IN_CREDENTIALS("<AccessKeyId>i</AccessKeyId><SessionToken>t"
                   "</SessionToken><Expiration>e</Expiration>"),
    IN_CREDENTIALS("<AccessKeyId>i</AccessKeyId><SecretAccessKey>s"
                   "</SecretAccessKey><Expiration>e</Expiration>"),
    IN_CREDENTIALS("<AccessKeyId>i</AccessKeyId><SecretAccessKey>s"
                   "</SecretAccessKey><SessionToken>t</SessionToken>"),
    /* Something twice: which would be right? */
    IN_CREDENTIALS(KEYS "<AccessKeyId>other</AccessKeyId>"),
    IN_RESPONSE("<Credentials>" KEYS "</Credentials>"
                "<Credentials>" KEYS "</Credentials>"),
    /* An element inside of a text. */
    IN_CREDENTIALS(KEYS) "<more/>",
    "<Error><Code>a<b/>c</Code></Error>",
    "<Error><Code><Code>c</Code></Code></Error>",
    /* Cut off, or with what XML does not have. */
    "<Error><Code>AccessDenied</Code></Error",
    "<Error><Code>Access&nbsp;Denied</Code></Error>",
    "<Error><Code>\x01</Code></Error>",
    "<Error><Code>\xff\xfe</Code></Error>",
    "<?xml version='1.0' encoding='x-unknown'?><Error><Code>c</Code></Error>",
    /* A document type can define entities without end. */
    "<!DOCTYPE a><Error><Code>c</Code></Error>",
    "<!DOCTYPE a SYSTEM 'file:///etc/passwd'><Error><Code>c</Code></Error>",
    "<!DOCTYPE a [<!ENTITY l 'lol'>]><Error><Code>&l;</Code></Error>",
    ("<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>"
     "<Error><Code>&x;</Code></Error>"),
};

TEST(refuses_what_is_not_an_answer)
{
    for (size_t i = 0; i < COUNT(unusable); i++) {
        struct aws_sts_answer answer;
        if (read_text(unusable[i], &answer) != RESULT_CORRUPT)
            fail_msg("was taken: %s", unusable[i]);
        assert_empty(&answer);
    }
}

/* Every beginning of an answer is none, wherever it is cut. */
TEST(refuses_every_part)
{
    static const char whole[] = IN_CREDENTIALS(KEYS);
    for (size_t len = 0; len + 1 < sizeof(whole); len++) {
        struct aws_sts_answer answer;
        char *part = mem_dup_bytes(whole, len);
        assert_int_equal(aws_sts_answer_read(part, len, &answer),
                         RESULT_CORRUPT);
        assert_empty(&answer);
        free(part);
    }
}

static void add_many(struct buf *b, const char *text, size_t times)
{
    for (size_t i = 0; i < times; i++)
        buf_add_str(b, text);
}

TEST(bounds_depth_and_size)
{
    struct buf xml;
    struct aws_sts_answer answer;
    buf_init(&xml, 2 * AWS_STS_ANSWER_MAX);
    add_many(&xml, "<a>", 14);
    buf_add_str(&xml, "<Error><Code>c</Code></Error>");
    add_many(&xml, "</a>", 14);
    assert_int_equal(read_text(xml.data, &answer), RESULT_OK);
    aws_sts_answer_free(&answer);

    buf_reset(&xml);
    add_many(&xml, "<a>", 15);
    buf_add_str(&xml, "<Error><Code>c</Code></Error>");
    add_many(&xml, "</a>", 15);
    assert_int_equal(read_text(xml.data, &answer), RESULT_CORRUPT);

    buf_reset(&xml);
    buf_add_str(&xml, "<Error><Code>c</Code></Error>");
    add_many(&xml, " ", AWS_STS_ANSWER_MAX - xml.len);
    assert_int_equal(read_text(xml.data, &answer), RESULT_OK);
    aws_sts_answer_free(&answer);
    buf_add_char(&xml, ' ');
    assert_int_equal(read_text(xml.data, &answer), RESULT_CORRUPT);
    buf_free(&xml);
}

/* Code, message, a secret; whether it is shown. */
static const struct {
    const char *code;
    const char *message;
    const char *secret;
    const char *shown;
} messages[] = {
    {"AccessDenied", "Not authorized", "eyJhbGciOi", "Not authorized"},
    {"AccessDenied", "Not authorized", NULL, "Not authorized"},
    {"AccessDenied", "Not authorized", "", "Not authorized"},
    {"AccessDenied", "a\r\nb\x1b[1m\xc3\xa9", "secret", "a??b?[1m??"},
    {"AccessDenied", "", "secret", ""},
    {"AccessDenied", NULL, "secret", ""},
    {"InvalidIdentityToken", "token eyJhbGciOi is bad", "eyJhbGciOi", ""},
    {"InvalidIdentityToken", "token yJhbGciO is bad", "eyJhbGciOi", ""},
    {"InvalidIdentityToken", "token JhbGciO is", "eyJhbGciOi",
     "token JhbGciO is"},
    {"InvalidIdentityToken", "pass: abc", "abc", ""},
    {"InvalidIdentityToken", "ends with IGNATURE", "HEAD.SIGNATURE", ""},
    {"SignatureDoesNotMatch", "The string was ...", "secret", ""},
    {"InvalidSignatureException", "The string was ...", "secret", ""},
    {"IncompleteSignature", "The string was ...", "secret", ""},
};

TEST(shows_messages_without_secrets)
{
    for (size_t i = 0; i < COUNT(messages); i++) {
        struct aws_sts_answer answer = {
            .code = mem_dup(messages[i].code),
            .message = mem_dup(messages[i].message),
        };
        /* Whichever of the secrets it is. */
        const char *secrets[] = {NULL, "another one", messages[i].secret};
        struct buf out;
        buf_init(&out, 1000);
        aws_sts_answer_add_message(&out, &answer, secrets, COUNT(secrets));
        assert_string_equal(out.data, messages[i].shown);
        buf_free(&out);
        aws_sts_answer_free(&answer);
    }
}

TEST(cuts_a_long_message)
{
    char long_text[1001];
    memset(long_text, 'x', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    struct aws_sts_answer answer = {.code = mem_dup("ValidationError"),
                                    .message = mem_dup(long_text)};
    struct buf out;
    buf_init(&out, 1000);
    aws_sts_answer_add_message(&out, &answer, NULL, 0);
    assert_int_equal(out.len, 300);
    buf_free(&out);
    aws_sts_answer_free(&answer);
}

TEST(names_sessions)
{
    char session[AWS_STS_SESSION_SIZE];
    aws_sts_session("web-1.example.com", session);
    assert_string_equal(session, "curt-web-1.example.com");
    aws_sts_session("a b/c:d\xc3\xa9_=,@+", session);
    assert_string_equal(session, "curt-a-b-c-d--_=,@+");
    aws_sts_session("", session);
    assert_string_equal(session, "curt-");
    aws_sts_session("0123456789012345678901234567890123456789"
                    "0123456789012345678901234567890123456789",
                    session);
    assert_int_equal(strlen(session), 64);
    assert_memory_equal(session, "curt-0123456789", 15);
}

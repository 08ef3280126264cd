/* Where the workers listen, written down and read again. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/mem.h"
#include "config/sockname.h"

static char dir[64];
static struct conf conf = {.runtime_dir = dir};

static char *in_dir(const char *name)
{
    return mem_printf("%s/%s", dir, name);
}

static int listen_unix(const char *path, size_t len)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, len);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const socklen_t size =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(fd, 1), 0);
    return fd;
}

static void assert_noted(int fd, const char *expected)
{
    sockname_write(&conf, fd);
    char *address = sockname_read(&conf);
    assert_non_null(address);
    assert_string_equal(address, expected);
    if (listen(fd, 1) == 0) { /* it is a socket: the address leads to it */
        struct sockaddr_storage parsed;
        const socklen_t size = sockname_parse(address, &parsed);
        int client = socket(parsed.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(client, (struct sockaddr *)&parsed, size), 0);
        close(client);
    }
    free(address);
    close(fd);
}

TEST(unix_path)
{
    char *path = in_dir("curt.sock");
    char *expected = mem_printf("unix:%s", path);
    assert_noted(listen_unix(path, strlen(path) + 1), expected);
    unlink(path);
    assert_noted(listen_unix(path, strlen(path)), expected);
    unlink(path);
    free(expected);
    free(path);
}

TEST(relative_path_becomes_absolute)
{
    char before[4096];
    assert_non_null(getcwd(before, sizeof(before)));
    assert_int_equal(chdir(dir), 0);
    char *expected = mem_printf("unix:%s/curt.sock", dir);
    assert_noted(listen_unix("curt.sock", 10), expected);
    unlink("curt.sock");
    assert_int_equal(chdir(before), 0);
    free(expected);
}

TEST(abstract_name)
{
    char *name = mem_printf("@curt-test-%ld", (long)getpid());
    char *expected = mem_printf("unix:%s", name);
    const size_t len = strlen(name);
    name[0] = '\0';
    assert_noted(listen_unix(name, len), expected);
    free(expected);
    free(name);
}

TEST(tcp)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    char *expected = mem_printf("tcp:127.0.0.1:%u", ntohs(address.sin_port));
    assert_noted(fd, expected);
    free(expected);
}

/* Another pool's address stays until there is a better one. */
TEST(no_socket_changes_nothing)
{
    char *path = in_dir("curt.sock");
    char *expected = mem_printf("unix:%s", path);
    assert_noted(listen_unix(path, strlen(path) + 1), expected);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_noted(null, expected);
    unlink(path);
    free(expected);
    free(path);
}

static void assert_unreadable(int error)
{
    assert_null(sockname_read(&conf));
    assert_int_equal(errno, error);
}

TEST(what_is_not_a_note_is_refused)
{
    char *path = in_dir("socket");
    unlink(path);
    assert_unreadable(ENOENT);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_unreadable(EBADMSG);
    rmdir(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_unreadable(EBADMSG);
    unlink(path);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    assert_unreadable(ELOOP);
    unlink(path);
    static const struct {
        const char *text;
        size_t len;
    } texts[] = {{"", 0}, {"unix:/cut", 9}, {"unix:/a\0b\n", 10}};
    for (size_t i = 0; i < COUNT(texts); i++) {
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_int_equal(write(fd, texts[i].text, texts[i].len), texts[i].len);
        close(fd);
        assert_unreadable(EBADMSG);
    }
    unlink(path);
    free(path);
}

TEST(a_missing_directory_is_not_a_fault)
{
    char *missing = in_dir("missing");
    const struct conf other = {.runtime_dir = missing};
    char *path = in_dir("curt.sock");
    int fd = listen_unix(path, strlen(path) + 1);
    sockname_write(&other, fd);
    assert_null(sockname_read(&other));
    close(fd);
    unlink(path);
    free(path);
    free(missing);
}

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "%s", temp_dir());
    return 0;
}

static int end_dir(void **state)
{
    (void)state;
    return rmdir(dir); /* nothing may be left over */
}

ALL_TESTS(make_dir, end_dir)

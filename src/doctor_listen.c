#include <arpa/inet.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"
#include "doctor_parts.h"
#include "fcgi_client.h"
#include "mem.h"

/* How long root's process waits for a full queue, in milliseconds. */
#define CONNECT_MS 2000

/* ---- The kernel's list of listening sockets: sock_diag(7) ------------ */

/* Whether the message is about the Unix socket that file is. The kernel has its
 * device in its own form (MKDEV: 20 bits of minor number) and 32 bits of the
 * inode number. */
static bool match_unix(const struct nlmsghdr *h, const struct stat *file,
                       struct doctor_listener *out)
{
    const struct unix_diag_msg *m = NLMSG_DATA(h);
    const char *end = (const char *)h + h->nlmsg_len;
    bool found = false;
    out->inode = m->udiag_ino;
    for (const char *at = (const char *)(m + 1); at < end;) {
        const struct rtattr *a = (const void *)at;
        at += RTA_ALIGN(a->rta_len);
        if (a->rta_type == UNIX_DIAG_VFS) {
            const struct unix_diag_vfs *vfs = RTA_DATA(a);
            found = vfs->udiag_vfs_ino == (uint32_t)file->st_ino &&
                    vfs->udiag_vfs_dev ==
                        (major(file->st_dev) << 20 | minor(file->st_dev));
        } else if (a->rta_type == UNIX_DIAG_RQLEN) {
            const struct unix_diag_rqlen *queue = RTA_DATA(a);
            out->backlog = queue->udiag_wqueue;
        }
    }
    return found;
}

static bool match_tcp(const struct nlmsghdr *h, const char *address,
                      struct doctor_listener *out)
{
    const struct inet_diag_msg *m = NLMSG_DATA(h);
    const bool six = m->idiag_family == AF_INET6;
    char host[INET6_ADDRSTRLEN] = "", text[INET6_ADDRSTRLEN + 16];
    inet_ntop(m->idiag_family, m->id.idiag_src, host, sizeof(host));
    snprintf(text, sizeof(text), six ? "tcp:[%s]:%u" : "tcp:%s:%u", host,
             ntohs(m->id.idiag_sport));
    out->inode = m->idiag_inode;
    out->backlog = m->idiag_wqueue;
    return strcmp(text, address) == 0;
}

bool doctor_find_listener(const char *address, struct doctor_listener *out)
{
    const bool tcp = strncmp(address, "tcp:", 4) == 0;
    struct {
        struct nlmsghdr head;
        union {
            struct unix_diag_req un;
            struct inet_diag_req_v2 in;
        };
    } query = {.head = {.nlmsg_len = sizeof(query),
                        .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                        .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP}};
    char answer[32768] __attribute__((aligned(NLMSG_ALIGNTO)));
    struct stat file;
    bool found = false;
    if (tcp)
        query.in = (struct inet_diag_req_v2){
            .sdiag_family = address[4] == '[' ? AF_INET6 : AF_INET,
            .sdiag_protocol = IPPROTO_TCP,
            .idiag_states = 1u << TCP_LISTEN};
    else if (strncmp(address, "unix:", 5) == 0 && stat(address + 5, &file) == 0)
        query.un = (struct unix_diag_req){.sdiag_family = AF_UNIX,
                                          .udiag_states = 1u << TCP_LISTEN,
                                          .udiag_show = UDIAG_SHOW_VFS |
                                                        UDIAG_SHOW_RQLEN};
    else
        return false;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    ssize_t len = fd < 0 ? -1 : send(fd, &query, sizeof(query), 0);
    bool more = len > 0;
    while (more && (len = recv(fd, answer, sizeof(answer), 0)) > 0)
        for (const struct nlmsghdr *h = (const void *)answer;
             more && NLMSG_OK(h, (size_t)len); h = NLMSG_NEXT(h, len)) {
            if (h->nlmsg_type == SOCK_DIAG_BY_FAMILY)
                found = tcp ? match_tcp(h, address, out)
                            : match_unix(h, &file, out);
            more = !found && h->nlmsg_type == SOCK_DIAG_BY_FAMILY;
        }
    if (fd >= 0)
        close(fd);
    return found;
}

/* ---- Root connects for the pool's user ------------------------------- */

/* Whether a process of the user has that socket open. */
static bool user_has_socket(uid_t user, uint32_t inode)
{
    glob_t all;
    bool found = false;
    char *wanted = mem_printf("socket:[%u]", inode);
    if (glob("/proc/[0-9]*/fd/[0-9]*", GLOB_NOSORT, NULL, &all) == 0) {
        for (size_t i = 0; !found && i < all.gl_pathc; i++) {
            char *path = all.gl_pathv[i], name[64] = "";
            struct stat process;
            if (readlink(path, name, sizeof(name) - 1) < 0 ||
                strcmp(name, wanted) != 0)
                continue;
            *strstr(path, "/fd/") = '\0';
            found = stat(path, &process) == 0 && process.st_uid == user;
        }
        globfree(&all);
    }
    free(wanted);
    return found;
}

/* A connection to the Unix socket at path, -1 if it is not the pool's. The file
 * is opened once, examined and connected to, so it cannot be exchanged in
 * between. */
static int connect_to_pool(uid_t user, const char *path)
{
    struct doctor_listener listener;
    struct buf reason;
    char file[40], address[48];
    int connection = -1;
    int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    snprintf(file, sizeof(file), "/proc/self/fd/%d", fd);
    snprintf(address, sizeof(address), "unix:%s", file);
    buf_init(&reason, 256);
    if (fd >= 0 && doctor_find_listener(address, &listener) &&
        user_has_socket(user, listener.inode) &&
        fcgi_client_connect(address, clock_monotonic_ms() + CONNECT_MS,
                            &connection, &reason) != RESULT_OK)
        connection = -1;
    buf_free(&reason);
    if (fd >= 0)
        close(fd);
    return connection;
}

/* Room for one descriptor beside a message (unix(7), SCM_RIGHTS). */
union passed {
    struct cmsghdr head;
    char space[CMSG_SPACE(sizeof(int))];
};

void doctor_serve_user(const struct doctor *d, int user)
{
    char path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
    ssize_t len;
    while ((len = recv(user, path, sizeof(path) - 1, 0)) > 0) {
        path[len] = '\0';
        int fd = connect_to_pool(d->user, path);
        union passed passed = {.head = {.cmsg_len = CMSG_LEN(sizeof(fd)),
                                        .cmsg_level = SOL_SOCKET,
                                        .cmsg_type = SCM_RIGHTS}};
        struct iovec byte = {path, 1};
        struct msghdr message = {.msg_iov = &byte, .msg_iovlen = 1};
        if (fd >= 0) {
            memcpy(CMSG_DATA(&passed.head), &fd, sizeof(fd));
            message.msg_control = &passed;
            message.msg_controllen = sizeof(passed);
        }
        sendmsg(user, &message, MSG_NOSIGNAL);
        if (fd >= 0)
            close(fd);
    }
}

int doctor_ask_root(const struct doctor *d, uid_t owner, const char *path)
{
    union passed passed;
    char answer;
    struct iovec byte = {&answer, 1};
    struct msghdr message = {.msg_iov = &byte,
                             .msg_iovlen = 1,
                             .msg_control = &passed,
                             .msg_controllen = sizeof(passed)};
    int fd = -1;
    if (d->root < 0)
        return geteuid() == 0 ? connect_to_pool(owner, path) : -1;
    if (send(d->root, path, strlen(path), MSG_NOSIGNAL) > 0 &&
        recvmsg(d->root, &message, MSG_CMSG_CLOEXEC) > 0 &&
        CMSG_FIRSTHDR(&message) != NULL)
        memcpy(&fd, CMSG_DATA(&passed.head), sizeof(fd));
    return fd;
}

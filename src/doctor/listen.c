#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "doctor/checks.h"

/* Whether the message is about the Unix socket that file is. The kernel has its
 * device in its own form (MKDEV: 20 bits of minor number) and 32 bits of the
 * inode number. */
static bool match_unix(const struct nlmsghdr *h, const struct stat *file,
                       uint32_t *backlog)
{
    const struct unix_diag_msg *m = NLMSG_DATA(h);
    const char *end = (const char *)h + h->nlmsg_len;
    bool found = false;
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
            *backlog = queue->udiag_wqueue;
        }
    }
    return found;
}

static bool match_tcp(const struct nlmsghdr *h, const char *address,
                      uint32_t *backlog)
{
    const struct inet_diag_msg *m = NLMSG_DATA(h);
    const bool six = m->idiag_family == AF_INET6;
    char host[INET6_ADDRSTRLEN] = "", text[INET6_ADDRSTRLEN + 16];
    inet_ntop(m->idiag_family, m->id.idiag_src, host, sizeof(host));
    snprintf(text, sizeof(text), six ? "tcp:[%s]:%u" : "tcp:%s:%u", host,
             ntohs(m->id.idiag_sport));
    *backlog = m->idiag_wqueue;
    return strcmp(text, address) == 0;
}

bool doctor_find_backlog(const char *address, uint32_t *backlog)
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
                found = tcp ? match_tcp(h, address, backlog)
                            : match_unix(h, &file, backlog);
            more = !found && h->nlmsg_type == SOCK_DIAG_BY_FAMILY;
        }
    if (fd >= 0)
        close(fd);
    return found;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Connects over IPv4 and IPv6. */
#pragma once

#define EINTR 4
#define EFAULT 14
#define EISCONN 106
#define EALREADY 114
#define EINPROGRESS 115

/* include/uapi/linux/in.h, in6.h: the parts that both have come first. */
struct socket_address {
	u16 family;
	u8 port[2];
	union {
		u8 in[4];
		struct {
			u32 flow;
			u8 in6[16];
		};
	};
};

static __always_inline u16 host_order(u16 port)
{
	return __builtin_bswap16(port);
}

static __always_inline struct sock *sock_of(struct task_struct *task, s32 descriptor)
{
	struct file *file = file_of(task, descriptor);

	if (!file)
		return NULL;
	struct inode *inode = READ(struct file, file, f_inode);
	if ((READ(struct inode, inode, i_mode) & S_IFMT) != S_IFSOCK)
		return NULL;
	struct socket *socket = READ(struct file, file, private_data);
	return READ(struct socket, socket, sk);
}

/* This side's address, once the kernel has chosen one. */
static __always_inline void fill_source(struct connect_record *record, struct sock *sock)
{
	record->source_port = READ(struct sock, sock, __sk_common.skc_num);
	if (record->family == AF_INET)
		bpf_probe_read_kernel(record->source, 4, &sock->__sk_common.skc_rcv_saddr);
	else
		bpf_probe_read_kernel(record->source, 16, &sock->__sk_common.skc_v6_rcv_saddr);
}

/* The peer as the kernel has it: what the caller wrote may have been changed since. */
static __always_inline void fill_destination(struct connect_record *record, struct sock *sock)
{
	record->destination_port = host_order(READ(struct sock, sock, __sk_common.skc_dport));
	if (record->family == AF_INET)
		bpf_probe_read_kernel(record->destination, 4, &sock->__sk_common.skc_daddr);
	else
		bpf_probe_read_kernel(record->destination, 16, &sock->__sk_common.skc_v6_daddr);
}

/* Whether the kernel holds the peer after this result. */
static __always_inline bool holds_peer(s64 result)
{
	return result == 0 || result == -EINPROGRESS || result == -EALREADY || result == -EINTR || result == -EISCONN;
}

SCRATCH(connect_scratch, struct connect_record);

/* The peer as the caller wrote it: all there is where the kernel has forgotten the peer, or never took it. */
static __always_inline bool fill_asked(struct connect_record *record, struct socket_address *asked)
{
	if (asked->family != AF_INET && asked->family != AF_INET6)
		return false;
	record->family = asked->family;
	record->destination_port = (u16)asked->port[0] << 8 | asked->port[1];
	if (asked->family == AF_INET)
		__builtin_memcpy(record->destination, asked->in, 4);
	else
		__builtin_memcpy(record->destination, asked->in6, 16);
	return true;
}

static __always_inline void emit_connect(struct task_struct *task, s32 descriptor, u64 address, s64 result)
{
	struct socket_address asked = {};
	struct sock *sock = sock_of(task, descriptor);
	u32 zero = 0;
	struct connect_record *record = bpf_map_lookup_elem(&connect_scratch, &zero);

	if (!sock || !record)
		return; /* no socket, no connection */
	__builtin_memset(record, 0, sizeof(*record));
	record->family = READ(struct sock, sock, __sk_common.skc_family);
	if (record->family != AF_INET && record->family != AF_INET6)
		return;
	fill_header(&record->header, RECORD_CONNECT, task);
	record->result = result;
	record->protocol = READ(struct sock, sock, sk_protocol);
	/* An IPv4 address is short and may lie at the end of a page. */
	bool readable = !bpf_probe_read_user(&asked, 8, (void *)address);
	if (readable && asked.family == AF_INET6)
		readable = !bpf_probe_read_user(&asked, sizeof(asked), (void *)address);
	if (readable && asked.family == 0)
		return; /* AF_UNSPEC: a disconnect */
	if (holds_peer(result)) {
		fill_source(record, sock);
		fill_destination(record, sock);
	}
	if (!record->destination_port) {
		if (!readable) {
			if (result != -EFAULT)
				count_read_loss(RECORD_CONNECT);
			return;
		}
		__builtin_memset(record->source, 0, sizeof(record->source));
		record->source_port = 0;
		if (!fill_asked(record, &asked))
			return;
	}
	if (passes_ports(record, result >= 0 || result == -EINPROGRESS))
		emit(&network_ring, RING_NETWORK, &record->header, sizeof(*record));
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is done with sockets beside connecting them: bound, made to listen, accepted. Of IPv4 and IPv6. */
#pragma once

#define SOCK_STREAM 1
#define SOCK_RAW 3

SCRATCH(socket_scratch, struct listen_record);

/* A record about a socket of IP; NULL for another. */
static __always_inline struct listen_record *begin_socket(struct task_struct *task, u16 kind, struct sock *sock,
							  s64 result)
{
	u32 zero = 0;
	struct listen_record *record = bpf_map_lookup_elem(&socket_scratch, &zero);

	if (!sock || !record)
		return NULL;
	__builtin_memset(record, 0, sizeof(*record));
	record->socket.family = READ(struct sock, sock, __sk_common.skc_family);
	if (record->socket.family != AF_INET && record->socket.family != AF_INET6)
		return NULL;
	fill_header(&record->socket.header, kind, task);
	record->socket.result = result;
	record->socket.protocol = READ(struct sock, sock, sk_protocol);
	return record;
}

/* As fill_source; a raw socket's number is its protocol's and no port. */
static __always_inline void fill_local(struct connect_record *record, struct sock *sock)
{
	fill_source(record, sock);
	if (READ(struct sock, sock, sk_type) == SOCK_RAW)
		record->source_port = 0;
}

static __always_inline void emit_bind(struct task_struct *task, struct socket_call *call)
{
	struct socket_address asked = {};
	struct sock *sock = sock_of(task, call->argument[0]);
	struct listen_record *record = begin_socket(task, RECORD_BIND, sock, call->result);

	if (!record)
		return;
	if (call->result >= 0) {
		fill_local(&record->socket, sock);
	} else {
		/* An IPv4 address is short and may lie at the end of a page. */
		bool readable = !bpf_probe_read_user(&asked, 8, (void *)call->argument[1]);
		if (readable && asked.family == AF_INET6)
			readable = !bpf_probe_read_user(&asked, sizeof(asked), (void *)call->argument[1]);
		if (!readable) {
			if (call->result != -EFAULT)
				count_read_loss(RECORD_BIND);
			return;
		}
		if (!fill_asked(&record->socket, &asked))
			return;
		record->socket.source_port = record->socket.destination_port;
		record->socket.destination_port = 0;
		__builtin_memcpy(record->socket.source, record->socket.destination, sizeof(record->socket.source));
		__builtin_memset(record->socket.destination, 0, sizeof(record->socket.destination));
	}
	if (passes_ports(&record->socket, call->result >= 0))
		emit(&network_ring, RING_NETWORK, &record->socket.header, sizeof(record->socket));
}

static __always_inline void emit_listen(struct task_struct *task, struct socket_call *call)
{
	struct sock *sock = sock_of(task, call->argument[0]);
	struct listen_record *record = begin_socket(task, RECORD_LISTEN, sock, call->result);

	if (!record)
		return;
	fill_local(&record->socket, sock);
	record->backlog = call->argument[1];
	if (passes_ports(&record->socket, call->result >= 0))
		emit(&network_ring, RING_NETWORK, &record->socket.header, sizeof(*record));
}

/* Both ends as the kernel has them, off the new socket. */
static __always_inline void emit_accept(struct task_struct *task, struct socket_call *call)
{
	if (call->result < 0)
		return;
	struct sock *sock = sock_of(task, call->result);
	struct listen_record *record = begin_socket(task, RECORD_ACCEPT, sock, call->result);

	if (!record)
		return;
	fill_local(&record->socket, sock);
	fill_destination(&record->socket, sock);
	if (passes_ports(&record->socket, true))
		emit(&network_ring, RING_NETWORK, &record->socket.header, sizeof(record->socket));
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is done with sockets beside connecting them: bound, made to listen, accepted. Of IPv4 and IPv6. */
#pragma once

/* arch/x86/entry/syscalls/syscall_64.tbl */
#define NR_ACCEPT 43
#define NR_BIND 49
#define NR_LISTEN 50
#define NR_ACCEPT4 288
/* arch/x86/entry/syscalls/syscall_32.tbl */
#define NR32_SOCKETCALL 102
#define NR32_BIND 361
#define NR32_LISTEN 363
#define NR32_ACCEPT4 364
/* include/uapi/linux/net.h: what socketcall multiplexes. The same numbers stand for these calls here. */
enum socket_operation {
	SOCKET_NONE = 0,
	SOCKET_BIND = 2,
	SOCKET_CONNECT = 3,
	SOCKET_LISTEN = 4,
	SOCKET_ACCEPT = 5,
	SOCKET_ACCEPT4 = 18,
};
#define SOCKET_ARGUMENTS_MAX 5
#define SOCK_RAW 3

/* A call on a socket, whichever number it has. */
struct socket_call {
	u32 operation;
	bool compat;
	u64 argument[SOCKET_ARGUMENTS_MAX];
	s64 result;
};

static __always_inline u32 operation_of(u64 nr)
{
	switch (nr) {
	case NR_BIND:
		return SOCKET_BIND;
	case NR_LISTEN:
		return SOCKET_LISTEN;
	case NR_ACCEPT:
		return SOCKET_ACCEPT;
	case NR_ACCEPT4:
		return SOCKET_ACCEPT4;
	}
	return SOCKET_NONE;
}

static __always_inline u32 operation_of_compat(u64 nr)
{
	switch (nr) {
	case NR32_BIND:
		return SOCKET_BIND;
	case NR32_LISTEN:
		return SOCKET_LISTEN;
	case NR32_ACCEPT4:
		return SOCKET_ACCEPT4;
	}
	return SOCKET_NONE;
}

/* The kind of the event, if it is wanted. */
static __always_inline u16 wanted_kind(u32 operation)
{
	switch (operation) {
	case SOCKET_BIND:
		return config.network & NETWORK_BINDS ? RECORD_BIND : 0;
	case SOCKET_LISTEN:
		return config.network & NETWORK_LISTENS ? RECORD_LISTEN : 0;
	case SOCKET_ACCEPT:
	case SOCKET_ACCEPT4:
		return config.network & NETWORK_ACCEPTS ? RECORD_ACCEPT : 0;
	}
	return 0;
}

/* The arguments of socketcall lie in memory. False where they cannot be read. */
static __always_inline bool read_socketcall(struct socket_call *socket, struct syscall *call)
{
	u32 arguments[SOCKET_ARGUMENTS_MAX] = {};

	/* Every call that is wanted has two at least; those behind may lie beyond the end of a page. */
	if (bpf_probe_read_user(arguments, 2 * sizeof(u32), (void *)call->argument[1]))
		return false;
	if (socket->operation != SOCKET_LISTEN)
		bpf_probe_read_user(arguments + 2, sizeof(u32), (void *)(call->argument[1] + 2 * sizeof(u32)));
	for (u32 i = 0; i < SOCKET_ARGUMENTS_MAX; i++)
		socket->argument[i] = arguments[i];
	return true;
}

/* False for another call, and one that is not wanted. */
static __always_inline bool read_socket_call(struct socket_call *socket, struct syscall *call, bool compat)
{
	socket->compat = compat;
	socket->result = call->result;
	if (compat && call->nr == NR32_SOCKETCALL) {
		socket->operation = call->argument[0];
		u16 kind = wanted_kind(socket->operation);
		if (!kind)
			return false;
		if (read_socketcall(socket, call))
			return true;
		if (call->result != -EFAULT)
			count_read_loss(kind);
		return false;
	}
	socket->operation = compat ? operation_of_compat(call->nr) : operation_of(call->nr);
	if (!wanted_kind(socket->operation))
		return false;
	for (u32 i = 0; i < SOCKET_ARGUMENTS_MAX; i++)
		socket->argument[i] = call->argument[i];
	return true;
}

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
	emit(&network_ring, RING_NETWORK, &record->socket.header, sizeof(record->socket));
}

/* A function of its own: what it has on the stack does not add to what its caller has. Whether it was such a call. */
static __noinline int exit_socket(struct task_struct *task, struct syscall *call, bool compat)
{
	struct socket_call socket = {};

	if (!read_socket_call(&socket, call, compat))
		return 0;
	if (socket.operation == SOCKET_BIND)
		emit_bind(task, &socket);
	else if (socket.operation == SOCKET_LISTEN)
		emit_listen(task, &socket);
	else
		emit_accept(task, &socket);
	return 1;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Calls on sockets, whichever table their number is of, and whether socketcall carried them. */
#pragma once

/* include/uapi/linux/net.h: what socketcall multiplexes. The same numbers stand for these calls here, and those above
 * for calls on any file. */
enum socket_operation {
	SOCKET_NONE = 0,
	SOCKET_BIND = 2,
	SOCKET_CONNECT = 3,
	SOCKET_LISTEN = 4,
	SOCKET_ACCEPT = 5,
	SOCKET_SEND = 9,
	SOCKET_RECV = 10,
	SOCKET_SENDTO = 11,
	SOCKET_RECVFROM = 12,
	SOCKET_SENDMSG = 16,
	SOCKET_RECVMSG = 17,
	SOCKET_ACCEPT4 = 18,
	SOCKET_RECVMMSG = 19,
	SOCKET_SENDMMSG = 20,
	SOCKET_READ = 32,
	SOCKET_WRITE,
	SOCKET_READV,
	SOCKET_WRITEV,
};
#define SOCKET_ARGUMENTS_MAX 5

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
	case NR_READ:
		return SOCKET_READ;
	case NR_WRITE:
		return SOCKET_WRITE;
	case NR_READV:
		return SOCKET_READV;
	case NR_WRITEV:
		return SOCKET_WRITEV;
	case NR_ACCEPT:
		return SOCKET_ACCEPT;
	case NR_SENDTO:
		return SOCKET_SENDTO;
	case NR_RECVFROM:
		return SOCKET_RECVFROM;
	case NR_SENDMSG:
		return SOCKET_SENDMSG;
	case NR_RECVMSG:
		return SOCKET_RECVMSG;
	case NR_BIND:
		return SOCKET_BIND;
	case NR_LISTEN:
		return SOCKET_LISTEN;
	case NR_ACCEPT4:
		return SOCKET_ACCEPT4;
	case NR_RECVMMSG:
		return SOCKET_RECVMMSG;
	case NR_SENDMMSG:
		return SOCKET_SENDMMSG;
	}
	return SOCKET_NONE;
}

static __always_inline u32 operation_of_compat(u64 nr)
{
	switch (nr) {
	case NR32_READ:
		return SOCKET_READ;
	case NR32_WRITE:
		return SOCKET_WRITE;
	case NR32_READV:
		return SOCKET_READV;
	case NR32_WRITEV:
		return SOCKET_WRITEV;
	case NR32_SENDMMSG:
		return SOCKET_SENDMMSG;
	case NR32_BIND:
		return SOCKET_BIND;
	case NR32_LISTEN:
		return SOCKET_LISTEN;
	case NR32_ACCEPT:
		return SOCKET_ACCEPT;
	case NR32_SEND:
		return SOCKET_SEND;
	case NR32_RECV:
		return SOCKET_RECV;
	case NR32_ACCEPT4:
		return SOCKET_ACCEPT4;
	case NR32_SENDTO:
		return SOCKET_SENDTO;
	case NR32_SENDMSG:
		return SOCKET_SENDMSG;
	case NR32_RECVFROM:
		return SOCKET_RECVFROM;
	case NR32_RECVMSG:
		return SOCKET_RECVMSG;
	case NR32_RECVMMSG_TIME32:
	case NR32_RECVMMSG:
		return SOCKET_RECVMMSG;
	}
	return SOCKET_NONE;
}

static __always_inline bool wants_sends(void)
{
	return config.network & NETWORK_SENDS && wants_kind(RECORD_SEND);
}

static __always_inline bool wants_look_ups(void)
{
	return config.network & NETWORK_DNS && wants_kind(RECORD_DNS);
}

/* The kind of the event, if it is wanted. */
static __always_inline u16 wanted_kind(u32 operation)
{
	switch (operation) {
	case SOCKET_BIND:
		return config.network & NETWORK_BINDS && wants_kind(RECORD_BIND) ? RECORD_BIND : 0;
	case SOCKET_LISTEN:
		return config.network & NETWORK_LISTENS && wants_kind(RECORD_LISTEN) ? RECORD_LISTEN : 0;
	case SOCKET_ACCEPT:
	case SOCKET_ACCEPT4:
		return config.network & NETWORK_ACCEPTS && wants_kind(RECORD_ACCEPT) ? RECORD_ACCEPT : 0;
	case SOCKET_SEND:
	case SOCKET_SENDTO:
	case SOCKET_SENDMSG:
	case SOCKET_SENDMMSG:
		if (wants_sends())
			return RECORD_SEND;
		return wants_look_ups() ? RECORD_DNS : 0;
	case SOCKET_RECV:
	case SOCKET_RECVFROM:
	case SOCKET_RECVMSG:
	case SOCKET_RECVMMSG:
	case SOCKET_READ:
	case SOCKET_WRITE:
	case SOCKET_READV:
	case SOCKET_WRITEV:
		return wants_look_ups() ? RECORD_DNS : 0;
	}
	return 0;
}

/* How many words of socketcall's arguments are used. */
static __always_inline u32 words_of(u32 operation)
{
	switch (operation) {
	case SOCKET_LISTEN:
		return 2;
	case SOCKET_BIND:
	case SOCKET_ACCEPT:
	case SOCKET_ACCEPT4:
	case SOCKET_SENDMSG:
	case SOCKET_RECVMSG:
		return 3;
	case SOCKET_SENDTO:
	case SOCKET_RECVFROM:
		return 5;
	}
	return 4;
}

/* The arguments of socketcall lie in memory, and what is behind them may be the end of a page. */
static __always_inline bool read_socketcall(struct socket_call *socket, struct syscall *call)
{
	u32 arguments[SOCKET_ARGUMENTS_MAX] = {};
	u64 size = words_of(socket->operation) * sizeof(u32);

	CLAMP(size, sizeof(arguments));
	if (bpf_probe_read_user(arguments, size, (void *)call->argument[1]))
		return false;
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
		u16 kind = socket->operation < SOCKET_READ ? wanted_kind(socket->operation) : 0;
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

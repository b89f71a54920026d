/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Messages. Those that are sent without a connection: an event for each peer that is new to the process, so that a stream
 * of them costs one. Those from and to name servers: what they say. */
#pragma once

#define TCP_ESTABLISHED 1
#define MSG_PEEK 0x2
#define MSG_ERRQUEUE 0x2000
#define MSG_FASTOPEN 0x20000000
/* UIO_MAXIOV: the most that the kernel takes in one call. */
#define MESSAGES_MAX 1024
#define MESSAGES_PLAIN 4

/* struct user_msghdr, as far as it is read, and the size of struct mmsghdr, which ends in how much was sent. */
struct message_header {
	u64 name;
	u32 name_length, padding;
	u64 pieces, piece_count;
};
#define MESSAGE_STRIDE 64
#define MESSAGE_SENT_AT 56
struct message_header_compat {
	u32 name, name_length, pieces, piece_count;
};
#define MESSAGE_STRIDE_COMPAT 32
#define MESSAGE_SENT_AT_COMPAT 28

struct peer_key {
	u64 start_ns;
	u32 tgid, generation;
	u16 family, port, protocol;
	u16 failed; /* one that failed does not hide the next, which may not */
	u8 address[16];
};

/* Peers that the processes of this host have sent to. Who is pushed out is new again. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct peer_key);
	__type(value, u8);
} peers SEC(".maps");

struct message_scratch {
	u64 sock;
	u64 headers, count; /* of the calls for several messages */
	u64 fast_open, type, received;
	/* The message at hand. */
	u64 name;
	struct payload payload;
	struct peer_key key;
	struct connect_record record;
};
SCRATCH(message_scratch, struct message_scratch);

static __always_inline bool read_message_header(struct message_scratch *scratch, u64 at)
{
	if (scratch->payload.compat) {
		struct message_header_compat header = {};
		if (bpf_probe_read_user(&header, sizeof(header), (void *)at))
			return false;
		scratch->name = header.name_length ? header.name : 0;
		scratch->payload.pieces = header.pieces;
		scratch->payload.piece_count = header.piece_count;
	} else {
		struct message_header header = {};
		if (bpf_probe_read_user(&header, sizeof(header), (void *)at))
			return false;
		scratch->name = header.name_length ? header.name : 0;
		scratch->payload.pieces = header.pieces;
		scratch->payload.piece_count = header.piece_count;
	}
	return true;
}

/* The peer that the message names, or the one that the socket is connected to. */
static __always_inline bool fill_message_peer(struct message_scratch *scratch, struct sock *sock)
{
	struct connect_record *record = &scratch->record;
	struct socket_address asked = {};

	if (!scratch->name) {
		if (READ(struct sock, sock, __sk_common.skc_state) != TCP_ESTABLISHED &&
		    !READ(struct sock, sock, __sk_common.skc_dport))
			return false;
		fill_destination(record, sock);
		return true;
	}
	bool readable = !bpf_probe_read_user(&asked, 8, (void *)scratch->name);
	if (readable && asked.family == AF_INET6)
		readable = !bpf_probe_read_user(&asked, sizeof(asked), (void *)scratch->name);
	if (!readable) {
		if ((s64)scratch->payload.bytes != -EFAULT)
			count_read_loss(record->header.kind);
		return false;
	}
	/* Which the kernel takes for IPv4. */
	if (!asked.family && record->family == AF_INET)
		asked.family = AF_INET;
	return fill_asked(record, &asked);
}

static __always_inline void emit_send(struct message_scratch *scratch, struct sock *sock)
{
	struct connect_record *record = &scratch->record;
	struct peer_key *key = &scratch->key;

	key->start_ns = record->header.start_ns;
	key->tgid = record->header.tgid;
	key->generation = record->header.generation;
	key->family = record->family;
	key->port = record->destination_port;
	key->protocol = record->protocol;
	key->failed = record->result < 0;
	__builtin_memcpy(key->address, record->destination, sizeof(key->address));
	/* Two threads may both find it missing: the first to put it there reports it. */
	if (bpf_map_lookup_elem(&peers, key) || !is_first(&peers, key))
		return;
	emit(&network_ring, RING_NETWORK, &record->header, sizeof(*record));
}

static __always_inline void take_message(struct message_scratch *scratch)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct sock *sock = (struct sock *)scratch->sock;
	struct connect_record *record = &scratch->record;

	__builtin_memset(record, 0, sizeof(*record));
	fill_header(&record->header, wants_sends() ? RECORD_SEND : RECORD_DNS, task);
	record->family = READ(struct sock, sock, __sk_common.skc_family);
	record->protocol = READ(struct sock, sock, sk_protocol);
	record->result = scratch->payload.bytes;
	if (!fill_message_peer(scratch, sock))
		return;
	fill_source(record, sock);
	if (scratch->type == SOCK_RAW) { /* has no ports */
		record->source_port = 0;
		record->destination_port = 0;
	}
	/* Before a peer is remembered: it is new to whoever needs it later. */
	if (wants_sends() && !scratch->received &&
	    (scratch->type != SOCK_STREAM || scratch->fast_open) && passes_ports(record, record->result >= 0))
		emit_send(scratch, sock);
	if (wants_look_ups() && record->destination_port == DNS_PORT && record->result >= DNS_HEADER_BYTES)
		emit_dns(record, &scratch->payload, scratch->received);
}

struct message_context {
	struct message_scratch *scratch;
};

/* One of the messages of a call for several. */
static long take_message_at(u64 index, struct message_context *context)
{
	struct message_scratch *scratch = context->scratch;
	u64 at = scratch->headers + index * (scratch->payload.compat ? MESSAGE_STRIDE_COMPAT : MESSAGE_STRIDE);
	u32 sent = 0;

	if (index >= scratch->count)
		return 1;
	bool readable = read_message_header(scratch, at);
	if (readable && (s64)scratch->payload.bytes >= 0) {
		at += scratch->payload.compat ? MESSAGE_SENT_AT_COMPAT : MESSAGE_SENT_AT;
		readable = !bpf_probe_read_user(&sent, sizeof(sent), (void *)at);
		scratch->payload.bytes = sent;
	}
	if (!readable) {
		if ((s64)scratch->payload.bytes != -EFAULT)
			count_read_loss(wants_sends() ? RECORD_SEND : RECORD_DNS);
		return 1;
	}
	take_message(scratch);
	return 0;
}

static __always_inline void take_messages(struct message_scratch *scratch)
{
	struct message_context context = { scratch };

	if (bpf_core_enum_value_exists(enum bpf_func_id___loop, BPF_FUNC_loop___loop)) {
		bpf_loop(MESSAGES_MAX, take_message_at, &context, 0);
		return;
	}
	BEFORE_LOOP;
	for (u32 index = 0; index < MESSAGES_PLAIN; index++)
		if (take_message_at(index, &context))
			return;
	if (scratch->count > MESSAGES_PLAIN)
		count_read_loss(wants_sends() ? RECORD_SEND : RECORD_DNS);
}

static __always_inline u64 flags_of(struct socket_call *call)
{
	switch (call->operation) {
	case SOCKET_SENDMSG:
	case SOCKET_RECVMSG:
		return call->argument[2];
	case SOCKET_SEND:
	case SOCKET_RECV:
	case SOCKET_SENDTO:
	case SOCKET_RECVFROM:
	case SOCKET_SENDMMSG:
	case SOCKET_RECVMMSG:
		return call->argument[3];
	}
	return 0;
}

static __always_inline bool receives(u32 operation)
{
	switch (operation) {
	case SOCKET_RECV:
	case SOCKET_RECVFROM:
	case SOCKET_RECVMSG:
	case SOCKET_RECVMMSG:
	case SOCKET_READ:
	case SOCKET_READV:
		return true;
	}
	return false;
}

/* Whether the call may be about a message at all: most reads and writes are not, and go no further. */
static __always_inline bool may_be_message(struct socket_call *call, u64 flags)
{
	switch (call->operation) {
	case SOCKET_SEND:
	case SOCKET_SENDTO:
	case SOCKET_SENDMSG:
	case SOCKET_SENDMMSG:
		return true;
	case SOCKET_RECVMMSG:
		return call->result > 0 && !(flags & (MSG_PEEK | MSG_ERRQUEUE));
	}
	/* What is only looked at comes again. */
	return call->result >= DNS_HEADER_BYTES && !(flags & (MSG_PEEK | MSG_ERRQUEUE));
}

/* Where name and bytes of the message are, of a call for one. */
static __always_inline bool read_message(struct message_scratch *scratch, struct socket_call *call)
{
	scratch->name = 0;
	scratch->payload.pieces = 0;
	scratch->payload.piece_count = 0;
	scratch->payload.buffer = call->argument[1];
	switch (call->operation) {
	case SOCKET_SENDMSG:
	case SOCKET_RECVMSG:
		return read_message_header(scratch, call->argument[1]);
	case SOCKET_SENDTO:
	case SOCKET_RECVFROM:
		scratch->name = call->argument[4];
		break;
	case SOCKET_READV:
	case SOCKET_WRITEV:
		scratch->payload.pieces = call->argument[1];
		scratch->payload.piece_count = call->argument[2];
		break;
	}
	return true;
}

/* A function of its own: what it has on the stack does not add to what its caller has. */
static __noinline int exit_message(struct socket_call *call)
{
	struct task_struct *task = bpf_get_current_task_btf();
	u32 zero = 0;
	u64 flags = flags_of(call);

	if (!may_be_message(call, flags))
		return 0;
	struct sock *sock = sock_of(task, call->argument[0]);
	struct message_scratch *scratch = bpf_map_lookup_elem(&message_scratch, &zero);
	if (!scratch || !sock)
		return 0;
	u16 family = READ(struct sock, sock, __sk_common.skc_family);
	if (family != AF_INET && family != AF_INET6)
		return 0;
	scratch->sock = (u64)sock;
	scratch->type = READ(struct sock, sock, sk_type);
	scratch->received = receives(call->operation);
	scratch->fast_open = !scratch->received && flags & MSG_FASTOPEN;
	/* A stream is connected before, and that is seen; unless it is by what it sends. */
	if (scratch->type == SOCK_STREAM && !scratch->fast_open &&
	    host_order(READ(struct sock, sock, __sk_common.skc_dport)) != DNS_PORT)
		return 0;
	scratch->payload.compat = call->compat;
	scratch->payload.bytes = call->result;
	if (call->operation == SOCKET_SENDMMSG || call->operation == SOCKET_RECVMMSG) {
		scratch->headers = call->argument[1];
		/* If it failed, so did its first message. */
		scratch->count = call->result < 0 ? 1 : call->result;
		take_messages(scratch);
	} else if (read_message(scratch, call)) {
		take_message(scratch);
	} else if (call->result != -EFAULT) {
		count_read_loss(wanted_kind(call->operation));
	}
	return 0;
}

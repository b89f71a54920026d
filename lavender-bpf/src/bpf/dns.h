/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is asked of name servers and what they answer: the payload of messages to and from port 53, the start of which is
 * copied as it is. User space reads it. */
#pragma once

#define DNS_PORT 53
/* A message without a question is no more than its header. */
#define DNS_HEADER_BYTES 12
#define PIECES_MAX 8

/* Where the bytes of a message lie in the caller's memory. */
struct payload {
	u64 buffer; /* all of them, where there is one */
	u64 pieces, piece_count; /* struct iovec */
	u64 bytes;
	u64 compat;
};

struct dns_scratch {
	u64 left; /* of the message, not yet looked at */
	u64 length;
	struct dns_record record;
	/* The last piece begins below the limit, and is no longer than it. */
	u8 bytes[2 * DNS_MAX_BYTES];
};
SCRATCH(dns_scratch, struct dns_scratch);

/* False where the caller's memory cannot be read. */
static __always_inline bool copy_piece(struct dns_scratch *scratch, u64 address, u64 size)
{
	u64 at = scratch->length;

	if (size > scratch->left)
		size = scratch->left;
	scratch->left -= size;
	if (at >= DNS_MAX_BYTES)
		return true;
	if (size > DNS_MAX_BYTES)
		scratch->left = 0; /* what comes behind would not follow on */
	CLAMP(at, DNS_MAX_BYTES);
	CLAMP(size, DNS_MAX_BYTES);
	if (bpf_probe_read_user(scratch->bytes + at, size, (void *)address))
		return false;
	scratch->length += size;
	return true;
}

static __always_inline bool copy_piece_at(struct dns_scratch *scratch, struct payload *payload, u32 index)
{
	u64 address = 0, size = 0;

	if (payload->compat) {
		u32 piece[2] = {};
		if (bpf_probe_read_user(piece, sizeof(piece), (void *)(payload->pieces + index * sizeof(piece))))
			return false;
		address = piece[0];
		size = piece[1];
	} else {
		u64 piece[2] = {};
		if (bpf_probe_read_user(piece, sizeof(piece), (void *)(payload->pieces + index * sizeof(piece))))
			return false;
		address = piece[0];
		size = piece[1];
	}
	return copy_piece(scratch, address, size);
}

static __always_inline bool copy_payload(struct dns_scratch *scratch, struct payload *payload)
{
	scratch->left = payload->bytes;
	scratch->length = 0;
	if (!payload->pieces)
		return copy_piece(scratch, payload->buffer, payload->bytes);
	BEFORE_LOOP;
	for (u32 index = 0; index < PIECES_MAX; index++) {
		if (index >= payload->piece_count || !scratch->left)
			break;
		if (!copy_piece_at(scratch, payload, index))
			return false;
	}
	return true;
}

/* A function of its own: it is called where messages are looked at one by one, and where there is one. */
static __noinline int emit_dns(struct connect_record *message, struct payload *payload, u32 received)
{
	u32 zero = 0;
	struct dns_scratch *scratch = bpf_map_lookup_elem(&dns_scratch, &zero);

	if (!scratch || !message || !payload)
		return 0;
	struct dns_record *record = &scratch->record;
	if (!copy_payload(scratch, payload)) {
		count_read_loss(RECORD_DNS);
		return 0;
	}
	__builtin_memcpy(&record->socket, message, sizeof(record->socket));
	record->socket.header.kind = RECORD_DNS;
	record->received = received;
	record->total = payload->bytes;
	record->reserved = 0;
	u64 length = scratch->length;
	CLAMP(length, 2 * DNS_MAX_BYTES);
	record->length = length;
	emit(&network_ring, RING_NETWORK, &record->socket.header, sizeof(*record) + length);
	return 0;
}

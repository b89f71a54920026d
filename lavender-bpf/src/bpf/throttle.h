/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Rates: how much of a kind of acts one process, and one control group, may put into the rings. What is over is counted, by
 * who did it and in all. Process life, changes of credentials and acts against the agent have no limit. */
#pragma once

struct throttle_bucket_key {
	u64 id; /* of the control group, or when the process started */
	u32 tgid; /* 0: a control group */
	u32 family;
};

/* When the bucket will be full again, which says how full it is now. Who is pushed out begins with a full one. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct throttle_bucket_key);
	__type(value, u64);
} buckets SEC(".maps");

struct throttled_key {
	u64 id;
	u32 tgid, generation;
	u16 kind, scope;
	u32 zero; /* also the key of the arrays below, for which the stack has no room */
};

/* Who was over a limit, and how often in all. The reader takes out what is not counted any more. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2048);
	__type(key, struct throttled_key);
	__type(value, struct throttled_record);
} throttled SEC(".maps");

struct throttle_totals {
	u64 by_process[RECORD_KINDS], by_cgroup[RECORD_KINDS];
};
/* All of it, exactly: also what found no room in the map above, or an entry that was just taken out. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct throttle_totals);
} throttle_totals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct throttled_record);
} throttle_scratch SEC(".maps");

/* What is on the stack: first the one, then the other. Before 6.4 there is no room for both below a look-up in the DNS. */
union throttle_keys {
	struct throttle_bucket_key bucket;
	struct throttled_key throttled;
};

static __always_inline u32 family_of(u16 kind, u32 ring_index)
{
	if (ring_index == RING_FILE)
		return FAMILY_FILES;
	switch (kind) {
	case RECORD_CONNECT:
	case RECORD_BIND:
	case RECORD_LISTEN:
	case RECORD_ACCEPT:
	case RECORD_SEND:
	case RECORD_DNS:
		return FAMILY_NETWORK;
	case RECORD_CREDENTIALS:
		return FAMILIES;
	}
	return FAMILY_ACTS;
}

/* Takes one act's share out of a bucket. Two processors at once may take the same share: a limit is no promise. */
static __always_inline bool take_share(union throttle_keys *keys, u64 interval_ns, struct record_header *header)
{
	u64 now = header->boot_ns;

	if (!interval_ns)
		return true;
	u64 *full_at = bpf_map_lookup_elem(&buckets, &keys->bucket);
	if (!full_at) {
		/* The first act is free: its time lies in the record, and needs no place on the stack. */
		bpf_map_update_elem(&buckets, &keys->bucket, &header->boot_ns, BPF_ANY);
		return true;
	}
	u64 at = *full_at > now ? *full_at : now;
	if (at - now > config.limits.burst_ns)
		return false;
	*full_at = at + interval_ns;
	return true;
}

static __always_inline void count_throttled(union throttle_keys *keys, struct record_header *header, u32 scope)
{
	struct throttled_key *key = &keys->throttled;
	u64 id = scope == SCOPE_PROCESS ? header->start_ns : keys->bucket.id;
	u32 kind = header->kind;

	__builtin_memset(key, 0, sizeof(*key));
	key->id = id;
	key->kind = kind;
	key->scope = scope;
	if (scope == SCOPE_PROCESS) {
		key->tgid = header->tgid;
		key->generation = header->generation;
	}
	struct throttled_record *record = bpf_map_lookup_elem(&throttled, key);
	if (!record) {
		struct throttled_record *scratch = bpf_map_lookup_elem(&throttle_scratch, &key->zero);
		if (scratch) {
			__builtin_memcpy(&scratch->header, header, sizeof(*header));
			scratch->count = 0;
			scratch->of_kind = kind;
			scratch->by_cgroup = scope == SCOPE_CGROUP;
			bpf_map_update_elem(&throttled, key, scratch, BPF_NOEXIST);
		}
		record = bpf_map_lookup_elem(&throttled, key);
	}
	/* Before it is counted in all, so that a reader who reads the other way round never finds more there than here. */
	if (record)
		__sync_fetch_and_add(&record->count, 1);
	struct throttle_totals *totals = bpf_map_lookup_elem(&throttle_totals, &key->zero);
	if (totals && kind < RECORD_KINDS) {
		if (scope == SCOPE_PROCESS)
			totals->by_process[kind]++;
		else
			totals->by_cgroup[kind]++;
	}
}

/* A function of its own: what it has on the stack does not add to what its callers have. */
static __noinline int is_over_limit(struct record_header *header, u32 ring_index)
{
	u32 family = family_of(header->kind, ring_index);
	union throttle_keys keys = { .bucket = { .id = header->start_ns, .tgid = header->tgid, .family = family } };

	if (family >= FAMILIES)
		return 0;
	if (!take_share(&keys, config.limits.interval_ns[SCOPE_PROCESS][family], header)) {
		count_throttled(&keys, header, SCOPE_PROCESS);
		return 1;
	}
	keys.bucket.id = bpf_get_current_cgroup_id();
	keys.bucket.tgid = 0;
	if (!take_share(&keys, config.limits.interval_ns[SCOPE_CGROUP][family], header)) {
		count_throttled(&keys, header, SCOPE_CGROUP);
		return 1;
	}
	return 0;
}

/* Puts a record into a ring, unless nothing needs its kind, or its process or control group is over a limit. */
static __always_inline void emit(void *ring, u32 ring_index, struct record_header *record, u64 length)
{
	if (ring_index != RING_PROCESS) {
		if (!wants_kind(record->kind)) {
			count_unwanted(record->kind);
			return;
		}
		if (config.limits.burst_ns && is_over_limit(record, ring_index))
			return;
	}
	output(ring, ring_index, record, length);
}

/* As `emit`, of what is done to a process: to the agent's own whatever the plan and the limits say. */
static __always_inline void emit_aimed(void *ring, u32 ring_index, struct record_header *record, u64 length,
				       u32 target_tgid)
{
	if (target_tgid != self_tgid)
		emit(ring, ring_index, record, length);
	else
		output(ring, ring_index, record, length);
}

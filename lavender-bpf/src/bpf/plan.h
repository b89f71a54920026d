/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which events are needed: what nothing needs goes no further, and is counted. Changed while the probes run, so that it is
 * in maps and not among the constants. User space evaluates the same plan, see lavender_core::SensorPlan; what cannot be
 * decided here is let through. */
#pragma once

/* The cases of an event, see lavender_core::Case: a bit of the number each. */
#define CASE_SUCCEEDED 1
#define CASE_READS 2
#define CASE_CHANGES 4

/* Of one kind of records, a bit for each case: of which all are needed, and of which those with a key. */
struct selection {
	u8 cases, file_names, folders, ports;
};
struct sensor_plan {
	u64 wanted[8]; /* system calls by number */
	u64 wanted_compat[8]; /* 32-bit ones */
	struct selection kinds[RECORD_KINDS];
};
volatile struct sensor_plan plan SEC(".data.plan") = {};

/* plan_key.type */
#define KEY_FILE_NAME 1
#define KEY_FOLDER 2
#define KEY_SOURCE_PORT 3
#define KEY_DESTINATION_PORT 4
/* The most bytes of a name that is looked at; keys are shorter by two. */
#define KEY_TEXT_BYTES 32
struct plan_key {
	u16 kind, type;
	u32 port;
	u64 text[KEY_TEXT_BYTES / 8]; /* folded, filled up with zeros */
};
/* By key, the cases in which it counts. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, struct plan_key);
	__type(value, u8);
} plan_keys SEC(".maps");

struct filtered_counters {
	u64 kinds[RECORD_KINDS];
};
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct filtered_counters);
} filtered SEC(".maps");

static __always_inline void count_filtered(u32 kind)
{
	u32 zero = 0;
	struct filtered_counters *counters = bpf_map_lookup_elem(&filtered, &zero);
	if (counters && kind < RECORD_KINDS)
		counters->kinds[kind]++;
}

/* A function of its own: where records are put into the rings, the stack has no room for what this has on it. */
static __noinline int count_unwanted(u32 kind)
{
	count_filtered(kind);
	return 0;
}

/* Whether any record of a kind is needed: a call may be watched for another. */
static __always_inline bool wants_kind(u32 kind)
{
	if (kind >= RECORD_KINDS)
		return true;
	return *(volatile u32 *)&plan.kinds[kind];
}

static __always_inline bool is_planned(struct plan_key *key, u8 this_case)
{
	u8 *cases = bpf_map_lookup_elem(&plan_keys, key);

	return cases && *cases & this_case;
}

/* A name and room to put another behind it. */
struct plan_scratch {
	struct plan_key key;
	u64 room[KEY_TEXT_BYTES / 8];
};

static __always_inline void begin_key(struct plan_scratch *scratch, u16 kind, u16 type)
{
	scratch->key.kind = kind;
	scratch->key.type = type;
	scratch->key.port = 0;
#pragma unroll
	for (u32 i = 0; i < KEY_TEXT_BYTES / 8; i++)
		scratch->key.text[i] = scratch->room[i] = 0;
}

/* Folds the text. False where it has other characters than ASCII, that may fold to anything. */
static __always_inline bool fold_key(struct plan_scratch *scratch)
{
	u64 all = 0;

#pragma unroll
	for (u32 i = 0; i < KEY_TEXT_BYTES / 8; i++) {
		all |= scratch->key.text[i] | scratch->room[i];
		scratch->key.text[i] = fold_word(scratch->key.text[i]);
	}
	return !(all & 0x80 * EVERY_BYTE);
}

/* Whether a record of a socket is needed, by its ports. A function of its own: what it has on the stack does not add to what
 * its caller has. */
static __noinline int passes_ports(struct connect_record *record, bool succeeded)
{
	if (!record)
		return 1;
	u32 kind = record->header.kind;
	u8 this_case = succeeded ? 1 << CASE_SUCCEEDED : 1;

	if (kind >= RECORD_KINDS || plan.kinds[kind].cases & this_case)
		return 1;
	if (plan.kinds[kind].ports & this_case) {
		struct plan_key key = { .kind = kind, .type = KEY_DESTINATION_PORT, .port = record->destination_port };
		if (is_planned(&key, this_case))
			return 1;
		key.type = KEY_SOURCE_PORT;
		key.port = record->source_port;
		if (is_planned(&key, this_case))
			return 1;
	}
	count_filtered(kind);
	return 0;
}

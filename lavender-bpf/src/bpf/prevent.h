/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is prevented, and how it is told. Mirrored by src/enforce/prevention/. */
#pragma once

/* What a verdict is for: of a path, the place of each. A new program is killed at one hook and refused at another. */
enum prevent_slot { SLOT_EXEC_KILL, SLOT_EXEC_DENY, SLOT_READ, SLOT_CHANGE, SLOTS };

enum prevent_action { ACTION_DENY = 1, ACTION_KILL = 2 };

/* What is done, and the number of the test that says so; none: 0. */
struct verdict {
	u32 entry, action;
};

/* The most bytes of a part of a path that is looked at; keys are shorter by two, so that what was cut is none of them. */
#define PART_BYTES 64

/* A part of a path, below what comes before it. What is below the roots of a generation is never mistaken for that of
 * another: numbers are given once. */
struct node_key {
	u32 parent, reserved;
	u64 text[PART_BYTES / 8]; /* folded, filled up with zeros */
};
struct node {
	u32 id;
	u32 spared; /* 1: the program that has this path is never acted upon */
	struct verdict whole[SLOTS], below[SLOTS];
};
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct node_key);
	__type(value, struct node);
} nodes SEC(".maps");

/* Where the paths of the generation in use begin; names in any folder, and names as programs are called, begin at the two
 * numbers after it. Changed once all of a generation is in the maps. */
volatile u32 generation SEC(".data.generation") = 0;
#define ROOT_NAMES 1
#define ROOT_CALLED 2
#define ROOTS 3

#define PEER_ADDRESS 1
#define PEER_PORT 2
struct peer_key {
	u32 generation;
	u16 what, port;
	u8 address[16]; /* IPv4 as ::ffff:a.b.c.d */
};
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct peer_key);
	__type(value, struct verdict);
} peer_verdicts SEC(".maps");

/* Set before loading, constant after. The names are those that filter.h reads. */
struct prevent_config {
	u32 include_count, exclude_count, uid_count, dry_run;
	struct cgroup_filter include[CGROUPS_MAX], exclude[CGROUPS_MAX];
	u32 uids[UIDS_MAX];
};
const volatile struct prevent_config config SEC(".rodata.config");

/* prevent_record.hook */
enum prevent_hook {
	HOOK_EXEC_KILL,
	HOOK_EXEC_DENY,
	HOOK_OPEN,
	HOOK_CONNECT,
	/* Of the agent itself; these are the numbers of their entries, too. */
	HOOK_GUARD_SIGNAL,
	HOOK_GUARD_PTRACE,
	HOOK_GUARD_FILES,
	HOOK_GUARD_BPF,
};

/* prevent_record.what */
#define WHAT_DRY_RUN 1
#define WHAT_DENIED 2
#define WHAT_SIGNALLED 4

struct prevent_record {
	u64 start_ns; /* of the thread group's leader */
	u32 tgid;
	u32 entry, hook, what;
	s32 result; /* of the signal, where one was sent */
	u32 reserved;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} acts SEC(".maps");

struct prevent_counts {
	u64 acts, untold, spared, missed;
};
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct prevent_counts);
} counts SEC(".maps");

#define COUNT(what)                                                            \
	do {                                                                   \
		u32 zero_ = 0;                                                 \
		struct prevent_counts *counts_ = bpf_map_lookup_elem(&counts, &zero_); \
		if (counts_)                                                   \
			__sync_fetch_and_add(&counts_->what, 1);               \
	} while (0)

/* What is done is done each time; it is told so often in a second, so that a program in a loop does not fill the store. */
#define TOLD_MAX 128
struct telling {
	u64 second, told;
};
volatile struct telling telling SEC(".data.telling") = {};

static __always_inline bool may_tell(void)
{
	u64 second = bpf_ktime_get_boot_ns() / 1000000000;

	if (telling.second != second) {
		telling.second = second;
		telling.told = 0;
	}
	if (telling.told >= TOLD_MAX)
		return false;
	telling.told++;
	return true;
}

static __always_inline void tell(struct task_struct *task, u32 entry, u32 hook, u32 what, s32 result)
{
	COUNT(acts);
	if (may_tell()) {
		struct prevent_record record = {
			.start_ns = task->group_leader->start_boottime,
			.tgid = task->tgid,
			.entry = entry,
			.hook = hook,
			.what = what,
			.result = result,
		};
		if (!bpf_ringbuf_output(&acts, &record, sizeof(record), 0))
			return;
	}
	COUNT(untold);
}

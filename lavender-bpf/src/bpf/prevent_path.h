/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A path against those that are prevented: up from the file to the root, by pointers, and down again by names, as far as any
 * of them leads. Most paths are let go at their first part. */
#pragma once

/* As many names next to the root as are kept; no rule has more. */
#define CLIMB_NAMES 32
#define PARTS_MAX 16

/* A thread's own: what looks at paths may be preempted by another thread that does. */
struct climb {
	u64 dentry, mount, root;
	u64 names[CLIMB_NAMES]; /* that at the root last */
	u64 own_name;
	u32 count, done;
	u32 spared;
	struct verdict verdict;
	struct node_key key;
};
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct climb);
} climbs SEC(".maps");

/* The deepest path of 4,095 bytes has 2,047 names; the rest is for mounts. */
#define CLIMB_STEPS_MAX 2200
/* Before 5.17 there is no bpf_loop. What lies deeper is not found then. */
#define CLIMB_STEPS_PLAIN 64

struct climb_context {
	struct climb *climb;
};

static __always_inline void climb_enter_mount(struct climb *climb, u64 vfsmount)
{
	climb->mount = vfsmount - bpf_core_field_offset(struct mount, mnt);
	climb->root = (u64)READ(struct vfsmount, vfsmount, mnt_root);
}

/* As walk_step in walk.h. */
static __always_inline long climb_step(struct climb *climb)
{
	u64 dentry = climb->dentry;

	if (dentry == climb->root) {
		u64 mount = climb->mount;
		u64 parent = (u64)READ(struct mount, mount, mnt_parent);
		if (!parent || parent == mount) {
			climb->done = 1;
			return 1;
		}
		climb->dentry = (u64)READ(struct mount, mount, mnt_mountpoint);
		climb_enter_mount(climb, parent + bpf_core_field_offset(struct mount, mnt));
		return 0;
	}
	u64 name = (u64)READ(struct dentry, dentry, d_name.name);
	if (!climb->count)
		climb->own_name = name;
	climb->names[climb->count & (CLIMB_NAMES - 1)] = name;
	climb->count++;
	u64 parent = (u64)READ(struct dentry, dentry, d_parent);
	if (parent == dentry) { /* a file without a folder, such as a memfd */
		climb->done = 1;
		return 1;
	}
	climb->dentry = parent;
	return 0;
}

static long climb_callback(u64 index, struct climb_context *context)
{
	return climb_step(context->climb);
}

static __always_inline void climb_path(struct climb *climb, struct path *path)
{
	u64 vfsmount = (u64)READ(struct path, path, mnt);

	climb->dentry = (u64)READ(struct path, path, dentry);
	climb->count = climb->done = 0;
	if (!vfsmount || !climb->dentry)
		return;
	climb_enter_mount(climb, vfsmount);
	if (bpf_core_enum_value_exists(enum bpf_func_id___loop, BPF_FUNC_loop___loop)) {
		struct climb_context context = { climb };
		bpf_loop(CLIMB_STEPS_MAX, climb_callback, &context, 0);
	} else {
		BEFORE_LOOP;
		for (u32 step = 0; step < CLIMB_STEPS_PLAIN; step++)
			if (climb_step(climb))
				break;
	}
}

/* What is below a node by this name. Names are read while nobody may free them: these programs run under RCU. */
static __always_inline struct node *child_of(struct climb *climb, u32 parent, u64 name)
{
	struct node_key *key = &climb->key;

	key->parent = parent;
	key->reserved = 0;
#pragma unroll
	for (u32 i = 0; i < PART_BYTES / 8; i++)
		key->text[i] = 0;
	if (bpf_probe_read_kernel_str(key->text, PART_BYTES, (void *)name) <= 0)
		return NULL;
#pragma unroll
	for (u32 i = 0; i < PART_BYTES / 8; i++)
		key->text[i] = fold_word(key->text[i]);
	return bpf_map_lookup_elem(&nodes, key);
}

/* The strongest of what applies; of equals that which came first. */
static __always_inline void take(struct climb *climb, struct verdict *verdict)
{
	if (verdict->entry && verdict->action > climb->verdict.action)
		climb->verdict = *verdict;
}

/* Looks a path up for one purpose: the verdict, and whether the file is that of a program that is spared. */
static __noinline int look_up(struct climb *climb, struct path *path, u32 slot)
{
	if (!climb || slot >= SLOTS)
		return 0;
	climb->spared = 0;
	climb_path(climb, path);
	u32 parent = generation;
	if (!parent || !climb->done || !climb->count)
		return 0;
	struct node *node = child_of(climb, parent + ROOT_NAMES, climb->own_name);
	if (node)
		take(climb, &node->whole[slot]);
	BEFORE_LOOP;
	for (u32 depth = 1; depth <= PARTS_MAX; depth++) {
		u32 count = climb->count;
		if (depth > count)
			break;
		node = child_of(climb, parent, climb->names[(count - depth) & (CLIMB_NAMES - 1)]);
		if (!node)
			break;
		if (depth == count) {
			climb->spared = node->spared;
			take(climb, &node->whole[slot]);
		} else {
			take(climb, &node->below[slot]);
		}
		parent = node->id;
	}
	return 0;
}

#define CALLED_BYTES 4096
/* A thread's own, too; only there where it is asked how programs are called. */
struct called {
	u8 text[CALLED_BYTES + 1];
};
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct called);
} calls SEC(".maps");
volatile u32 asks_called SEC(".data.called") = 0;

/* How a program is called: `whole` is for the text as a whole, `below` for what stands behind its last slash. */
static __noinline int look_up_called(struct climb *climb, struct task_struct *task, u64 name, u32 slot)
{
	u32 root = generation;

	if (!climb || slot >= SLOTS || !root || !asks_called)
		return 0;
	struct node *node = child_of(climb, root + ROOT_CALLED, name);
	if (node)
		take(climb, &node->whole[slot]);
	struct called *called = bpf_task_storage_get(&calls, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!called) {
		COUNT(missed);
		return 0;
	}
	long read = bpf_probe_read_kernel_str(called->text, CALLED_BYTES, (void *)name);
	BEFORE_LOOP;
	for (u32 back = 2; back <= PART_BYTES; back++) {
		if (read < back)
			break;
		u64 at = read - back;
		CLAMP(at, CALLED_BYTES - 1);
		if (called->text[at] != '/')
			continue;
		node = child_of(climb, root + ROOT_CALLED, (u64)(called->text + at + 1));
		if (node)
			take(climb, &node->below[slot]);
		break;
	}
	return 0;
}

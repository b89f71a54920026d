/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From a dentry up to the root: the path of a file, its own name first, each name ended by a NUL; user space turns it
 * round. bpf_d_path is not allowed in tracepoint programs.
 *
 * The state lives in a map's value and not on the stack or in registers: every load of it is then unknown to the
 * verifier, so that all turns of the loop look the same to it, and it checks one. */
#pragma once

struct walk {
	u64 dentry, vfsmount, mount, root;
	u64 target; /* where to write, an offset from `base` */
	u64 length;
	u64 last, before_last; /* where the latest two names begin, from `target` */
	u64 done;
};

/* The deepest path of 4,095 bytes has 2,047 names; the rest is for mounts. */
#define WALK_STEPS_MAX 2200
/* Before 5.17 there is no bpf_loop, and a plain loop of more is not verified. */
#define WALK_STEPS_PLAIN 64

/* Reads a string of the program's own, its NUL counted; negative when it cannot be read. Kernels such as 6.1 say 0 of an
 * empty one, newer ones 1. */
static __always_inline long read_text(u8 *to, u32 size, u64 address)
{
	long read = bpf_probe_read_user_str(to, size, (void *)address);
	if (read)
		return read;
	*to = 0;
	return 1;
}

struct walk_context {
	struct walk *walk;
	u8 *base;
};

static __always_inline void walk_enter_mount(struct walk *walk, struct mount *mount)
{
	struct vfsmount *vfsmount = (void *)((u64)mount + bpf_core_field_offset(struct mount, mnt));
	walk->mount = (u64)mount;
	walk->vfsmount = (u64)vfsmount;
	walk->root = (u64)READ(struct vfsmount, vfsmount, mnt_root);
}

/* One step: a name, or from a mount's root to where it is mounted. Returns 1 at the end. `max_target` is the highest
 * offset at which a name of full length still fits. */
static __always_inline long walk_step(struct walk *walk, u8 *base, u64 max_target)
{
	u64 dentry = walk->dentry;
	if (dentry == walk->root) {
		u64 mount = walk->mount;
		struct mount *parent = READ(struct mount, mount, mnt_parent);
		if (!parent || (u64)parent == mount) {
			walk->done = 1;
			return 1;
		}
		walk->dentry = (u64)READ(struct mount, mount, mnt_mountpoint);
		walk_enter_mount(walk, parent);
		return 0;
	}
	if (walk->length >= WALK_MAX_BYTES)
		return 1;
	u64 at = walk->target + walk->length;
	if (at > max_target)
		return 1;
	CLAMP(at, max_target);
	long written =
		bpf_probe_read_kernel_str(base + at, COMPONENT_MAX_BYTES, READ(struct dentry, dentry, d_name.name));
	if (written <= 0)
		return 1;
	walk->before_last = walk->last;
	walk->last = walk->length;
	walk->length += written;
	u64 parent = (u64)READ(struct dentry, dentry, d_parent);
	if (parent == dentry) { /* a file without a folder: memfd, pipe, socket */
		walk->done = 1;
		return 1;
	}
	walk->dentry = parent;
	return 0;
}

/* Defines `walk_NAME(walk, base, path)`, which writes at most WALK_ROOM bytes at `base + walk->target`. A function of
 * its own for each buffer, since the bound is part of what the verifier checks. */
#define DEFINE_WALK(NAME, MAX_TARGET)                                                                  \
	static long walk_callback_##NAME(u64 index, struct walk_context *context)                      \
	{                                                                                              \
		return walk_step(context->walk, context->base, MAX_TARGET);                            \
	}                                                                                              \
	static __always_inline void walk_##NAME(struct walk *walk, u8 *base, u64 target, struct path *path) \
	{                                                                                              \
		u64 vfsmount = (u64)READ(struct path, path, mnt);                                      \
		walk->dentry = (u64)READ(struct path, path, dentry);                                   \
		walk->target = target;                                                                 \
		walk->length = 0;                                                                      \
		walk->last = walk->before_last = 0;                                                    \
		walk->done = 0;                                                                        \
		if (!vfsmount || !walk->dentry)                                                        \
			return;                                                                        \
		walk_enter_mount(walk, (void *)(vfsmount - bpf_core_field_offset(struct mount, mnt))); \
		if (bpf_core_enum_value_exists(enum bpf_func_id___loop, BPF_FUNC_loop___loop)) {       \
			struct walk_context context = { walk, base };                                  \
			bpf_loop(WALK_STEPS_MAX, walk_callback_##NAME, &context, 0);                   \
		} else {                                                                               \
			BEFORE_LOOP;                                                                   \
			for (u32 step = 0; step < WALK_STEPS_PLAIN; step++)                            \
				if (walk_step(walk, base, MAX_TARGET))                                 \
					break;                                                         \
		}                                                                                      \
	}

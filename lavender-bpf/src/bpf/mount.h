/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is mounted, moved and unmounted, by the old calls and by those that work with descriptors. The options of a mount
 * are not read: they may hold passwords. */
#pragma once

/* include/uapi/linux/mount.h */
#define MS_BIND 0x1000
#define MS_MOVE 0x2000
#define OPEN_TREE_CLONE 1
#define MOVE_MOUNT_F_EMPTY_PATH 0x4
#define MOVE_MOUNT_T_EMPTY_PATH 0x40

/* The native number of a 32-bit call; 0 for a call that is none of these. */
static __always_inline u64 mount_of_compat(u64 nr)
{
	switch (nr) {
	case NR32_MOUNT:
		return NR_MOUNT;
	case NR32_UMOUNT: /* without flags */
	case NR32_UMOUNT2:
		return NR_UMOUNT2;
	case NR32_PIVOT_ROOT:
		return NR_PIVOT_ROOT;
	case NR32_OPEN_TREE:
	case NR32_MOVE_MOUNT:
	case NR32_FSMOUNT:
	case NR32_MOUNT_SETATTR:
	case NR32_OPEN_TREE_ATTR:
		return nr; /* one number everywhere */
	}
	return 0;
}

static __always_inline bool is_mount_call(u64 nr)
{
	return nr == NR_PIVOT_ROOT || nr == NR_MOUNT || nr == NR_UMOUNT2 || nr == NR_OPEN_TREE || nr == NR_MOVE_MOUNT ||
	       nr == NR_FSMOUNT || nr == NR_MOUNT_SETATTR || nr == NR_OPEN_TREE_ATTR;
}

/* Whether a path is the empty one, with which a descriptor stands for itself. */
static __always_inline bool is_empty(u64 name)
{
	u8 first = 1;

	return !bpf_probe_read_user(&first, sizeof(first), (void *)name) && !first;
}

static __always_inline void first_mounted(struct change_scratch *scratch, s32 folder, u64 name)
{
	scratch->mount.places_there |= 1;
	scratch->folders[0] = folder;
	scratch->names[0] = name;
}

static __always_inline void mounted_at(struct change_scratch *scratch, s32 folder, u64 name)
{
	scratch->mount.places_there |= 2;
	scratch->folders[1] = folder;
	scratch->names[1] = name;
}

/* What the call was asked to do. False for one that mounts nothing. `mounted` is the descriptor of the
 * mount itself, if there is one. */
static __always_inline bool read_mount(struct change_scratch *scratch, u64 nr, struct syscall *call, bool compat,
				       s64 *mounted)
{
	struct mount_record *record = &scratch->mount;
	u64 *argument = call->argument;

	switch (nr) {
	case NR_MOUNT:
		record->call = MOUNT_MOUNT;
		record->flags = argument[3];
		/* Of a bind and a move it is a path, of all others a word for the file system. */
		if (argument[0])
			first_mounted(scratch, argument[3] & (MS_BIND | MS_MOVE) ? AT_FDCWD : NO_FOLDER, argument[0]);
		mounted_at(scratch, AT_FDCWD, argument[1]);
		if (argument[2])
			bpf_probe_read_user_str(record->type, sizeof(record->type), (void *)argument[2]);
		return true;
	case NR_UMOUNT2:
		record->call = MOUNT_UMOUNT;
		record->flags = compat && call->nr == NR32_UMOUNT ? 0 : argument[1];
		mounted_at(scratch, AT_FDCWD, argument[0]);
		return true;
	case NR_PIVOT_ROOT:
		record->call = MOUNT_PIVOT_ROOT;
		first_mounted(scratch, AT_FDCWD, argument[0]);
		mounted_at(scratch, AT_FDCWD, argument[1]);
		return true;
	case NR_FSMOUNT:
		record->call = MOUNT_FSMOUNT;
		record->flags = argument[2];
		*mounted = call->result;
		return true;
	case NR_OPEN_TREE:
	case NR_OPEN_TREE_ATTR:
		if (!(argument[2] & OPEN_TREE_CLONE))
			return false;
		record->call = MOUNT_OPEN_TREE;
		record->flags = argument[2];
		*mounted = call->result;
		first_mounted(scratch, argument[0], argument[1]);
		return true;
	case NR_MOVE_MOUNT:
		record->call = MOUNT_MOVE_MOUNT;
		record->flags = argument[4];
		if (argument[4] & MOVE_MOUNT_F_EMPTY_PATH && is_empty(argument[1]))
			*mounted = (s32)argument[0];
		else
			first_mounted(scratch, argument[0], argument[1]);
		mounted_at(scratch, argument[2], argument[3]);
		if (argument[4] & MOVE_MOUNT_T_EMPTY_PATH && is_empty(argument[3]))
			scratch->files = 2;
		return true;
	case NR_MOUNT_SETATTR:
		record->call = MOUNT_SETATTR;
		bpf_probe_read_user(&record->flags, sizeof(record->flags), (void *)argument[3]);
		mounted_at(scratch, argument[0], argument[1]);
		return true;
	}
	return false;
}

/* The mount behind a descriptor, as the kernel has it: its file system's type, and what was mounted, which is written as
 * the first name. How long that is. */
static __always_inline u64 fill_mounted(struct change_scratch *scratch, struct task_struct *task, s64 descriptor)
{
	struct mount_record *record = &scratch->mount;
	struct file *file = file_of(task, descriptor);

	if (!file)
		return 0;
	u64 vfsmount = (u64)BPF_CORE_READ(file, f_path.mnt);
	struct mount *mount = (void *)(vfsmount - bpf_core_field_offset(struct mount, mnt));
	const char *type = BPF_CORE_READ(mount, mnt.mnt_sb, s_type, name);
	bpf_probe_read_kernel_str(record->type, sizeof(record->type), type);
	if (record->places_there & 1)
		return 0;
	long read = bpf_probe_read_kernel_str(scratch->strings, NAME_MAX_BYTES, BPF_CORE_READ(mount, mnt_devname));
	if (read <= 0)
		return 0;
	u64 named = read;
	CLAMP(named, NAME_MAX_BYTES);
	record->places_there |= 1;
	record->places[0].name_length = named;
	record->places[0].flags = named == NAME_MAX_BYTES ? NAME_CUT : 0;
	return named;
}

/* False for another call. */
static __noinline int exit_mount(struct task_struct *task, struct syscall *call, bool compat)
{
	u64 nr = compat ? mount_of_compat(call->nr) : call->nr;
	s64 mounted = -1;
	u64 at = 0;
	u32 zero = 0;

	if (!is_mount_call(nr))
		return 0;
	struct change_scratch *scratch = bpf_map_lookup_elem(&change_scratch, &zero);
	if (!scratch)
		return 1;
	struct mount_record *record = &scratch->mount;
	__builtin_memset(record, 0, sizeof(*record));
	scratch->files = 0;
	if (!read_mount(scratch, nr, call, compat, &mounted))
		return 1;
	fill_header(&record->header, RECORD_MOUNT, task);
	record->result = call->result;
	if (record->places_there & 1)
		at = fill_place(scratch, task, 0, 0);
	if (mounted >= 0) {
		u64 named = fill_mounted(scratch, task, mounted);
		at += named;
	}
	if (record->places_there & 2)
		at = fill_place(scratch, task, 1, at);
	CLAMP(at, CHANGE_ROOM);
	emit(&network_ring, RING_NETWORK, &record->header, sizeof(*record) + at);
	return 1;
}

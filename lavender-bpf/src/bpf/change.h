/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Names that are removed, renamed and linked, and files whose mode or owner is set: with their results, and the folder
 * of each name as the kernel has it. */
#pragma once

#define CHANGE_ROOM (2 * OPEN_ROOM)
/* A name that is relative to nothing: what a symbolic link says. */
#define NO_FOLDER (-2147483647 - 1)
#define AT_REMOVEDIR 0x200
#define RENAME_EXCHANGE 2
#define ID_UNCHANGED 0xffffffff


struct change_scratch {
	struct walk walk;
	u64 names[2];
	s32 folders[2];
	u32 places;
	u32 files; /* bits: the place is the descriptor's own file */
	/* Both end where the strings begin, with their places. */
	union {
		struct {
			u8 gap[sizeof(struct mount_record) - sizeof(struct change_record)];
			struct change_record record;
		};
		struct mount_record mount;
	};
	u8 strings[CHANGE_ROOM];
};
SCRATCH(change_scratch, struct change_scratch);
/* The highest place of a walk is behind a whole first name. */
DEFINE_WALK(change, OPEN_ROOM + WALK_MAX_BYTES)

/* The number that a call of the 32-bit table has in the other one. `small_ids`
 * for the calls whose user ids have 16 bits. 0 for a call that is none of these. */
static __always_inline u64 change_of_compat(u64 nr, bool *small_ids)
{
	switch (nr) {
	case NR32_LINK:
		return NR_LINK;
	case NR32_UNLINK:
		return NR_UNLINK;
	case NR32_CHMOD:
		return NR_CHMOD;
	case NR32_LCHOWN_SMALL:
		*small_ids = true;
		return NR_LCHOWN;
	case NR32_RENAME:
		return NR_RENAME;
	case NR32_RMDIR:
		return NR_RMDIR;
	case NR32_SYMLINK:
		return NR_SYMLINK;
	case NR32_FCHMOD:
		return NR_FCHMOD;
	case NR32_FCHOWN_SMALL:
		*small_ids = true;
		return NR_FCHOWN;
	case NR32_CHOWN_SMALL:
		*small_ids = true;
		return NR_CHOWN;
	case NR32_LCHOWN:
		return NR_LCHOWN;
	case NR32_FCHOWN:
		return NR_FCHOWN;
	case NR32_CHOWN:
		return NR_CHOWN;
	case NR32_FCHOWNAT:
		return NR_FCHOWNAT;
	case NR32_UNLINKAT:
		return NR_UNLINKAT;
	case NR32_RENAMEAT:
		return NR_RENAMEAT;
	case NR32_LINKAT:
		return NR_LINKAT;
	case NR32_SYMLINKAT:
		return NR_SYMLINKAT;
	case NR32_FCHMODAT:
		return NR_FCHMODAT;
	case NR32_RENAMEAT2:
		return NR_RENAMEAT2;
	case NR32_FCHMODAT2:
		return NR_FCHMODAT2;
	}
	return 0;
}

static __always_inline void one_place(struct change_scratch *scratch, s32 folder, u64 name)
{
	scratch->places = 1;
	scratch->folders[0] = folder;
	scratch->names[0] = name;
}

/* A file by its descriptor alone. */
static __always_inline void one_file(struct change_scratch *scratch, s32 descriptor)
{
	one_place(scratch, descriptor, 0);
	scratch->files = 1;
}

static __always_inline void second_place(struct change_scratch *scratch, s32 folder, u64 name)
{
	scratch->places = 2;
	scratch->folders[1] = folder;
	scratch->names[1] = name;
}

static __always_inline u32 wide_id(u64 id, bool small)
{
	if (!small)
		return id;
	return (u16)id == 0xffff ? ID_UNCHANGED : (u16)id;
}

static __always_inline u16 set_owner(struct change_record *record, u64 uid, u64 gid, bool small)
{
	record->what = CHANGE_OWNER;
	record->uid = wide_id(uid, small);
	record->gid = wide_id(gid, small);
	return RECORD_MODE;
}

static __always_inline u16 set_mode(struct change_record *record, u64 mode)
{
	record->what = CHANGE_MODE;
	record->mode = (u16)mode; /* umode_t */
	return RECORD_MODE;
}

/* What the call was asked to do, with the kind of its record; 0 for another call. */
static __always_inline u16 read_change(struct change_scratch *scratch, struct syscall *call, bool compat)
{
	struct change_record *record = &scratch->record;
	u64 *argument = call->argument;
	bool small_ids = false;
	u64 nr = compat ? change_of_compat(call->nr, &small_ids) : call->nr;

	switch (nr) {
	case NR_UNLINK:
	case NR_RMDIR:
		one_place(scratch, AT_FDCWD, argument[0]);
		record->what = nr == NR_RMDIR ? CHANGE_DIRECTORY : 0;
		return RECORD_DELETE;
	case NR_UNLINKAT:
		one_place(scratch, argument[0], argument[1]);
		record->what = argument[2] & AT_REMOVEDIR ? CHANGE_DIRECTORY : 0;
		return RECORD_DELETE;
	case NR_RENAME:
		one_place(scratch, AT_FDCWD, argument[0]);
		second_place(scratch, AT_FDCWD, argument[1]);
		return RECORD_RENAME;
	case NR_RENAMEAT:
	case NR_RENAMEAT2:
		one_place(scratch, argument[0], argument[1]);
		second_place(scratch, argument[2], argument[3]);
		record->what = nr == NR_RENAMEAT2 && argument[4] & RENAME_EXCHANGE ? CHANGE_EXCHANGE : 0;
		return RECORD_RENAME;
	case NR_LINK:
		one_place(scratch, AT_FDCWD, argument[0]);
		second_place(scratch, AT_FDCWD, argument[1]);
		return RECORD_LINK;
	case NR_LINKAT:
		one_place(scratch, argument[0], argument[1]);
		second_place(scratch, argument[2], argument[3]);
		return RECORD_LINK;
	case NR_SYMLINK:
		one_place(scratch, NO_FOLDER, argument[0]);
		second_place(scratch, AT_FDCWD, argument[1]);
		record->what = CHANGE_SYMBOLIC;
		return RECORD_LINK;
	case NR_SYMLINKAT:
		one_place(scratch, NO_FOLDER, argument[0]);
		second_place(scratch, argument[1], argument[2]);
		record->what = CHANGE_SYMBOLIC;
		return RECORD_LINK;
	case NR_CHMOD:
		one_place(scratch, AT_FDCWD, argument[0]);
		return set_mode(record, argument[1]);
	case NR_FCHMOD:
		one_file(scratch, argument[0]);
		return set_mode(record, argument[1]);
	case NR_FCHMODAT:
	case NR_FCHMODAT2:
		one_place(scratch, argument[0], argument[1]);
		return set_mode(record, argument[2]);
	case NR_CHOWN:
	case NR_LCHOWN:
		one_place(scratch, AT_FDCWD, argument[0]);
		return set_owner(record, argument[1], argument[2], small_ids);
	case NR_FCHOWN:
		one_file(scratch, argument[0]);
		return set_owner(record, argument[1], argument[2], small_ids);
	case NR_FCHOWNAT:
		one_place(scratch, argument[0], argument[1]);
		return set_owner(record, argument[2], argument[3], small_ids);
	}
	return 0;
}

/* Writes the walk and the name of one place at `at`. Where they end. */
static __always_inline u64 fill_place(struct change_scratch *scratch, struct task_struct *task, u32 index, u64 at)
{
	struct place *place = &scratch->record.places[index];
	u64 name = scratch->names[index];
	s32 descriptor = scratch->folders[index];
	bool is_file = scratch->files >> index & 1;
	u64 walked = 0, named = 0;

	CLAMP(at, OPEN_ROOM);
	if (descriptor != NO_FOLDER) {
		struct path *path = NULL;
		u8 first = 0;

		if (!is_file)
			bpf_probe_read_user(&first, sizeof(first), (void *)name);
		if (first == '/') {
			place->flags |= NAME_IN_ROOT;
			path = task->fs ? &task->fs->root : NULL;
		} else if (descriptor == AT_FDCWD) {
			path = task->fs ? &task->fs->pwd : NULL;
		} else {
			struct file *folder = file_of(task, descriptor);
			path = folder ? &folder->f_path : NULL;
		}
		scratch->walk.length = 0;
		scratch->walk.done = 0;
		if (path)
			walk_change(&scratch->walk, scratch->strings, at, path);
		walked = scratch->walk.length;
		CLAMP(walked, WALK_ROOM);
		if (!scratch->walk.done)
			place->flags |= walked ? WALK_CUT : WALK_UNREADABLE;
	}
	place->walk_length = walked;
	at += walked;
	if (is_file) {
		place->flags |= WALK_IS_FILE;
	} else {
		CLAMP(at, OPEN_ROOM + WALK_ROOM);
		long read = read_text(scratch->strings + at, NAME_MAX_BYTES, name);
		if (read <= 0)
			place->flags |= NAME_UNREADABLE;
		else if (read == NAME_MAX_BYTES)
			place->flags |= NAME_CUT;
		named = read > 0 ? read : 0;
		CLAMP(named, NAME_MAX_BYTES);
	}
	place->name_length = named;
	return at + named;
}

/* False for another call. Unlike the others it is no function of its own: on 6.1 no event came of it then. */
static __always_inline int exit_change(struct task_struct *task, struct syscall *call, bool compat)
{
	u32 zero = 0;
	struct change_scratch *scratch = bpf_map_lookup_elem(&change_scratch, &zero);
	if (!scratch)
		return 0;
	struct change_record *record = &scratch->record;

	__builtin_memset(record, 0, sizeof(*record));
	scratch->files = 0;
	u16 kind = read_change(scratch, call, compat);
	if (!kind)
		return 0;
	fill_header(&record->header, kind, task);
	record->result = call->result;
	u64 at = fill_place(scratch, task, 0, 0);
	if (scratch->places == 2)
		at = fill_place(scratch, task, 1, at);
	CLAMP(at, CHANGE_ROOM);
	emit(&file_ring, RING_FILE, &record->header, sizeof(*record) + at);
	return 1;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Opens, with their results and the absolute path of what was opened. */
#pragma once

#define OPEN_ROOM (WALK_ROOM + NAME_MAX_BYTES)
struct open_scratch {
	struct walk walk;
	struct open_record record;
	u8 strings[OPEN_ROOM];
};
SCRATCH(open_scratch, struct open_scratch);
DEFINE_WALK(open, WALK_MAX_BYTES)

/* include/uapi/linux/openat2.h */
struct open_how {
	u64 flags, mode, resolve;
};
#define RESOLVE_IN_ROOT 0x10

/* One open, whichever call it was. */
struct open_call {
	u64 name;
	s32 folder;
	u32 flags, mode;
	bool in_root;
};

/* The file behind a descriptor of the current task. */
static __always_inline struct file *file_of(struct task_struct *task, s64 descriptor)
{
	struct fdtable *table = task->files->fdt;
	struct file *file = NULL;

	if (descriptor < 0 || descriptor >= table->max_fds)
		return NULL;
	bpf_probe_read_kernel(&file, sizeof(file), (void *)((u64)table->fd + descriptor * sizeof(file)));
	return file;
}

/* The folder that a name is relative to: of the call, of the process, or the root of the process. */
static __always_inline void walk_folder(struct open_scratch *scratch, struct task_struct *task, struct open_call *call,
					bool absolute)
{
	struct open_record *record = &scratch->record;
	struct fs_struct *fs = task->fs;
	struct path *path = NULL;

	if (absolute && !call->in_root) {
		record->header.flags |= NAME_IN_ROOT;
		path = fs ? &fs->root : NULL;
	} else if (call->folder == AT_FDCWD) {
		path = fs ? &fs->pwd : NULL;
	} else {
		struct file *folder = file_of(task, call->folder);
		path = folder ? &folder->f_path : NULL;
	}
	if (call->in_root)
		record->header.flags |= NAME_IN_ROOT;
	scratch->walk.length = 0;
	scratch->walk.done = 0;
	if (path)
		walk_open(&scratch->walk, scratch->strings, 0, path);
}

static __always_inline void emit_open(struct task_struct *task, struct open_call *call, s64 result)
{
	u32 zero = 0;
	struct open_scratch *scratch = bpf_map_lookup_elem(&open_scratch, &zero);
	if (!scratch)
		return;
	struct open_record *record = &scratch->record;
	struct file *file = result >= 0 ? file_of(task, result) : NULL;
	u8 this_case = case_of_open(call->flags, result);
	bool by_folder = false;
	u64 name_length = 0;

	if (!(plan.kinds[RECORD_OPEN].cases & this_case)) {
		bool passes = plan.kinds[RECORD_OPEN].file_names & this_case && passes_file_name(file, this_case);
		by_folder = !passes && plan.kinds[RECORD_OPEN].folders & this_case;
		if (!passes && !by_folder) {
			count_filtered(RECORD_OPEN);
			return;
		}
	}

	fill_header(&record->header, RECORD_OPEN, task);
	record->result = result;
	record->inode = 0;
	record->device = 0;
	record->open_flags = open_flags_of(call->flags);
	record->mode = call->mode;
	if (file) {
		struct inode *inode = READ(struct file, file, f_inode);
		record->inode = READ(struct inode, inode, i_ino);
		struct super_block *disk = READ(struct inode, inode, i_sb);
		record->device = READ(struct super_block, disk, s_dev);
		record->header.flags |= WALK_IS_FILE;
		walk_open(&scratch->walk, scratch->strings, 0, &file->f_path);
		if (by_folder && !passes_folder(&scratch->walk, scratch->strings, this_case)) {
			count_filtered(RECORD_OPEN);
			return;
		}
	} else {
		u8 first = 0;
		bpf_probe_read_user(&first, sizeof(first), (void *)call->name);
		walk_folder(scratch, task, call, first == '/');
	}
	u64 at = scratch->walk.length;
	CLAMP(at, WALK_ROOM);
	if (!scratch->walk.done)
		record->header.flags |= at ? WALK_CUT : WALK_UNREADABLE;
	record->walk_length = at;
	if (!file) {
		long read = read_text(scratch->strings + at, NAME_MAX_BYTES, call->name);
		if (read <= 0)
			record->header.flags |= NAME_UNREADABLE;
		else if (read == NAME_MAX_BYTES)
			record->header.flags |= NAME_CUT;
		name_length = read > 0 ? read : 0;
		CLAMP(name_length, NAME_MAX_BYTES);
	}
	record->name_length = name_length;
	at += name_length;
	CLAMP(at, OPEN_ROOM);
	emit(&file_ring, RING_FILE, &record->header, sizeof(*record) + at);
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Programs that could not be started: the tracepoint of execs tells of the others alone. */
#pragma once

#define AT_EMPTY_PATH 0x1000

/* The most of one argument; what a whole one more might not fit into is left. */
#define ARGUMENT_MAX_BYTES 4096
#define EXEC_FAILED_ROOM (OPEN_ROOM + ARGUMENTS_INLINE_BYTES)
/* An argument has a byte at least. */
#define ARGUMENTS_STEPS_MAX ARGUMENTS_INLINE_BYTES
#define ARGUMENTS_STEPS_PLAIN 32

struct exec_failed_scratch {
	struct walk walk;
	u64 next; /* where the next argument's address is */
	u64 start, length; /* of the arguments, in `strings` */
	u64 compat;
	struct exec_failed_record record;
	u8 strings[EXEC_FAILED_ROOM];
};
SCRATCH(exec_failed_scratch, struct exec_failed_scratch);
DEFINE_WALK(exec_failed, WALK_MAX_BYTES)

/* Appends one argument. 1 at the end. */
static __always_inline long copy_argument(struct exec_failed_scratch *scratch)
{
	struct record_header *header = &scratch->record.header;
	u64 address = 0;
	long failed = scratch->compat ? bpf_probe_read_user(&address, sizeof(u32), (void *)scratch->next) :
					bpf_probe_read_user(&address, sizeof(u64), (void *)scratch->next);
	if (failed) {
		header->flags |= ARGUMENTS_UNREADABLE;
		return 1;
	}
	if (!address)
		return 1;
	u64 length = scratch->length;
	if (length > ARGUMENTS_INLINE_BYTES - ARGUMENT_MAX_BYTES) {
		header->flags |= ARGUMENTS_OVER_LIMIT;
		return 1;
	}
	u64 at = scratch->start + length;
	CLAMP(at, EXEC_FAILED_ROOM - ARGUMENT_MAX_BYTES);
	long read = read_text(scratch->strings + at, ARGUMENT_MAX_BYTES, address);
	if (read <= 0) {
		header->flags |= ARGUMENTS_UNREADABLE;
		return 1;
	}
	scratch->length += read;
	scratch->next += scratch->compat ? sizeof(u32) : sizeof(u64);
	if (read == ARGUMENT_MAX_BYTES) {
		header->flags |= ARGUMENTS_OVER_LIMIT;
		return 1;
	}
	return 0;
}

struct exec_failed_context {
	struct exec_failed_scratch *scratch;
};

static long copy_argument_callback(u64 index, struct exec_failed_context *context)
{
	return copy_argument(context->scratch);
}

/* The name and the folder that it is relative to. Where they end. */
static __always_inline u64 fill_exec_name(struct exec_failed_scratch *scratch, struct task_struct *task, s32 folder,
					  u64 name, bool may_be_empty)
{
	struct exec_failed_record *record = &scratch->record;
	struct path *path = NULL;
	struct fs_struct *fs = task->fs;
	u8 first = 0;
	bool readable = !bpf_probe_read_user(&first, sizeof(first), (void *)name);
	bool is_file = readable && !first && may_be_empty && folder != AT_FDCWD;
	u64 at = 0, named = 0;

	if (first == '/') {
		record->header.flags |= NAME_IN_ROOT;
		path = fs ? &fs->root : NULL;
	} else if (folder == AT_FDCWD) {
		path = fs ? &fs->pwd : NULL;
	} else {
		struct file *file = file_of(task, folder);
		path = file ? &file->f_path : NULL;
	}
	scratch->walk.length = 0;
	scratch->walk.done = 0;
	if (path)
		walk_exec_failed(&scratch->walk, scratch->strings, 0, path);
	at = scratch->walk.length;
	CLAMP(at, WALK_ROOM);
	if (!scratch->walk.done)
		record->header.flags |= at ? WALK_CUT : WALK_UNREADABLE;
	record->walk_length = at;
	if (is_file) {
		record->header.flags |= WALK_IS_FILE;
	} else {
		long read = read_text(scratch->strings + at, NAME_MAX_BYTES, name);
		if (read <= 0)
			record->header.flags |= NAME_UNREADABLE;
		else if (read == NAME_MAX_BYTES)
			record->header.flags |= NAME_CUT;
		named = read > 0 ? read : 0;
		CLAMP(named, NAME_MAX_BYTES);
	}
	record->name_length = named;
	return at + named;
}

static __always_inline bool is_exec(u64 nr, bool compat)
{
	return nr == (compat ? NR32_EXECVE : NR_EXECVE) || nr == (compat ? NR32_EXECVEAT : NR_EXECVEAT);
}

/* A function of its own: what it has on the stack does not add to what its caller has. Whether it was such a call. */
static __noinline int exit_exec(struct task_struct *task, struct syscall *call, bool compat)
{
	u32 zero = 0;
	bool at_folder = call->nr == (compat ? NR32_EXECVEAT : NR_EXECVEAT);

	if (!at_folder && call->nr != (compat ? NR32_EXECVE : NR_EXECVE))
		return 0;
	struct exec_failed_scratch *scratch = bpf_map_lookup_elem(&exec_failed_scratch, &zero);
	if (call->result >= 0 || !scratch)
		return 1;
	struct exec_failed_record *record = &scratch->record;
	s32 folder = at_folder ? (s32)call->argument[0] : AT_FDCWD;
	u64 name = at_folder ? call->argument[1] : call->argument[0];
	u64 arguments = at_folder ? call->argument[2] : call->argument[1];

	fill_header(&record->header, RECORD_EXEC_FAILED, task);
	record->result = call->result;
	u64 at = fill_exec_name(scratch, task, folder, name, at_folder && call->argument[4] & AT_EMPTY_PATH);
	scratch->start = at;
	scratch->length = 0;
	scratch->next = arguments;
	scratch->compat = compat;
	if (!arguments) {
		/* Linux takes that for none. */
	} else if (bpf_core_enum_value_exists(enum bpf_func_id___loop, BPF_FUNC_loop___loop)) {
		struct exec_failed_context context = { scratch };
		bpf_loop(ARGUMENTS_STEPS_MAX, copy_argument_callback, &context, 0);
	} else {
		BEFORE_LOOP;
		for (u32 step = 0; step < ARGUMENTS_STEPS_PLAIN; step++) {
			if (copy_argument(scratch))
				break;
			if (step == ARGUMENTS_STEPS_PLAIN - 1)
				record->header.flags |= ARGUMENTS_OVER_LIMIT;
		}
	}
	u64 length = scratch->length;
	CLAMP(length, ARGUMENTS_INLINE_BYTES);
	record->arguments_length = length;
	at += length;
	CLAMP(at, EXEC_FAILED_ROOM);
	emit(&network_ring, RING_NETWORK, &record->header, sizeof(*record) + at);
	return 1;
}

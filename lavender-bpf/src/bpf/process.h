/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Process life: fork, exec, exit. */
#pragma once

/* A program record with its strings. Below 32 KiB, the most that a per-CPU value may have. */
#define PROGRAM_ROOM (CHANGED_BYTES + NAME_MAX_BYTES + 2 * WALK_ROOM + ARGUMENTS_INLINE_BYTES)
struct program_scratch {
	struct walk walk;
	struct program_record record;
	u8 strings[PROGRAM_ROOM] __attribute__((aligned(8)));
};
struct arguments_scratch {
	struct arguments_record record;
	u8 bytes[ARGUMENTS_CHUNK_BYTES];
};

#define SCRATCH(NAME, TYPE)                               \
	struct {                                          \
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);  \
		__uint(max_entries, 1);                   \
		__type(key, u32);                         \
		__type(value, TYPE);                      \
	} NAME SEC(".maps")
/* Each program has its own: a program that is preempted cannot meet itself on its CPU, but it can meet another. */
SCRATCH(exec_scratch, struct program_scratch);
SCRATCH(exec_arguments_scratch, struct arguments_scratch);
SCRATCH(fork_scratch, struct fork_record);
SCRATCH(exit_scratch, struct exit_record);

DEFINE_WALK(program, PROGRAM_ROOM - COMPONENT_MAX_BYTES - ARGUMENTS_INLINE_BYTES)

/* Who has just been born into namespaces that its maker has not, by the maker's thread: told at the end of its clone, and
 * by then the new process may be gone. Nearly always empty, so that a clone is not looked at any further. */
struct born_elsewhere {
	u64 start_ns;
	u32 tgid, generation;
	u32 tid; /* in the pid namespace of its maker */
	u32 reserved;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, u32);
	__type(value, struct born_elsewhere);
} born_elsewhere SEC(".maps");

/* The number of a task in the pid namespace of another, which made it: it has one there, too. */
static __always_inline u32 number_for(struct task_struct *maker, struct task_struct *task)
{
	struct pid *of_maker = BPF_CORE_READ(maker, thread_pid), *pid = BPF_CORE_READ(task, thread_pid);
	struct upid *number = (void *)((u64)pid + bpf_core_field_offset(struct pid, numbers) +
				       (u64)READ(struct pid, of_maker, level) * bpf_core_type_size(struct upid));

	return READ(struct upid, number, nr);
}

static __always_inline void note_namespaces(struct task_struct *parent, struct task_struct *child)
{
	if (child->nsproxy == parent->nsproxy && child->real_cred->user_ns == parent->real_cred->user_ns)
		return;
	if (!is_wanted(parent))
		return;
	u32 tid = parent->pid;
	struct born_elsewhere born = {
		.start_ns = child->group_leader->start_boottime,
		.tgid = child->tgid,
		.generation = child->self_exec_id,
		.tid = number_for(parent, child),
	};
	bpf_map_update_elem(&born_elsewhere, &tid, &born, BPF_ANY);
}

static __always_inline void on_process_fork(struct task_struct *parent, struct task_struct *child)
{
	u32 zero = 0;

	if (config.namespaces)
		note_namespaces(parent, child);
	if (child->pid != child->tgid)
		return;
	struct fork_record *record = bpf_map_lookup_elem(&fork_scratch, &zero);
	if (!record)
		return;
	fill_header(&record->header, RECORD_FORK, child);
	if (!is_wanted(child))
		record->header.flags |= TASK_OUTSIDE;
	fill_task(&record->task, child, parent);
	emit(&process_ring, RING_PROCESS, &record->header, sizeof(*record));
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(process_fork, struct task_struct *parent, struct task_struct *child)
{
	enter();
	on_process_fork(parent, child);
	leave();
	return 0;
}

/* Appends a path to the strings of a program record and returns its length. */
static __always_inline u16 append_walk(struct program_scratch *scratch, u64 at, struct path *path, u16 cut,
				       u16 unreadable)
{
	walk_program(&scratch->walk, scratch->strings, at, path);
	u64 length = scratch->walk.length;
	if (!scratch->walk.done)
		scratch->record.header.flags |= length ? cut : unreadable;
	CLAMP(length, WALK_ROOM);
	return length;
}

/* The head of a program record: the process, its program's path, its folder. Returns the length of the strings. */
static __always_inline u64 fill_program_record(struct program_scratch *scratch, struct task_struct *task, u64 at,
					       bool with_directory)
{
	struct mm_struct *mm = task->mm;
	struct file *file = mm ? mm->exe_file : NULL;
	struct program_record *record = &scratch->record;

	record->program_length = 0;
	record->directory_length = 0;
	record->arguments_total = 0;
	record->arguments_length = 0;
	record->changed_length = CHANGED_BYTES;
	*(s64 *)scratch->strings = 0;
	if (file) {
		*(s64 *)scratch->strings = changed_ns(file);
		record->header.flags |= fill_program(&record->task, file);
		record->program_length = append_walk(scratch, at, &file->f_path, PROGRAM_CUT, PROGRAM_UNREADABLE);
		at += record->program_length;
	} else {
		record->header.flags |= PROGRAM_UNREADABLE; /* a zombie, or a thread of the kernel */
	}
	struct fs_struct *fs = task->fs;
	if (with_directory && fs) {
		record->directory_length = append_walk(scratch, at, &fs->pwd, DIRECTORY_CUT, DIRECTORY_UNREADABLE);
		at += record->directory_length;
	}
	return at;
}

struct arguments_context {
	u64 start, total;
};

/* One continuation record: the bytes at INLINE + index * CHUNK. */
static long emit_arguments(u64 index, struct arguments_context *context)
{
	u32 zero = 0;
	u64 offset = ARGUMENTS_INLINE_BYTES + index * ARGUMENTS_CHUNK_BYTES;
	struct arguments_scratch *scratch = bpf_map_lookup_elem(&exec_arguments_scratch, &zero);
	if (!scratch || offset >= context->total)
		return 1;
	u64 length = context->total - offset;
	CLAMP(length, ARGUMENTS_CHUNK_BYTES);
	struct arguments_record *record = &scratch->record;

	fill_header(&record->header, RECORD_ARGUMENTS, bpf_get_current_task_btf());
	record->index = index;
	record->offset = offset;
	record->total = context->total;
	if (bpf_probe_read_user(scratch->bytes, length, (void *)(context->start + offset))) {
		record->header.flags |= ARGUMENTS_UNREADABLE;
		length = 0;
	}
	record->length = length;
	CLAMP(length, ARGUMENTS_CHUNK_BYTES);
	emit(&process_ring, RING_PROCESS, &record->header, sizeof(*record) + length);
	return 0;
}

#define ARGUMENTS_CHUNKS_MAX (ARGUMENTS_MAX_BYTES / ARGUMENTS_CHUNK_BYTES + 1)
#define ARGUMENTS_CHUNKS_PLAIN 16

static __always_inline void on_process_exec(struct task_struct *task, struct linux_binprm *bprm)
{
	u32 zero = 0;
	bool wanted = is_wanted(task);
	struct program_scratch *scratch = bpf_map_lookup_elem(&exec_scratch, &zero);
	if (!scratch)
		return;
	struct program_record *record = &scratch->record;

	fill_header(&record->header, RECORD_EXEC, task);
	fill_task(&record->task, task, task->real_parent);
	if (!wanted) {
		record->header.flags |= TASK_OUTSIDE;
		record->name_length = 0;
		u64 end = fill_program_record(scratch, task, CHANGED_BYTES, false);
		CLAMP(end, PROGRAM_ROOM);
		emit(&process_ring, RING_PROCESS, &record->header, sizeof(*record) + end);
		return;
	}
	long name = bpf_probe_read_kernel_str(scratch->strings + CHANGED_BYTES, NAME_MAX_BYTES, bprm->filename);
	if (name <= 0) {
		record->header.flags |= NAME_UNREADABLE;
		name = 0;
	}
	u64 at = name;
	CLAMP(at, NAME_MAX_BYTES);
	record->name_length = at;
	at = fill_program_record(scratch, task, CHANGED_BYTES + at, true);

	struct arguments_context arguments = { task->mm->arg_start, task->mm->arg_end - task->mm->arg_start };
	record->arguments_total = arguments.total;
	if (arguments.total > ARGUMENTS_MAX_BYTES) {
		record->header.flags |= ARGUMENTS_OVER_LIMIT;
		arguments.total = ARGUMENTS_MAX_BYTES;
	}
	u64 length = arguments.total;
	CLAMP(at, PROGRAM_ROOM - ARGUMENTS_INLINE_BYTES);
	CLAMP(length, ARGUMENTS_INLINE_BYTES);
	if (bpf_probe_read_user(scratch->strings + at, length, (void *)arguments.start)) {
		record->header.flags |= ARGUMENTS_UNREADABLE;
		length = 0;
	}
	record->arguments_length = length;
	at += length;
	CLAMP(at, PROGRAM_ROOM);
	emit(&process_ring, RING_PROCESS, &record->header, sizeof(*record) + at);

	if (arguments.total <= ARGUMENTS_INLINE_BYTES)
		return;
	if (bpf_core_enum_value_exists(enum bpf_func_id___loop, BPF_FUNC_loop___loop)) {
		bpf_loop(ARGUMENTS_CHUNKS_MAX, emit_arguments, &arguments, 0);
	} else {
		BEFORE_LOOP;
		for (u32 index = 0; index < ARGUMENTS_CHUNKS_PLAIN; index++)
			if (emit_arguments(index, &arguments))
				break;
	}
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(process_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	enter();
	on_process_exec(task, bprm);
	leave();
	return 0;
}

/* Threads that end at once may all find that none is left: the first to get here reports it. */
struct exit_key {
	u64 start_ns;
	u64 tgid;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct exit_key);
	__type(value, u8);
} exited SEC(".maps");

/* Whether this thread is to report the end of its process. A leader that is alone has nobody to agree with: each other thread
 * is gone from the list of threads, and what it reported was noted before that. So it looks and does not note, which is much
 * cheaper; nearly all processes end so. */
static __always_inline bool reports_exit(struct task_struct *task)
{
	struct exit_key key = { task->group_leader->start_boottime, task->tgid };

	if (task->pid != task->tgid || task->signal->nr_threads != 1)
		return is_first(&exited, &key);
	return !bpf_map_lookup_elem(&exited, &key);
}

static __always_inline void on_process_exit(struct task_struct *task)
{
	/* A leader that ends before its threads, or whose thread execs, does not end the process. */
	if (task->signal->live.counter != 0)
		return;
	u32 zero = 0;
	struct exit_record *record = bpf_map_lookup_elem(&exit_scratch, &zero);
	if (!record)
		return;
	fill_header(&record->header, RECORD_EXIT, task);
	if (!is_wanted(task))
		record->header.flags |= TASK_OUTSIDE;
	if (!reports_exit(task))
		return;
	/* What wait(2) tells: the group's code where it was ended as a group, else the leader's. */
	record->exit_code = task->signal->flags & SIGNAL_GROUP_EXIT ? task->signal->group_exit_code
								    : task->group_leader->exit_code;
	emit(&process_ring, RING_PROCESS, &record->header, sizeof(*record));
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(process_exit, struct task_struct *task)
{
	enter();
	on_process_exit(task);
	leave();
	return 0;
}

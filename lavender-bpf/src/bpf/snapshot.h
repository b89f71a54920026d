/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The processes that run already, through an iterator that the agent reads. */
#pragma once

SCRATCH(snapshot_scratch, struct program_scratch);

SEC("iter/task")
int snapshot(struct bpf_iter__task *context)
{
	struct task_struct *task = context->task;
	u32 zero = 0;

	/* The reader is the agent: learn its number in the initial pid namespace. */
	self_tgid = bpf_get_current_pid_tgid() >> 32;
	if (!task || task->pid != task->tgid)
		return 0;
	struct program_scratch *scratch = bpf_map_lookup_elem(&snapshot_scratch, &zero);
	if (!scratch)
		return 0;
	struct program_record *record = &scratch->record;
	bool wanted = is_wanted(task);

	fill_header(&record->header, RECORD_TASK, task);
	fill_task(&record->task, task, task->real_parent);
	record->name_length = 0;
	u64 at = fill_program_record(scratch, task, CHANGED_BYTES, wanted);
	if (!wanted)
		record->header.flags |= TASK_OUTSIDE;
	if (task->flags & PF_KTHREAD)
		record->header.flags |= TASK_KERNEL_THREAD;
	/* As where an end is told: no thread is left. */
	if (task->signal->live.counter == 0)
		record->header.flags |= TASK_ENDED;
	CLAMP(at, PROGRAM_ROOM);
	record->header.length = sizeof(*record) + at;
	bpf_seq_write(context->meta->seq, record, sizeof(*record) + at);
	return 0;
}

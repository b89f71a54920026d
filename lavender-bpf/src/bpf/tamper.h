/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What gets code into another process, into memory, into the kernel: ptrace, process_vm_writev, memfd_create, modules. */
#pragma once

#define TAMPER_ROOM (WALK_ROOM + NAME_MAX_BYTES)


/* include/uapi/linux/ptrace.h, arch/x86/include/uapi/asm/ptrace-abi.h */
#define PTRACE_POKETEXT 4
#define PTRACE_POKEDATA 5
#define PTRACE_POKEUSR 6
#define PTRACE_SETREGS 13
#define PTRACE_SETFPREGS 15
#define PTRACE_ATTACH 16
#define PTRACE_SETFPXREGS 19
#define PTRACE_SETREGSET 0x4205
#define PTRACE_SEIZE 0x4206

/* include/linux/xarray.h: a pointer to a node has 2 in its lowest bits. */
#define XA_NODE_MASK 3
#define XA_NODE_TAG 2
#define XA_SLOTS_MASK 63
/* 32 bits, 6 a level. */
#define XA_LEVELS_MAX 6

struct tamper_scratch {
	struct walk walk;
	struct tamper_record record;
	u8 strings[TAMPER_ROOM];
};
SCRATCH(tamper_scratch, struct tamper_scratch);
DEFINE_WALK(tamper, WALK_MAX_BYTES)

/* The number that a call of the 32-bit table has in the other one. 0 for a call that is none of these. */
static __always_inline u64 tamper_of_compat(u64 nr)
{
	switch (nr) {
	case NR32_PTRACE:
		return NR_PTRACE;
	case NR32_INIT_MODULE:
		return NR_INIT_MODULE;
	case NR32_PROCESS_VM_WRITEV:
		return NR_PROCESS_VM_WRITEV;
	case NR32_FINIT_MODULE:
		return NR_FINIT_MODULE;
	case NR32_MEMFD_CREATE:
		return NR_MEMFD_CREATE;
	case NR32_MEMFD_SECRET:
		return NR_MEMFD_SECRET;
	}
	return 0;
}

/* The task that a number stands for in the pid namespace of the caller, as the kernel looks it up: in the namespace's
 * tree of numbers. The kfunc for that is younger than 6.1, and knows the initial namespace only. */
static __always_inline struct task_struct *task_of_number(struct task_struct *task, u32 number)
{
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	/* The last of the numbers is the one in the process's own namespace. */
	struct upid *own = (void *)((u64)pid + bpf_core_field_offset(struct pid, numbers) +
				    (u64)BPF_CORE_READ(pid, level) * bpf_core_type_size(struct upid));
	u64 entry = (u64)BPF_CORE_READ(own, ns, idr.idr_rt.xa_head);

#pragma unroll
	for (u32 depth = 0; depth < XA_LEVELS_MAX; depth++) {
		if ((entry & XA_NODE_MASK) != XA_NODE_TAG)
			break;
		struct xa_node *node = (void *)(entry & ~(u64)XA_NODE_MASK);
		u32 shift = BPF_CORE_READ(node, shift) & 31;
		u64 slot = number >> shift;
		/* Too large for the tree: no slot of its root. */
		if (depth == 0 && slot > XA_SLOTS_MASK)
			return NULL;
		u64 place = (u64)node + bpf_core_field_offset(struct xa_node, slots) + (slot & XA_SLOTS_MASK) * 8;
		if (bpf_probe_read_kernel(&entry, sizeof(entry), (void *)place))
			return NULL;
	}
	if (!entry || entry & XA_NODE_MASK)
		return NULL;
	struct hlist_node *first = BPF_CORE_READ((struct pid *)entry, tasks[0].first);
	if (!first)
		return NULL;
	return (void *)((u64)first - bpf_core_field_offset(struct task_struct, pid_links));
}

static __always_inline void fill_target(struct tamper_record *record, struct task_struct *task, u32 number)
{
	struct task_struct *target = task_of_number(task, number);

	if (!target)
		return;
	record->target_start_ns = BPF_CORE_READ(target, group_leader, start_boottime);
	record->target_tgid = BPF_CORE_READ(target, tgid);
	record->target_generation = BPF_CORE_READ(target, self_exec_id);
	record->target_tid = BPF_CORE_READ(target, pid);
}

static __always_inline bool changes_target(u64 request)
{
	switch (request) {
	case PTRACE_POKETEXT:
	case PTRACE_POKEDATA:
	case PTRACE_POKEUSR:
	case PTRACE_SETREGS:
	case PTRACE_SETFPREGS:
	case PTRACE_ATTACH:
	case PTRACE_SETFPXREGS:
	case PTRACE_SETREGSET:
	case PTRACE_SEIZE:
		return true;
	}
	return false;
}

/* The text that the call gave at `name`, behind the walk of the file behind its descriptor, if it has them. */
static __always_inline u64 fill_texts(struct tamper_scratch *scratch, struct task_struct *task, s32 descriptor, u64 name)
{
	struct tamper_record *record = &scratch->record;
	u64 walked = 0, named = 0;

	if (descriptor >= 0) {
		struct file *file = file_of(task, descriptor);
		scratch->walk.length = 0;
		scratch->walk.done = 0;
		if (file)
			walk_tamper(&scratch->walk, scratch->strings, 0, &file->f_path);
		walked = scratch->walk.length;
		CLAMP(walked, WALK_ROOM);
		if (!scratch->walk.done)
			record->header.flags |= walked ? WALK_CUT : WALK_UNREADABLE;
	}
	record->walk_length = walked;
	if (name) {
		long read = read_text(scratch->strings + walked, NAME_MAX_BYTES, name);
		if (read <= 0)
			record->header.flags |= NAME_UNREADABLE;
		else if (read == NAME_MAX_BYTES)
			record->header.flags |= NAME_CUT;
		named = read > 0 ? read : 0;
		CLAMP(named, NAME_MAX_BYTES);
	}
	record->name_length = named;
	return walked + named;
}

/* False for a call that is none of these. */
static __noinline int exit_tamper(struct task_struct *task, struct syscall *call, bool compat)
{
	u64 nr = compat ? tamper_of_compat(call->nr) : call->nr;
	u64 *argument = call->argument;
	s32 descriptor = -1, target = 0;
	u32 number = 0;
	u64 name = 0;
	u16 kind;

	switch (nr) {
	case NR_PTRACE:
		if (!changes_target(argument[0]))
			return 1;
		kind = RECORD_PTRACE;
		number = argument[0];
		target = argument[1];
		break;
	case NR_PROCESS_VM_WRITEV:
		kind = RECORD_VM_WRITE;
		target = argument[0];
		break;
	case NR_MEMFD_CREATE:
		kind = RECORD_MEMFD;
		name = argument[0];
		number = argument[1];
		break;
	case NR_MEMFD_SECRET:
		kind = RECORD_SECRET;
		number = argument[0];
		break;
	case NR_INIT_MODULE:
		kind = RECORD_MODULE;
		name = argument[2];
		break;
	case NR_FINIT_MODULE:
		kind = RECORD_MODULE;
		descriptor = argument[0];
		name = argument[1];
		number = MODULE_BY_DESCRIPTOR;
		break;
	default:
		return 0;
	}
	u32 zero = 0;
	struct tamper_scratch *scratch = bpf_map_lookup_elem(&tamper_scratch, &zero);
	if (!scratch)
		return 1;
	struct tamper_record *record = &scratch->record;

	__builtin_memset(record, 0, sizeof(*record));
	fill_header(&record->header, kind, task);
	record->result = call->result;
	record->number = number;
	if (target > 0)
		fill_target(record, task, target);
	/* What a process does to its own memory needs none of this. */
	if (kind == RECORD_VM_WRITE && record->target_tgid == record->header.tgid)
		return 1;
	if (number == MODULE_BY_DESCRIPTOR && kind == RECORD_MODULE && descriptor < 0)
		record->header.flags |= WALK_UNREADABLE;
	u64 at = fill_texts(scratch, task, descriptor, name);
	CLAMP(at, TAMPER_ROOM);
	emit_aimed(&network_ring, RING_NETWORK, &record->header, sizeof(*record) + at, record->target_tgid);
	return 1;
}

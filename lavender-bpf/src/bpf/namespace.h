/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Processes and threads that go into other namespaces: unshare, setns, and clones that are born in new ones. */
#pragma once

/* include/uapi/linux/sched.h: CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET; NEWTIME for unshare, setns
 * and clone3, whose bit is part of the signal in clone. */
#define CLONE_NEW_ANY 0x7e020000
#define CLONE_NEWTIME 0x80

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
/* From 6.18 on it says itself of which type it is. */
struct ns_common___typed {
	u32 ns_type;
};
struct proc_ns_operations {
	int type;
};
struct ns_common___with_ops {
	const struct proc_ns_operations *ops;
};
#pragma clang attribute pop

SCRATCH(namespace_scratch, struct namespace_record);

/* The namespace's type behind a descriptor that setns took without being told it. */
static __always_inline u32 namespace_type(struct task_struct *task, s32 descriptor)
{
	struct file *file = file_of(task, descriptor);
	void *namespace = file ? BPF_CORE_READ(file, f_inode, i_private) : NULL;

	if (!namespace)
		return 0;
	if (bpf_core_field_exists(struct ns_common___typed, ns_type))
		return BPF_CORE_READ((struct ns_common___typed *)namespace, ns_type);
	return BPF_CORE_READ((struct ns_common___with_ops *)namespace, ops, type);
}

/* Which call it is, and which namespaces it was asked for; 0 for another call. */
static __always_inline u32 namespace_call(struct syscall *call, bool compat, u32 *types)
{
	u64 nr = call->nr, flags = 0;

	if (nr == (compat ? NR32_UNSHARE : NR_UNSHARE)) {
		*types = call->argument[0] & (CLONE_NEW_ANY | CLONE_NEWTIME);
		return NAMESPACE_UNSHARE;
	}
	if (nr == (compat ? NR32_SETNS : NR_SETNS)) {
		*types = call->argument[1] & (CLONE_NEW_ANY | CLONE_NEWTIME);
		return NAMESPACE_SETNS;
	}
	if (nr == (compat ? NR32_CLONE : NR_CLONE)) {
		*types = call->argument[0] & CLONE_NEW_ANY;
		return NAMESPACE_CLONE;
	}
	if (nr == (compat ? NR32_CLONE3 : NR_CLONE3)) {
		bpf_probe_read_user(&flags, sizeof(flags), (void *)call->argument[0]);
		*types = flags & (CLONE_NEW_ANY | CLONE_NEWTIME);
		return NAMESPACE_CLONE;
	}
	return 0;
}

/* What a clone of this thread has made, where it has namespaces that its maker has not. */
static __always_inline struct born_elsewhere *born_of(struct task_struct *task, s64 number)
{
	u32 tid = task->pid;
	struct born_elsewhere *born = bpf_map_lookup_elem(&born_elsewhere, &tid);

	/* Another number: of a clone of which the end was not seen. */
	return born && born->tid == number ? born : NULL;
}

static __always_inline void fill_clone(struct namespace_record *record, struct task_struct *task,
				       struct born_elsewhere *born, s64 number)
{
	u32 tid = task->pid;

	if (born) {
		record->target_start_ns = born->start_ns;
		record->target_tgid = born->tgid;
		record->target_generation = born->generation;
		bpf_map_delete_elem(&born_elsewhere, &tid);
		return;
	}
	/* Its fork was not seen, which newer kernels may leave out. */
	struct task_struct *child = number > 0 ? task_of_number(task, number) : NULL;
	if (!child)
		return;
	record->target_start_ns = BPF_CORE_READ(child, group_leader, start_boottime);
	record->target_tgid = BPF_CORE_READ(child, tgid);
	record->target_generation = BPF_CORE_READ(child, self_exec_id);
}

/* False for another call. */
static __noinline int exit_namespace(struct task_struct *task, struct syscall *call, bool compat)
{
	u32 types = 0, zero = 0;
	u32 which = namespace_call(call, compat, &types);

	if (!which)
		return 0;
	/* A new process comes out of its maker's call, too. */
	bool is_clone = which == NAMESPACE_CLONE;
	if (is_clone && (call->result == 0 || (!types && call->nr != NR_CLONE3)))
		return 1;
	/* The flags of clone3 lie in memory, where they may have been changed since: what came of it tells, too. */
	struct born_elsewhere *born = is_clone ? born_of(task, call->result) : NULL;
	if (is_clone && !born && !types)
		return 1;
	struct namespace_record *record = bpf_map_lookup_elem(&namespace_scratch, &zero);
	if (!record)
		return 1;
	__builtin_memset(record, 0, sizeof(*record));
	if (is_clone) {
		fill_clone(record, task, born, call->result);
	} else if (which == NAMESPACE_SETNS) {
		if (!types && call->result == 0)
			types = namespace_type(task, call->argument[0]);
	} else if (!types) {
		return 1;
	}
	fill_header(&record->header, RECORD_NAMESPACE, task);
	record->result = call->result;
	record->call = which;
	record->types = types;
	fill_namespaces(&record->task, task);
	struct nsproxy *proxy = task->nsproxy;
	if (proxy)
		record->pid_for_children = BPF_CORE_READ(proxy, pid_ns_for_children, ns.inum);
	emit(&network_ring, RING_NETWORK, &record->header, sizeof(*record));
	return 1;
}

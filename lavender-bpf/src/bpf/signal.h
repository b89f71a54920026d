/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Signals that one process sends another, where the kernel sends them: the target is the kernel's own task. */
#pragma once

/* include/uapi/asm-generic/siginfo.h: what calls that send signals put there themselves. */
#define SI_USER 0
#define SI_QUEUE (-1)
#define SI_TKILL (-6)

SCRATCH(signal_scratch, struct signal_record);

static __always_inline void on_signal(int number, struct kernel_siginfo *info, struct task_struct *target, int group,
				      int outcome)
{
	struct task_struct *task = bpf_get_current_task_btf();
	u32 zero = 0;

	/* 1 stands for signals of the kernel itself, 0 for what the running process sends and says no more of: kill(2) from
	 * 7.x on. A process may signal itself as it likes. */
	if ((u64)info == 1 || task->tgid == target->tgid)
		return;
	int code = info ? BPF_CORE_READ(info, si_code) : SI_USER;
	if ((code != SI_USER && code != SI_QUEUE && code != SI_TKILL) || !is_wanted(task))
		return;
	struct signal_record *record = bpf_map_lookup_elem(&signal_scratch, &zero);
	if (!record)
		return;
	fill_header(&record->header, RECORD_SIGNAL, task);
	record->target_start_ns = target->group_leader->start_boottime;
	record->target_tgid = target->tgid;
	record->target_generation = target->self_exec_id;
	record->target_tid = group ? 0 : target->pid;
	record->signal = number;
	record->outcome = outcome;
	record->reserved = 0;
	emit_aimed(&network_ring, RING_NETWORK, &record->header, sizeof(*record), record->target_tgid);
}

SEC("tp_btf/signal_generate")
int BPF_PROG(signal_generate, int number, struct kernel_siginfo *info, struct task_struct *target, int group, int outcome)
{
	enter();
	on_signal(number, info, target, group, outcome);
	leave();
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Whose acts are reported. */
#pragma once

/* The agent, in the initial pid namespace. Set before loading; the snapshot, which the agent itself reads, corrects it
 * where the agent lives in a pid namespace of its own. */
volatile u32 self_tgid SEC(".data.self") = 0;

/* A function of its own, so that the compiler does not move the offset, which newer kernels do not have, out of
 * the branch that they never take. */
static __noinline u64 ancestor_id_before_6_1(u64 cgroup, u64 at)
{
	u64 id = 0;

	bpf_probe_read_kernel(&id, sizeof(id),
			      (u8 *)cgroup + bpf_core_field_offset(struct cgroup___before_6_1, ancestor_ids) + at);
	return id;
}

/* The id of the ancestor of a task's control group at a level that it is known to have. The group is read and not
 * dereferenced: a plain number, which older verifiers let be reckoned with. */
static __always_inline u64 ancestor_id(struct task_struct *task, u32 level)
{
	struct cgroup *cgroup = BPF_CORE_READ(task, cgroups, dfl_cgrp);
	u64 at = (u64)level * sizeof(u64);

	if (bpf_core_field_exists(struct cgroup, ancestors)) {
		struct cgroup *ancestor = NULL;
		bpf_probe_read_kernel(&ancestor, sizeof(ancestor),
				      (u8 *)cgroup + bpf_core_field_offset(struct cgroup, ancestors) + at);
		return BPF_CORE_READ(ancestor, kn, id);
	}
	return ancestor_id_before_6_1((u64)cgroup, at);
}

static __always_inline bool is_below(struct task_struct *task, u64 wanted_id, u32 wanted_level)
{
	struct cgroup *cgroup = task->cgroups->dfl_cgrp;
	u32 level = cgroup->level;

	if (level < wanted_level)
		return false;
	if (level == wanted_level)
		return cgroup->kn->id == wanted_id;
	return ancestor_id(task, wanted_level) == wanted_id;
}

static __always_inline bool passes_cgroups(struct task_struct *task)
{
	if (!config.include_count && !config.exclude_count)
		return true;

	BEFORE_LOOP;
	for (u32 i = 0; i < CGROUPS_MAX && i < config.exclude_count; i++)
		if (is_below(task, config.exclude[i].id, config.exclude[i].level))
			return false;
	if (!config.include_count)
		return true;
	BEFORE_LOOP;
	for (u32 i = 0; i < CGROUPS_MAX && i < config.include_count; i++)
		if (is_below(task, config.include[i].id, config.include[i].level))
			return true;
	return false;
}

static __always_inline bool passes_uids(struct task_struct *task)
{
	if (!config.uid_count)
		return true;
	u32 uid = task->real_cred->uid.val;
	BEFORE_LOOP;
	for (u32 i = 0; i < UIDS_MAX && i < config.uid_count; i++)
		if (config.uids[i] == uid)
			return true;
	return false;
}

static __always_inline bool is_wanted(struct task_struct *task)
{
	return (u32)task->tgid != self_tgid && passes_cgroups(task) && passes_uids(task);
}

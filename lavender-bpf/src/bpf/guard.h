/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The agent itself: no other process may end it, take hold of it, take its files away or change them, or get at what it has
 * in the kernel. The manager of the system may, and so may the kernel. Needs security modules. */
#pragma once

/* Files that are guarded. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct file_key);
	__type(value, u8);
} guarded_files SEC(".maps");

/* Programs, maps and links of the agent, by the command that hands them out. */
struct object_key {
	u32 command, id;
};
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct object_key);
	__type(value, u8);
} guarded_objects SEC(".maps");

/* include/uapi/linux/bpf.h */
#define BPF_PROG_GET_FD_BY_ID 13
#define BPF_MAP_GET_FD_BY_ID 14
#define BPF_LINK_GET_FD_BY_ID 30
/* include/linux/ptrace.h */
#define PTRACE_MODE_ATTACH 2

/* Whether a process may do to the agent what others may not. */
static __always_inline bool may_touch_agent(struct task_struct *task)
{
	return (u32)task->tgid == self_tgid || task->tgid == 1 || task->flags & PF_KTHREAD;
}

static __always_inline int refuse(struct task_struct *task, u32 hook)
{
	struct verdict verdict = { hook, ACTION_DENY };

	return act(task, verdict, hook, -EPERM);
}

SEC("lsm/task_kill")
int BPF_PROG(guard_signal, struct task_struct *target, struct kernel_siginfo *info, int signal)
{
	struct task_struct *task = bpf_get_current_task_btf();

	/* Signal 0 only asks whether it is there. */
	if ((u32)target->tgid != self_tgid || !signal || may_touch_agent(task))
		return 0;
	return refuse(task, HOOK_GUARD_SIGNAL);
}

SEC("lsm/ptrace_access_check")
int BPF_PROG(guard_ptrace, struct task_struct *target, unsigned int mode)
{
	struct task_struct *task = bpf_get_current_task_btf();

	if ((u32)target->tgid != self_tgid || !(mode & PTRACE_MODE_ATTACH) || may_touch_agent(task))
		return 0;
	return refuse(task, HOOK_GUARD_PTRACE);
}

static __always_inline int guard_inode(struct inode *inode)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct file_key key = {};

	if (!inode)
		return 0;
	key.inode = BPF_CORE_READ(inode, i_ino);
	key.device = BPF_CORE_READ(inode, i_sb, s_dev);
	if (!bpf_map_lookup_elem(&guarded_files, &key) || may_touch_agent(task))
		return 0;
	return refuse(task, HOOK_GUARD_FILES);
}

SEC("lsm/inode_unlink")
int BPF_PROG(guard_unlink, struct inode *folder, struct dentry *dentry)
{
	return guard_inode(BPF_CORE_READ(dentry, d_inode));
}

SEC("lsm/inode_rename")
int BPF_PROG(guard_rename, struct inode *from, struct dentry *old, struct inode *to, struct dentry *new)
{
	int refused = guard_inode(BPF_CORE_READ(old, d_inode));

	return refused ? refused : guard_inode(BPF_CORE_READ(new, d_inode));
}

/* From 6.9 on the dentry is the second argument. */
const volatile u32 setattr_second SEC(".rodata.setattr") = 0;

SEC("lsm/inode_setattr")
int guard_setattr(u64 *ctx)
{
	/* Each read by itself: the verifier takes no place in the context that is computed. */
	volatile u64 *arguments = ctx;
	u64 first = arguments[0], second = arguments[1];
	struct dentry *dentry = (void *)(setattr_second ? second : first);

	return guard_inode(dentry->d_inode);
}

SEC("lsm/file_open")
int BPF_PROG(guard_open, struct file *file)
{
	u32 flags = file->f_flags;

	if ((flags & O_ACCMODE) == O_RDONLY && !(flags & O_TRUNC))
		return 0;
	return guard_inode(file->f_inode);
}

union bpf_attr;

SEC("lsm/bpf")
int BPF_PROG(guard_bpf, int command, union bpf_attr *attr)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct object_key key = { .command = command };

	if (command != BPF_PROG_GET_FD_BY_ID && command != BPF_MAP_GET_FD_BY_ID && command != BPF_LINK_GET_FD_BY_ID)
		return 0;
	bpf_probe_read_kernel(&key.id, sizeof(key.id), attr);
	if (!bpf_map_lookup_elem(&guarded_objects, &key) || may_touch_agent(task))
		return 0;
	return refuse(task, HOOK_GUARD_BPF);
}

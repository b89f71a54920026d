/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Who acts, and what a process is. */
#pragma once

/* The header of a record about `task`. */
static __always_inline void fill_header(struct record_header *header, u16 kind, struct task_struct *task)
{
	struct task_struct *leader = task->group_leader;
	const struct cred *cred = task->real_cred;

	header->kind = kind;
	header->flags = 0;
	header->boot_ns = bpf_ktime_get_boot_ns();
	header->start_ns = leader->start_boottime;
	header->tgid = task->tgid;
	header->tid = task->pid;
	header->generation = task->self_exec_id;
	header->cpu = bpf_get_smp_processor_id();
	header->uid = cred->uid.val;
	header->euid = cred->euid.val;
	header->gid = cred->gid.val;
	header->egid = cred->egid.val;
	header->capabilities = 0;
	bpf_probe_read_kernel(&header->capabilities, sizeof(header->capabilities), &cred->cap_effective);
}

static __always_inline void fill_terminal(struct task_body *body, struct task_struct *task)
{
	struct tty_struct *tty = task->signal->tty;

	body->terminal_major = 0;
	body->terminal_minor = 0;
	if (tty) {
		body->terminal_major = tty->driver->major;
		body->terminal_minor = tty->driver->minor_start + tty->index;
	}
}

static __always_inline void fill_namespaces(struct task_body *body, struct task_struct *task)
{
	struct nsproxy *proxy = task->nsproxy;
	/* Read and not dereferenced: a plain number, which older verifiers let be reckoned with. */
	struct pid *pid = BPF_CORE_READ(task->group_leader, thread_pid);

	body->ns_cgroup = body->ns_mnt = body->ns_net = body->ns_uts = 0;
	if (proxy) { /* gone once a task is past exit_task_namespaces */
		body->ns_cgroup = proxy->cgroup_ns->ns.inum;
		body->ns_mnt = proxy->mnt_ns->ns.inum;
		body->ns_net = proxy->net_ns->ns.inum;
		body->ns_uts = proxy->uts_ns->ns.inum;
	}
	body->ns_user = task->real_cred->user_ns->ns.inum;
	body->ns_pid = 0;
	body->namespace_tgid = 0;
	if (pid) {
		/* The last of the numbers is the one in the process's own namespace. */
		struct upid *own = (void *)((u64)pid + bpf_core_field_offset(struct pid, numbers) +
					    (u64)READ(struct pid, pid, level) * bpf_core_type_size(struct upid));
		struct pid_namespace *namespace = READ(struct upid, own, ns);
		body->namespace_tgid = READ(struct upid, own, nr);
		body->ns_pid = READ(struct pid_namespace, namespace, ns.inum);
	}
}

/* The program file: its numbers, and whether a name still leads to it. Returns flags of the header. */
static __always_inline u16 fill_program(struct task_body *body, struct file *file)
{
	struct inode *inode = READ(struct file, file, f_inode);
	struct dentry *dentry = READ(struct file, file, f_path.dentry);
	struct super_block *disk = READ(struct inode, inode, i_sb);
	u64 magic = READ(struct super_block, disk, s_magic);
	bool unhashed = !READ(struct dentry, dentry, d_hash.pprev) && READ(struct dentry, dentry, d_parent) != dentry;

	body->inode = READ(struct inode, inode, i_ino);
	body->device = READ(struct super_block, disk, s_dev);
	if (READ(struct inode, inode, i_nlink) && !unhashed)
		return 0;
	if (magic == TMPFS_MAGIC || magic == RAMFS_MAGIC || magic == HUGETLBFS_MAGIC)
		return PROGRAM_DELETED | PROGRAM_IN_MEMORY;
	return PROGRAM_DELETED;
}

static __always_inline s64 time_ns(s64 seconds, u32 ns)
{
	return seconds * 1000000000 + (ns & ~I_CTIME_QUERIED);
}

/* When the content of a file, its owner, mode or names were changed last, in ns since 1970. With device and inode it says
 * which content that is. */
static __always_inline s64 changed_ns(struct file *file)
{
	void *inode = READ(struct file, file, f_inode);

	if (bpf_core_field_exists(struct inode___since_6_11, i_ctime_sec))
		return time_ns(BPF_CORE_READ((struct inode___since_6_11 *)inode, i_ctime_sec),
			       BPF_CORE_READ((struct inode___since_6_11 *)inode, i_ctime_nsec));
	if (bpf_core_field_exists(struct inode___before_6_11, __i_ctime))
		return time_ns(BPF_CORE_READ((struct inode___before_6_11 *)inode, __i_ctime.tv_sec),
			       BPF_CORE_READ((struct inode___before_6_11 *)inode, __i_ctime.tv_nsec));
	return time_ns(BPF_CORE_READ((struct inode___before_6_6 *)inode, i_ctime.tv_sec),
		       BPF_CORE_READ((struct inode___before_6_6 *)inode, i_ctime.tv_nsec));
}

/* Everything of a process but its program. `parent` is whoever counts as having made it. */
static __always_inline void fill_task(struct task_body *body, struct task_struct *task, struct task_struct *parent)
{
	struct task_struct *parent_leader = parent->group_leader;

	body->parent_start_ns = parent_leader->start_boottime;
	body->parent_tgid = parent->tgid;
	body->parent_generation = parent->self_exec_id;
	body->cgroup_id = task->cgroups->dfl_cgrp->kn->id;
	body->inode = 0;
	body->device = 0;
	body->login_uid = task->loginuid.val;
	body->session_id = task->sessionid;
	fill_terminal(body, task);
	fill_namespaces(body, task);
	bpf_probe_read_kernel(body->comm, sizeof(body->comm), &task->comm);
}

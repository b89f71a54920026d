/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The kernel's types, as far as the probes read them. Kept by hand: field names only, in any order. The offsets come
 * from the running kernel's BTF at load time (CO-RE), so no generated vmlinux.h is needed and this stays reviewable.
 * Where kernels differ, a flavour (`struct name___what`) holds the other form. */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char s8;
typedef short s16;
typedef int s32;
typedef long long s64;
typedef u8 __u8;
typedef u16 __u16;
typedef u32 __u32;
typedef u64 __u64;
typedef s8 __s8;
typedef s16 __s16;
typedef s32 __s32;
typedef s64 __s64;
typedef u16 __be16;
typedef u32 __be32;
typedef u32 __wsum;
typedef _Bool bool;
#define true 1
#define false 0
#define NULL ((void *)0)

/* include/uapi/linux/bpf.h */
enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PROG_ARRAY = 3,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_RINGBUF = 27,
	BPF_MAP_TYPE_TASK_STORAGE = 29,
};
enum { BPF_ANY = 0, BPF_NOEXIST = 1 };
enum { BPF_F_NO_PREALLOC = 1 };
enum { BPF_LOCAL_STORAGE_GET_F_CREATE = 1 };
enum { BPF_RB_NO_WAKEUP = 1, BPF_RB_FORCE_WAKEUP = 2 };
enum { BPF_RB_AVAIL_DATA = 0 };
/* Only asked whether it exists: bpf_loop came with 5.17. */
enum bpf_func_id___loop { BPF_FUNC_loop___loop = 181 };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct qstr {
	const unsigned char *name;
};
struct hlist_bl_node {
	struct hlist_bl_node **pprev;
};
struct dentry {
	struct hlist_bl_node d_hash;
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
};
struct file_system_type {
	const char *name;
};
struct super_block {
	u32 s_dev;
	unsigned long s_magic;
	struct file_system_type *s_type;
};
struct inode {
	u16 i_mode;
	unsigned long i_ino;
	unsigned int i_nlink;
	struct super_block *i_sb;
	void *i_private;
};
struct timespec64 {
	s64 tv_sec;
	long tv_nsec;
};
struct inode___before_6_6 {
	struct timespec64 i_ctime;
};
struct inode___before_6_11 {
	struct timespec64 __i_ctime;
};
struct inode___since_6_11 {
	s64 i_ctime_sec;
	u32 i_ctime_nsec;
};
struct vfsmount {
	struct dentry *mnt_root;
	struct super_block *mnt_sb;
};
struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
	const char *mnt_devname;
};
struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};
struct file {
	struct path f_path;
	struct inode *f_inode;
	unsigned int f_flags;
	void *private_data;
};
struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};
struct files_struct {
	struct fdtable *fdt;
};
struct fs_struct {
	struct path root, pwd;
};

struct ns_common {
	unsigned int inum;
};
struct mnt_namespace {
	struct ns_common ns;
};
struct uts_namespace {
	struct ns_common ns;
};
struct xa_node {
	unsigned char shift;
	void *slots[64];
};
struct xarray {
	void *xa_head;
};
struct idr {
	struct xarray idr_rt;
};
struct pid_namespace {
	struct ns_common ns;
	struct idr idr;
};
struct net {
	struct ns_common ns;
};
struct cgroup_namespace {
	struct ns_common ns;
};
struct user_namespace {
	struct ns_common ns;
};
struct nsproxy {
	struct uts_namespace *uts_ns;
	struct mnt_namespace *mnt_ns;
	struct pid_namespace *pid_ns_for_children;
	struct net *net_ns;
	struct cgroup_namespace *cgroup_ns;
};
struct upid {
	int nr;
	struct pid_namespace *ns;
};
struct hlist_node {
	struct hlist_node *next;
};
struct hlist_head {
	struct hlist_node *first;
};
struct pid {
	unsigned int level;
	struct hlist_head tasks[4];
	struct upid numbers[1];
};

struct kernfs_node {
	u64 id;
};
struct cgroup {
	int level;
	struct kernfs_node *kn;
	struct cgroup *ancestors[1];
};
struct cgroup___before_6_1 {
	u64 ancestor_ids[1];
};
struct css_set {
	struct cgroup *dfl_cgrp;
};

typedef struct {
	u32 val;
} kuid_t;
typedef struct {
	u32 val;
} kgid_t;
/* `u32 cap[2]` before 6.3, `u64 val` since; the same 8 bytes, so only their place is asked for. */
typedef struct {
	u64 val;
} kernel_cap_t;
struct cred {
	kuid_t uid, euid;
	kgid_t gid, egid;
	kernel_cap_t cap_effective;
	struct user_namespace *user_ns;
};

struct tty_driver {
	int major, minor_start;
};
struct tty_struct {
	struct tty_driver *driver;
	int index;
};
typedef struct {
	int counter;
} atomic_t;
struct signal_struct {
	atomic_t live;
	int nr_threads;
	int group_exit_code;
	unsigned int flags;
	struct tty_struct *tty;
};
struct mm_struct {
	unsigned long arg_start, arg_end;
	struct file *exe_file;
};
struct thread_info {
	unsigned long flags;
	u32 status; /* x86 */
};
struct task_struct {
	struct thread_info thread_info;
	unsigned int flags, personality;
	int pid, tgid, exit_code;
	struct task_struct *real_parent, *group_leader;
	struct pid *thread_pid;
	struct hlist_node pid_links[4];
	u64 start_boottime;
	const struct cred *real_cred;
	char comm[16];
	struct fs_struct *fs;
	struct files_struct *files;
	struct nsproxy *nsproxy;
	struct signal_struct *signal;
	struct mm_struct *mm;
	struct css_set *cgroups;
	kuid_t loginuid;
	unsigned int sessionid;
	u64 self_exec_id;
};
struct kernel_siginfo {
	int si_code;
};
struct linux_binprm {
	struct file *file;
	const char *filename, *interp;
	char buf[256];
};
struct anon_vma;
struct vm_area_struct {
	unsigned long vm_flags;
	struct anon_vma *anon_vma;
	struct file *vm_file;
};

struct in6_addr {
	u8 bytes[16];
};
struct sock_common {
	u32 skc_daddr, skc_rcv_saddr;
	u16 skc_dport, skc_num, skc_family;
	u8 skc_state;
	struct in6_addr skc_v6_daddr, skc_v6_rcv_saddr;
};
struct sock {
	struct sock_common __sk_common;
	u16 sk_protocol, sk_type;
};
struct socket {
	struct sock *sk;
};

struct trace_event_raw_sys_exit {
	long id;
	long ret;
};

struct seq_file;
struct bpf_iter_meta {
	struct seq_file *seq;
	u64 seq_num;
};
struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

#pragma clang attribute pop

#define PF_KTHREAD 0x00200000
#define SIGNAL_GROUP_EXIT 0x00000004
#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define AT_FDCWD (-100)
#define AF_INET 2
#define AF_INET6 10
/* include/uapi/linux/magic.h */
#define TMPFS_MAGIC 0x01021994
#define RAMFS_MAGIC 0x858458f6
#define HUGETLBFS_MAGIC 0x958458f6
/* include/linux/fs.h: since 6.13 a bit among the nanoseconds of a change says that somebody has asked for it */
#define I_CTIME_QUERIED 0x80000000

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

/* Reads a field through a pointer that the verifier takes for a number. From 6.2 on that is a load with a fixup for
 * faults; before, a call of a helper, which costs ten times that. */
extern void *bpf_rdonly_cast(const void *object, u32 type) __ksym __weak;
#define READ(TYPE, pointer, field)                                                                                \
	(bpf_ksym_exists(bpf_rdonly_cast) ?                                                                       \
		 ((TYPE *)bpf_rdonly_cast((const void *)(pointer), bpf_core_type_id_kernel(TYPE)))->field :       \
		 BPF_CORE_READ((TYPE *)(pointer), field))

/* Bounds a value on the register that is used: clang may check a copy, and the verifier then knows nothing. */
#define CLAMP(value, max) asm volatile("if %0 <= %1 goto +1\n %0 = %1" : "+r"(value) : "i"(max))

/* Stands before a loop. Kernels before 6.4 refuse a loop whose first instruction follows a call directly. */
#define BEFORE_LOOP asm volatile("goto +0")

#define EEXIST 17

/* Puts a key into a map. False where it was there already, so that of several who do it at once one is the first. Before
 * 6.4 the kernel's function returns an int, whose sign is lost in a register of 64 bits. */
static __always_inline bool is_first(void *map, const void *key)
{
	u8 value = 1;

	return (s32)bpf_map_update_elem(map, key, &value, BPF_NOEXIST) != -EEXIST;
}

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Prevention: what rules mark so, and the kernel can decide alone, is killed or refused before it takes effect. An object of
 * its own, which is there only while it is asked for. Each program can be left out at load time. */
#include "core.h"
#include "record.h"
#include "prevent.h"
#include "filter.h"
#include "fold.h"
#include "prevent_path.h"

#define SIGKILL 9
#define EPERM 1
#define EACCES 13

/* Preemption: see ring.h. */
extern void bpf_preempt_disable(void) __ksym __weak;
extern void bpf_preempt_enable(void) __ksym __weak;

/* The agent's ancestors, by pid: when they began. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, u32);
	__type(value, u64);
} ancestors SEC(".maps");

/* Files of programs that are never acted upon. */
struct file_key {
	u64 inode;
	u32 device, reserved;
};
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct file_key);
	__type(value, u8);
} spared_files SEC(".maps");

/* Run once by the agent itself: who it is, and who its ancestors are, in the initial pid namespace. */
SEC("syscall")
int learn_agent(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	self_tgid = bpf_get_current_pid_tgid() >> 32;
	BEFORE_LOOP;
	for (u32 i = 0; i < 128; i++) {
		struct task_struct *parent = BPF_CORE_READ(task, real_parent, group_leader);
		u32 tgid = BPF_CORE_READ(parent, tgid);
		u64 start = BPF_CORE_READ(parent, start_boottime);
		if (!tgid)
			break;
		bpf_map_update_elem(&ancestors, &tgid, &start, BPF_ANY);
		task = parent;
	}
	return 0;
}

/* Whether a process is never acted upon, whatever it runs. The agent itself is not wanted by the filter. */
static __always_inline bool is_spared(struct task_struct *task)
{
	u32 tgid = task->tgid;

	if (tgid == 1 || task->flags & PF_KTHREAD)
		return true;
	u64 *start = bpf_map_lookup_elem(&ancestors, &tgid);
	return start && *start == task->group_leader->start_boottime;
}

static __always_inline bool is_spared_file(struct file *file)
{
	struct file_key key = {};

	key.inode = BPF_CORE_READ(file, f_inode, i_ino);
	key.device = BPF_CORE_READ(file, f_inode, i_sb, s_dev);
	return bpf_map_lookup_elem(&spared_files, &key) != NULL;
}

/* Whether the program that a process runs is never acted upon: by its file, or by its path, since it may have been replaced
 * under the process. */
static __noinline int runs_spared(struct climb *climb, struct task_struct *task)
{
	struct mm_struct *mm = task->mm;
	struct file *file = mm ? mm->exe_file : NULL;

	if (!climb || !file)
		return 1;
	if (is_spared_file(file))
		return 1;
	look_up(climb, &file->f_path, SLOT_EXEC_KILL);
	return climb->spared;
}

static __always_inline struct climb *begin(struct task_struct *task)
{
	struct climb *climb = bpf_task_storage_get(&climbs, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (!climb) {
		COUNT(missed);
		return NULL;
	}
	climb->verdict.entry = climb->verdict.action = 0;
	return climb;
}

/* Kills, or has the call fail with `error`; what the hook is to return. */
static __always_inline int act(struct task_struct *task, struct verdict verdict, u32 hook, int error)
{
	u32 what = error ? WHAT_DENIED : 0;
	s32 result = 0;

	if (config.dry_run) {
		tell(task, verdict.entry, hook, WHAT_DRY_RUN, 0);
		return 0;
	}
	if (verdict.action == ACTION_KILL) {
		what |= WHAT_SIGNALLED;
		result = bpf_send_signal(SIGKILL);
	}
	tell(task, verdict.entry, hook, what, result);
	return error;
}

static __always_inline void on_exec(struct task_struct *task, struct linux_binprm *bprm)
{
	if (!is_wanted(task))
		return;
	struct climb *climb = begin(task);
	if (!climb)
		return;
	struct mm_struct *mm = task->mm;
	struct file *file = mm ? mm->exe_file : NULL;
	if (!file)
		return;
	look_up(climb, &file->f_path, SLOT_EXEC_KILL);
	bool spared = climb->spared;
	look_up_called(climb, task, (u64)bprm->filename, SLOT_EXEC_KILL);
	struct verdict verdict = climb->verdict;
	if (!verdict.entry)
		return;
	if (spared || is_spared(task) || is_spared_file(file)) {
		COUNT(spared);
		return;
	}
	act(task, verdict, HOOK_EXEC_KILL, 0);
}

/* The process has its new program, and has not run any of it. */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(prevent_exec_kill, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	if (bpf_ksym_exists(bpf_preempt_disable))
		bpf_preempt_disable();
	on_exec(task, bprm);
	if (bpf_ksym_exists(bpf_preempt_enable))
		bpf_preempt_enable();
	return 0;
}

/* Asked of a script, and then of its interpreter. */
SEC("lsm/bprm_check_security")
int BPF_PROG(prevent_exec_deny, struct linux_binprm *bprm, int ret)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct file *file = bprm->file;
	struct verdict verdict;

	if (ret)
		return ret;
	if (!file || !is_wanted(task))
		return 0;
	struct climb *climb = begin(task);
	if (!climb)
		return 0;
	bool spared = false;
	/* A script is no program: what runs is the interpreter, which is asked about next. */
	if (bprm->buf[0] != '#' || bprm->buf[1] != '!') {
		look_up(climb, &file->f_path, SLOT_EXEC_DENY);
		spared = climb->spared;
	}
	if (bprm->interp == bprm->filename)
		look_up_called(climb, task, (u64)bprm->filename, SLOT_EXEC_DENY);
	verdict = climb->verdict;
	if (!verdict.entry)
		return 0;
	if (spared || is_spared(task) || is_spared_file(file)) {
		COUNT(spared);
		return 0;
	}
	return act(task, verdict, HOOK_EXEC_DENY, -EPERM);
}

/* That the kernel asks its LSM programs at all, which it may not though it takes them: the agent opens a file to see. */
volatile u64 asked SEC(".data.asked") = 0;

/* include/linux/fs.h: opened to be executed, which is no open to rules */
#define FMODE_EXEC 040
/* include/uapi/asm-generic/fcntl.h */
#define O_ACCMODE 03
#define O_RDONLY 00
#define O_WRONLY 01
#define O_CREAT 0100
#define O_TRUNC 01000
#define O_TMPFILE_BIT 020000000

SEC("lsm/file_open")
int BPF_PROG(prevent_open, struct file *file, int ret)
{
	struct task_struct *task = bpf_get_current_task_btf();
	u32 flags = file->f_flags;

	if (ret)
		return ret;
	if ((u32)task->tgid == self_tgid)
		asked++;
	if (flags & FMODE_EXEC || !is_wanted(task))
		return 0;
	struct climb *climb = begin(task);
	if (!climb)
		return 0;
	if ((flags & O_ACCMODE) != O_WRONLY)
		look_up(climb, &file->f_path, SLOT_READ);
	if ((flags & O_ACCMODE) != O_RDONLY || flags & (O_TRUNC | O_CREAT | O_TMPFILE_BIT))
		look_up(climb, &file->f_path, SLOT_CHANGE);
	struct verdict verdict = climb->verdict;
	if (!verdict.entry)
		return 0;
	if (is_spared(task) || runs_spared(climb, task)) {
		COUNT(spared);
		return 0;
	}
	return act(task, verdict, HOOK_OPEN, -EACCES);
}

#include "prevent_connect.h"
#include "guard.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

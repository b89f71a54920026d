/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is x86-64's own: numbers of system calls, registers, 32-bit calls. Its twin is arch_arm64.h; no other header names a
 * number or a register. */
#pragma once

/* arch/x86/entry/syscalls/syscall_64.tbl */
#define NR_READ 0
#define NR_WRITE 1
#define NR_OPEN 2
#define NR_MMAP 9
#define NR_MPROTECT 10
#define NR_READV 19
#define NR_WRITEV 20
#define NR_SHMAT 30
#define NR_CONNECT 42
#define NR_ACCEPT 43
#define NR_SENDTO 44
#define NR_RECVFROM 45
#define NR_SENDMSG 46
#define NR_RECVMSG 47
#define NR_BIND 49
#define NR_LISTEN 50
#define NR_CLONE 56
#define NR_EXECVE 59
#define NR_RENAME 82
#define NR_RMDIR 84
#define NR_CREAT 85
#define NR_LINK 86
#define NR_UNLINK 87
#define NR_SYMLINK 88
#define NR_CHMOD 90
#define NR_FCHMOD 91
#define NR_CHOWN 92
#define NR_FCHOWN 93
#define NR_LCHOWN 94
#define NR_PTRACE 101
#define NR_SETUID 105
#define NR_SETGID 106
#define NR_SETREUID 113
#define NR_SETREGID 114
#define NR_SETRESUID 117
#define NR_SETRESGID 119
#define NR_SETFSUID 122
#define NR_SETFSGID 123
#define NR_CAPSET 126
#define NR_PIVOT_ROOT 155
#define NR_MOUNT 165
#define NR_UMOUNT2 166
#define NR_INIT_MODULE 175
#define NR_OPENAT 257
#define NR_FCHOWNAT 260
#define NR_UNLINKAT 263
#define NR_RENAMEAT 264
#define NR_LINKAT 265
#define NR_SYMLINKAT 266
#define NR_FCHMODAT 268
#define NR_UNSHARE 272
#define NR_ACCEPT4 288
#define NR_RECVMMSG 299
#define NR_SENDMMSG 307
#define NR_SETNS 308
#define NR_PROCESS_VM_WRITEV 311
#define NR_FINIT_MODULE 313
#define NR_RENAMEAT2 316
#define NR_MEMFD_CREATE 319
#define NR_BPF 321
#define NR_EXECVEAT 322
#define NR_PKEY_MPROTECT 329
#define NR_OPEN_TREE 428
#define NR_MOVE_MOUNT 429
#define NR_FSMOUNT 432
#define NR_CLONE3 435
#define NR_OPENAT2 437
#define NR_MOUNT_SETATTR 442
#define NR_MEMFD_SECRET 447
#define NR_FCHMODAT2 452
#define NR_OPEN_TREE_ATTR 467

/* arch/x86/entry/syscalls/syscall_32.tbl. `SMALL`: user ids of 16 bits. */
#define NR32_READ 3
#define NR32_WRITE 4
#define NR32_OPEN 5
#define NR32_CREAT 8
#define NR32_LINK 9
#define NR32_UNLINK 10
#define NR32_EXECVE 11
#define NR32_CHMOD 15
#define NR32_LCHOWN_SMALL 16
#define NR32_MOUNT 21
#define NR32_UMOUNT 22
#define NR32_SETUID_SMALL 23
#define NR32_PTRACE 26
#define NR32_RENAME 38
#define NR32_RMDIR 40
#define NR32_SETGID_SMALL 46
#define NR32_UMOUNT2 52
#define NR32_SETREUID_SMALL 70
#define NR32_SETREGID_SMALL 71
#define NR32_SYMLINK 83
#define NR32_OLD_MMAP 90
#define NR32_FCHMOD 94
#define NR32_FCHOWN_SMALL 95
#define NR32_SOCKETCALL 102
#define NR32_IPC 117
#define NR32_CLONE 120
#define NR32_MPROTECT 125
#define NR32_INIT_MODULE 128
#define NR32_SETFSUID_SMALL 138
#define NR32_SETFSGID_SMALL 139
#define NR32_READV 145
#define NR32_WRITEV 146
#define NR32_SETRESUID_SMALL 164
#define NR32_SETRESGID_SMALL 170
#define NR32_CHOWN_SMALL 182
#define NR32_CAPSET 185
#define NR32_MMAP2 192
#define NR32_LCHOWN 198
#define NR32_SETREUID 203
#define NR32_SETREGID 204
#define NR32_FCHOWN 207
#define NR32_SETRESUID 208
#define NR32_SETRESGID 210
#define NR32_CHOWN 212
#define NR32_SETUID 213
#define NR32_SETGID 214
#define NR32_SETFSUID 215
#define NR32_SETFSGID 216
#define NR32_PIVOT_ROOT 217
#define NR32_OPENAT 295
#define NR32_FCHOWNAT 298
#define NR32_UNLINKAT 301
#define NR32_RENAMEAT 302
#define NR32_LINKAT 303
#define NR32_SYMLINKAT 304
#define NR32_FCHMODAT 306
#define NR32_UNSHARE 310
#define NR32_RECVMMSG_TIME32 337
#define NR32_SENDMMSG 345
#define NR32_SETNS 346
#define NR32_PROCESS_VM_WRITEV 348
#define NR32_FINIT_MODULE 350
#define NR32_RENAMEAT2 353
#define NR32_MEMFD_CREATE 356
#define NR32_BPF 357
#define NR32_EXECVEAT 358
#define NR32_BIND 361
#define NR32_CONNECT 362
#define NR32_LISTEN 363
#define NR32_ACCEPT4 364
#define NR32_SENDTO 369
#define NR32_SENDMSG 370
#define NR32_RECVFROM 371
#define NR32_RECVMSG 372
#define NR32_PKEY_MPROTECT 380
#define NR32_SHMAT 397
#define NR32_RECVMMSG 417
#define NR32_OPEN_TREE 428
#define NR32_MOVE_MOUNT 429
#define NR32_FSMOUNT 432
#define NR32_CLONE3 435
#define NR32_OPENAT2 437
#define NR32_MOUNT_SETATTR 442
#define NR32_MEMFD_SECRET 447
#define NR32_FCHMODAT2 452
#define NR32_OPEN_TREE_ATTR 467
/* Not in this table. */
#define NR32_ACCEPT NO_CALL(1)
#define NR32_SEND NO_CALL(2)
#define NR32_RECV NO_CALL(3)

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct pt_regs {
	unsigned long orig_ax, bx, cx, dx, si, di, bp, r8, r9, r10;
};
#pragma clang attribute pop

#define TS_COMPAT 0x0002
/* A system call of the x32 ABI has the number of the 64-bit one and this bit. */
#define X32_SYSCALL_BIT 0x40000000

static __always_inline bool is_compat(struct task_struct *task)
{
	return task->thread_info.status & TS_COMPAT;
}

static __always_inline u64 number_of_call(struct pt_regs *regs)
{
	return regs->orig_ax & ~(u64)X32_SYSCALL_BIT;
}

static __always_inline void read_arguments(u64 *argument, struct pt_regs *regs, bool compat)
{
	if (compat) {
		argument[0] = (u32)regs->bx;
		argument[1] = (u32)regs->cx;
		argument[2] = (u32)regs->dx;
		argument[3] = (u32)regs->si;
		argument[4] = (u32)regs->di;
	} else {
		argument[0] = regs->di;
		argument[1] = regs->si;
		argument[2] = regs->dx;
		argument[3] = regs->r10;
		argument[4] = regs->r8;
	}
}

/* In the same register for calls of either table. */
static __always_inline u64 third_argument(struct pt_regs *regs)
{
	return regs->dx;
}

/* The flags of an open as records have them: by x86's numbers. */
static __always_inline u32 open_flags_of(u32 flags)
{
	return flags;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is arm64's own: numbers of system calls, registers, 32-bit calls. Its twin is arch_x86.h. */
#pragma once

/* include/uapi/asm-generic/unistd.h */
#define NR_UNLINKAT 35
#define NR_SYMLINKAT 36
#define NR_LINKAT 37
#define NR_RENAMEAT 38
#define NR_UMOUNT2 39
#define NR_MOUNT 40
#define NR_PIVOT_ROOT 41
#define NR_FCHMOD 52
#define NR_FCHMODAT 53
#define NR_FCHOWNAT 54
#define NR_FCHOWN 55
#define NR_OPENAT 56
#define NR_READ 63
#define NR_WRITE 64
#define NR_READV 65
#define NR_WRITEV 66
#define NR_CAPSET 91
#define NR_UNSHARE 97
#define NR_INIT_MODULE 105
#define NR_PTRACE 117
#define NR_SETREGID 143
#define NR_SETGID 144
#define NR_SETREUID 145
#define NR_SETUID 146
#define NR_SETRESUID 147
#define NR_SETRESGID 149
#define NR_SETFSUID 151
#define NR_SETFSGID 152
#define NR_SHMAT 196
#define NR_BIND 200
#define NR_LISTEN 201
#define NR_ACCEPT 202
#define NR_CONNECT 203
#define NR_SENDTO 206
#define NR_RECVFROM 207
#define NR_SENDMSG 211
#define NR_RECVMSG 212
#define NR_CLONE 220
#define NR_EXECVE 221
#define NR_MMAP 222
#define NR_MPROTECT 226
#define NR_ACCEPT4 242
#define NR_RECVMMSG 243
#define NR_SETNS 268
#define NR_SENDMMSG 269
#define NR_PROCESS_VM_WRITEV 271
#define NR_FINIT_MODULE 273
#define NR_RENAMEAT2 276
#define NR_MEMFD_CREATE 279
#define NR_BPF 280
#define NR_EXECVEAT 281
#define NR_PKEY_MPROTECT 288
#define NR_OPEN_TREE 428
#define NR_MOVE_MOUNT 429
#define NR_FSMOUNT 432
#define NR_CLONE3 435
#define NR_OPENAT2 437
#define NR_MOUNT_SETATTR 442
#define NR_MEMFD_SECRET 447
#define NR_FCHMODAT2 452
#define NR_OPEN_TREE_ATTR 467
/* Not in this table: numbers that no call has. */
#define NR_OPEN NO_CALL(1)
#define NR_CREAT NO_CALL(2)
#define NR_RENAME NO_CALL(3)
#define NR_UNLINK NO_CALL(4)
#define NR_RMDIR NO_CALL(5)
#define NR_LINK NO_CALL(6)
#define NR_SYMLINK NO_CALL(7)
#define NR_CHMOD NO_CALL(8)
#define NR_CHOWN NO_CALL(9)
#define NR_LCHOWN NO_CALL(10)

/* arch/arm/tools/syscall.tbl: the EABI. `SMALL`: user ids of 16 bits. */
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
#define NR32_SETUID_SMALL 23
#define NR32_PTRACE 26
#define NR32_RENAME 38
#define NR32_RMDIR 40
#define NR32_SETGID_SMALL 46
#define NR32_UMOUNT2 52
#define NR32_SETREUID_SMALL 70
#define NR32_SETREGID_SMALL 71
#define NR32_SYMLINK 83
#define NR32_FCHMOD 94
#define NR32_FCHOWN_SMALL 95
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
#define NR32_PIVOT_ROOT 218
#define NR32_BIND 282
#define NR32_CONNECT 283
#define NR32_LISTEN 284
#define NR32_ACCEPT 285
#define NR32_SEND 289
#define NR32_SENDTO 290
#define NR32_RECV 291
#define NR32_RECVFROM 292
#define NR32_SENDMSG 296
#define NR32_RECVMSG 297
#define NR32_SHMAT 305
#define NR32_OPENAT 322
#define NR32_FCHOWNAT 325
#define NR32_UNLINKAT 328
#define NR32_RENAMEAT 329
#define NR32_LINKAT 330
#define NR32_SYMLINKAT 331
#define NR32_FCHMODAT 333
#define NR32_UNSHARE 337
#define NR32_RECVMMSG_TIME32 365
#define NR32_ACCEPT4 366
#define NR32_SENDMMSG 374
#define NR32_SETNS 375
#define NR32_PROCESS_VM_WRITEV 377
#define NR32_FINIT_MODULE 379
#define NR32_RENAMEAT2 382
#define NR32_MEMFD_CREATE 385
#define NR32_BPF 386
#define NR32_EXECVEAT 387
#define NR32_PKEY_MPROTECT 394
#define NR32_RECVMMSG 417
#define NR32_OPEN_TREE 428
#define NR32_MOVE_MOUNT 429
#define NR32_FSMOUNT 432
#define NR32_CLONE3 435
#define NR32_OPENAT2 437
#define NR32_MOUNT_SETATTR 442
#define NR32_FCHMODAT2 452
#define NR32_OPEN_TREE_ATTR 467
/* Not in this table. */
#define NR32_MEMFD_SECRET NO_CALL(11)
#define NR32_SOCKETCALL NO_CALL(12)
#define NR32_OLD_MMAP NO_CALL(13)
#define NR32_IPC NO_CALL(14)
#define NR32_UMOUNT NO_CALL(15)

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct pt_regs {
	u64 regs[31];
	u64 orig_x0;
	s32 syscallno;
};
#pragma clang attribute pop

/* arch/arm64/include/asm/thread_info.h */
#define TIF_32BIT 22

static __always_inline bool is_compat(struct task_struct *task)
{
	return task->thread_info.flags & 1ul << TIF_32BIT;
}

static __always_inline u64 number_of_call(struct pt_regs *regs)
{
	return (u32)regs->syscallno;
}

/* The first argument's register holds the result by now; the kernel keeps what was in it. */
static __always_inline void read_arguments(u64 *argument, struct pt_regs *regs, bool compat)
{
	argument[0] = regs->orig_x0;
	argument[1] = regs->regs[1];
	argument[2] = regs->regs[2];
	argument[3] = regs->regs[3];
	argument[4] = regs->regs[4];
	if (compat)
		for (u32 i = 0; i < 5; i++)
			argument[i] = (u32)argument[i];
}

static __always_inline u64 third_argument(struct pt_regs *regs)
{
	return regs->regs[2];
}

/* arch/arm64/include/uapi/asm/fcntl.h has these bits the other way round than x86. */
#define ARM_O_DIRECTORY 040000
#define ARM_O_NOFOLLOW 0100000
#define ARM_O_DIRECT 0200000
#define ARM_O_LARGEFILE 0400000
#define ARM_O_OWN (ARM_O_DIRECTORY | ARM_O_NOFOLLOW | ARM_O_DIRECT | ARM_O_LARGEFILE)

/* The flags of an open as records have them: by x86's numbers. */
static __always_inline u32 open_flags_of(u32 flags)
{
	u32 common = flags & ~(u32)ARM_O_OWN;

	common |= flags & ARM_O_DIRECTORY ? 0200000 : 0;
	common |= flags & ARM_O_NOFOLLOW ? 0400000 : 0;
	common |= flags & ARM_O_DIRECT ? 040000 : 0;
	common |= flags & ARM_O_LARGEFILE ? 0100000 : 0;
	return common;
}

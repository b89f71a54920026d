/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Memory that is made writable and executable, or executable when it may have been written before. */
#pragma once

/* include/uapi/linux/ipc.h */
#define IPC_SHMAT 21

/* include/uapi/asm-generic/mman-common.h, include/uapi/linux/shm.h, personality.h; include/linux/mm.h */
#define PROT_READ 1
#define PROT_WRITE 2
#define PROT_EXEC 4
#define MAP_ANONYMOUS 0x20
#define SHM_RDONLY 010000
#define SHM_EXEC 0100000
#define READ_IMPLIES_EXEC 0x0400000
#define VM_SHARED 0x8
#define VM_MAYWRITE 0x20

struct memory_scratch {
	struct walk walk;
	struct memory_record record;
	u8 strings[WALK_ROOM];
};
SCRATCH(memory_scratch, struct memory_scratch);
DEFINE_WALK(memory, WALK_MAX_BYTES)

/* What the kernel makes of a protection: it may let whoever reads execute, too. */
static __always_inline u32 effective_protection(struct task_struct *task, u32 protection)
{
	if (protection & PROT_READ && task->personality & READ_IMPLIES_EXEC)
		return protection | PROT_EXEC;
	return protection;
}

/* Whether it is a call for memory, as nearly all are, that makes nothing executable of what can be written. Asked before
 * anything else: these calls are frequent. */
static __always_inline bool is_plain_memory(struct task_struct *task, u64 nr, u64 protection, bool compat)
{
	u32 needed = PROT_EXEC;

	if (nr == (compat ? NR32_MMAP2 : NR_MMAP))
		needed |= PROT_WRITE;
	else if (nr != (compat ? NR32_MPROTECT : NR_MPROTECT) && nr != (compat ? NR32_PKEY_MPROTECT : NR_PKEY_MPROTECT))
		return false;
	return (effective_protection(task, protection) & needed) != needed;
}

struct memory_call {
	u64 address, length;
	u32 call, protection;
	s32 descriptor; /* negative: none */
	bool anonymous;
};

static __always_inline void mapped(struct memory_call *memory, u64 length, u32 protection, u32 flags, s32 descriptor)
{
	memory->call = MEMORY_MMAP;
	memory->length = length;
	memory->protection = protection;
	memory->descriptor = flags & MAP_ANONYMOUS ? -1 : descriptor;
	memory->anonymous = flags & MAP_ANONYMOUS;
}

static __always_inline void attached(struct memory_call *memory, u32 flags)
{
	memory->call = MEMORY_SHMAT;
	memory->protection = PROT_READ;
	if (!(flags & SHM_RDONLY))
		memory->protection |= PROT_WRITE;
	if (flags & SHM_EXEC)
		memory->protection |= PROT_EXEC;
}

/* mmap as 32-bit programs once called it: all arguments lie in memory. */
static __always_inline void old_mapped(struct memory_call *memory, u64 arguments)
{
	u32 given[5] = {};

	bpf_probe_read_user(given, sizeof(given), (void *)arguments);
	mapped(memory, given[1], given[2], given[3], given[4]);
}

/* `call` stays 0 for another call. */
static __always_inline void read_memory(struct memory_call *memory, struct syscall *call, bool compat)
{
	u64 nr = call->nr, *argument = call->argument;

	memory->descriptor = -1;
	if (nr == (compat ? NR32_MMAP2 : NR_MMAP)) {
		mapped(memory, argument[1], argument[2], argument[3], argument[4]);
	} else if (nr == (compat ? NR32_MPROTECT : NR_MPROTECT) ||
		   nr == (compat ? NR32_PKEY_MPROTECT : NR_PKEY_MPROTECT)) {
		memory->call = nr == NR_MPROTECT || nr == NR32_MPROTECT ? MEMORY_MPROTECT : MEMORY_PKEY_MPROTECT;
		memory->address = argument[0];
		memory->length = argument[1];
		memory->protection = argument[2];
	} else if (nr == (compat ? NR32_SHMAT : NR_SHMAT)) {
		attached(memory, argument[2]);
	} else if (compat && nr == NR32_IPC && (u16)argument[0] == IPC_SHMAT) {
		attached(memory, argument[2]);
	} else if (compat && nr == NR32_OLD_MMAP) {
		old_mapped(memory, argument[0]);
	}
}

/* What lies at an address. */
struct found_memory {
	u64 file;
	u64 flags;
	u64 written;
};

static long find_memory(struct task_struct *task, struct vm_area_struct *area, struct found_memory *found)
{
	found->file = (u64)BPF_CORE_READ(area, vm_file);
	found->flags = BPF_CORE_READ(area, vm_flags);
	/* A private mapping has one as soon as a page of it was written. */
	found->written = (u64)BPF_CORE_READ(area, anon_vma);
	return 0;
}

/* False for another call. */
static __noinline int exit_memory(struct task_struct *task, struct syscall *call, bool compat)
{
	struct memory_call memory = {};
	struct found_memory found = {};
	s64 result = call->result;
	struct file *file = NULL;
	u32 zero = 0;

	read_memory(&memory, call, compat);
	if (!memory.call)
		return call->nr == NR32_IPC && compat;
	memory.protection = effective_protection(task, memory.protection);
	if (!(memory.protection & PROT_EXEC))
		return 1;
	bool has_address = memory.call == MEMORY_MMAP || memory.call == MEMORY_SHMAT;
	if (has_address) {
		if (!(memory.protection & PROT_WRITE))
			return 1;
		/* The addresses of a 32-bit program may look like errors. The old ipc gives 0 and writes the address. */
		if (result >= 0 || result < -4095) {
			memory.address = call->nr == NR32_IPC && compat ? 0 : compat ? (u32)result : result;
			result = 0;
		}
		if (memory.descriptor >= 0)
			file = file_of(task, memory.descriptor);
	} else {
		/* 0 where it was found. Where it was not, because another thread changes the address space, what the memory
		 * is cannot be told, and so is not what decides. */
		long missed = bpf_find_vma(task, memory.address, find_memory, &found, 0);
		file = (void *)found.file;
		memory.anonymous = !missed && !file;
		bool may_be_written = missed || !file || found.written ||
				      (found.flags & (VM_SHARED | VM_MAYWRITE)) == (VM_SHARED | VM_MAYWRITE);
		if (!(memory.protection & PROT_WRITE) && !may_be_written)
			return 1;
	}
	struct memory_scratch *scratch = bpf_map_lookup_elem(&memory_scratch, &zero);
	if (!scratch)
		return 1;
	struct memory_record *record = &scratch->record;

	fill_header(&record->header, RECORD_MEMORY, task);
	record->result = result;
	record->address = memory.address;
	record->length = memory.length;
	record->call = memory.call;
	record->protection = memory.protection;
	record->anonymous = memory.anonymous;
	record->reserved = 0;
	scratch->walk.length = 0;
	scratch->walk.done = memory.anonymous;
	if (file)
		walk_memory(&scratch->walk, scratch->strings, 0, &file->f_path);
	u64 walked = scratch->walk.length;
	CLAMP(walked, WALK_ROOM);
	if (!scratch->walk.done)
		record->header.flags |= walked ? WALK_CUT : WALK_UNREADABLE;
	record->walk_length = walked;
	emit(&network_ring, RING_NETWORK, &record->header, sizeof(*record) + walked);
	return 1;
}

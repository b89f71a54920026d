/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What programs have io_uring do: such requests never come to a system call's exit of their own. They are seen when the
 * kernel has taken them over and not yet done them, by the thread that submits or by the kernel's for it, which is of the
 * same process. */
#pragma once

/* include/uapi/linux/io_uring.h */
#define IORING_OP_CONNECT 16
#define IORING_OP_OPENAT 18
#define IORING_OP_OPENAT2 28
#define IORING_OP_UNLINKAT 36
#define IOSQE_FIXED_FILE 0x1

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct filename {
	const char *name;
};
struct io_cmd_data {
	struct file *file;
};
struct io_cqe {
	int fd;
};
struct io_kiocb {
	struct io_cmd_data cmd;
	u8 opcode;
	u32 flags;
	struct io_cqe cqe;
};
struct open_how___kernel {
	u64 flags, mode, resolve;
};
struct io_open {
	int dfd;
	struct filename *filename;
	struct open_how___kernel how;
};
struct io_unlink {
	int dfd;
	struct filename *filename;
};
/* Since 7.0, with the same inside. */
struct delayed_filename {
	struct filename *__incomplete_filename;
};
struct io_open___since_7_0 {
	struct delayed_filename filename;
};
struct io_unlink___since_7_0 {
	struct delayed_filename filename;
};
struct io_connect {
	void *addr;
};

#pragma clang attribute pop

struct io_uring_scratch {
	struct walk walk;
	struct io_uring_record record;
	u8 strings[OPEN_ROOM];
};
SCRATCH(io_uring_scratch, struct io_uring_scratch);
DEFINE_WALK(io_uring, WALK_MAX_BYTES)

/* The name of a request to open or to remove, as the kernel has copied it. Each in a function of its own, so that the
 * compiler does not move what one kernel does not have out of the branch that it never takes. */
static __noinline u64 name_of_open(u64 command)
{
	return (u64)BPF_CORE_READ((struct io_open *)command, filename, name);
}

static __noinline u64 name_of_open_since_7_0(u64 command)
{
	return (u64)BPF_CORE_READ((struct io_open___since_7_0 *)command, filename.__incomplete_filename, name);
}

static __noinline u64 name_of_unlink(u64 command)
{
	return (u64)BPF_CORE_READ((struct io_unlink *)command, filename, name);
}

static __noinline u64 name_of_unlink_since_7_0(u64 command)
{
	return (u64)BPF_CORE_READ((struct io_unlink___since_7_0 *)command, filename.__incomplete_filename, name);
}

/* The name, which the kernel has copied already, and the folder that it is relative to. The length of both. */
static __always_inline u64 fill_request_name(struct io_uring_scratch *scratch, struct task_struct *task, s32 folder,
					     const char *name, bool in_root)
{
	struct io_uring_record *record = &scratch->record;
	struct fs_struct *fs = task->fs;
	struct path *path = NULL;
	u8 first = 0;

	bpf_probe_read_kernel(&first, sizeof(first), name);
	if (in_root || first == '/')
		record->header.flags |= NAME_IN_ROOT;
	if (first == '/' && !in_root) {
		path = fs ? &fs->root : NULL;
	} else if (folder == AT_FDCWD) {
		path = fs ? &fs->pwd : NULL;
	} else {
		struct file *file = file_of(task, folder);
		path = file ? &file->f_path : NULL;
	}
	scratch->walk.length = 0;
	scratch->walk.done = 0;
	if (path)
		walk_io_uring(&scratch->walk, scratch->strings, 0, path);
	u64 at = scratch->walk.length;
	CLAMP(at, WALK_ROOM);
	if (!scratch->walk.done)
		record->header.flags |= at ? WALK_CUT : WALK_UNREADABLE;
	record->walk_length = at;
	long read = bpf_probe_read_kernel_str(scratch->strings + at, NAME_MAX_BYTES, name);
	if (read <= 0)
		record->header.flags |= NAME_UNREADABLE;
	u64 named = read > 0 ? read : 0;
	CLAMP(named, NAME_MAX_BYTES);
	record->name_length = named;
	return at + named;
}

/* The peer as it was asked for. False where it is none of IP. */
static __always_inline bool fill_request_peer(struct io_uring_record *record, struct task_struct *task, u64 request,
					      u64 command)
{
	struct socket_address asked = {};
	u64 address = (u64)BPF_CORE_READ((struct io_connect *)command, addr);

	bool readable = !bpf_probe_read_user(&asked, 8, (void *)address);
	if (readable && asked.family == AF_INET6)
		readable = !bpf_probe_read_user(&asked, sizeof(asked), (void *)address);
	if (!readable) {
		count_read_loss(RECORD_IO_URING);
		return false;
	}
	if (asked.family != AF_INET && asked.family != AF_INET6)
		return false;
	record->family = asked.family;
	record->port = (u16)asked.port[0] << 8 | asked.port[1];
	if (asked.family == AF_INET)
		__builtin_memcpy(record->address, asked.in, 4);
	else
		__builtin_memcpy(record->address, asked.in6, 16);
	/* A number in a table of the ring's own is no descriptor. */
	if (!(BPF_CORE_READ((struct io_kiocb *)request, flags) & IOSQE_FIXED_FILE)) {
		struct sock *sock = sock_of(task, BPF_CORE_READ((struct io_kiocb *)request, cqe.fd));
		if (sock)
			record->protocol = READ(struct sock, sock, sk_protocol);
	}
	return true;
}

static __always_inline void on_request(u64 request)
{
	struct task_struct *task = bpf_get_current_task_btf();
	u8 operation = BPF_CORE_READ((struct io_kiocb *)request, opcode);
	u64 command = request + bpf_core_field_offset(struct io_kiocb, cmd);
	u32 zero = 0;
	u64 length = 0;

	if (operation != IORING_OP_CONNECT && operation != IORING_OP_OPENAT && operation != IORING_OP_OPENAT2 &&
	    operation != IORING_OP_UNLINKAT)
		return;
	struct io_uring_scratch *scratch = bpf_map_lookup_elem(&io_uring_scratch, &zero);
	if (!scratch || !is_wanted(task))
		return;
	struct io_uring_record *record = &scratch->record;
	__builtin_memset(record, 0, sizeof(*record));
	fill_header(&record->header, RECORD_IO_URING, task);
	record->operation = operation;
	if (operation == IORING_OP_CONNECT) {
		if (!fill_request_peer(record, task, request, command))
			return;
	} else if (operation == IORING_OP_UNLINKAT) {
		struct io_unlink *unlink = (void *)command;
		s32 folder = BPF_CORE_READ(unlink, dfd);
		u64 name = bpf_core_type_exists(struct delayed_filename) ? name_of_unlink_since_7_0(command) :
									   name_of_unlink(command);
		length = fill_request_name(scratch, task, folder, (void *)name, false);
	} else {
		struct io_open *open = (void *)command;
		s32 folder = BPF_CORE_READ(open, dfd);
		bool in_root = BPF_CORE_READ(open, how.resolve) & RESOLVE_IN_ROOT;
		record->open_flags = open_flags_of(BPF_CORE_READ(open, how.flags));
		record->mode = BPF_CORE_READ(open, how.mode);
		u64 name = bpf_core_type_exists(struct delayed_filename) ? name_of_open_since_7_0(command) :
									   name_of_open(command);
		length = fill_request_name(scratch, task, folder, (void *)name, in_root);
	}
	CLAMP(length, OPEN_ROOM);
	emit(&file_ring, RING_FILE, &record->header, sizeof(*record) + length);
}

SEC("tp_btf/io_uring_submit_req")
int BPF_PROG(io_uring_submit, u64 request)
{
	enter();
	on_request(request);
	leave();
	return 0;
}

/* The same by the name that it had. */
SEC("tp_btf/io_uring_submit_sqe")
int BPF_PROG(io_uring_submit_before_6_3, u64 request)
{
	enter();
	on_request(request);
	leave();
	return 0;
}

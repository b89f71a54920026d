/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The records in the rings. Mirrored by src/record/, which asserts the sizes. Little-endian, naturally aligned, no
 * holes. Strings follow the fixed part in the order in which their lengths stand in it. */
#pragma once

#define RECORD_VERSION 3

enum record_kind {
	RECORD_EXEC = 1,
	RECORD_ARGUMENTS = 2, /* more of an exec's arguments */
	RECORD_FORK = 3,
	RECORD_EXIT = 4,
	RECORD_OPEN = 5,
	RECORD_CONNECT = 6,
	RECORD_TASK = 7, /* a process found by the snapshot */
	RECORD_DELETE = 8,
	RECORD_RENAME = 9,
	RECORD_LINK = 10,
	RECORD_MODE = 11,
	RECORD_SIGNAL = 12,
	RECORD_PTRACE = 13,
	RECORD_VM_WRITE = 14,
	RECORD_MEMFD = 15,
	RECORD_SECRET = 16, /* memfd_secret */
	RECORD_MODULE = 17,
	RECORD_CREDENTIALS = 18,
	RECORD_BPF = 19,
	RECORD_MOUNT = 20,
	RECORD_NAMESPACE = 21,
	RECORD_MEMORY = 22,
	RECORD_BIND = 32,
	RECORD_LISTEN = 33,
	RECORD_ACCEPT = 34,
	RECORD_EXEC_FAILED = 35,
	RECORD_SEND = 36,
	RECORD_DNS = 37,
	RECORD_IO_URING = 38,
	RECORD_KINDS = 39,
};

/* record_header.flags */
#define PROGRAM_CUT 0x0001
#define PROGRAM_UNREADABLE 0x0002
#define DIRECTORY_CUT 0x0004
#define DIRECTORY_UNREADABLE 0x0008
#define NAME_CUT 0x0010
#define NAME_UNREADABLE 0x0020
#define ARGUMENTS_UNREADABLE 0x0040
#define ARGUMENTS_OVER_LIMIT 0x0080
#define WALK_CUT 0x0100
#define WALK_UNREADABLE 0x0200
/* An open: the walk is the path of the opened file, not of the folder that the name is relative to. */
#define WALK_IS_FILE 0x0400
/* An open: absolute names, too, are below the folder (RESOLVE_IN_ROOT). */
#define NAME_IN_ROOT 0x0800
/* Outside of what the filters let through: makes no event. The process table needs it all the same, since such a process
 * may be an ancestor, or come inside. Of it there is no more than who it is and what it runs. */
#define TASK_OUTSIDE 0x1000
#define TASK_KERNEL_THREAD 0x2000
/* A process of the snapshot: it has ended, and nobody has waited for it. */
#define TASK_ENDED 0x0800
#define PROGRAM_DELETED 0x4000
#define PROGRAM_IN_MEMORY 0x8000

struct record_header {
	u32 length; /* of the whole record */
	u16 kind;
	u16 flags;
	u64 boot_ns;
	u64 start_ns; /* of the thread group's leader */
	u32 tgid, tid;
	u32 generation; /* task_struct.self_exec_id */
	u32 cpu;
	u32 uid, euid, gid, egid;
	u64 capabilities;
};

/* What makes a process: in forks, execs and the snapshot. */
struct task_body {
	u64 parent_start_ns;
	u64 cgroup_id;
	u64 inode;
	u32 parent_tgid, parent_generation;
	u32 namespace_tgid;
	u32 login_uid, session_id;
	u32 terminal_major, terminal_minor;
	u32 ns_cgroup, ns_mnt, ns_net, ns_pid, ns_user, ns_uts;
	u32 device;
	u8 comm[16];
};

struct fork_record {
	struct record_header header;
	struct task_body task;
};

/* RECORD_EXEC, RECORD_TASK. Then: when the program's file was changed last (changed_ns; 0 where there is none), name,
 * program, directory, the first of the arguments. */
struct program_record {
	struct record_header header;
	struct task_body task;
	u32 arguments_total, arguments_length;
	u16 name_length, program_length, directory_length;
	u16 changed_length; /* CHANGED_BYTES; 0 in records of versions before 3 */
};
#define CHANGED_BYTES 8

/* RECORD_ARGUMENTS. Then the bytes. */
struct arguments_record {
	struct record_header header;
	u32 index, offset, total, length;
};

struct exit_record {
	struct record_header header;
	u32 exit_code, reserved;
};

/* RECORD_OPEN. Then: the walk, the name. */
struct open_record {
	struct record_header header;
	s64 result;
	u64 inode;
	u32 device, open_flags, mode;
	u16 walk_length, name_length;
};

/* RECORD_CONNECT, RECORD_BIND, RECORD_ACCEPT, RECORD_SEND: `source` is this side's. */
struct connect_record {
	struct record_header header;
	s64 result;
	u16 family, protocol, source_port, destination_port;
	u8 source[16], destination[16];
};

/* RECORD_LISTEN */
struct listen_record {
	struct connect_record socket;
	u32 backlog, reserved;
};

/* RECORD_DNS. Then: the start of the payload. `source` is this side's. */
struct dns_record {
	struct connect_record socket;
	u32 length, total; /* bytes that are here, and that the message has */
	u32 received; /* 0: sent */
	u32 reserved;
};

/* RECORD_IO_URING. Then: the walk, the name. */
struct io_uring_record {
	struct record_header header;
	u32 operation, open_flags, mode;
	u16 family, protocol, port, reserved;
	u8 address[16];
	u16 walk_length, name_length;
};

/* RECORD_EXEC_FAILED. Then: the walk, the name, the arguments. */
struct exec_failed_record {
	struct record_header header;
	s64 result;
	u16 walk_length, name_length, arguments_length, reserved;
};

/* change_record.what */
#define CHANGE_DIRECTORY 0x1 /* a folder was to be removed */
#define CHANGE_EXCHANGE 0x2 /* both names were to stay, and swap their files */
#define CHANGE_SYMBOLIC 0x4 /* a symbolic link: the first name is what it says */
#define CHANGE_MODE 0x8
#define CHANGE_OWNER 0x10

/* One name of a change. */
struct place {
	u16 walk_length, name_length;
	u16 flags; /* the same bits as in the header: WALK_..., NAME_... */
	u16 reserved;
};

/* RECORD_DELETE, RECORD_RENAME, RECORD_LINK, RECORD_MODE. Then, of each place: the walk, the name. */
struct change_record {
	struct record_header header;
	s64 result;
	u32 what, mode, uid, gid;
	struct place places[2];
};

struct signal_record {
	struct record_header header;
	u64 target_start_ns;
	u32 target_tgid, target_generation, target_tid; /* tid 0: sent to the whole process */
	u32 signal, outcome, reserved;
};

/* RECORD_MODULE: the number of one that came from a file. */
#define MODULE_BY_DESCRIPTOR 1

/* RECORD_PTRACE, RECORD_VM_WRITE, RECORD_MEMFD, RECORD_SECRET, RECORD_MODULE. Then: the walk, the name. */
struct tamper_record {
	struct record_header header;
	s64 result;
	u64 target_start_ns;
	u32 target_tgid, target_generation, target_tid; /* 0: no such task */
	u32 number; /* the request, or flags */
	u16 walk_length, name_length;
	u32 reserved;
};

/* credentials_record.call */
#define CREDENTIALS_SETUID 1
#define CREDENTIALS_SETGID 2
#define CREDENTIALS_SETREUID 3
#define CREDENTIALS_SETREGID 4
#define CREDENTIALS_SETRESUID 5
#define CREDENTIALS_SETRESGID 6
#define CREDENTIALS_SETFSUID 7
#define CREDENTIALS_SETFSGID 8
#define CREDENTIALS_CAPSET 9

/* RECORD_CREDENTIALS */
struct credentials_record {
	struct record_header header;
	s64 result;
	u32 call;
	u32 ids[3]; /* as the call gave them; all bits set: as it is */
};

/* RECORD_BPF. Then: the walk of the folder that the path is relative to, the path. */
struct bpf_record {
	struct record_header header;
	s64 result;
	u32 command;
	u32 object; /* BPF_OBJECT_... */
	u32 type, id; /* the program's or the map's */
	u8 name[16]; /* the same, NUL-padded */
	u16 walk_length, name_length;
	u32 reserved;
};

/* bpf_record.object: what `type`, `id` and `name` are of. */
#define BPF_OBJECT_NONE 0
#define BPF_OBJECT_PROGRAM 1
#define BPF_OBJECT_MAP 2

/* mount_record.call */
#define MOUNT_MOUNT 1
#define MOUNT_UMOUNT 2
#define MOUNT_MOVE_MOUNT 3
#define MOUNT_FSMOUNT 4
#define MOUNT_OPEN_TREE 5
#define MOUNT_PIVOT_ROOT 6
#define MOUNT_SETATTR 7

#define MOUNT_TYPE_BYTES 32

/* RECORD_MOUNT. Then, of each place: the walk, the name. The first is what is mounted, the second where. Its end is that
 * of a change_record, see change.h. */
struct mount_record {
	struct record_header header;
	s64 result;
	u64 flags; /* as the call has them */
	u32 call;
	u32 places_there; /* bits: 1 the first, 2 the second */
	u8 type[MOUNT_TYPE_BYTES]; /* of the file system, NUL-padded */
	struct place places[2];
};

/* namespace_record.call */
#define NAMESPACE_UNSHARE 1
#define NAMESPACE_SETNS 2
#define NAMESPACE_CLONE 3

/* RECORD_NAMESPACE */
struct namespace_record {
	struct record_header header;
	s64 result;
	u64 target_start_ns;
	u32 target_tgid, target_generation; /* of a clone: the new process; 0: none */
	u32 call;
	u32 types; /* CLONE_NEW... */
	u32 pid_for_children, reserved;
	struct task_body task; /* the calling thread's namespaces; nothing else of it is filled in */
};

/* memory_record.call */
#define MEMORY_MMAP 1
#define MEMORY_MPROTECT 2
#define MEMORY_PKEY_MPROTECT 3
#define MEMORY_SHMAT 4

/* RECORD_MEMORY. Then: the walk of the file behind the memory. */
struct memory_record {
	struct record_header header;
	s64 result; /* 0 where the call returns an address */
	u64 address, length;
	u32 call;
	u32 protection; /* PROT_... */
	u32 anonymous; /* 1: no file is behind it */
	u16 walk_length, reserved;
};

/* What was over a limit: the value of a map, which the reader makes a record of. */
#define RECORD_THROTTLED 64
struct throttled_record {
	struct record_header header; /* of the first that was left out */
	u64 count;
	u32 of_kind;
	u32 by_cgroup; /* 1: the limit was its control group's, and others of that may have done it too */
};

/* What could not be delivered, by kind of record, for one CPU. */
struct loss_counters {
	u64 ring[RECORD_KINDS];
	u64 read[RECORD_KINDS];
};

#define NAME_MAX_BYTES 4096
#define WALK_MAX_BYTES 4096
#define COMPONENT_MAX_BYTES 256
#define WALK_ROOM (WALK_MAX_BYTES + COMPONENT_MAX_BYTES)
#define ARGUMENTS_INLINE_BYTES 8192
#define ARGUMENTS_CHUNK_BYTES 16384
/* A quarter of the default stack limit: what the kernel itself lets arguments and environment take. */
#define ARGUMENTS_MAX_BYTES (2 * 1024 * 1024)

#define DNS_MAX_BYTES 4096

#define CGROUPS_MAX 16
#define UIDS_MAX 16

struct cgroup_filter {
	u64 id;
	u32 level, reserved;
};

enum { RING_PROCESS, RING_NETWORK, RING_FILE, RINGS };

/* sensor_config.network */
#define NETWORK_BINDS 0x1
#define NETWORK_LISTENS 0x2
#define NETWORK_ACCEPTS 0x4
#define NETWORK_SENDS 0x8
#define NETWORK_DNS 0x10

/* Limits of acts: see throttle.h. The order is that of `Rates` in src/sensor/limits.rs. */
enum throttle_family { FAMILY_FILES, FAMILY_NETWORK, FAMILY_ACTS, FAMILIES };
enum throttle_scope { SCOPE_PROCESS, SCOPE_CGROUP, SCOPES };
struct throttle_config {
	u64 burst_ns; /* 0: there are no limits */
	u64 interval_ns[SCOPES][FAMILIES]; /* one act's share of a second; 0: no limit */
};

/* Set before loading, constant after: the verifier drops what it turns off. */
struct sensor_config {
	u32 wake_bytes[RINGS];
	u32 opens, connects, changes;
	u32 network, failed_execs;
	u32 include_count, exclude_count, uid_count, tampering;
	u32 credentials;
	u32 bpf, mounts, namespaces, memory, reserved;
	struct cgroup_filter include[CGROUPS_MAX], exclude[CGROUPS_MAX];
	u32 uids[UIDS_MAX];
	struct throttle_config limits;
};

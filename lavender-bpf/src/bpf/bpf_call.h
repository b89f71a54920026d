/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Programs and maps of BPF that are made, attached, pinned and taken hold of by bpf(2). What is done with the contents of
 * maps, which programs do at any rate, and what only asks, is none. */
#pragma once

/* include/uapi/linux/bpf.h, enum bpf_cmd */
#define BPF_CMD_MAP_CREATE 0
#define BPF_CMD_PROG_LOAD 5
#define BPF_CMD_OBJ_PIN 6
#define BPF_CMD_OBJ_GET 7
#define BPF_CMD_PROG_ATTACH 8
#define BPF_CMD_PROG_DETACH 9
#define BPF_CMD_PROG_GET_FD_BY_ID 13
#define BPF_CMD_MAP_GET_FD_BY_ID 14
#define BPF_CMD_RAW_TRACEPOINT_OPEN 17
#define BPF_CMD_LINK_CREATE 28
#define BPF_CMD_LINK_UPDATE 29
#define BPF_CMD_LINK_DETACH 34

/* include/uapi/linux/bpf.h, union bpf_attr: the parts that are read, at their places. */
struct bpf_load_attr {
	u32 type, instructions_count;
	u64 instructions, license;
	u32 log_level, log_size;
	u64 log;
	u32 kernel_version, flags;
	u8 name[16];
};
struct bpf_map_attr {
	u32 type, key_size, value_size, max_entries, flags, inner, node;
	u8 name[16];
};
struct bpf_path_attr {
	u64 path;
	u32 descriptor, flags, folder;
};
/* OBJ_PIN and OBJ_GET: the path is relative to `folder`. */
#define BPF_PATH_FD (1 << 14)

/* CO-RE tells an enumeration from a number. */
enum bpf_prog_type { BPF_PROG_TYPE_UNSPEC };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct bpf_prog_aux {
	u32 id;
	char name[16];
};
struct bpf_prog {
	enum bpf_prog_type type;
	struct bpf_prog_aux *aux;
};
struct bpf_map {
	enum bpf_map_type map_type;
	u32 id;
	char name[16];
};
#pragma clang attribute pop

struct bpf_scratch {
	struct walk walk;
	struct bpf_load_attr load;
	struct bpf_map_attr map;
	struct bpf_path_attr path;
	u32 descriptors[3];
	struct bpf_record record;
	u8 strings[WALK_ROOM + NAME_MAX_BYTES];
};
SCRATCH(bpf_scratch, struct bpf_scratch);
DEFINE_WALK(bpf, WALK_MAX_BYTES)

/* The kernel's own program behind a descriptor that a call took for one, and so no other file. */
static __always_inline void fill_bpf_program(struct bpf_record *record, struct task_struct *task, s64 descriptor)
{
	struct file *file = file_of(task, descriptor);

	if (!file)
		return;
	struct bpf_prog *program = READ(struct file, file, private_data);
	struct bpf_prog_aux *aux = BPF_CORE_READ(program, aux);
	record->object = BPF_OBJECT_PROGRAM;
	record->type = BPF_CORE_READ(program, type);
	record->id = BPF_CORE_READ(aux, id);
	bpf_probe_read_kernel_str(record->name, sizeof(record->name), &aux->name);
}

static __always_inline void fill_bpf_map(struct bpf_record *record, struct task_struct *task, s64 descriptor)
{
	struct file *file = file_of(task, descriptor);

	if (!file)
		return;
	struct bpf_map *map = READ(struct file, file, private_data);
	record->object = BPF_OBJECT_MAP;
	record->type = BPF_CORE_READ(map, map_type);
	record->id = BPF_CORE_READ(map, id);
	bpf_probe_read_kernel_str(record->name, sizeof(record->name), &map->name);
}

/* Where an object is pinned: the path as given, and the folder that it is relative to. */
static __always_inline void fill_bpf_path(struct bpf_scratch *scratch, struct task_struct *task, u64 attr)
{
	struct bpf_record *record = &scratch->record;
	struct path *folder = NULL;
	u8 first = 0;

	__builtin_memset(&scratch->path, 0, sizeof(scratch->path));
	/* Callers of before 6.5 have no `folder`. */
	if (bpf_probe_read_user(&scratch->path, sizeof(scratch->path), (void *)attr))
		bpf_probe_read_user(&scratch->path, 16, (void *)attr);
	bpf_probe_read_user(&first, sizeof(first), (void *)scratch->path.path);
	if (first == '/') {
		record->header.flags |= NAME_IN_ROOT;
		folder = task->fs ? &task->fs->root : NULL;
	} else if (scratch->path.flags & BPF_PATH_FD && (s32)scratch->path.folder != AT_FDCWD) {
		struct file *file = file_of(task, (s32)scratch->path.folder);
		folder = file ? &file->f_path : NULL;
	} else {
		folder = task->fs ? &task->fs->pwd : NULL;
	}
	scratch->walk.length = 0;
	scratch->walk.done = 0;
	if (folder)
		walk_bpf(&scratch->walk, scratch->strings, 0, folder);
	u64 walked = scratch->walk.length;
	CLAMP(walked, WALK_ROOM);
	if (!scratch->walk.done)
		record->header.flags |= walked ? WALK_CUT : WALK_UNREADABLE;
	record->walk_length = walked;
	long read = read_text(scratch->strings + walked, NAME_MAX_BYTES, scratch->path.path);
	if (read <= 0)
		record->header.flags |= NAME_UNREADABLE;
	else if (read == NAME_MAX_BYTES)
		record->header.flags |= NAME_CUT;
	u64 named = read > 0 ? read : 0;
	CLAMP(named, NAME_MAX_BYTES);
	record->name_length = named;
}

/* What was asked for, where the kernel has made nothing that could be looked at. */
static __always_inline void fill_bpf_asked(struct bpf_scratch *scratch, u64 command, u64 attr)
{
	struct bpf_record *record = &scratch->record;

	if (command == BPF_CMD_PROG_LOAD && !bpf_probe_read_user(&scratch->load, sizeof(scratch->load), (void *)attr)) {
		record->object = BPF_OBJECT_PROGRAM;
		record->type = scratch->load.type;
		__builtin_memcpy(record->name, scratch->load.name, sizeof(record->name));
	} else if (command == BPF_CMD_MAP_CREATE &&
		   !bpf_probe_read_user(&scratch->map, sizeof(scratch->map), (void *)attr)) {
		record->object = BPF_OBJECT_MAP;
		record->type = scratch->map.type;
		__builtin_memcpy(record->name, scratch->map.name, sizeof(record->name));
	}
}

/* Where in the attributes the descriptor of the program stands; 3 for nowhere. */
static __always_inline u32 bpf_program_place(u64 command)
{
	switch (command) {
	case BPF_CMD_LINK_CREATE:
		return 0;
	case BPF_CMD_PROG_ATTACH:
	case BPF_CMD_LINK_UPDATE:
		return 1;
	case BPF_CMD_RAW_TRACEPOINT_OPEN:
		return 2;
	}
	return 3;
}

static __always_inline bool is_bpf_change(u64 command)
{
	switch (command) {
	case BPF_CMD_MAP_CREATE:
	case BPF_CMD_PROG_LOAD:
	case BPF_CMD_OBJ_PIN:
	case BPF_CMD_OBJ_GET:
	case BPF_CMD_PROG_ATTACH:
	case BPF_CMD_PROG_DETACH:
	case BPF_CMD_PROG_GET_FD_BY_ID:
	case BPF_CMD_MAP_GET_FD_BY_ID:
	case BPF_CMD_RAW_TRACEPOINT_OPEN:
	case BPF_CMD_LINK_CREATE:
	case BPF_CMD_LINK_UPDATE:
	case BPF_CMD_LINK_DETACH:
		return true;
	}
	return false;
}

/* False for another call. */
static __noinline int exit_bpf(struct task_struct *task, struct syscall *call, bool compat)
{
	u64 command = (u32)call->argument[0], attr = call->argument[1];
	s64 result = call->result;
	u32 zero = 0;

	if (call->nr != (compat ? NR32_BPF : NR_BPF))
		return 0;
	if (!is_bpf_change(command))
		return 1;
	struct bpf_scratch *scratch = bpf_map_lookup_elem(&bpf_scratch, &zero);
	if (!scratch)
		return 1;
	struct bpf_record *record = &scratch->record;

	__builtin_memset(record, 0, sizeof(*record));
	fill_header(&record->header, RECORD_BPF, task);
	record->result = result;
	record->command = command;
	if (result < 0)
		fill_bpf_asked(scratch, command, attr);
	else if (command == BPF_CMD_PROG_LOAD || command == BPF_CMD_PROG_GET_FD_BY_ID)
		fill_bpf_program(record, task, result);
	else if (command == BPF_CMD_MAP_CREATE || command == BPF_CMD_MAP_GET_FD_BY_ID)
		fill_bpf_map(record, task, result);
	u32 place = bpf_program_place(command);
	if (result >= 0 && place < 3 &&
	    !bpf_probe_read_user(scratch->descriptors, sizeof(scratch->descriptors), (void *)attr))
		fill_bpf_program(record, task, (s32)scratch->descriptors[place]);
	if (command == BPF_CMD_OBJ_PIN || command == BPF_CMD_OBJ_GET)
		fill_bpf_path(scratch, task, attr);
	u64 at = (u64)record->walk_length + record->name_length;
	CLAMP(at, WALK_ROOM + NAME_MAX_BYTES);
	emit(&network_ring, RING_NETWORK, &record->header, sizeof(*record) + at);
	return 1;
}

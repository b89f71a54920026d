/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which opens are needed: by their cases, by the file's name, and by the first folders of its path. */
#pragma once

SCRATCH(plan_scratch, struct plan_scratch);

/* include/uapi/asm-generic/fcntl.h */
#define O_ACCMODE 03
#define O_RDONLY 00
#define O_WRONLY 01
#define O_CREAT 0100
#define O_TRUNC 01000
#define O_PATH 010000000
#define O_TMPFILE_BIT 020000000

static __always_inline u8 case_of_open(u32 flags, s64 result)
{
	u32 number = result >= 0 ? CASE_SUCCEEDED : 0;
	bool content = !(flags & O_PATH);

	if (content && (flags & O_ACCMODE) != O_WRONLY)
		number |= CASE_READS;
	if ((content && (flags & O_ACCMODE) != O_RDONLY) || flags & (O_TRUNC | O_CREAT | O_TMPFILE_BIT))
		number |= CASE_CHANGES;
	return 1 << number;
}

/* Whether files of this name are needed. A function of its own: what it has on the stack does not add to what its caller
 * has. */
static __noinline int passes_file_name(struct file *file, u32 this_case)
{
	u32 zero = 0;
	struct plan_scratch *scratch = bpf_map_lookup_elem(&plan_scratch, &zero);

	if (!scratch || !file)
		return 1;
	struct dentry *dentry = BPF_CORE_READ(file, f_path.dentry);
	/* The root of a mount has the name of where it is mounted. */
	if (dentry == BPF_CORE_READ(file, f_path.mnt, mnt_root))
		return 1;
	begin_key(scratch, RECORD_OPEN, KEY_FILE_NAME);
	long read = bpf_probe_read_kernel_str(scratch->key.text, KEY_TEXT_BYTES, BPF_CORE_READ(dentry, d_name.name));
	return read <= 0 || !fold_key(scratch) || is_planned(&scratch->key, this_case);
}

/* Whether files below these folders are needed: `first` and `second` are where the walk has the first part of the path
 * and the second, which are its last. */
static __noinline int passes_folder(struct walk *walk, u8 *strings, u32 this_case)
{
	u32 zero = 0;
	struct plan_scratch *scratch = bpf_map_lookup_elem(&plan_scratch, &zero);

	if (!scratch || !walk || !walk->done || !walk->length)
		return 1;
	u64 first = walk->last, second = walk->before_last;
	CLAMP(first, WALK_MAX_BYTES);
	CLAMP(second, WALK_MAX_BYTES);
	begin_key(scratch, RECORD_OPEN, KEY_FOLDER);
	u8 *text = (u8 *)scratch->key.text;
	long read = bpf_probe_read_kernel_str(text, KEY_TEXT_BYTES, strings + first);
	if (read <= 0 || !fold_key(scratch) || is_planned(&scratch->key, this_case))
		return 1;
	if (first == 0)
		return 0; /* it has no more parts */
	u64 at = read - 1;
	CLAMP(at, KEY_TEXT_BYTES - 1);
	text[at] = '/';
	read = bpf_probe_read_kernel_str(text + at + 1, KEY_TEXT_BYTES, strings + second);
	if (read <= 0 || !fold_key(scratch))
		return 1;
	/* Longer than any key. */
	if (at + read >= KEY_TEXT_BYTES)
		return 0;
	return is_planned(&scratch->key, this_case);
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Calls that change the ids and capabilities that a process acts with. What they became is in the record's header. */
#pragma once

SCRATCH(credentials_scratch, struct credentials_record);

/* Which of them a call is, by the tables in arch/x86/entry/syscalls; 0 for another call. */
static __always_inline u32 credentials_call(u64 nr, bool compat)
{
	switch (nr) {
	case 105:
		return compat ? 0 : CREDENTIALS_SETUID;
	case 106:
		return compat ? 0 : CREDENTIALS_SETGID;
	case 113:
		return compat ? 0 : CREDENTIALS_SETREUID;
	case 114:
		return compat ? 0 : CREDENTIALS_SETREGID;
	case 117:
		return compat ? 0 : CREDENTIALS_SETRESUID;
	case 119:
		return compat ? 0 : CREDENTIALS_SETRESGID;
	case 122:
		return compat ? 0 : CREDENTIALS_SETFSUID;
	case 123:
		return compat ? 0 : CREDENTIALS_SETFSGID;
	case 126:
		return compat ? 0 : CREDENTIALS_CAPSET;
	case 23:
	case 213:
		return compat ? CREDENTIALS_SETUID : 0;
	case 46:
	case 214:
		return compat ? CREDENTIALS_SETGID : 0;
	case 70:
	case 203:
		return compat ? CREDENTIALS_SETREUID : 0;
	case 71:
	case 204:
		return compat ? CREDENTIALS_SETREGID : 0;
	case 164:
	case 208:
		return compat ? CREDENTIALS_SETRESUID : 0;
	case 170:
	case 210:
		return compat ? CREDENTIALS_SETRESGID : 0;
	case 138:
	case 215:
		return compat ? CREDENTIALS_SETFSUID : 0;
	case 139:
	case 216:
		return compat ? CREDENTIALS_SETFSGID : 0;
	case 185:
		return compat ? CREDENTIALS_CAPSET : 0;
	}
	return 0;
}

/* False for a call that is none of these. */
static __always_inline bool exit_credentials(struct task_struct *task, struct syscall *call, bool compat)
{
	u32 which = credentials_call(call->nr, compat), zero = 0;

	if (!which)
		return false;
	struct credentials_record *record = bpf_map_lookup_elem(&credentials_scratch, &zero);
	if (!record)
		return true;
	fill_header(&record->header, RECORD_CREDENTIALS, task);
	record->result = call->result;
	record->call = which;
	/* The 32-bit table has each call twice: the first, below 200, takes ids of 16 bits. */
	bool narrow = compat && call->nr < 200;
#pragma unroll
	for (u32 index = 0; index < 3; index++) {
		u32 id = call->argument[index];
		if (narrow)
			id = (u16)id == 0xffff ? 0xffffffff : (u16)id;
		record->ids[index] = id;
	}
	emit(&network_ring, RING_NETWORK, &record->header, sizeof(*record));
	return true;
}

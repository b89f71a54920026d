/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Calls that change the ids and capabilities that a process acts with. What they became is in the record's header. */
#pragma once

SCRATCH(credentials_scratch, struct credentials_record);

/* Which of them a call is; 0 for another call. */
static __always_inline u32 credentials_call(u64 nr)
{
	switch (nr) {
	case NR_SETUID:
		return CREDENTIALS_SETUID;
	case NR_SETGID:
		return CREDENTIALS_SETGID;
	case NR_SETREUID:
		return CREDENTIALS_SETREUID;
	case NR_SETREGID:
		return CREDENTIALS_SETREGID;
	case NR_SETRESUID:
		return CREDENTIALS_SETRESUID;
	case NR_SETRESGID:
		return CREDENTIALS_SETRESGID;
	case NR_SETFSUID:
		return CREDENTIALS_SETFSUID;
	case NR_SETFSGID:
		return CREDENTIALS_SETFSGID;
	case NR_CAPSET:
		return CREDENTIALS_CAPSET;
	}
	return 0;
}

/* The same by the 32-bit table, which has each call twice: the older one takes ids of 16 bits. */
static __always_inline u32 credentials_call_compat(u64 nr, bool *small_ids)
{
	switch (nr) {
	case NR32_SETUID_SMALL:
		*small_ids = true;
		return CREDENTIALS_SETUID;
	case NR32_SETUID:
		return CREDENTIALS_SETUID;
	case NR32_SETGID_SMALL:
		*small_ids = true;
		return CREDENTIALS_SETGID;
	case NR32_SETGID:
		return CREDENTIALS_SETGID;
	case NR32_SETREUID_SMALL:
		*small_ids = true;
		return CREDENTIALS_SETREUID;
	case NR32_SETREUID:
		return CREDENTIALS_SETREUID;
	case NR32_SETREGID_SMALL:
		*small_ids = true;
		return CREDENTIALS_SETREGID;
	case NR32_SETREGID:
		return CREDENTIALS_SETREGID;
	case NR32_SETRESUID_SMALL:
		*small_ids = true;
		return CREDENTIALS_SETRESUID;
	case NR32_SETRESUID:
		return CREDENTIALS_SETRESUID;
	case NR32_SETRESGID_SMALL:
		*small_ids = true;
		return CREDENTIALS_SETRESGID;
	case NR32_SETRESGID:
		return CREDENTIALS_SETRESGID;
	case NR32_SETFSUID_SMALL:
		*small_ids = true;
		return CREDENTIALS_SETFSUID;
	case NR32_SETFSUID:
		return CREDENTIALS_SETFSUID;
	case NR32_SETFSGID_SMALL:
		*small_ids = true;
		return CREDENTIALS_SETFSGID;
	case NR32_SETFSGID:
		return CREDENTIALS_SETFSGID;
	case NR32_CAPSET:
		return CREDENTIALS_CAPSET;
	}
	return 0;
}

/* False for a call that is none of these. */
static __noinline int exit_credentials(struct task_struct *task, struct syscall *call, bool compat)
{
	bool narrow = false;
	u32 which = compat ? credentials_call_compat(call->nr, &narrow) : credentials_call(call->nr);
	u32 zero = 0;

	if (!which)
		return 0;
	struct credentials_record *record = bpf_map_lookup_elem(&credentials_scratch, &zero);
	if (!record)
		return 1;
	fill_header(&record->header, RECORD_CREDENTIALS, task);
	record->result = call->result;
	record->call = which;
#pragma unroll
	for (u32 index = 0; index < 3; index++) {
		u32 id = call->argument[index];
		if (narrow)
			id = (u16)id == 0xffff ? 0xffffffff : (u16)id;
		record->ids[index] = id;
	}
	emit(&network_ring, RING_NETWORK, &record->header, sizeof(*record));
	return 1;
}

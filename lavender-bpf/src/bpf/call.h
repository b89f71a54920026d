/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A system call that has ended, whichever table its number is of. */
#pragma once

struct syscall {
	u64 nr;
	u64 argument[5];
	s64 result;
};

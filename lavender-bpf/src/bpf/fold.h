/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Texts without regard to case. */
#pragma once

#define EVERY_BYTE 0x0101010101010101ULL

/* Puts ASCII into lower case, eight bytes at a time. */
static __always_inline u64 fold_word(u64 word)
{
	u64 low = word & (0x7f * EVERY_BYTE);
	u64 from_a = low + (0x80 - 'A') * EVERY_BYTE;
	u64 behind_z = low + (0x7f - 'Z') * EVERY_BYTE;
	u64 upper = (from_a ^ behind_z) & ~word & 0x80 * EVERY_BYTE;

	return word | upper >> 2;
}

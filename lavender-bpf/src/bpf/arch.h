/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The machine that the probes are for. */
#pragma once

/* The number of a call that a table does not have: beyond all that the dispatcher looks at, and no other's. */
#define NO_CALL(index) (0x10000 + (index))

#if defined(__TARGET_ARCH_x86)
#include "arch_x86.h"
#elif defined(__TARGET_ARCH_arm64)
#include "arch_arm64.h"
#else
#error "the probes are for x86-64 and arm64"
#endif

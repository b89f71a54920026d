// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The probes. One object, so that they share rings, counters and filters; one header a family. Every program can be
 * left out at load time, and what the configuration turns off costs nothing. */
#include "core.h"
#include "arch.h"
#include "record.h"
#include "ring.h"
#include "filter.h"
#include "throttle.h"
#include "walk.h"
#include "task.h"
#include "process.h"
#include "file.h"
#include "network.h"
#include "call.h"
#include "change.h"
#include "socket_call.h"
#include "socket.h"
#include "dns.h"
#include "message.h"
#include "exec_failed.h"
#include "tamper.h"
#include "credentials.h"
#include "syscall.h"
#include "signal.h"
#include "io_uring.h"
#include "snapshot.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

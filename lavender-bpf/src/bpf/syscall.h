/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is seen at the exits of system calls: by one program for all of them, or, at the end of this file, at the wanted calls'
 * own functions. Entry and exit would tax every call twice; at the exit the arguments
 * are still in the registers, and the result is known. A bitmap of the plan says which calls are wanted. */
#pragma once

#define O_CREAT_WRONLY_TRUNC 01101

static __always_inline void exit_openat2(struct task_struct *task, struct syscall *call)
{
	struct open_how how = {};
	struct open_call open = { .name = call->argument[1], .folder = call->argument[0] };

	/* Unreadable: the call failed for it as well, and has no flags. */
	bpf_probe_read_user(&how, sizeof(how), (void *)call->argument[2]);
	open.flags = how.flags;
	open.mode = how.mode;
	open.in_root = how.resolve & RESOLVE_IN_ROOT;
	emit_open(task, &open, call->result);
}

static __always_inline void exit_socketcall(struct task_struct *task, struct syscall *call)
{
	u32 arguments[2] = {};

	if (bpf_probe_read_user(arguments, sizeof(arguments), (void *)call->argument[1])) {
		if (call->result != -EFAULT)
			count_read_loss(RECORD_CONNECT);
		return;
	}
	emit_connect(task, arguments[0], arguments[1], call->result);
}

/* The open of a call, whose numbers are spread over two tables. False for another call. */
static __always_inline bool read_open(struct syscall *call, bool compat, struct open_call *open)
{
	if (call->nr == (compat ? NR32_OPEN : NR_OPEN)) {
		open->name = call->argument[0];
		open->folder = AT_FDCWD;
		open->flags = call->argument[1];
		open->mode = call->argument[2];
	} else if (call->nr == (compat ? NR32_CREAT : NR_CREAT)) {
		open->name = call->argument[0];
		open->folder = AT_FDCWD;
		open->flags = O_CREAT_WRONLY_TRUNC;
		open->mode = call->argument[1];
	} else if (call->nr == (compat ? NR32_OPENAT : NR_OPENAT)) {
		open->name = call->argument[1];
		open->folder = call->argument[0];
		open->flags = call->argument[2];
		open->mode = call->argument[3];
	} else {
		return false;
	}
	return true;
}

/* Functions of their own: what one has on the stack does not add to what lies below another. Whether it was such a call.
 * Before 6.4 the verifier gives 512 bytes to all frames of a way down, each rounded up to 32, and the one to questions of
 * DNS takes them all: the program's own frame must stay within 160. */
static __noinline int exit_open(struct task_struct *task, struct syscall *call, bool compat)
{
	struct open_call open = {};

	if (call->nr == NR_OPENAT2)
		exit_openat2(task, call);
	else if (read_open(call, compat, &open))
		emit_open(task, &open, call->result);
	else
		return 0;
	return 1;
}

static __noinline int exit_connect(struct task_struct *task, struct syscall *call, bool compat)
{
	if (call->nr == (compat ? NR32_CONNECT : NR_CONNECT))
		emit_connect(task, call->argument[0], call->argument[1], call->result);
	else if (compat && call->nr == NR32_SOCKETCALL && call->argument[0] == SOCKET_CONNECT)
		exit_socketcall(task, call);
	else
		return 0;
	return 1;
}

static __noinline int exit_socket(struct task_struct *task, struct syscall *call, bool compat)
{
	struct socket_call socket = {};

	if (!read_socket_call(&socket, call, compat))
		return 0;
	if (socket.operation == SOCKET_BIND)
		emit_bind(task, &socket);
	else if (socket.operation == SOCKET_LISTEN)
		emit_listen(task, &socket);
	else if (socket.operation == SOCKET_ACCEPT || socket.operation == SOCKET_ACCEPT4)
		emit_accept(task, &socket);
	else
		exit_message(&socket);
	return 1;
}

static __always_inline void dispatch(struct task_struct *task, struct syscall *call, bool compat)
{
	if (config.connects && exit_connect(task, call, compat))
		return;
	if (config.opens && exit_open(task, call, compat))
		return;
	if (config.network && exit_socket(task, call, compat))
		return;
	if (config.failed_execs && exit_exec(task, call, compat))
		return;
	if (config.tampering && exit_tamper(task, call, compat))
		return;
	if (config.credentials && exit_credentials(task, call, compat))
		return;
	if (config.bpf && exit_bpf(task, call, compat))
		return;
	if (config.mounts && exit_mount(task, call, compat))
		return;
	if (config.namespaces && exit_namespace(task, call, compat))
		return;
	if (config.memory && exit_memory(task, call, compat))
		return;
	if (config.changes)
		exit_change(task, call, compat);
}

/* Whether a call of this number is wanted, by either table. Of most calls nothing else is looked at. */
static __always_inline bool may_be_wanted(u64 nr)
{
	if (nr >= 512)
		return false;
	CLAMP(nr, 511);
	return (plan.wanted[nr / 64 & 7] | plan.wanted_compat[nr / 64 & 7]) >> (nr & 63) & 1;
}

static __always_inline void on_syscall_exit(struct pt_regs *regs, u64 nr, long result)
{
	struct task_struct *task = bpf_get_current_task_btf();
	bool compat = is_compat(task);

	CLAMP(nr, 511);
	u64 wanted = compat ? plan.wanted_compat[nr / 64 & 7] : plan.wanted[nr / 64 & 7];
	if (!(wanted >> (nr & 63) & 1))
		return;
	if (config.memory && is_plain_memory(task, nr, third_argument(regs), compat))
		return;
	if (config.failed_execs && result == 0 && is_exec(nr, compat))
		return;
	if (!is_wanted(task))
		return;
	struct syscall call = { .nr = nr, .result = result };
	read_arguments(call.argument, regs, compat);
	if (compat)
		call.result = (s32)result;
	dispatch(task, &call, compat);
}

/* Most calls are let go before preemption is turned off, which each would pay for. A run that is left out meanwhile, where
 * newer kernels have this hook alone, is counted as any other; see ring.h. */
SEC("tp_btf/sys_exit")
int BPF_PROG(syscall_exit, struct pt_regs *regs, long result)
{
	u64 nr = number_of_call(regs);

	if (!may_be_wanted(nr))
		return 0;
	enter();
	on_syscall_exit(regs, nr, result);
	leave();
	return 0;
}

/* The same from the older kind of tracepoint, whose programs no kernel preempts; see ring.h. */
SEC("tracepoint/raw_syscalls/sys_exit")
int syscall_exit_classic(struct trace_event_raw_sys_exit *context)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(task);
	u64 nr = number_of_call(regs);

	if (may_be_wanted(nr))
		on_syscall_exit(regs, nr, context->ret);
	return 0;
}

/* Where programs can be at the ends of the calls' own functions, what is not watched costs nothing. A copy of `call_exit` is
 * put at each function of a wanted call; all go on with one body, which the verifier then looks at once. That takes functions
 * that are of one type in the kernel's BTF, so that there are as many as there may be types. */
#define AT_FUNCTIONS(type_number)                                         \
	struct {                                                          \
		__uint(type, BPF_MAP_TYPE_PROG_ARRAY);                    \
		__uint(max_entries, 1);                                   \
		__type(key, u32);                                         \
		__type(value, u32);                                       \
	} call_bodies_##type_number SEC(".maps");                         \
	SEC("fexit")                                                      \
	int call_exit_##type_number(u64 *context)                         \
	{                                                                 \
		bpf_tail_call(context, &call_bodies_##type_number, 0);    \
		return 0;                                                 \
	}                                                                 \
	SEC("fexit")                                                      \
	int BPF_PROG(call_body_##type_number, struct pt_regs *regs, long result) \
	{                                                                 \
		u64 nr = number_of_call(regs);                            \
		if (!may_be_wanted(nr))                                   \
			return 0;                                         \
		enter();                                                  \
		on_syscall_exit(regs, nr, result);                        \
		leave();                                                  \
		return 0;                                                 \
	}
AT_FUNCTIONS(0)
AT_FUNCTIONS(1)
AT_FUNCTIONS(2)

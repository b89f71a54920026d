/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Connects. Where the kernel asks LSM programs, there; else at the hook of control groups, at which nobody can be killed. */
#pragma once

/* include/linux/socket.h, include/uapi/linux/in.h, in6.h */
struct any_address {
	u16 family;
	u8 port[2];
	u32 ipv4_or_flow;
	u8 ipv6[16];
};
#define IPV4_BYTES 8
#define IPV6_BYTES 24

/* include/uapi/linux/bpf.h; the kernel rewrites each access. */
struct bpf_sock_addr {
	u32 user_family;
	u32 user_ip4;
	u32 user_ip6[4];
	u32 user_port;
};

/* By a thread's number: these programs have no storage of their task's own. There only while one is at work. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, u64);
	__type(value, struct climb);
} connecting SEC(".maps");
/* What a value is begun with: too large for the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct climb);
} empty_climb SEC(".maps");

static __always_inline struct verdict verdict_of(struct peer_key *peer)
{
	struct verdict found = {};
	struct verdict *verdict;
	struct peer_key asked = *peer;

	asked.what = PEER_ADDRESS | PEER_PORT;
	verdict = bpf_map_lookup_elem(&peer_verdicts, &asked);
	if (verdict)
		found = *verdict;
	asked.what = PEER_ADDRESS;
	asked.port = 0;
	verdict = bpf_map_lookup_elem(&peer_verdicts, &asked);
	if (verdict && verdict->action > found.action)
		found = *verdict;
	asked = *peer;
	asked.what = PEER_PORT;
	__builtin_memset(asked.address, 0, sizeof(asked.address));
	verdict = bpf_map_lookup_elem(&peer_verdicts, &asked);
	if (verdict && verdict->action > found.action)
		found = *verdict;
	return found;
}

/* Whether the process that connects is spared: asked only where it is not to. */
static __noinline int is_spared_here(struct task_struct *task)
{
	u64 thread = bpf_get_current_pid_tgid();
	u32 zero = 0;

	if (is_spared(task))
		return 1;
	struct climb *empty = bpf_map_lookup_elem(&empty_climb, &zero);
	if (!empty)
		return 1;
	bpf_map_update_elem(&connecting, &thread, empty, BPF_ANY);
	struct climb *climb = bpf_map_lookup_elem(&connecting, &thread);
	if (!climb) {
		COUNT(missed);
		return 2;
	}
	int spared = runs_spared(climb, task);
	bpf_map_delete_elem(&connecting, &thread);
	return spared;
}

/* Whether a connect of this process to this peer is acted upon. */
static __always_inline bool find_peer(struct task_struct *task, struct peer_key *peer, struct verdict *verdict)
{
	peer->generation = generation;
	if (!peer->generation)
		return false;
	*verdict = verdict_of(peer);
	/* Of a plan that was exchanged meanwhile, some may have been gone. */
	u32 now = generation;
	if (now != peer->generation) {
		peer->generation = now;
		struct verdict again = verdict_of(peer);
		if (again.action > verdict->action)
			*verdict = again;
	}
	if (!verdict->entry || !is_wanted(task))
		return false;
	int spared = is_spared_here(task);
	if (spared == 1)
		COUNT(spared);
	return !spared;
}

static __always_inline void put_ipv4(struct peer_key *peer, u32 address)
{
	peer->address[10] = peer->address[11] = 0xff;
	__builtin_memcpy(peer->address + 12, &address, 4);
}

SEC("lsm/socket_connect")
int BPF_PROG(prevent_connect, struct socket *sock, struct sockaddr *address, int length, int ret)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct any_address to = {};
	struct peer_key peer = {};
	struct verdict verdict;

	if (ret)
		return ret;
	if (length < IPV4_BYTES || bpf_probe_read_kernel(&to, IPV4_BYTES, address))
		return 0;
	if (to.family == AF_INET) {
		put_ipv4(&peer, to.ipv4_or_flow);
	} else if (to.family == AF_INET6 && length >= IPV6_BYTES) {
		if (bpf_probe_read_kernel(&to, sizeof(to), address))
			return 0;
		__builtin_memcpy(peer.address, to.ipv6, sizeof(peer.address));
	} else {
		return 0;
	}
	peer.port = to.port[0] << 8 | to.port[1];
	if (!find_peer(task, &peer, &verdict))
		return 0;
	return act(task, verdict, HOOK_CONNECT, -EPERM);
}

/* 0 has the call fail with EPERM. */
static __always_inline int connect_by_cgroup(struct peer_key *peer, u32 port)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct verdict verdict;

	peer->port = (port & 0xff) << 8 | (port >> 8 & 0xff);
	if (!find_peer(task, peer, &verdict))
		return 1;
	tell(task, verdict.entry, HOOK_CONNECT, config.dry_run ? WHAT_DRY_RUN : WHAT_DENIED, 0);
	return config.dry_run ? 1 : 0;
}

SEC("cgroup/connect4")
int prevent_connect4(struct bpf_sock_addr *ctx)
{
	struct peer_key peer = {};

	put_ipv4(&peer, ctx->user_ip4);
	return connect_by_cgroup(&peer, ctx->user_port);
}

SEC("cgroup/connect6")
int prevent_connect6(struct bpf_sock_addr *ctx)
{
	struct peer_key peer = {};
	u32 address[4] = { ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3] };

	__builtin_memcpy(peer.address, address, sizeof(peer.address));
	return connect_by_cgroup(&peer, ctx->user_port);
}

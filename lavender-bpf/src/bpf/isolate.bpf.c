// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Isolation: of a control group's packets only those on loopback and to and from allowed peers pass. Whatever is not
 * known to pass is dropped. An object of its own, which is there only while something is isolated. */
#include "core.h"

/* include/uapi/linux/bpf.h; the kernel rewrites each access. */
struct __sk_buff {
	u32 before[10];
	u32 ifindex;
};

#define LOOPBACK_IFINDEX 1 /* of every network namespace (include/net/flow.h) */
#define PEERS_MAX 256
#define EXTENSIONS_MAX 4

#define HOP_BY_HOP 0
#define TCP 6
#define UDP 17
#define ICMPV6 58
#define DESTINATION_OPTIONS 60

#define DHCP_SERVER 67
#define DHCP_CLIENT 68
#define DHCPV6_CLIENT 546
#define DHCPV6_SERVER 547

/* An address and a port as they stand in packets; IPv4 addresses as ::ffff:a.b.c.d. */
struct peer {
	u8 address[16];
	u8 port[2];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PEERS_MAX);
	__type(key, struct peer);
	__type(value, u8);
} peers SEC(".maps");

struct isolation_counts {
	u64 in_passed;
	u64 in_dropped;
	u64 out_passed;
	u64 out_dropped;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct isolation_counts);
} packets SEC(".maps");

/* Whether the host's address is leased anew. */
const volatile u8 dhcp SEC(".rodata.dhcp") = 0;

struct ipv4 {
	u8 version_length;
	u8 service;
	u8 length[2];
	u8 id[2];
	u8 fragment[2];
	u8 lifetime;
	u8 protocol;
	u8 checksum[2];
	u8 source[4];
	u8 destination[4];
};

struct ipv6 {
	u8 version_class_label[4];
	u8 length[2];
	u8 next;
	u8 hop_limit;
	u8 source[16];
	u8 destination[16];
};

struct ports {
	u8 source[2];
	u8 destination[2];
};

static __always_inline bool is_peer(struct __sk_buff *skb, u32 at, bool out, const u8 *address)
{
	struct ports ports;
	struct peer peer;

	if (bpf_skb_load_bytes(skb, at, &ports, sizeof(ports)))
		return false;
	__builtin_memcpy(peer.address, address, sizeof(peer.address));
	__builtin_memcpy(peer.port, out ? ports.destination : ports.source, sizeof(peer.port));
	return bpf_map_lookup_elem(&peers, &peer) != NULL;
}

static __always_inline bool is_between(struct __sk_buff *skb, u32 at, u16 source, u16 destination)
{
	struct ports ports;

	if (bpf_skb_load_bytes(skb, at, &ports, sizeof(ports)))
		return false;
	return (ports.source[0] << 8 | ports.source[1]) == source &&
	       (ports.destination[0] << 8 | ports.destination[1]) == destination;
}

/* What a client sends goes no further than the link; leases come from wherever the server is. */
static __always_inline bool is_dhcp(struct __sk_buff *skb, u32 at, bool out, const struct ipv4 *ip)
{
	if (!out)
		return is_between(skb, at, DHCP_SERVER, DHCP_CLIENT);
	const u8 *to = ip->destination;
	return (to[0] & to[1] & to[2] & to[3]) == 255 && is_between(skb, at, DHCP_CLIENT, DHCP_SERVER);
}

static __always_inline bool is_dhcpv6(struct __sk_buff *skb, u32 at, bool out, const struct ipv6 *ip)
{
	if (!out)
		return is_between(skb, at, DHCPV6_SERVER, DHCPV6_CLIENT);
	/* ff02::1:2 */
	const u8 *to = ip->destination;
	u8 between = 0;
#pragma unroll
	for (int i = 2; i < 13; i++)
		between |= to[i];
	return to[0] == 0xff && to[1] == 2 && !between && to[13] == 1 && to[14] == 0 && to[15] == 2 &&
	       is_between(skb, at, DHCPV6_CLIENT, DHCPV6_SERVER);
}

/* What the link needs: neighbours and routers are found, with a hop limit that says nobody forwarded it; and groups
 * are joined on it, without which switches don't pass the neighbours' questions on. */
static __always_inline bool is_of_the_link(struct __sk_buff *skb, u32 at, const struct ipv6 *ip)
{
	u8 type;

	if (bpf_skb_load_bytes(skb, at, &type, sizeof(type)))
		return false;
	if (type >= 133 && type <= 136)
		return ip->hop_limit == 255;
	if ((type >= 130 && type <= 132) || type == 143)
		return ip->hop_limit == 1 && ip->destination[0] == 0xff && ip->destination[1] == 2;
	return false;
}

static __always_inline bool passes_ipv4(struct __sk_buff *skb, bool out)
{
	struct ipv4 ip;
	u8 address[16] = { [10] = 0xff, [11] = 0xff };

	if (bpf_skb_load_bytes(skb, 0, &ip, sizeof(ip)))
		return false;
	u32 at = (ip.version_length & 15) * 4;
	/* Whole packets only: sockets are given them so, and send them so. A piece has no ports of its own. */
	if (at < sizeof(ip) || ip.fragment[0] & 0x3f || ip.fragment[1])
		return false;
	if (ip.protocol != TCP && ip.protocol != UDP)
		return false;
	__builtin_memcpy(address + 12, out ? ip.destination : ip.source, 4);
	if (is_peer(skb, at, out, address))
		return true;
	return dhcp && ip.protocol == UDP && is_dhcp(skb, at, out, &ip);
}

static __always_inline bool passes_ipv6(struct __sk_buff *skb, bool out)
{
	struct ipv6 ip;
	u8 extension[2];

	if (bpf_skb_load_bytes(skb, 0, &ip, sizeof(ip)))
		return false;
	u32 at = sizeof(ip);
	u8 next = ip.next;
	/* Fragments, routes to elsewhere and what cannot be looked into are none of these, and end below. */
#pragma unroll
	for (int i = 0; i < EXTENSIONS_MAX; i++) {
		if (next != HOP_BY_HOP && next != DESTINATION_OPTIONS)
			break;
		if (bpf_skb_load_bytes(skb, at, extension, sizeof(extension)))
			return false;
		next = extension[0];
		at += (extension[1] + 1) * 8;
	}
	if (next == ICMPV6)
		return is_of_the_link(skb, at, &ip);
	if (next != TCP && next != UDP)
		return false;
	if (is_peer(skb, at, out, out ? ip.destination : ip.source))
		return true;
	return dhcp && next == UDP && is_dhcpv6(skb, at, out, &ip);
}

static __always_inline bool passes(struct __sk_buff *skb, bool out)
{
	u8 first;

	if (skb->ifindex == LOOPBACK_IFINDEX)
		return true;
	if (bpf_skb_load_bytes(skb, 0, &first, sizeof(first)))
		return false;
	if (first >> 4 == 4)
		return passes_ipv4(skb, out);
	if (first >> 4 == 6)
		return passes_ipv6(skb, out);
	return false;
}

static __always_inline int decide(struct __sk_buff *skb, bool out)
{
	u32 zero = 0;
	struct isolation_counts *counts = bpf_map_lookup_elem(&packets, &zero);
	bool pass = passes(skb, out);

	if (counts && out)
		*(pass ? &counts->out_passed : &counts->out_dropped) += 1;
	else if (counts)
		*(pass ? &counts->in_passed : &counts->in_dropped) += 1;
	return pass;
}

SEC("cgroup_skb/ingress")
int lavender_in(struct __sk_buff *skb)
{
	return decide(skb, false);
}

SEC("cgroup_skb/egress")
int lavender_out(struct __sk_buff *skb)
{
	return decide(skb, true);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";

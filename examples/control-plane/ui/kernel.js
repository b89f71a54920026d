// What calls did that name things by the kernel's numbers, in one line. The names are those that rules have for them.

const COMMANDS = {
  "0": "map_create", "5": "prog_load", "6": "obj_pin", "7": "obj_get", "8": "prog_attach", "9": "prog_detach",
  "13": "prog_get_fd_by_id", "14": "map_get_fd_by_id", "17": "raw_tracepoint_open", "28": "link_create", "29": "link_update",
  "34": "link_detach"
};

const PROGRAM_TYPES = [
  "unspec", "socket_filter", "kprobe", "sched_cls", "sched_act", "tracepoint", "xdp", "perf_event", "cgroup_skb", "cgroup_sock",
  "lwt_in", "lwt_out", "lwt_xmit", "sock_ops", "sk_skb", "cgroup_device", "sk_msg", "raw_tracepoint", "cgroup_sock_addr",
  "lwt_seg6local", "lirc_mode2", "sk_reuseport", "flow_dissector", "cgroup_sysctl", "raw_tracepoint_writable",
  "cgroup_sockopt", "tracing", "struct_ops", "ext", "lsm", "sk_lookup", "syscall", "netfilter"
];

const MAP_TYPES = [
  "unspec", "hash", "array", "prog_array", "perf_event_array", "percpu_hash", "percpu_array", "stack_trace", "cgroup_array",
  "lru_hash", "lru_percpu_hash", "lpm_trie", "array_of_maps", "hash_of_maps", "devmap", "sockmap", "cpumap", "xskmap",
  "sockhash", "cgroup_storage", "reuseport_sockarray", "percpu_cgroup_storage", "queue", "stack", "sk_storage",
  "devmap_hash", "struct_ops", "ringbuf", "inode_storage", "task_storage", "bloom_filter", "user_ringbuf", "cgrp_storage",
  "arena"
];

const NAMESPACES = [
  ["time", 128], ["mnt", 131072], ["cgroup", 33554432], ["uts", 67108864], ["ipc", 134217728], ["user", 268435456],
  ["pid", 536870912], ["net", 1073741824]
];

const PROTECTIONS = [["read", 1], ["write", 2], ["execute", 4]];

const named = (names, number) => (number === undefined ? undefined : names[number] ?? number);

/** The names of the bits that are set; the bits are fewer than a number has. */
const set = (names, bits) => names.filter(([, bit]) => bits & bit).map(([name]) => name).join("|");

const LINES = {
  __proto__: null,
  bpf: (data) => [named(COMMANDS, data.command), named(PROGRAM_TYPES, data.program_type), named(MAP_TYPES, data.map_type),
    data.name, data.path],
  mount: (data) => [data.call, data.filesystem, data.source, data.target && "on", data.target],
  ns_change: (data) => [data.call, set(NAMESPACES, data.types)],
  memory_protect: (data) => [data.call, set(PROTECTIONS, data.protection), data.path],
};

/** The words for an event; `undefined` for one of another kind. What did not succeed ends with the error's number. */
export function kernelCall(kind, data) {
  const words = LINES[kind]?.(data);
  if (!words) return undefined;
  // What no number of JavaScript holds is none.
  if (typeof data.result === "number" && data.result < 0) words.push(`failed (${data.result})`);
  return words.filter((word) => word !== undefined && word !== "");
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Rings by priority, and the count of what did not fit. */
#pragma once

const volatile struct sensor_config config SEC(".rodata.config");

/* From 7.0 on the kernel lets a BTF tracepoint program be preempted, and leaves out every run that meets it on that
 * processor until it has gone on: a sixth of all opens in a storm. So nothing preempts us while we work. What is due
 * meanwhile still does as soon as we leave, before the kernel has noted that we are done; runs left out by that are
 * counted by the kernel, and read from there. */
extern void bpf_preempt_disable(void) __ksym __weak;
extern void bpf_preempt_enable(void) __ksym __weak;

static __always_inline void enter(void)
{
	if (bpf_ksym_exists(bpf_preempt_disable))
		bpf_preempt_disable();
}

static __always_inline void leave(void)
{
	if (bpf_ksym_exists(bpf_preempt_enable))
		bpf_preempt_enable();
}

#define RING(name)                                  \
	struct {                                    \
		__uint(type, BPF_MAP_TYPE_RINGBUF); \
		__uint(max_entries, 4096);          \
	} name SEC(".maps")
RING(process_ring);
RING(network_ring);
RING(file_ring);

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct loss_counters);
} losses SEC(".maps");

/* The producer is on its CPU and cannot be interrupted by itself, so that a plain increment is exact. */
static __always_inline void count_ring_loss(u32 kind)
{
	u32 zero = 0;
	struct loss_counters *counters = bpf_map_lookup_elem(&losses, &zero);
	if (counters && kind < RECORD_KINDS)
		counters->ring[kind]++;
}

static __always_inline void count_read_loss(u32 kind)
{
	u32 zero = 0;
	struct loss_counters *counters = bpf_map_lookup_elem(&losses, &zero);
	if (counters && kind < RECORD_KINDS)
		counters->read[kind]++;
}

/* Set by the reader when it goes to sleep without a timer, because nothing came for a while. */
volatile u32 wake_armed SEC(".data.wake") = 0;

/* Copies a record of its true length into a ring, or counts it. A wake-up costs more than a record: while records come,
 * the reader drains on a timer, and is woken only by the record with which the unread bytes pass the mark. When none
 * came for a while, the next one wakes it. */
static __always_inline void output(void *ring, u32 ring_index, struct record_header *record, u64 length)
{
	u64 unread = bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA);
	u64 mark = config.wake_bytes[ring_index];
	u64 flags = unread < mark && unread + length >= mark ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;

	if (wake_armed) {
		wake_armed = 0;
		flags = BPF_RB_FORCE_WAKEUP;
	}
	record->length = length;
	if (bpf_ringbuf_output(ring, record, length, flags))
		count_ring_loss(record->flags & TASK_OUTSIDE && ring_index == RING_PROCESS ? RECORD_TASK : record->kind);
}

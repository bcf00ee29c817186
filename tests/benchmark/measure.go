package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/theworklabs/edge/tests/benchmark/load"
	"github.com/theworklabs/edge/tests/reliability/lab"
)

// tick is the unit of processor time in /proc, on every Linux.
const tick = 10 * time.Millisecond

// processorTime returns the time that processes have run for.
func processorTime(pids []string) (time.Duration, error) {
	var sum time.Duration
	for _, pid := range pids {
		content, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil {
			return 0, err
		}
		_, rest, _ := strings.Cut(string(content), ") ") // the name may have spaces
		fields := strings.Fields(rest)
		if len(fields) < 13 {
			return 0, fmt.Errorf("/proc/%s/stat has %d fields", pid, len(fields))
		}
		for _, field := range fields[11:13] { // utime and stime
			n, err := strconv.Atoi(field)
			if err != nil {
				return 0, err
			}
			sum += time.Duration(n) * tick
		}
	}
	return sum, nil
}

// saturate measures the processor time that the proxy needs for each request, and how many requests it serves, while connections send one
// request after the other.
func (b *bench) saturate(ctx context.Context, t *target, r load.Request, connections int) (values, error) {
	clients, err := load.Open(ctx, r, connections)
	if err != nil {
		return nil, err
	}
	defer clients.Close()
	if _, err := clients.Saturate(b.effort.Warmup); err != nil {
		return nil, err
	}
	pids, err := t.processes(ctx)
	if err != nil {
		return nil, err
	}
	before, err := processorTime(pids)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	n, err := clients.Saturate(b.effort.Time)
	took := time.Since(start)
	if err != nil {
		return nil, err
	}
	after, err := processorTime(pids)
	if err != nil {
		return nil, err
	}
	return values{processor: micros(after-before) / float64(n), throughput: float64(n) / took.Seconds()}, nil
}

// pace measures how long responses take at a fixed rate.
func (b *bench) pace(ctx context.Context, t *target, rate int) (values, error) {
	clients, err := load.Open(ctx, t.request(load.HTTP1, "GET", kilobyte, 0), 64)
	if err != nil {
		return nil, err
	}
	defer clients.Close()
	if _, err := clients.Pace(rate, b.effort.Warmup); err != nil {
		return nil, err
	}
	latencies, err := clients.Pace(rate, b.effort.Time)
	return values{p50: micros(latencies.Percentile(50)), p99: micros(latencies.Percentile(99))}, err
}

// halfTime is how many times longer than others the measurement at half of the load takes: a p99 needs many requests.
const halfTime = 5

// paceHalf measures how long responses take at half of the rate that the first proxy can do.
func (b *bench) paceHalf(ctx context.Context, t *target) (values, error) {
	if t == b.targets[0] {
		got, err := b.saturate(ctx, t, t.request(load.HTTP1, "GET", kilobyte, 0), 64)
		if err != nil {
			return nil, err
		}
		b.halfRate = max(1, int(got[throughput]/2))
	}
	clients, err := load.Open(ctx, t.request(load.HTTP1, "GET", kilobyte, 0), 64)
	if err != nil {
		return nil, err
	}
	defer clients.Close()
	if _, err := clients.Pace(b.halfRate, b.effort.Warmup); err != nil {
		return nil, err
	}
	latencies, err := clients.Pace(b.halfRate, halfTime*b.effort.Time)
	return values{p50: micros(latencies.Percentile(50)), p99: micros(latencies.Percentile(99))}, err
}

// memory measures what the proxy's processes need for each of n connections, which open makes and the function that it returns closes.
func (b *bench) memory(ctx context.Context, t *target, n int, open func(n int) (func(), error)) (values, error) {
	warm, err := open(20) // the proxy allocates what all share
	if err != nil {
		return nil, err
	}
	warm()
	pids, err := t.processes(ctx)
	if err != nil {
		return nil, err
	}
	before, err := steadyMemory(ctx, pids)
	if err != nil {
		return nil, err
	}
	closeAll, err := open(n)
	if err != nil {
		return nil, err
	}
	defer closeAll()
	after, err := steadyMemory(ctx, pids)
	return values{memory: float64(after-before) / float64(n)}, err
}

// steadyMemory returns the memory in KiB once it no longer changes by more than a hundredth in a second; a garbage collector takes a while.
func steadyMemory(ctx context.Context, pids []string) (int, error) {
	last := 0
	for range 20 {
		kib, err := lab.ProcessMemory(pids)
		if err != nil {
			return 0, err
		}
		if last > 0 && max(kib-last, last-kib) <= last/100 {
			return kib, nil
		}
		last = kib
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(time.Second):
		}
	}
	return 0, errors.New("the memory of the proxy does not settle")
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

// machine describes the machine of the run.
func machine() string {
	model := field("/proc/cpuinfo", "model name")
	memory := strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB")
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	var kib float64
	_, _ = fmt.Sscan(memory, &kib)
	return fmt.Sprintf("%d processors (%s), %.0f GB of memory, Linux %s, %s", runtime.NumCPU(), model, kib/kilobyte/kilobyte, strings.TrimSpace(string(kernel)), runtime.GOARCH)
}

// field returns the first value of a name in a file of lines with NAME: VALUE; "" if there is none.
func field(file, name string) string {
	content, _ := os.ReadFile(file)
	for line := range strings.Lines(string(content)) {
		if found, value, _ := strings.Cut(line, ":"); strings.TrimSpace(found) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

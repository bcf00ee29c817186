//go:build !unix

package compose

import "os/exec"

// interruptAsGroup does nothing: this system has no process groups.
func interruptAsGroup(*exec.Cmd) (ended func()) { return func() {} }

//go:build !unix

package compose

import "os/exec"

// interruptAsGroup leaves the command as it is.
func interruptAsGroup(*exec.Cmd) (ended func()) { return func() {} }

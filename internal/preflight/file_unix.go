//go:build unix

package preflight

import (
	"io/fs"
	"syscall"
)

// fileOwner returns the owner and the group of a file.
func fileOwner(info fs.FileInfo) (uid, gid uint32, known bool) {
	stat, known := info.Sys().(*syscall.Stat_t)
	if !known {
		return 0, 0, false
	}
	return stat.Uid, stat.Gid, true
}

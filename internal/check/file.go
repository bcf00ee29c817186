package check

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// files sees that what is mounted from this machine is there, and that the edge's user can read what it is given.
func (c *Check) files(s *stack) []Finding {
	var all []Finding
	n := 0
	for _, service := range s.services() {
		for _, m := range service.Volumes {
			if m.Type != "bind" {
				continue
			}
			n++
			info, err := os.Stat(m.Source)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				all = append(all, failure("file", "put it there, or name it otherwise in .env or the compose file", "%s: %s is not there, and is mounted at %s", service.name, m.Source, m.Target))
			case err != nil:
				all = append(all, warning("file", "run it as root to know", "%s: %v", service.name, err))
			case service == s.edge && info.Mode().IsRegular() && !readable(info, service.User):
				all = append(all, failure("file", "chmod a+r "+m.Source, "%s runs as user %s and can't read %s (%s)", service.name, service.User, m.Source, info.Mode()))
			case info.IsDir() && strings.Contains(m.Target[strings.LastIndex(m.Target, "/"):], ".") && service == s.edge:
				all = append(all, failure("file", "remove it and put the file there; Docker makes a directory where a file is missing", "%s is a directory, and is mounted as the file %s", m.Source, m.Target))
			}
		}
	}
	if len(all) == 0 && n > 0 {
		all = append(all, ok("file", "what is mounted from this machine is there (files and directories: %d)", n))
	}
	return all
}

// readable reports whether a user of a compose file, UID or UID:GID, can read a file. A name, or none, may be anyone.
func readable(info fs.FileInfo, user string) bool {
	uid, gid, _ := strings.Cut(user, ":")
	id, err := strconv.ParseUint(uid, 10, 32)
	if err != nil || id == 0 {
		return true
	}
	owner, group, known := owners(info)
	switch mode := info.Mode(); {
	case known && uint64(owner) == id:
		return mode&0o400 != 0
	case known && gid == strconv.FormatUint(uint64(group), 10):
		return mode&0o040 != 0
	default:
		return mode&0o004 != 0
	}
}

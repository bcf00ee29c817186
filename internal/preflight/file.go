package preflight

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
)

// checkFiles sees that what is mounted from this machine is there, and that the edge's user can read what it is given.
func (c *Check) checkFiles(s *stack) []Finding {
	var all []Finding
	n := 0
	for _, service := range s.activeServices() {
		for _, m := range service.Volumes {
			if m.Type != "bind" {
				continue
			}
			n++
			if found := c.checkMount(s, service, m); found != nil {
				all = append(all, *found)
			}
		}
	}
	if len(all) == 0 && n > 0 {
		all = append(all, okFinding("file", "what is mounted from this machine is there (files and directories: %d)", n))
	}
	return all
}

// checkMount returns what is wrong with one mount, or nil.
func (c *Check) checkMount(s *stack, service *service, m mount) *Finding {
	info, err := os.Stat(m.Source)
	var found Finding
	switch {
	case errors.Is(err, fs.ErrNotExist) && m.Bind.CreateHostPath && !looksLikeFile(m.Target):
		found = warningFinding("file", "make it, if it should have something in it", "%s: %s is not there, and Docker will make an empty directory of that name", service.name, m.Source)
	case errors.Is(err, fs.ErrNotExist):
		found = errorFinding("file", "put it there, or name it otherwise in .env or the compose file", "%s: %s is not there, and is mounted at %s", service.name, m.Source, m.Target)
	case err != nil:
		found = warningFinding("file", "run it as root to know", "%s: %v", service.name, err)
	case info.IsDir() && looksLikeFile(m.Target):
		found = errorFinding("file", "remove it and put the file there; Docker makes a directory where a file is missing", "%s is a directory, and is mounted as the file %s", m.Source, m.Target)
	case service == s.edge && info.Mode().IsRegular():
		readable, known := canRead(info, service.User)
		if readable {
			return nil
		}
		const text = "%s runs as user %s and can't read %s (%s)"
		found = errorFinding("file", "chmod a+r "+m.Source, text, service.name, service.User, m.Source, info.Mode())
		if !known {
			found.Level = Warning
		}
	default:
		return nil
	}
	return &found
}

// looksLikeFile reports whether the name of a mount is one of a file for the edge. Others, such as conf.d, may be anything.
func looksLikeFile(target string) bool {
	switch path.Ext(target) {
	case ".caddyfile", ".crt", ".json", ".key", ".pem":
		return true
	}
	return path.Base(target) == "Caddyfile"
}

// canRead reports whether a user of a compose file, UID or UID:GID, can read a file, and whether that is known: a name may be
// anyone, and a user without a group has one that only the image knows.
func canRead(info fs.FileInfo, user string) (readable, known bool) {
	uid, gid, hasGroup := strings.Cut(user, ":")
	id, err := strconv.ParseUint(uid, 10, 32)
	if err != nil || id == 0 {
		return true, false
	}
	owner, group, known := owners(info)
	switch mode := info.Mode(); {
	case mode&0o004 != 0:
		return true, true
	case known && uint64(owner) == id:
		return mode&0o400 != 0, true
	case known && hasGroup && gid == strconv.FormatUint(uint64(group), 10):
		return mode&0o040 != 0, true
	default:
		return false, known && (hasGroup || mode&0o040 == 0)
	}
}

package preflight

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/theworklabs/edge/internal/compose"
)

// checkFiles checks that the sources of bind mounts exist, and that the edge's user can read its files.
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
		all = append(all, okFinding("file", "all bind mounts exist (files and directories: %d)", n))
	}
	return all
}

// checkMount returns a finding about a bind mount, or nil.
func (c *Check) checkMount(s *stack, service *compose.Service, m compose.Mount) *Finding {
	info, err := os.Stat(m.Source)
	var found Finding
	switch {
	case errors.Is(err, fs.ErrNotExist) && m.Bind.CreateHostPath && !looksLikeFile(m.Target):
		found = warningFinding("file", "create it, if it should have content", "%s: %s does not exist, and Docker will create an empty directory there", service.Name, m.Source)
	case errors.Is(err, fs.ErrNotExist):
		found = errorFinding("file", "create it, or correct its path in .env or the compose file", "%s: %s does not exist, and is mounted at %s", service.Name, m.Source, m.Target)
	case err != nil:
		found = warningFinding("file", "run edge check as root", "%s: %v", service.Name, err)
	case info.IsDir() && looksLikeFile(m.Target):
		found = errorFinding("file", "remove it and put the file there; Docker creates a directory if the file is missing", "%s is a directory, and is mounted as the file %s", m.Source, m.Target)
	case service == s.edge && info.Mode().IsRegular():
		readable, known := canRead(info, service.User)
		if readable {
			return nil
		}
		const text = "%s runs as user %s and can't read %s (%s)"
		found = errorFinding("file", "chmod a+r "+m.Source, text, service.Name, service.User, m.Source, info.Mode())
		if !known {
			found.Level = Warning
		}
	default:
		return nil
	}
	return &found
}

// looksLikeFile reports whether a mount point has the name of a file that an edge reads. Other names, such as conf.d, may be those
// of directories.
func looksLikeFile(target string) bool {
	switch path.Ext(target) {
	case ".caddyfile", ".crt", ".json", ".key", ".pem":
		return true
	}
	return path.Base(target) == "Caddyfile"
}

// canRead reports whether a user, UID or UID:GID in a compose file, can read a file, and whether that is known. It is not known for a
// user's name, and may not be for a user without a group: the image decides.
func canRead(info fs.FileInfo, user string) (readable, known bool) {
	uid, gid, hasGroup := strings.Cut(user, ":")
	id, err := strconv.ParseUint(uid, 10, 32)
	if err != nil || id == 0 {
		return true, false
	}
	owner, group, known := fileOwner(info)
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

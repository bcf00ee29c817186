package backup

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
	"github.com/theworklabs/edge/internal/restic"
	"github.com/theworklabs/edge/internal/timers"
)

// Init sets up the repository of a project's backups.
type Init struct {
	Docker  Docker
	Project compose.Project
	Edge    string // see [Backup.Edge]
	// Repository is where restic stores the backups, and CopyTo, if it is not empty, a second place. Without Repository, CopyTo and Timer are added
	// to what backup.env has.
	Repository, CopyTo string
	// Env are variables for the repository, such as AWS_ACCESS_KEY_ID=…, which are written to backup.env.
	Env []string
	// Notify says where failures are reported to: https://… or mailto:…; it may be empty.
	Notify string
	// Timer has the commands run regularly, by systemd.
	Timer bool
}

// Created is what [Init.Run] has created.
type Created struct {
	File        string // backup.env
	Repository  string // its URL, without a password
	IsSecond    bool   // it is one to which each set is copied
	RecoveryKey string // a second password of the repository, which is stored nowhere
	Plan        *Plan  // what a backup will store
	Timers      *timers.Timers
}

// Run creates the repository, with a password that it writes to backup.env, and a recovery key. It does not replace a backup.env, nor use a
// repository that exists. With an error, it also returns what it has created if that can be used: the recovery key is stored nowhere else.
func (i *Init) Run(ctx context.Context) (*Created, error) {
	if i.Repository == "" && (i.CopyTo != "" || i.Timer) {
		if i.Notify != "" {
			return nil, hint.New(errors.New("--notify is for a repository that is created"), "set "+notifyVariable+" in "+settingsFile)
		}
		return i.extend(ctx)
	}
	if i.Repository == "" {
		return nil, hint.New(errors.New("no repository is named"), "--repository s3:https://HOST/BUCKET, sftp:USER@HOST:/PATH or /PATH; a disk of this machine is lost with it")
	}
	if i.Notify != "" {
		if err := checkNotify(i.Notify); err != nil {
			return nil, err
		}
	}
	stack, project, err := readProject(ctx, i.Docker, i.Project)
	if err != nil {
		return nil, err
	}
	plan, err := NewPlan(stack, isDirectory)
	if err != nil {
		return nil, err
	}
	e, err := findEdge(ctx, i.Docker, stack, i.Edge)
	if err != nil {
		return nil, err
	}
	program, err := findRestic(ctx, i.Docker, e)
	if err != nil {
		return nil, err
	}
	s := &Settings{Repository: absolute(i.Repository), Password: newKey(), CopyTo: i.CopyTo, Notify: i.Notify, Env: i.Env}
	if s.CopyTo != "" {
		s.CopyTo = absolute(s.CopyTo)
	}
	if err := s.write(project.Directory); err != nil {
		return nil, err
	}
	file := filepath.Join(project.Directory, settingsFile)
	created := &Created{File: file, Repository: restic.RedactURL(s.Repository), RecoveryKey: newKey(), Plan: plan}
	repository := s.repository(program, s.Repository)
	if err := repository.Init(ctx); err != nil {
		return nil, errors.Join(err, os.Remove(file)) // a password without its repository is of no use
	}
	if err := repository.AddKey(ctx, created.RecoveryKey); err != nil {
		return nil, hint.New(fmt.Errorf("the repository %s is created, but has no recovery key: %w", created.Repository, err),
			"remove the repository and "+file+", and run it again")
	}
	// It only saves time.
	if id, err := repository.KeyID(ctx); err == nil {
		if err := appendLine(file, restic.KeyHintVariable+"="+id); err != nil {
			return created, err
		}
	}
	if s.CopyTo != "" {
		if err := createSecond(ctx, repository, s.repository(program, s.CopyTo), created.RecoveryKey); err != nil {
			return created, hint.New(fmt.Errorf("the repository %s is created, but not the second one: %w", created.Repository, err),
				"for another second one, remove the first, which is empty, and "+file+", and run it again")
		}
	}
	if i.Timer {
		project.Name = stack.Name
		if created.Timers, err = timers.Install(ctx, project, timers.Directory, jobs(project, i.Edge)...); err != nil {
			return created, hint.New(fmt.Errorf("the repository %s is created, but nothing runs regularly: %w", created.Repository, err), "edge backup init --timer")
		}
	}
	return created, nil
}

// extend adds a second repository, timers, or both to a project whose repository is set up already.
func (i *Init) extend(ctx context.Context) (*Created, error) {
	stack, project, err := readProject(ctx, i.Docker, i.Project)
	if err != nil {
		return nil, err
	}
	s, err := ReadSettings(project.Directory)
	if err != nil {
		return nil, err
	}
	created := &Created{File: filepath.Join(project.Directory, settingsFile), Repository: restic.RedactURL(s.Repository)}
	if i.CopyTo != "" {
		if err := i.addSecond(ctx, stack, s, created); err != nil {
			return created, err
		}
	}
	if i.Timer {
		project.Name = stack.Name
		created.Timers, err = timers.Install(ctx, project, timers.Directory, jobs(project, i.Edge)...)
	}
	return created, err
}

// addSecond creates a second repository, with a recovery key of its own, and writes its location to backup.env.
func (i *Init) addSecond(ctx context.Context, stack *compose.Stack, s *Settings, created *Created) error {
	location := absolute(i.CopyTo)
	switch {
	case s.CopyTo != "":
		return hint.New(fmt.Errorf("each set is copied to %s already", restic.RedactURL(s.CopyTo)), "for another second repository, remove "+copyVariable+" from "+created.File)
	case location == s.Repository:
		return hint.New(fmt.Errorf("%s is the repository itself", created.Repository), "name a place that is not lost with it")
	}
	e, err := findEdge(ctx, i.Docker, stack, i.Edge)
	if err != nil {
		return err
	}
	program, err := findRestic(ctx, i.Docker, e)
	if err != nil {
		return err
	}
	s.Env = append(s.Env, i.Env...)
	recoveryKey := newKey()
	if err := createSecond(ctx, s.repository(program, s.Repository), s.repository(program, location), recoveryKey); err != nil {
		return err
	}
	created.Repository, created.IsSecond, created.RecoveryKey = restic.RedactURL(location), true, recoveryKey
	for _, line := range append(i.Env, copyVariable+"="+location) {
		if err := appendLine(created.File, line); err != nil {
			return fmt.Errorf("the second repository %s is created, but not written to %s: %w", created.Repository, created.File, err)
		}
	}
	return nil
}

// createSecond creates the second repository, which has the keys of the first, and cuts data as it does.
func createSecond(ctx context.Context, first, second *restic.Repository, recoveryKey string) error {
	if err := second.InitLike(ctx, first); err != nil {
		return err
	}
	return second.AddKey(ctx, recoveryKey)
}

// appendLine adds a line to a file, whose last line may not be ended.
func appendLine(name, line string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		line = "\n" + line
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line + "\n")
	return errors.Join(err, f.Close())
}

// newKey returns a password of 160 random bits, in groups that a person can copy.
func newKey() string {
	text := strings.ToLower(rand.Text() + rand.Text())[:32]
	var groups []string
	for len(text) > 0 {
		groups = append(groups, text[:4])
		text = text[4:]
	}
	return strings.Join(groups, "-")
}

// absolute makes the path of a repository on this machine absolute: the timer runs in another directory.
func absolute(location string) string {
	if strings.Contains(location, ":") {
		return location
	}
	if path, err := filepath.Abs(location); err == nil {
		return path
	}
	return location
}

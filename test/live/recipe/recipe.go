// Package recipe gets the registries' real servers from package registries: Debian's
// archive, the Go module proxy and Maven Central. What was built is kept in a folder
// outside of the repository, under a name that has a hash of what it was built from, so
// that it is built once.
package recipe

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// A Recipe makes one server, or the official clients that are measured beside ours.
type Recipe struct {
	Name   string
	Limit  time.Duration // for making it
	folder string        // below servers, with what it is made from; empty: the name alone says it
	needs  []string      // programs, of those that Debian's packages have
	make   func(ctx context.Context, r Recipe, to string) error
}

// All lists the recipes; those that take longest are the last.
func All() []Recipe {
	jvm := []string{"javac", "mvn"}
	return []Recipe{
		{Name: "etcd34", Limit: 3 * time.Minute, make: debian("etcd-server")},
		{Name: "zookeeper", Limit: 5 * time.Minute, folder: "zookeeper", needs: jvm, make: maven},
		{Name: "eureka", Limit: 5 * time.Minute, folder: "eureka", needs: jvm, make: maven},
		{Name: "nacos2", Limit: 5 * time.Minute, folder: "nacos2", needs: jvm, make: maven},
		{Name: "nacos3", Limit: 5 * time.Minute, folder: "nacos3", needs: jvm, make: maven},
		{Name: "etcd36", Limit: 6 * time.Minute, folder: "etcd36", make: program("etcd", "", "go.etcd.io/etcd/server/v3")},
		{Name: "clients", Limit: 8 * time.Minute, folder: "clients", make: program("clients", "", ".")},
		{Name: "consul", Limit: 10 * time.Minute, folder: "consul", make: program("consul", "", "github.com/hashicorp/consul")},
		{Name: "kubernetes", Limit: 15 * time.Minute, folder: "kubernetes", make: kubernetes},
	}
}

// Named returns the recipe of that name.
func Named(name string) (Recipe, error) {
	for _, r := range All() {
		if r.Name == name {
			return r, nil
		}
	}
	return Recipe{}, fmt.Errorf("no recipe %q", name)
}

// Cache is the folder for what was built: $POISE_LIVE_CACHE, or one of the user's.
func Cache() (string, error) {
	if dir := os.Getenv("POISE_LIVE_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "poise-live"), err
}

// An Unavailable is why something cannot be had that is not our fault: a package registry
// refuses, or it took too long.
type Unavailable struct{ Reason string }

func (u Unavailable) Error() string { return u.Reason }

// Find returns the folder of what was made, or Unavailable.
func (r Recipe) Find() (string, error) {
	dir, err := r.dir()
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	why, err := os.ReadFile(dir + ".failed")
	if errors.Is(err, fs.ErrNotExist) {
		return "", Unavailable{"not installed: run make live-deps"}
	}
	return "", Unavailable{strings.TrimSpace(string(why))}
}

// Ensure makes it unless it was made before, and returns its folder.
func (r Recipe) Ensure(ctx context.Context) (string, error) {
	dir, err := r.dir()
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	aside, err := os.MkdirTemp(filepath.Dir(dir), r.Name+".making-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(aside)
	limited, cancel := context.WithTimeout(ctx, r.Limit)
	defer cancel()
	if err = programs(limited, r.needs); err == nil {
		err = r.make(limited, r, aside)
	}
	switch {
	case ctx.Err() != nil:
		err = Unavailable{"it was not ready when the time for all of them was over"}
	case limited.Err() != nil:
		err = Unavailable{fmt.Sprintf("it was not ready within %v", r.Limit)}
	}
	if err != nil {
		os.WriteFile(dir+".failed", []byte(err.Error()+"\n"), 0o644)
		return "", err
	}
	os.Remove(dir + ".failed")
	if err := os.Chmod(aside, 0o755); err != nil {
		return "", err
	}
	return dir, os.Rename(aside, dir)
}

// dir is where it is, or will be, when it has been made.
func (r Recipe) dir() (string, error) {
	cache, err := Cache()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintln(h, "1", r.Name, runtime.GOOS, runtime.GOARCH) // the number goes up when a make does something else
	if r.folder != "" {
		err = filepath.WalkDir(r.source(), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			fmt.Fprintf(h, "%s %d\n%s", path, len(b), b)
			return err
		})
	}
	return filepath.Join(cache, r.Name+"-"+hex.EncodeToString(h.Sum(nil)[:6])), err
}

// source is the folder it is made from. Tests and commands run in the folder of the module.
func (r Recipe) source() string { return filepath.Join("servers", r.folder) }

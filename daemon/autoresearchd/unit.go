package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// unitProperties are what `systemctl show` is asked for.
const unitProperties = "LoadState,ExecStart,User,ProtectSystem,ProtectHome,PrivateTmp,ReadWritePaths,StateDirectory,CacheDirectory"

// unit is the service's unit as systemd has loaded it.
type unit map[string]string

func parseUnit(show string) unit {
	u := unit{}
	for line := range strings.Lines(show) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		u[name] = value
	}
	return u
}

// denies says which of the unit's settings keeps its processes from writing
// path, whoever owns it; "" where none does.
func (u unit) denies(path string) string {
	under := func(folders ...string) bool {
		return slices.ContainsFunc(folders, func(dir string) bool {
			dir = filepath.Clean(dir)
			return dir == "/" || path == dir || strings.HasPrefix(path, dir+"/")
		})
	}
	var open []string
	for _, dir := range strings.Fields(u["ReadWritePaths"]) {
		open = append(open, strings.TrimLeft(dir, "-+"))
	}
	for name, base := range map[string]string{"StateDirectory": "/var/lib", "CacheDirectory": "/var/cache"} {
		for _, dir := range strings.Fields(u[name]) {
			dir, _, _ = strings.Cut(dir, ":")
			open = append(open, filepath.Join(base, dir))
		}
	}
	set := func(name string) string { return name + "=" + u[name] }
	switch {
	case under(open...):
		return ""
	case u["ProtectHome"] != "" && u["ProtectHome"] != "no" && under("/home", "/root", "/run/user"):
		return set("ProtectHome")
	case u["PrivateTmp"] == "yes" && under("/tmp", "/var/tmp"):
		return set("PrivateTmp")
	case u["ProtectSystem"] == "strict" && !under("/dev", "/proc", "/sys"),
		(u["ProtectSystem"] == "full" || u["ProtectSystem"] == "yes") && under("/usr", "/boot", "/efi"),
		u["ProtectSystem"] == "full" && under("/etc"):
		return set("ProtectSystem")
	}
	return ""
}

// shutsOut says, by owners and modes, what keeps the unit's user from writing
// in a folder; "" where nothing does, or where it cannot be told.
func (u unit) shutsOut(folder string) string {
	who, err := user.Lookup(u["User"])
	if err != nil || who.Uid == "0" {
		return ""
	}
	groups, _ := who.GroupIds()
	may := func(dir string, want fs.FileMode) bool {
		info, err := os.Stat(dir)
		if err != nil {
			return true
		}
		owner := info.Sys().(*syscall.Stat_t)
		mode := info.Mode().Perm()
		switch {
		case strconv.Itoa(int(owner.Uid)) == who.Uid:
			mode >>= 6
		case slices.Contains(groups, strconv.Itoa(int(owner.Gid))):
			mode >>= 3
		}
		return mode&want == want
	}
	for dir := filepath.Dir(folder); dir != "/"; dir = filepath.Dir(dir) {
		if !may(dir, 1) {
			return fmt.Sprintf("its user %s may not pass through %s", who.Username, dir)
		}
	}
	if !may(folder, 3) {
		return fmt.Sprintf("its user %s may not write there", who.Username)
	}
	return ""
}

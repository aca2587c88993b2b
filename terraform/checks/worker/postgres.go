package worker

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	owner    = "fleet"
	password = "a-password-of-the-database"
)

// database is a PostgreSQL that takes nothing but TLS and a password, on a port of its own.
type database struct {
	port   int
	server *exec.Cmd
}

func start(programs, root string, certificates certificates) (*database, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	folder := filepath.Join(root, "postgres")
	data := filepath.Join(folder, "data")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	for name, content := range map[string]string{"password": password, "tls.crt": certificates.certificate, "tls.key": certificates.key} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	as, err := identity(folder)
	if err != nil {
		return nil, err
	}
	initialize := exec.Command(filepath.Join(programs, "initdb"), "--pgdata", data, "--username", owner, "--auth", "scram-sha-256",
		"--pwfile", filepath.Join(folder, "password"), "--no-sync", "--no-locale", "--encoding", "UTF8")
	initialize.SysProcAttr, initialize.Dir = as, folder
	if output, err := initialize.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, output)
	}
	access := "hostssl all all 127.0.0.1/32 scram-sha-256\nhostssl all all ::1/128 scram-sha-256\n"
	if err := os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte(access), 0o644); err != nil {
		return nil, err
	}
	var log strings.Builder
	server := exec.Command(filepath.Join(programs, "postgres"), "-D", data, "-p", strconv.Itoa(port), "-k", "", "-F",
		"-c", "listen_addresses=localhost", "-c", "ssl=on",
		"-c", "ssl_cert_file="+filepath.Join(folder, "tls.crt"), "-c", "ssl_key_file="+filepath.Join(folder, "tls.key"))
	server.SysProcAttr, server.Dir, server.Stderr = as, folder, &log
	if err := server.Start(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		if connection, err := net.Dial("tcp", fmt.Sprintf("localhost:%d", port)); err == nil {
			_ = connection.Close()
			return &database{port, server}, nil
		}
		if time.Now().After(deadline) {
			(&database{port, server}).stop()
			return nil, fmt.Errorf("it did not listen in %s\n%s", patience, log.String())
		}
	}
}

// stop ends it at once: nobody needs what it holds.
func (d *database) stop() {
	_ = d.server.Process.Signal(syscall.SIGQUIT)
	_ = d.server.Wait()
}

// identity is whom PostgreSQL runs as, who then owns the folder: it refuses to run as root.
func identity(folder string) (*syscall.SysProcAttr, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, errUID := strconv.Atoi(account.Uid)
	gid, errGID := strconv.Atoi(account.Gid)
	if err := errors.Join(errUID, errGID); err != nil {
		return nil, err
	}
	err = filepath.Walk(folder, func(path string, _ os.FileInfo, err error) error {
		return errors.Join(err, os.Chown(path, uid, gid))
	})
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, err
}

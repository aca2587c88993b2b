package stage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Terraform is a working folder of the command, with the provider from a filesystem mirror and nothing from a registry.
type Terraform struct {
	Folder string
	config string
	env    []string
}

// Version is the provider's, in the mirror.
const Version = "0.1.0"

// Mirror builds the provider, and lays it out as Terraform and OpenTofu look for it.
func Mirror(folder string) error {
	platform := runtime.GOOS + "_" + runtime.GOARCH
	built := filepath.Join(folder, "terraform-provider-fnbridge_v"+Version)
	build := exec.Command("go", "build", "-buildvcs=false", "-o", built, ".")
	build.Dir = filepath.Join(Repository(), "terraform", "provider")
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("the provider can't be built: %w: %s", err, output)
	}
	for _, host := range []string{"registry.terraform.io", "registry.opentofu.org"} {
		place := filepath.Join(folder, "mirror", host, "fnbridge", "fnbridge", Version, platform)
		if err := os.MkdirAll(place, 0o755); err != nil {
			return err
		}
		if err := os.Link(built, filepath.Join(place, filepath.Base(built))); err != nil {
			return err
		}
	}
	settings := fmt.Sprintf("provider_installation {\n  filesystem_mirror {\n    path = %q\n  }\n}\n", filepath.Join(folder, "mirror"))
	return os.WriteFile(filepath.Join(folder, "terraform.rc"), []byte(settings), 0o600)
}

// NewTerraform makes a working folder that uses the mirror in `mirrored`.
func NewTerraform(t testing.TB, mirrored string, env ...string) *Terraform {
	return &Terraform{Folder: t.TempDir(), config: filepath.Join(mirrored, "terraform.rc"), env: env}
}

// Write puts a file into the folder.
func (f *Terraform) Write(t testing.TB, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(f.Folder, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Set has a variable in the command's environment from now on.
func (f *Terraform) Set(name, value string) { f.env = append(f.env, name+"="+value) }

// Try runs the command, and gives its exit status and all that it said.
func (f *Terraform) Try(t testing.TB, arguments ...string) (int, string) {
	t.Helper()
	return f.Begin(t, arguments...).Wait()
}

// Running is the command under way, with the provider that it has started.
type Running struct {
	command *exec.Cmd
	said    bytes.Buffer
	ended   chan struct{}
}

// Begin starts the command, in a process group of its own.
func (f *Terraform) Begin(t testing.TB, arguments ...string) *Running {
	t.Helper()
	running := &Running{command: exec.Command(os.Getenv(terraformVariable), arguments...), ended: make(chan struct{})}
	command := running.command
	command.Dir = f.Folder
	command.Env = append(os.Environ(), "TF_CLI_CONFIG_FILE="+f.config, "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1", "TF_CLI_ARGS=-no-color")
	command.Env = append(command.Env, f.env...)
	command.Stdout, command.Stderr = &running.said, &running.said
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// A provider that outlives the command must not keep its output open for ever.
	command.WaitDelay = 10 * time.Second
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = command.Wait()
		close(running.ended)
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL)
		<-running.ended
	})
	return running
}

// Wait gives the exit status, -1 after a kill, and all that the command said.
func (r *Running) Wait() (int, string) {
	<-r.ended
	return r.command.ProcessState.ExitCode(), r.said.String()
}

// Kill ends the command as a crash does; the provider stays to itself.
func (r *Running) Kill() { _ = r.command.Process.Kill() }

// Interrupt is what Ctrl-C does: the command and the provider are told.
func (r *Running) Interrupt() { _ = syscall.Kill(-r.command.Process.Pid, syscall.SIGINT) }

// Run runs the command, which has to succeed.
func (f *Terraform) Run(t testing.TB, arguments ...string) string {
	t.Helper()
	status, said := f.Try(t, arguments...)
	if status != 0 {
		t.Fatalf("terraform %s: status %d: %s", strings.Join(arguments, " "), status, said)
	}
	return said
}

// Fail runs the command, which has to fail and say each of these; lines are joined as Terraform breaks them anywhere.
func (f *Terraform) Fail(t testing.TB, says []string, arguments ...string) string {
	t.Helper()
	status, said := f.Try(t, arguments...)
	joined := Joined(said)
	for _, part := range says {
		if status == 0 || !strings.Contains(joined, part) {
			t.Fatalf("terraform %s: status %d, expected failure and %q in: %s", strings.Join(arguments, " "), status, part, joined)
		}
	}
	return joined
}

// Joined is what Terraform said, without its frames and line breaks.
func Joined(said string) string {
	return strings.Join(strings.Fields(strings.NewReplacer("│", " ", "╷", " ", "╵", " ").Replace(said)), " ")
}

// Empty: a plan finds nothing to do.
func (f *Terraform) Empty(t testing.TB) {
	t.Helper()
	if status, said := f.Try(t, "plan", "-detailed-exitcode", "-input=false"); status != 0 {
		t.Fatalf("a plan is not empty: status %d: %s", status, said)
	}
}

// Change is what a plan would do to one resource.
type Change struct {
	Address string `json:"address"`
	Change  struct {
		Actions      []string       `json:"actions"`
		Before       map[string]any `json:"before"`
		After        map[string]any `json:"after"`
		AfterUnknown map[string]any `json:"after_unknown"`
		ReplacePaths [][]any        `json:"replace_paths"`
	} `json:"change"`
}

// Action is `create`, `update`, `replace`, `delete`, `no-op` or `read`.
func (c Change) Action() string {
	if len(c.Change.Actions) == 2 {
		return "replace"
	}
	return c.Change.Actions[0]
}

// Plan makes one and keeps it in the file `plan`.
func (f *Terraform) Plan(t testing.TB) []Change {
	t.Helper()
	f.Run(t, "plan", "-input=false", "-out=plan")
	var shown struct {
		Changes []Change `json:"resource_changes"`
	}
	if err := json.Unmarshal([]byte(f.Run(t, "show", "-json", "plan")), &shown); err != nil {
		t.Fatal(err)
	}
	return shown.Changes
}

// Left are the bytes of everything that Terraform wrote into the folder, but for the provider.
func (f *Terraform) Left(t testing.TB) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(f.Folder, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, ".tf") || strings.Contains(path, "/.terraform/") {
			return err
		}
		content, err := os.ReadFile(path)
		files[path] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

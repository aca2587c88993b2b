// Package worker starts fnbridge as two pods of a plan would: with the plan's arguments, environment and files, and a PostgreSQL of their own.
package worker

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"fnbridge.dev/terraform/checks/objects"
)

const (
	files = "/etc/fnbridge"
	token = "an-admin-token-of-forty-characters-xxxxx"
)

// pod is what a pod of a StatefulSet is given, with its files below a folder of this machine.
type pod struct {
	name, root    string
	arguments     []string
	environment   map[string]string
	configuration string
	scheme        string
	port          int
	certificates  certificates
}

// Check holds the configurations of the first and the last pod against `fnbridge check`, then serves as the first two pods on one database: they
// are ready, know themselves and each other, and end as Kubernetes ends them.
func Check(all []objects.Object, fnbridge, postgres string) error {
	root, err := os.MkdirTemp("", "fnbridge-pod-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)
	if err := os.Chmod(root, 0o755); err != nil {
		return err
	}
	certificates, err := issue()
	if err != nil {
		return err
	}
	var pods []*pod
	for n := range 2 {
		pod, err := lay(all, n, filepath.Join(root, fmt.Sprint(n)), certificates)
		if err != nil {
			return err
		}
		pods = append(pods, pod)
	}
	if err := pods[0].checkConfigurations(fnbridge); err != nil {
		return err
	}
	database, err := start(postgres, root, certificates)
	if err != nil {
		return fmt.Errorf("PostgreSQL: %w", err)
	}
	defer database.stop()
	for _, pod := range pods {
		pod.reaches(database)
	}
	scaler, _ := find(all, "ScaledObject")
	return serve(fnbridge, pods, list(scaler, "spec", "triggers"))
}

// checkConfigurations asks `fnbridge check` about those of the first and the last pod: they differ in what is each pod's own alone.
func (p *pod) checkConfigurations(fnbridge string) error {
	configurations, err := filepath.Glob(filepath.Join(filepath.Dir(p.configuration), "*.yaml"))
	if err != nil {
		return err
	}
	for _, file := range []string{configurations[0], configurations[len(configurations)-1]} {
		check := exec.Command(fnbridge, "check", "-f", file)
		check.Env = p.variables()
		if output, err := check.CombinedOutput(); err != nil {
			return fmt.Errorf("fnbridge check: %w\n%s", err, output)
		}
	}
	return nil
}

// reaches puts the database in, where the pod looks for one.
func (p *pod) reaches(database *database) {
	for name, value := range map[string]string{
		"PGHOST": "localhost", "PGPORT": fmt.Sprint(database.port), "PGDATABASE": "postgres", "PGUSER": owner, "PGPASSWORD": password,
	} {
		if _, has := p.environment[name]; has {
			p.environment[name] = value
		}
	}
}

// lay lays out what the n-th pod has: files of Secrets and of the config map where they are mounted, below root.
func lay(all []objects.Object, n int, root string, certificates certificates) (*pod, error) {
	set, found := find(all, "StatefulSet")
	if !found {
		return nil, fmt.Errorf("found no StatefulSet")
	}
	p := &pod{name: fmt.Sprintf("%s-%d", text(set, "metadata", "name"), n), root: root, environment: map[string]string{}, certificates: certificates}
	template, _ := at(set, "spec", "template", "spec").(map[string]any)
	container := at(template, "containers", 0)
	for _, variable := range list(container, "env") {
		p.environment[text(variable, "name")] = p.value(variable)
	}
	folders := map[string]string{}
	for _, mount := range list(container, "volumeMounts") {
		folders[text(mount, "name")] = filepath.Join(root, text(mount, "mountPath"))
	}
	for _, volume := range list(template, "volumes") {
		if err := p.fill(folders[text(volume, "name")], volume, all); err != nil {
			return nil, err
		}
	}
	for _, argument := range list(container, "args") {
		p.arguments = append(p.arguments, p.here(strings.ReplaceAll(argument.(string), "$(POD_NAME)", p.name)))
	}
	if len(p.arguments) == 0 {
		return nil, fmt.Errorf("found a container without args")
	}
	p.configuration = p.arguments[len(p.arguments)-1]
	// As Kubernetes itself asks.
	p.scheme = strings.ToLower(text(container, "readinessProbe", "httpGet", "scheme"))
	port, _ := at(container, "ports", 0, "containerPort").(float64)
	return p, p.listenHere(int(port))
}

// here puts paths below the pod's root.
func (p *pod) here(text string) string { return strings.ReplaceAll(text, files, p.root+files) }

// value is what a variable of the pod's environment has; those from Secrets have something that will do.
func (p *pod) value(variable any) string {
	name := text(variable, "name")
	switch {
	case at(variable, "valueFrom", "fieldRef") != nil:
		return p.name
	case at(variable, "valueFrom", "secretKeyRef") == nil:
		return p.here(text(variable, "value"))
	case name == "FNBRIDGE_SECRETS_KEY":
		return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))
	case name == "FNBRIDGE_ADMIN_TOKEN":
		return token
	}
	return "of-a-secret"
}

// fill writes a volume's files: those of the config map as they are, those of Secrets as certificates.
func (p *pod) fill(folder string, volume any, all []objects.Object) error {
	if folder == "" {
		return fmt.Errorf("the volume %s is mounted nowhere", text(volume, "name"))
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	contents := map[string]string{}
	if name := text(volume, "configMap", "name"); name != "" {
		data, _ := at(named(all, "ConfigMap", name), "data").(map[string]any)
		for file, content := range data {
			contents[file] = p.here(content.(string))
		}
	}
	for _, item := range list(volume, "secret", "items") {
		contents[text(item, "path")] = p.certificates.file(text(item, "path"))
	}
	if len(contents) == 0 {
		return fmt.Errorf("the volume %s has no file", text(volume, "name"))
	}
	for file, content := range contents {
		if err := os.WriteFile(filepath.Join(folder, file), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// listenHere has the worker listen on a free port of this machine alone, in place of the pod's.
func (p *pod) listenHere(stated int) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	p.port = port
	content, err := os.ReadFile(p.configuration)
	if err != nil {
		return err
	}
	changed := string(content)
	for stated, here := range map[string]string{
		fmt.Sprintf(`"listen": "0.0.0.0:%d"`, stated): fmt.Sprintf(`"listen": "127.0.0.1:%d"`, port),
		// What listens on a loopback address asks for tokens only where it is told to.
		"\"access\":\n": "\"access\":\n  \"tokens\": true\n",
	} {
		if !strings.Contains(changed, stated) {
			return fmt.Errorf("%s: expected %s, found\n%s", p.configuration, stated, content)
		}
		changed = strings.Replace(changed, stated, here, 1)
	}
	return os.WriteFile(p.configuration, []byte(changed), 0o644)
}

func (p *pod) variables() []string {
	variables := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.root}
	for name, value := range p.environment {
		variables = append(variables, name+"="+value)
	}
	return variables
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

package infra_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/mailferry/mailferry/infra/bicep"
)

// site is the repository as the checks see it, and what each parameter file would deploy.
type site struct {
	fsys      fs.FS
	host      hostJSON
	functions map[string]function
	deployed  map[string]*bicep.Deployment // by what is deployed: trial, production, signin
}

// hostJSON is the part of host.json that must agree with something.
type hostJSON struct {
	FunctionTimeout string `json:"functionTimeout"`
	Logging         struct {
		ApplicationInsights struct {
			SamplingSettings struct {
				ExcludedTypes string `json:"excludedTypes"`
			} `json:"samplingSettings"`
		} `json:"applicationInsights"`
	} `json:"logging"`
	CustomHandler struct {
		Description struct {
			DefaultExecutablePath string `json:"defaultExecutablePath"`
		} `json:"description"`
	} `json:"customHandler"`
	Extensions struct {
		ServiceBus struct {
			AutoCompleteMessages       bool   `json:"autoCompleteMessages"`
			MaxAutoLockRenewalDuration string `json:"maxAutoLockRenewalDuration"`
			MaxConcurrentCallsPerSess  int    `json:"maxConcurrentCallsPerSession"`
			PrefetchCount              int    `json:"prefetchCount"`
		} `json:"serviceBus"`
	} `json:"extensions"`
}

// function is a function.json.
type function struct {
	Bindings []binding `json:"bindings"`
}

type binding struct {
	Type       string   `json:"type"`
	DataType   string   `json:"dataType"`
	Queue      string   `json:"queueName"`
	Connection string   `json:"connection"`
	Sessions   bool     `json:"isSessionsEnabled"`
	AuthLevel  string   `json:"authLevel"`
	Methods    []string `json:"methods"`
	Route      string   `json:"route"`
	Schedule   string   `json:"schedule"`
}

// queue is the queue that the function reads, and whether it is a dead-letter queue.
func (b binding) queue() (name string, dead bool) {
	return strings.CutSuffix(b.Queue, "/$DeadLetterQueue")
}

// repository is the files that the checks read, in memory.
func repository(t testing.TB) fstest.MapFS {
	t.Helper()
	out := fstest.MapFS{}
	for _, folder := range []string{"infra", "functions", "shared"} {
		err := fs.WalkDir(os.DirFS(".."), folder, func(name string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && (d.Name() == "node_modules" || d.Name() == "testdata"):
				return fs.SkipDir
			case !d.IsDir() && slices.Contains([]string{".go", ".json", ".bicep", ".bicepparam"}, path.Ext(name)):
				b, err := os.ReadFile("../" + name)
				out[name] = &fstest.MapFile{Data: b}
				return err
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"host.json"} {
		b, err := os.ReadFile("../" + name)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = &fstest.MapFile{Data: b}
	}
	return out
}

// open reads a repository. Secrets are given, so that what is made of them is deployed.
func open(fsys fs.FS) (*site, error) {
	s := &site{fsys: fsys, functions: map[string]function{}, deployed: map[string]*bicep.Deployment{}}
	if err := readJSON(fsys, "host.json", &s.host); err != nil {
		return nil, err
	}
	files, err := fs.Glob(fsys, "functions/*/function.json")
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		var fn function
		if err := readJSON(fsys, f, &fn); err != nil {
			return nil, err
		}
		s.functions[path.Base(path.Dir(f))] = fn
	}
	for _, name := range []string{"trial", "production"} {
		if err := s.deploy(name, "infra/"+name+".bicepparam", nil); err != nil {
			return nil, err
		}
	}
	return s, s.deploy("signin", "infra/production.bicepparam", map[string]any{
		"signInClientId": "7d1f2a52-0000-4000-8000-000000000001", "operatorsGroupId": "7d1f2a52-0000-4000-8000-000000000002",
		"allowedAddresses": []any{"192.0.2.0/24"}, "ewsUser": `CORP\svc`,
		"ewsAddress": "10.1.2.3", "fixedAddress": true})
}

func (s *site) deploy(as, file string, over map[string]any) error {
	main, params, err := bicep.Params(s.fsys, file, func(name string) string { return "given as " + name })
	if err != nil {
		return err
	}
	for k, v := range over {
		params[k] = v
	}
	s.deployed[as], err = bicep.Deploy(s.fsys, main, params)
	return err
}

func readJSON(fsys fs.FS, name string, v any) error {
	b, err := fs.ReadFile(fsys, name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// resources are those of a type in every deployment, with what the deployment is called.
func (s *site) resources(kind string, each func(deployment string, r *bicep.Resource)) {
	for _, name := range []string{"trial", "production", "signin"} {
		for _, r := range s.deployed[name].Of(kind) {
			each(name, r)
		}
	}
}

// names are the last parts of the names of a deployment's resources of a type, sorted.
func names(d *bicep.Deployment, kind string) []string {
	var out []string
	for _, r := range d.Of(kind) {
		out = append(out, path.Base(r.Name))
	}
	slices.Sort(out)
	return out
}

// settings are a deployment's app settings.
func settings(d *bicep.Deployment) map[string]string {
	out := map[string]string{}
	for _, r := range d.Of("Microsoft.Web/sites/config") {
		if path.Base(r.Name) != "appsettings" {
			continue
		}
		o := r.Value("properties").(*bicep.Object)
		for _, k := range o.Keys {
			out[k] = fmt.Sprint(o.Value(k))
		}
	}
	return out
}

// findings collects what a check found wrong.
type findings []string

func (f *findings) add(format string, args ...any) { *f = append(*f, fmt.Sprintf(format, args...)) }

// differ notes what is only in one of two lists.
func (f *findings) differ(what, leftName string, left []string, rightName string, right []string) {
	for _, x := range left {
		if !slices.Contains(right, x) {
			f.add("%s %s is in %s but not in %s", what, x, leftName, rightName)
		}
	}
	for _, x := range right {
		if !slices.Contains(left, x) {
			f.add("%s %s is in %s but not in %s", what, x, rightName, leftName)
		}
	}
}
